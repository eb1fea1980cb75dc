"use strict";

// The page: what the server says about the nodes, and a worker for every pane. What people wrote
// reaches the document through textContent alone.

const $ = id => document.getElementById(id);
const samples = 120; // of the curve, 250 ms each
const kept = 200; // lines in a pane
const me = Math.random().toString(36).slice(2);
const panes = [];
const curve = []; // reconnects during each interval
let socket = null;
let attempts = 0;
let timer = 0;
let reconnects; // at the previous status
let latest = null;

function say(state, text) {
  $("status").dataset.state = state;
  $("status").textContent = text;
}

function connect() {
  clearTimeout(timer);
  const s = new WebSocket(location.origin.replace(/^http/, "ws") + "/status");
  socket = s;
  s.onopen = () => {
    attempts = 0;
    say("open", "connected");
  };
  s.onmessage = message => show(JSON.parse(message.data));
  s.onclose = () => {
    socket = null;
    const wait = Math.random() * Math.min(10, 2 ** attempts++);
    say("waiting", `offline, next attempt in ${Math.ceil(wait)} s`);
    latest = null;
    reconnects = undefined;
    figure($("connected"), "–", "");
    panes.forEach(pane => pane.hide());
    enable();
    timer = setTimeout(connect, wait * 1000);
  };
}

function tell(action) {
  if (socket?.readyState === WebSocket.OPEN) socket.send(JSON.stringify(action));
}

function show(status) {
  latest = status;
  if (panes.length === 0) status.nodes.forEach(node => panes.push(new Pane(node, status.nodes.map(n => n.port))));
  status.nodes.forEach((node, i) => panes[i]?.show(node));
  curve.push(reconnects === undefined ? 0 : Math.max(0, status.reconnects - reconnects));
  if (curve.length > samples) curve.shift();
  reconnects = status.reconnects;
  setText($("note"), status.note);
  totals();
  enable();
  draw();
}

// totals adds the panes' clients to those of the server.
function totals() {
  if (!latest) return;
  const sum = name => latest[name] + panes.reduce((n, pane) => n + pane.counts[name], 0);
  for (const name of ["lost", "repeated"]) {
    setText($(name), sum(name).toLocaleString());
    $(name).classList.toggle("fault", sum(name) > 0);
  }
  const open = panes.filter(pane => pane.open).length;
  setText($("received"), sum("received").toLocaleString());
  figure($("connected"), (latest.connected + open).toLocaleString(), `of ${(latest.clients + panes.length).toLocaleString()}`);
  if (latest.back > 0) figure($("recovery"), duration(latest.longest), `${count(latest.back, "client")}, half in ${duration(latest.half)}`);
  else figure($("recovery"), "–", "");
  setText($("pause"), latest.pause > 0 ? duration(latest.pause) : "–");
}

function figure(element, text, more) {
  const small = document.createElement("small");
  small.textContent = more;
  element.replaceChildren(text, small);
}

function duration(ms) {
  return ms < 1000 ? Math.round(ms) + " ms" : (ms / 1000).toFixed(1) + " s";
}

function count(n, what) {
  return n.toLocaleString() + " " + what + (n === 1 ? "" : "s");
}

function setText(element, text) {
  if (element.textContent !== String(text)) element.textContent = text;
}

// allow says whether a button has a use now. One that has none keeps the focus.
function allow(button, yes) {
  button.setAttribute("aria-disabled", !yes);
}

function allowed(button) {
  return button.getAttribute("aria-disabled") !== "true";
}

function enable() {
  const all = latest?.nodes.every(node => node.state === "up") ?? false;
  allow($("roll").querySelector("button"), all);
  for (const pane of panes) {
    const state = latest?.nodes[pane.node - 1].state;
    allow(pane.$(".power"), state === "up" && all || state === "down");
  }
}

function draw() {
  const canvas = $("chart"), scale = devicePixelRatio;
  const width = canvas.clientWidth, height = canvas.clientHeight;
  if (canvas.width !== width * scale || canvas.height !== height * scale) {
    canvas.width = width * scale;
    canvas.height = height * scale;
  }
  const c = canvas.getContext("2d");
  c.setTransform(scale, 0, 0, scale, 0, 0);
  c.clearRect(0, 0, width, height);
  const top = Math.max(10, ...curve), step = width / samples;
  c.fillStyle = getComputedStyle(document.documentElement).getPropertyValue("--accent");
  curve.forEach((n, i) => {
    const h = n / top * height;
    c.fillRect(width - (curve.length - i) * step, height - h, Math.max(1, step - 1), h);
  });
  setText($("peak"), "at most " + (4 * Math.max(0, ...curve)).toLocaleString());
}

class Pane {
  constructor(node, ports) {
    this.node = node.node;
    this.open = false;
    this.counts = {received: 0, lost: 0, repeated: 0};
    this.root = $("pane").content.firstElementChild.cloneNode(true);
    this.$ = selector => this.root.querySelector(selector);
    const name = "node " + this.node;
    this.root.setAttribute("aria-label", name);
    this.$("h2").textContent = "Node " + this.node;
    this.$("input").setAttribute("aria-label", "Line for " + name);
    this.$(".lines").setAttribute("aria-label", "Lines at " + name);
    this.$(".power").onclick = () => {
      if (allowed(this.$(".power"))) tell({do: this.state === "down" ? "start" : "kill", node: this.node});
    };
    this.$(".stall").onclick = () => {
      if (!allowed(this.$(".stall"))) return;
      allow(this.$(".stall"), false);
      this.beforeStall = this.ownText;
      this.own("waiting", "stalled");
      this.worker.postMessage({do: "pause", seconds: 15});
    };
    this.$(".composer").onsubmit = event => {
      event.preventDefault();
      const text = this.$("input").value;
      if (text.trim() === "") return;
      this.worker.postMessage({do: "send", name: "pane " + this.node, text});
      this.$("input").value = "";
    };
    this.worker = new Worker("client.js");
    this.worker.onmessage = ({data}) => this.receive(data);
    this.worker.postMessage({do: "start", ports, home: node.port, id: me + "-" + this.node + "-"});
    $("panes").append(this.root);
  }

  own(state, text) {
    this.open = state === "open";
    this.ownText = text;
    this.$(".mine").dataset.state = state;
    setText(this.$(".mine"), text);
  }

  receive(message) {
    switch (message.kind) {
    case "counts":
      this.counts = message;
      if (!this.open && message.pending > 0) setText(this.$(".resumed"), count(message.pending, "line") + " to send");
      break;
    case "state":
      this.own(message.state, message.state === "open" ? "this tab is at node " + message.node : message.text);
      if (message.state === "open") setText(this.$(".resumed"), message.back ? "resumed after " + duration(message.back) : "");
      break;
    case "awake":
      allow(this.$(".stall"), true);
      this.own(message.open ? "open" : "waiting", this.beforeStall);
      break;
    case "line":
      this.add(message.name || "somebody", message.text, message.own);
      break;
    case "notice":
      this.add("", message.text, false);
    }
  }

  add(name, text, own) {
    const list = this.$(".lines"), li = document.createElement("li");
    const atEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 40;
    if (name) {
      const b = document.createElement("b");
      b.textContent = name + ": ";
      li.append(b);
    }
    li.className = name ? own ? "own" : "" : "notice";
    li.append(text);
    list.append(li);
    while (list.children.length > kept) list.firstChild.remove();
    if (atEnd || own) list.scrollTop = list.scrollHeight;
  }

  showState(state) {
    this.state = state;
    this.$(".state").dataset.state = state;
    setText(this.$(".state"), state);
  }

  // hide shows no figures of a server that does not answer.
  hide() {
    this.showState("unknown");
    for (const name of ["members", "blocked", "lag", "expelled"]) setText(this.$("." + name), "–");
  }

  show(node) {
    if (this.state !== undefined && this.state !== "up" && node.state === "up") this.worker.postMessage({do: "home"});
    this.showState(node.state);
    setText(this.$(".power"), node.state === "down" || node.state === "starting" ? "Start" : "Kill");
    setText(this.$(".members"), node.members.toLocaleString());
    setText(this.$(".blocked"), node.blocked.toLocaleString());
    setText(this.$(".lag"), Math.round(node.lag / 1024).toLocaleString() + " KiB");
    setText(this.$(".expelled"), node.expelled.toLocaleString());
  }
}

$("roll").onsubmit = event => {
  event.preventDefault();
  if (allowed($("roll").querySelector("button"))) tell({do: "roll", spread: Number($("spread").value)});
};
addEventListener("online", () => {
  if (socket === null) connect();
  panes.forEach(pane => pane.worker.postMessage({do: "retry"}));
});
addEventListener("resize", draw);
connect();
