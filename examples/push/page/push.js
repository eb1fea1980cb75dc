"use strict";

const $ = id => document.getElementById(id);
const span = 60_000; // milliseconds that a chart shows
const gap = 1_000;   // milliseconds between samples, above which a curve is interrupted
const samples = [];  // the oldest first
const silence = 5_000; // milliseconds without a sample, after which the connection counts as lost
const patience = 15_000; // milliseconds that connecting may take
let socket = null;
let live = false;    // samples are coming in
let attempts = 0;    // failed in a row
let timer = 0;

const charts = Array.from(document.querySelectorAll("figure"), figure => {
  const output = document.createElement("output");
  const canvas = document.createElement("canvas");
  output.ariaLive = "off"; // Four times a second is too much to be read aloud.
  figure.append(output, canvas);
  return {...figure.dataset, digits: Number(figure.dataset.digits), output, canvas};
});

function status(state, text) {
  live = state === "open";
  document.body.classList.toggle("offline", !live);
  $("status").dataset.state = state;
  $("status").textContent = text;
  show();
}

function connect() {
  clearTimeout(timer);
  const s = new WebSocket(location.origin.replace(/^http/, "ws") + "/feed");
  socket = s;
  timer = setTimeout(lose, patience);
  status("connecting", attempts > 0 ? "offline, connecting…" : "connecting…");
  s.onmessage = message => {
    clearTimeout(timer);
    timer = setTimeout(lose, silence);
    receive(JSON.parse(message.data));
  };
  s.onclose = lose;
}

// receive takes samples. The first of a connection are the server's past, which replaces what the
// page has of the same time; what the page has of the time before stays.
function receive(news) {
  if (news.length === 0) return; // The server has only just started.
  if (!live) samples.splice(0, samples.length, ...samples.filter(s => s.time < news[0].time));
  samples.push(...news);
  const oldest = samples.findIndex(s => s.time > samples.at(-1).time - span);
  samples.splice(0, oldest);
  if (live) {
    show();
  } else {
    attempts = 0;
    status("open", "live");
  }
}

// lose gives the connection up and makes another one later.
// RFC 6455 §7.2.3: after a random delay that backs off.
function lose() {
  clearTimeout(timer);
  socket.onmessage = socket.onclose = null;
  socket.close();
  socket = null;
  const delay = (0.2 + 0.8 * Math.random()) * Math.min(15, 2 ** attempts++);
  status("waiting", `offline, next attempt in ${Math.ceil(delay)} s`);
  timer = setTimeout(connect, delay * 1000);
}

// show has numbers only of what is true now; the curves stay.
function show() {
  const n = live ? samples.at(-1)?.subscribers ?? "–" : "–";
  $("subscribers").textContent = n === 1 ? "1 subscriber" : n + " subscribers";
  charts.forEach(draw);
}

function draw(chart) {
  const {canvas, output, value, unit, digits} = chart;
  const small = document.createElement("small");
  small.textContent = " " + unit;
  output.replaceChildren(live && samples.length > 0 ? number(samples.at(-1)[value], digits) : "–", small);
  if (samples.length === 0) return;
  const width = canvas.clientWidth, height = canvas.clientHeight;
  const scale = devicePixelRatio;
  canvas.width = width * scale;
  canvas.height = height * scale;
  const g = canvas.getContext("2d");
  g.scale(scale, scale);
  const css = getComputedStyle(document.documentElement);

  const values = samples.map(s => s[value]);
  const [low, high] = range(values, digits);
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

  g.strokeStyle = css.getPropertyValue("--accent");
  g.fillStyle = css.getPropertyValue("--fill");
  g.lineWidth = 1.75;
  g.lineJoin = "round";
  for (const part of parts()) {
    g.beginPath();
    part.forEach(s => g.lineTo(x(s.time), y(s[value])));
    g.stroke();
    g.lineTo(x(part.at(-1).time), bottom);
    g.lineTo(x(part[0].time), bottom);
    g.fill();
  }
}

// parts divides the samples where the server was away.
function parts() {
  const divided = [];
  samples.forEach((s, i) => {
    if (i === 0 || s.time - samples[i - 1].time > gap) divided.push([]);
    divided.at(-1).push(s);
  });
  return divided;
}

// range gives the axis round ends with some room around the values.
function range(values, digits) {
  let low = Math.min(...values), high = Math.max(...values);
  const least = digits === 0 ? 2 : 0.1;
  const step = 10 ** Math.floor(Math.log10(Math.max(high - low, least)));
  low = Math.max(0, Math.floor(low / step) * step);
  high = Math.ceil(high / step) * step;
  return high - low < least ? [Math.max(0, low - least / 2), low + least] : [low, high];
}

function number(v, digits) {
  return v.toLocaleString("en", {minimumFractionDigits: digits, maximumFractionDigits: digits});
}

addEventListener("resize", show);
addEventListener("online", () => {
  if (socket === null) connect();
});
addEventListener("offline", () => {
  if (socket) lose();
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", show);
connect();
