"use strict";

// A client of resume.v1, in a worker: it keeps the number of the last line that it has, and what it
// sent that has not come back. client.go is the same in Go.

let ports = []; // of all nodes
let home = 0; // the port to begin with
let at = 0; // the port of the connection
let socket = null;
let answered = false; // the node has said from where it goes on
let attempts = 0; // failed in a row
let timer = 0;
let epoch, since; // since is undefined until the first answer
let gone = 0; // when the connection ended
let pending = []; // sent, and not come back yet
let sent = 0;
let id = "";
const counts = {received: 0, lost: 0, repeated: 0};

function connect(port) {
  clearTimeout(timer);
  leave();
  const s = new WebSocket(`${location.protocol.replace("http", "ws")}//${location.hostname}:${port}/ws`, "resume.v1");
  socket = s;
  at = port;
  s.onopen = () => s.send(JSON.stringify({epoch, since}));
  s.onmessage = message => receive(JSON.parse(message.data));
  s.onclose = closing => {
    socket = null;
    if (answered) gone = performance.now();
    answered = false;
    // RFC 6455 §7.2.3: a random wait that grows, so that not all clients come back at once.
    const wait = Math.random() * Math.min(5000, 250 * 2 ** attempts++);
    postMessage({kind: "state", state: "waiting", text: closing.reason ? "node is " + closing.reason : "looking for a node"});
    timer = setTimeout(connect, wait, another());
  };
}

// leave ends the connection, if there is one, without another in its place.
function leave() {
  if (socket === null) return;
  socket.onopen = socket.onmessage = socket.onclose = null;
  socket.close(1000);
  if (answered) gone = performance.now();
  socket = null;
  answered = false;
}

function another() {
  const others = ports.filter(port => port !== at);
  return others[Math.floor(Math.random() * others.length)] ?? at;
}

function receive(message) {
  if (message.line) {
    receiveLine(message.seq, message.line);
    return;
  }
  if (message.lost && since !== undefined) {
    const anew = message.epoch !== undefined && message.epoch !== epoch;
    counts.lost += anew ? 1 : message.since - since; // how many an older log had more, nobody knows
    postMessage({kind: "notice", text: anew ? "The log was begun anew: lines may be missing here." : "Lines are missing here: the log no longer has them."});
  }
  epoch = message.epoch ?? epoch;
  since = message.since;
  if (answered) return;
  answered = true;
  attempts = 0;
  for (const line of pending) socket.send(JSON.stringify(line));
  const back = gone ? performance.now() - gone : 0;
  postMessage({kind: "state", state: "open", node: message.node, back});
}

function receiveLine(seq, line) {
  counts.received++;
  if (seq <= since) {
    counts.repeated++;
    return;
  }
  counts.lost += seq - since - 1;
  since = seq;
  pending = pending.filter(p => p.id !== line.id);
  if (line.kind !== "load") postMessage({kind: "line", name: line.name, text: line.text, own: line.id.startsWith(id)});
}

// pause keeps this worker from doing anything, as a busy or sleeping tab would.
function pause(seconds) {
  const request = new XMLHttpRequest();
  request.open("GET", "/pause?seconds=" + seconds, false);
  try {
    request.send();
  } catch {
    // The server is gone, and the pause is over.
  }
  postMessage({kind: "awake", open: answered}); // as far as is known yet
}

onmessage = ({data}) => {
  switch (data.do) {
  case "start":
    ({ports, home, id} = data);
    connect(home);
    break;
  case "home": // the node is back
    if (at !== home || !answered) timer = setTimeout(connect, Math.random() * 1000, home);
    break;
  case "send": {
    const line = {id: id + ++sent, name: data.name, text: data.text};
    pending.push(line);
    if (answered) socket.send(JSON.stringify(line));
    break;
  }
  case "retry":
    if (socket === null) connect(another());
    break;
  case "pause":
    pause(data.seconds);
  }
};
setInterval(() => postMessage({kind: "counts", pending: pending.length, ...counts}), 250);
