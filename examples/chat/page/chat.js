"use strict";

// What a peer wrote reaches the page through textContent alone, so it can never become markup.

const $ = id => document.getElementById(id);
const kept = 300; // lines on the page
const mine = new Set(); // this page's member ids, one for each connection
let socket = null;
let attempts = 0; // failed in a row
let timer = 0;

function status(state, text) {
  $("status").dataset.state = state;
  $("status").textContent = text;
  $("send").disabled = state !== "open";
  $("retry").hidden = state !== "waiting" && state !== "stopped";
  if (state !== "open") $("people").textContent = "";
}

function connect() {
  clearTimeout(timer);
  if (socket) {
    socket.onclose = socket.onmessage = null; // A new room or name: the old connection has no say.
    socket.close(1000);
  }
  const query = new URLSearchParams({room: $("room").value.trim(), name: $("name").value.trim()});
  const s = new WebSocket(location.origin.replace(/^http/, "ws") + "/ws?" + query);
  socket = s;
  status("connecting", "connecting…");
  s.onmessage = message => receive(JSON.parse(message.data));
  s.onclose = closing => {
    socket = null;
    if (closing.code === 1008) {
      status("stopped", closing.reason || "sent away");
      return;
    }
    retryLater(closing.reason);
  };
}

// RFC 6455 §7.2.3: reconnecting is delayed by a random time that backs off, so that a server which
// comes back is not overrun by everyone at once.
function retryLater(reason) {
  const longest = Math.min(30, 2 ** attempts);
  const delay = (0.2 + 0.8 * Math.random()) * longest;
  attempts++;
  timer = setTimeout(connect, delay * 1000);
  const why = reason ? reason + "; " : "";
  status("waiting", why + "trying again in " + Math.ceil(delay) + " s");
}

function retryNow() {
  if (socket === null) connect();
}

function receive(event) {
  const list = $("messages");
  const atEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 80;
  switch (event.kind) {
  case "welcome": // The history replaces what the page shows: nothing missed, nothing twice.
    attempts = 0;
    mine.add(event.id);
    status("open", "connected");
    list.replaceChildren();
    (event.history ?? []).forEach(showMessage);
    break;
  case "message":
    showMessage(event);
    break;
  default:
    if (!mine.has(event.id)) showNotice(event.name + (event.kind === "join" ? " came in" : " left"));
  }
  if (event.people) $("people").textContent = event.people === 1 ? "only you here" : event.people + " people here";
  while (list.children.length > kept) list.firstChild.remove();
  if (atEnd || mine.has(event.id)) list.scrollTop = list.scrollHeight;
}

function element(tag, className, text) {
  const e = document.createElement(tag);
  e.className = className;
  e.textContent = text;
  return e;
}

function showMessage(event) {
  const li = element("li", "message", "");
  const previous = $("messages").lastElementChild;
  li.dataset.id = event.id;
  if (previous?.dataset.id === event.id) li.classList.add("next");
  if (mine.has(event.id)) li.classList.add("own");
  li.style.setProperty("--hue", hue(event.name));
  const when = new Date(event.time);
  const time = element("time", "", when.toLocaleTimeString([], {hour: "2-digit", minute: "2-digit"}));
  time.dateTime = when.toISOString();
  const bubble = element("div", "bubble", "");
  bubble.append(element("span", "text", event.text), time);
  li.append(element("span", "name", event.name), bubble);
  $("messages").append(li);
}

function showNotice(text) {
  $("messages").append(element("li", "notice", text));
}

// hue gives a name its colour, the same on every page.
function hue(name) {
  let n = 0;
  for (const c of name) n = (n * 31 + c.codePointAt(0)) % 65521;
  return n * 137 % 360; // Similar names, distant colours.
}

function go(event) {
  event?.preventDefault();
  if (!$("place").reportValidity()) return;
  localStorage.setItem("name", $("name").value);
  history.replaceState(null, "", "#" + encodeURIComponent($("room").value.trim()));
  document.title = $("room").value.trim() + " · Chat";
  attempts = 0;
  connect();
}

$("place").onsubmit = go;
$("name").onchange = go;
$("room").onchange = go;
$("retry").onclick = retryNow;
addEventListener("online", retryNow);
addEventListener("hashchange", () => {
  $("room").value = roomFromAddress();
  go();
});

$("composer").onsubmit = event => {
  event.preventDefault();
  const text = $("message").value;
  if (socket?.readyState !== WebSocket.OPEN || text.trim() === "") return;
  socket.send(JSON.stringify({text}));
  $("message").value = "";
};

function roomFromAddress() {
  try {
    return decodeURIComponent(location.hash.slice(1)) || "lobby";
  } catch {
    return "lobby";
  }
}

$("name").value = localStorage.getItem("name") ?? "Guest " + Math.floor(100 + 900 * Math.random());
$("room").value = roomFromAddress();
go();
