// The listening panel: choosing a source and excerpt, playing, and drawing.

const REFERENCE = 1; // the mixture is 0, separators follow
const SVG = "http://www.w3.org/2000/svg";
const panel = document.getElementById("panel");
const find = (selector) => panel.querySelector(selector);
const pick = { source: 0, excerpt: 0, difference: false, matched: true };
const decoded = new Map(); // region: promise of its buffers
let heard = null; // samples and gains of every source in the excerpt shown
let turn = 0; // changes when another excerpt is requested
const player = new Player(() => show());

const gainText = (value) => `${signed(value, 1)} dB`;
const clockOf = (second) => `${Math.floor(second / 60)}:${(second % 60).toFixed(1).padStart(4, "0")}`;
const excerpt = () => VIEW.excerpts[pick.excerpt];
const regionOf = ({ start }) => VIEW.regions.findIndex(([from, to]) => from <= start && start < to);
const offset = () => VIEW.regions[regionOf(excerpt())][0];
const subtracts = () => pick.difference && pick.source > REFERENCE;

function buffersOf(region) {
  if (!decoded.has(region)) decoded.set(region, Promise.all(VIEW.sources.map((_, i) => decode(region, i))).then(estimates));
  return decoded.get(region);
}

// Of an estimate the page holds its difference from the reference: add the reference.
function estimates(buffers) {
  for (const buffer of buffers.slice(REFERENCE + 1)) {
    for (let c = 0; c < buffer.numberOfChannels; c++) {
      const samples = buffer.getChannelData(c);
      buffers[REFERENCE].getChannelData(c).forEach((x, i) => (samples[i] += x));
    }
  }
  return buffers;
}

// The samples of a buffer in the excerpt, by channel.
function samplesOf(buffer, { start, stop }) {
  const [from, to] = [start, stop].map((second) => Math.round((second - offset()) * VIEW.rate));
  return Array.from({ length: buffer.numberOfChannels }, (_, c) => buffer.getChannelData(c).subarray(from, to));
}

function subtracted(estimate, reference) {
  return estimate.map((samples, c) => samples.map((x, i) => x - reference[c][i]));
}

// Gain in dB that makes a signal as loud as the reference.
function correction(channels) {
  const change = heard.target - loudness(channels, VIEW.rate);
  return Number.isFinite(change) ? change : 0;
}

async function load(index) {
  const chosen = VIEW.excerpts[index];
  const mine = ++turn;
  const buffers = await buffersOf(regionOf(chosen));
  if (mine !== turn) return;
  pick.excerpt = index;
  const samples = buffers.map((buffer) => samplesOf(buffer, chosen));
  heard = { samples, target: loudness(samples[REFERENCE], VIEW.rate), differences: new Map() };
  heard.corrections = samples.map(correction);
  heard.peaks = samples.map((channels) => Math.max(...channels.map((c) => c.reduce((top, x) => Math.max(top, Math.abs(x)), 0))));
  const was = player.playing;
  const [from, to] = [chosen.start - offset(), chosen.stop - offset()];
  player.load(buffers, from, Math.min(to, buffers[REFERENCE].duration));
  for (const input of panel.querySelectorAll("[name=excerpt]")) input.checked = Number(input.value) === index;
  drawScores();
  drawErrors();
  drawPictures(mine);
  show();
  if (was) await player.play();
}

// The difference of an estimate from the reference: its samples and gain.
function difference(source) {
  if (!heard.differences.has(source)) {
    const samples = subtracted(heard.samples[source], heard.samples[REFERENCE]);
    heard.differences.set(source, { samples, correction: correction(samples) });
  }
  return heard.differences.get(source);
}

// Gains of all sources; all are reduced together if one would clip.
function levels() {
  const gain = (change) => (pick.matched ? 10 ** (change / 20) : 1);
  const room = Math.max(1, ...heard.peaks.map((peak, i) => peak * gain(heard.corrections[i])));
  const found = VIEW.sources.map(() => 0);
  if (subtracts()) {
    const loud = gain(difference(pick.source).correction);
    [found[pick.source], found[REFERENCE]] = [loud / room, -loud / room];
  } else {
    found[pick.source] = gain(heard.corrections[pick.source]) / room;
  }
  return found;
}

function show() {
  player.mix(levels());
  for (const row of panel.querySelectorAll(".source[data-source]")) {
    const source = Number(row.dataset.source);
    if (Number.isNaN(source)) {
      const able = pick.source > REFERENCE;
      row.querySelector("span").textContent = able ? `Difference: ${VIEW.sources[pick.source].name} − reference` : "Difference: choose an estimate";
      row.querySelector("small").textContent = able && pick.matched ? gainText(difference(pick.source).correction) : "";
      continue;
    }
    row.querySelector("button").setAttribute("aria-pressed", String(source === pick.source));
    row.querySelector("small").textContent = pick.matched ? gainText(heard.corrections[source]) : "original level";
  }
  if (pick.source > REFERENCE) markLine(pick.source - REFERENCE - 1);
  find("#play").textContent = player.playing ? "Pause" : "Play";
  find("#play").setAttribute("aria-pressed", String(player.playing));
  find("#difference").disabled = pick.source <= REFERENCE;
  find("#difference").checked = pick.difference;
  find("#matched").checked = pick.matched;
  find("#loop").checked = player.loop;
}

function markLine(index) {
  for (const line of document.querySelectorAll(".line")) line.classList.toggle("on", Number(line.dataset.line) === index);
  document.getElementById("bold").textContent = VIEW.sources[index + REFERENCE + 1].name;
}

function tell() {
  const { name } = VIEW.sources[pick.source];
  const at = `${excerpt().kind} excerpt, ${clockOf(offset() + player.position())}`;
  find("#told").textContent = `${subtracts() ? "difference of " : ""}${name}, ${at}`;
}

function drawRow(row, channels, peak) {
  const samples = mono(channels);
  drawWave(row.querySelector(".wave path"), samples, peak);
  drawSpectrogram(row.querySelector("canvas"), samples, VIEW.rate);
}

const pause = () => new Promise((resolve) => setTimeout(resolve));

async function drawPictures(mine) {
  const peak = Math.max(1e-6, ...heard.peaks);
  for (const row of panel.querySelectorAll(".source[data-source]")) {
    await pause(); // rows appear one by one, and the page stays responsive
    if (mine !== turn) return;
    const source = Number(row.dataset.source);
    if (Number.isNaN(source)) drawDifference();
    else drawRow(row, heard.samples[source], peak);
  }
  panel.dataset.drawn = pick.excerpt;
}

function drawDifference() {
  const row = find("[data-source=difference]");
  if (pick.source > REFERENCE) drawRow(row, difference(pick.source).samples, Math.max(1e-6, ...heard.peaks));
  row.querySelector(".pictures").hidden = pick.source <= REFERENCE;
}

// What the errors of each second of the excerpt consist of: one column of shares per second.
function drawErrors() {
  const { start, stop } = excerpt();
  VIEW.sources.forEach(({ errors }, source) => {
    const svg = find(`[data-source="${source}"] .errors`);
    svg.toggleAttribute("hidden", errors.length === 0);
    svg.setAttribute("viewBox", `0 0 ${stop - start} 100`);
    svg.replaceChildren(...errors.slice(start, stop).flatMap((second, i) => errorColumn(second, i, start + i)));
  });
}

function errorColumn([height, level, ...shares], x, at) {
  const drawn = [];
  let y = 100;
  shares.forEach((share, kind) => {
    const size = (height * share) / 100;
    y -= size;
    const name = kind === shares.length - 1 ? "rest" : kind;
    if (size > 0) drawn.push(rectangle({ class: `kind-${name}`, x: x + 0.02, y, width: 0.96, height: size }));
  });
  const named = shares.map((share, kind) => [share, VIEW.kinds[kind]]).filter(([share]) => share >= 5);
  const parts = named.sort((a, b) => b[0] - a[0]).map(([share, kind]) => `${kind} ${share} %`);
  const whole = rectangle({ class: "whole", x, y: 0, width: 1, height: 100 });
  const title = document.createElementNS(SVG, "title");
  title.textContent = `${clockOf(at).replace(".0", "")}, error ${decibels(level)}: ${parts.join(", ") || "none"}`;
  whole.append(title);
  return [...drawn, whole];
}

const decibels = (level) => (typeof level === "number" ? gainText(level) : "−∞ dB");

function rectangle(attributes) {
  const rect = document.createElementNS(SVG, "rect");
  for (const [name, value] of Object.entries(attributes)) rect.setAttribute(name, value);
  return rect;
}

// The chart of the whole track, cut to the excerpt.
function drawScores() {
  const { start, stop } = excerpt();
  const [low, high] = VIEW.limits;
  const svg = find(".zoom");
  svg.setAttribute("viewBox", `${start} ${-high} ${stop - start} ${high - low}`);
  svg.replaceChildren(...[...document.querySelectorAll(".overview .second, .overview g")].map((node) => node.cloneNode(true)));
  find(".range").textContent = `${short(low)} to ${short(high)} dB`;
  const seconds = Array.from({ length: stop - start }, (_, i) => start + i);
  find(".ticks").replaceChildren(
    ...seconds.map((second) => {
      const mark = document.createElement("span");
      mark.textContent = clockOf(second).replace(".0", "");
      return mark;
    }),
  );
}

function choose(source) {
  pick.source = Math.min(Math.max(source, 0), VIEW.sources.length - 1);
  show();
  drawDifference();
  tell();
}

async function playOrPause() {
  if (player.playing) player.pause();
  else await player.play();
  show();
}

async function move(seconds) {
  await player.seek(player.position() + seconds);
  tell();
}

// The worst second of the selected estimate within the excerpts; without one, of the median.
async function jumpToWorst() {
  const frames = VIEW.sources[pick.source].frames;
  let [worst, second] = [0, VIEW.excerpts[0].second];
  let lowest = Infinity;
  VIEW.excerpts.forEach(({ start, stop }, i) => {
    for (let at = start; at < stop; at++) {
      const value = frames[at] === "-inf" ? -Infinity : frames[at];
      if (VIEW.loud.includes(at) && value < lowest) [lowest, worst, second] = [value, i, at];
    }
  });
  await load(worst);
  await player.seek(second - offset());
  tell();
}

function toggle(name) {
  pick[name] = !pick[name];
  show();
  tell();
}

const KEYS = {
  " ": playOrPause,
  ArrowUp: () => choose(pick.source - 1),
  ArrowDown: () => choose(pick.source + 1),
  ArrowLeft: () => move(-1),
  ArrowRight: () => move(1),
  d: () => toggle("difference"),
  e: () => toggle("matched"),
  l: () => player.setLoop(!player.loop).then(show),
  w: jumpToWorst,
};

function press(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const field = event.target.closest("input, button:not(.pick-source)");
  if (field && (event.key === " " || (field.type === "radio" && event.key.startsWith("Arrow")))) return;
  const digit = /^[0-9]$/.test(event.key) ? (Number(event.key) + 9) % 10 : -1;
  const action = digit >= 0 ? () => digit < VIEW.sources.length && choose(digit) : KEYS[event.key] ?? KEYS[event.key.toLowerCase()];
  if (!action) return;
  event.preventDefault();
  action();
}

function seekTo(event) {
  const box = event.currentTarget.getBoundingClientRect();
  const part = (event.clientX - box.left) / box.width;
  player.seek(player.from + part * (player.to - player.from)).then(tell);
}

function follow() {
  const at = player.position();
  const head = find(".playhead");
  head.style.setProperty("--at", (at - player.from) / (player.to - player.from));
  head.hidden = false;
  find("#clock").textContent = clockOf(offset() + at);
  requestAnimationFrame(follow);
}

function setUp() {
  panel.addEventListener("keydown", press);
  for (const button of panel.querySelectorAll(".pick-source")) {
    button.addEventListener("click", () => choose(Number(button.parentNode.dataset.source)));
  }
  for (const picture of panel.querySelectorAll(".pictures")) picture.addEventListener("click", seekTo);
  for (const input of panel.querySelectorAll("[name=excerpt]")) {
    input.addEventListener("change", () => load(Number(input.value)).then(tell));
  }
  find("#play").addEventListener("click", playOrPause);
  find("#worst").addEventListener("click", jumpToWorst);
  find("#difference").addEventListener("change", () => toggle("difference"));
  find("#matched").addEventListener("change", () => toggle("matched"));
  find("#loop").addEventListener("change", () => player.setLoop(find("#loop").checked).then(show));
  load(0).then(() => {
    panel.hidden = false;
    follow();
  });
}

if (panel) setUp();
