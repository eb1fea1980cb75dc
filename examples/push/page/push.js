"use strict";

const $ = id => document.getElementById(id);
const span = 60_000; // milliseconds that a chart shows
const samples = [];  // the oldest first
let attempts = 0;    // failed in a row

const charts = Array.from(document.querySelectorAll("figure"), figure => {
  const output = document.createElement("output");
  const canvas = document.createElement("canvas");
  figure.append(output, canvas);
  return {...figure.dataset, digits: Number(figure.dataset.digits), output, canvas};
});

function status(state, text) {
  $("status").dataset.state = state;
  $("status").textContent = text;
}

function connect() {
  const socket = new WebSocket(location.origin.replace(/^http/, "ws") + "/feed");
  let first = true; // The first message is the past, which replaces what the page has.
  socket.onmessage = message => {
    if (first) {
      samples.length = 0;
      attempts = 0;
      status("open", "live");
    }
    first = false;
    samples.push(...JSON.parse(message.data));
    const oldest = samples.findIndex(s => s.time > samples.at(-1).time - span);
    samples.splice(0, oldest);
    show();
  };
  // RFC 6455 §7.2.3: a random delay that backs off.
  socket.onclose = () => {
    const delay = (0.2 + 0.8 * Math.random()) * Math.min(30, 2 ** attempts++);
    status("waiting", `trying again in ${Math.ceil(delay)} s`);
    setTimeout(connect, delay * 1000);
  };
}

function show() {
  if (samples.length === 0) return;
  const n = samples.at(-1).subscribers;
  $("subscribers").textContent = n === 1 ? "1 subscriber" : n + " subscribers";
  charts.forEach(draw);
}

function draw(chart) {
  const {canvas, output, value, unit, digits} = chart;
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

  g.beginPath();
  samples.forEach((s, i) => g.lineTo(x(s.time), y(values[i])));
  g.strokeStyle = css.getPropertyValue("--curve");
  g.lineWidth = 1.75;
  g.lineJoin = "round";
  g.stroke();
  g.lineTo(x(end), bottom);
  g.lineTo(x(samples[0].time), bottom);
  g.fillStyle = css.getPropertyValue("--fill");
  g.fill();

  const small = document.createElement("small");
  small.textContent = " " + unit;
  output.replaceChildren(number(values.at(-1), digits), small);
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
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", show);
connect();
