"use strict";

// What a peer wrote reaches the page through textContent alone, so it can never become markup.

const $ = id => document.getElementById(id);
const kept = 300; // lines on the page
const remembered = 50; // messages that the server gives a new member, at most
const mine = new Set(); // this page's member ids, one for each connection
let socket = null;
let place = {}; // the room and the name of the connection, and of those that follow it
let last = null; // the last message on the page
let lost = false; // the page has lines of this room, but no connection
let unconfirmed = []; // texts that were sent and have not come back
let sendLater = false; // what the field has goes out with the next connection
let attempts = 0; // failed in a row
let timer = 0;

function status(state, text) {
  $("status").dataset.state = state;
  $("status").textContent = text;
  $("composer").classList.toggle("offline", state !== "open");
  if (state === "open" && document.activeElement === $("retry")) $("message").focus(); // The button goes.
  $("retry").hidden = state === "open" || attempts === 0;
  if (state !== "open") $("people").textContent = "";
}

function connect() {
  clearTimeout(timer);
  drop();
  const s = new WebSocket(location.origin.replace(/^http/, "ws") + "/ws?" + new URLSearchParams(place));
  socket = s;
  status("connecting", attempts > 0 ? "offline, connecting…" : "connecting…");
  s.onmessage = message => receive(JSON.parse(message.data));
  s.onclose = closing => ended(closing.code, closing.reason);
}

// drop ends the connection, which then has no say any more.
function drop() {
  if (!socket) return;
  socket.onclose = socket.onmessage = null;
  socket.close(1000);
  socket = null;
}

function ended(code, reason) {
  if ($("status").dataset.state === "open") {
    lost = true;
    follow(() => showNotice("Connection lost" + (reason ? ": " + reason : "")));
  }
  socket = null;
  attempts++;
  if (code === 1008) {
    status("stopped", "offline" + (reason ? ": " + reason : ""));
    return;
  }
  // RFC 6455 §7.2.3: reconnecting is delayed by a random time that backs off, so that a server
  // which comes back is not overrun by everyone at once.
  const delay = (0.2 + 0.8 * Math.random()) * Math.min(15, 2 ** (attempts - 1));
  timer = setTimeout(connect, delay * 1000);
  const then = sendLater ? ", then your line is sent" : "";
  status("waiting", "offline, next attempt in " + Math.ceil(delay) + " s" + then);
}

// retryNow connects at once, and begins anew with short delays: somebody is waiting.
function retryNow() {
  if (socket !== null) return;
  attempts = Math.min(attempts, 1);
  connect();
}

function receive(event) {
  follow(() => {
    switch (event.kind) {
    case "welcome":
      attempts = 0;
      mine.add(event.id);
      status("open", "connected");
      catchUp(event.history ?? []);
      break;
    case "message":
      showMessage(event);
      break;
    default:
      if (!mine.has(event.id)) showNotice(event.name + (event.kind === "join" ? " came in" : " left"));
    }
  }, mine.has(event.id));
  if (event.people) $("people").textContent = event.people === 1 ? "only you here" : event.people + " people here";
  if (event.kind === "welcome" && sendLater) $("composer").requestSubmit();
}

// follow adds lines by add, and shows the end of the list if it was in view, or if it must be.
function follow(add, must = false) {
  const list = $("messages");
  const atEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 80;
  add();
  while (list.children.length > kept) list.firstChild.remove();
  if (atEnd || must) list.scrollTop = list.scrollHeight;
}

// catchUp shows what the page lacks. The history is the end of what was said: what is new follows
// the last message on the page, and if that is not there, everything is. A server that was started
// anew has no history, so the lines on the page stay in any case.
function catchUp(history) {
  const known = history.findLastIndex(e => last && e.id === last.id && e.time === last.time && e.text === last.text);
  const gap = last && known < 0 && history.length >= remembered;
  if (lost) showNotice(gap ? "Reconnected, lines may be missing here" : "Reconnected");
  lost = false;
  history.slice(known + 1).forEach(showMessage);
  unconfirmed.forEach(text => showNotice("Not delivered: " + text));
  unconfirmed = [];
}

function element(tag, className, text) {
  const e = document.createElement(tag);
  e.className = className;
  e.textContent = text;
  return e;
}

function showMessage(event) {
  last = event;
  if (mine.has(event.id)) unconfirmed = unconfirmed.filter((text, i) => i !== unconfirmed.indexOf(event.text));
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
  const next = {room: $("room").value.trim(), name: $("name").value.trim()};
  if (socket && next.room === place.room && next.name === place.name) return;
  localStorage.setItem("name", next.name);
  history.replaceState(null, "", "#" + encodeURIComponent(next.room));
  document.title = next.room + " · Chat";
  if (next.room !== place.room) {
    $("messages").replaceChildren();
    last = null;
    lost = sendLater = false;
  }
  unconfirmed = []; // The old connection ends in order, but nothing comes back on it.
  place = next;
  attempts = 0;
  connect();
}

// printable leaves of a text what the server does, so that the text comes back as it was sent.
function printable(text) {
  return text.replace(/\s/gu, " ").replace(/[^\p{L}\p{M}\p{N}\p{P}\p{S} \u200d]/gu, "").trim();
}

$("place").onsubmit = go;
$("name").onchange = go;
$("room").onchange = go;
$("retry").onclick = retryNow;
addEventListener("online", retryNow);
addEventListener("offline", () => {
  if (!socket) return;
  drop();
  ended(1006, "no network");
});
addEventListener("hashchange", () => {
  $("room").value = roomFromAddress();
  go();
});

$("composer").onsubmit = event => {
  event.preventDefault();
  const text = printable($("message").value);
  $("message").focus();
  sendLater = text !== "" && $("status").dataset.state !== "open";
  if (sendLater) retryNow();
  if (sendLater || text === "") return;
  unconfirmed.push(text);
  socket.send(JSON.stringify({text}));
  $("message").value = "";
};
$("message").oninput = () => sendLater = false; // Only what was finished goes out by itself.

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
