"use strict";

const $ = id => document.getElementById(id);
const span = 60_000; // milliseconds that a chart shows
const gap = 5_000;   // milliseconds without a value that interrupt a curve
const samples = [];  // the oldest first
let live = false;    // samples are coming in
let attempts = 0;    // failed in a row

// What the close codes mean, RFC 6455 §7.4.1. The server counts unregistered codes by their range.
const meanings = {
  1000: "normal", 1001: "going away", 1002: "protocol error", 1003: "unsupported data", 1005: "no code", 1006: "no close frame",
  1007: "invalid payload", 1008: "policy violation", 1009: "message too big", 1010: "extension missing", 1011: "server error",
  1012: "service restart", 1013: "try again later", 1014: "bad gateway",
  "3xxx": "library or framework", "4xxx": "application", none: "closed by the server, or timed out",
};

const charts = Array.from(document.querySelectorAll("figure"), figure => {
  const output = document.createElement("output");
  output.setAttribute("aria-live", "off"); // It changes every second.
  const canvas = document.createElement("canvas");
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", figure.textContent.trim() + ", the last minute");
  figure.append(output, canvas);
  const {value, digits, unit = "", scale = 1, series = ""} = figure.dataset;
  return {value, digits: Number(digits), unit, scale: Number(scale), series: series.split(" "), output, canvas};
});

function status(state, text) {
  live = state === "open";
  document.body.classList.toggle("offline", !live);
  $("status").dataset.state = state;
  $("status").textContent = text;
}

const socketURL = path => location.origin.replace(/^http/, "ws") + path;

function connect() {
  const socket = new WebSocket(socketURL("/live"));
  let first = true; // The first message is the past, which replaces what the page has.
  socket.onopen = () => status("open", "live");
  socket.onmessage = message => {
    if (first) {
      samples.length = 0;
      attempts = 0;
    }
    first = false;
    samples.push(...JSON.parse(message.data));
    const oldest = samples.findIndex(s => s.time > samples.at(-1).time - span);
    samples.splice(0, oldest);
    show();
  };
  // RFC 6455 §7.2.3: a random delay that backs off.
  socket.onclose = () => {
    const delay = Math.random() * Math.min(30, 2 ** attempts++);
    status("waiting", `offline, next attempt in ${Math.ceil(delay)} s`);
    show();
    setTimeout(connect, delay * 1000);
  };
}

// show has numbers only of what is true now; the curves stay.
function show() {
  if (samples.length === 0) return;
  charts.forEach(draw);
  const codes = Object.entries(samples.at(-1).codes).sort();
  $("no-codes").hidden = codes.length > 0;
  $("codes").replaceChildren(...codes.map(([code, count]) => {
    const row = document.createElement("tr");
    const head = document.createElement("th");
    head.scope = "row";
    head.textContent = code + (meanings[code] ? " · " + meanings[code] : "");
    const cell = document.createElement("td");
    cell.textContent = count.toLocaleString("en");
    row.append(head, cell);
    return row;
  }));
}

// curves returns a chart's values as one list for each series, null where there is none.
function curves(chart) {
  return chart.series.map((_, i) => samples.map(s => {
    const v = Array.isArray(s[chart.value]) ? s[chart.value][i] : s[chart.value];
    return v === null ? null : v / chart.scale;
  }));
}

function draw(chart) {
  const {canvas, output, unit, digits} = chart;
  const lines = curves(chart);
  const width = canvas.clientWidth, height = canvas.clientHeight;
  canvas.width = width * devicePixelRatio;
  canvas.height = height * devicePixelRatio;
  const g = canvas.getContext("2d");
  g.scale(devicePixelRatio, devicePixelRatio);
  const css = getComputedStyle(document.documentElement);

  const [low, high] = range(lines.flat().filter(v => v !== null), digits);
  const end = samples.at(-1).time;
  const left = 4, right = width - 48, top = 8, bottom = height - 8;
  const x = time => right - (end - time) / span * (right - left);
  const y = v => bottom - (v - low) / (high - low) * (bottom - top);

  g.font = "12px system-ui, sans-serif";
  g.textBaseline = "middle";
  g.strokeStyle = css.getPropertyValue("--line");
  g.fillStyle = css.getPropertyValue("--soft");
  for (const v of [low, (low + high) / 2, high]) {
    g.beginPath();
    g.moveTo(left, y(v));
    g.lineTo(right, y(v));
    g.stroke();
    g.fillText(v.toLocaleString("en", {notation: "compact", maximumSignificantDigits: 3}), right + 6, y(v));
  }

  g.lineWidth = 1.75;
  g.lineJoin = g.lineCap = "round";
  lines.forEach((values, i) => {
    // The second curve is dotted: colours alone do not tell them apart.
    g.strokeStyle = css.getPropertyValue(i === 0 ? "--first" : "--second");
    g.setLineDash(i === 0 ? [] : [1, 5]);
    g.beginPath();
    let previous = -Infinity;
    values.forEach((v, k) => {
      if (v === null) return;
      const time = samples[k].time;
      if (time - previous > gap) g.moveTo(x(time), y(v));
      g.lineTo(x(time), y(v)); // At the least a dot.
      previous = time;
    });
    g.stroke();
  });

  output.replaceChildren(...lines.map((values, i) => {
    const item = document.createElement("span");
    const small = document.createElement("small");
    small.textContent = unit;
    if (chart.series[i] !== "") {
      small.textContent += " " + chart.series[i];
      item.className = i === 0 ? "key" : "key second";
    }
    const v = live ? values.findLast((v, k) => v !== null && end - samples[k].time < gap) : undefined;
    item.append(v === undefined ? "–" : number(v, digits), " ", small);
    return item;
  }));
}

// range gives the axis round ends with some room around the values.
function range(values, digits) {
  let low = Math.min(...values), high = Math.max(...values);
  if (values.length === 0) low = high = 0;
  const least = digits === 0 ? 2 : 0.1;
  const step = 10 ** Math.floor(Math.log10(Math.max(high - low, least)));
  low = Math.max(0, Math.floor(low / step) * step);
  high = Math.ceil(high / step) * step;
  return high - low < least ? [Math.max(0, low - least / 2), low + least] : [low, high];
}

function number(v, digits) {
  return v.toLocaleString("en", {minimumFractionDigits: digits, maximumFractionDigits: digits});
}

// The load: connections of this page to /echo, which is what the server measures.
let load = [];

function start() {
  const interval = 1000 / $("rate").valueAsNumber;
  load = Array.from({length: $("connections").valueAsNumber}, () => {
    const socket = new WebSocket(socketURL("/echo"));
    let n = 0;
    const timer = setInterval(() => {
      if (socket.readyState === WebSocket.OPEN) socket.send(text($("size").valueAsNumber || 2, n++));
    }, interval);
    socket.onclose = () => {
      clearInterval(timer);
      if (load.includes(socket) && load.every(s => s.readyState === WebSocket.CLOSED)) stop(); // The server is gone.
    };
    return socket;
  });
  $("start").disabled = true;
  $("stop").disabled = false;
  $("stop").focus();
}

function stop() {
  load.forEach(socket => socket.close(1000, "load stopped"));
  load = [];
  const focused = document.activeElement === $("stop");
  $("start").disabled = false;
  $("stop").disabled = true;
  if (focused) $("start").focus();
}

// text returns a message of so many bytes, such as programs send.
function text(size, n) {
  let s = "";
  for (let i = 0; s.length < size; i++) s += JSON.stringify({id: n + i, price: Math.round(Math.random() * 1e6) / 100, name: "item"}) + "\n";
  return s.slice(0, size);
}

$("load").onsubmit = event => {
  event.preventDefault();
  start();
};
$("stop").onclick = stop;
addEventListener("resize", show);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", show);
connect();
