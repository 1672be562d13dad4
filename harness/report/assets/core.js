// Data, state and the small tools that the other scripts use. Text is only ever set as text.
"use strict";
const DATA = JSON.parse(document.getElementById("data").textContent);
const METRICS = new Map(DATA.metrics.map((metric) => [metric.name, metric]));
const state = { metric: DATA.metric, stat: "mean", spread: "interval", filter: "", stem: "" };

// Values of a track are hundredths in 16 bits; what is no number has a code, as in cells.py.
const CODES = new Map([[-32768, null], [-32767, "u"], [-32766, "-inf"], [32767, "inf"]]);

function unpack(packed) {
  if (Array.isArray(packed)) return packed; // some value needs more than 16 bits
  const bytes = Uint8Array.from(atob(packed), (letter) => letter.charCodeAt(0));
  const view = new DataView(bytes.buffer);
  return Array.from({ length: bytes.length / 2 }, (_, i) => {
    const number = view.getInt16(2 * i, true);
    return CODES.has(number) ? CODES.get(number) : number;
  });
}

for (const { values } of DATA.datasets) {
  for (const stems of Object.values(values)) {
    for (const rows of Object.values(stems)) {
      for (const row of Object.keys(rows)) rows[row] = unpack(rows[row]);
    }
  }
}

// Places in a cell of the summary; as PLACES in cells.py.
const [MEAN, MEDIAN, SD, Q1, Q3, N, RANK, RANK_MEDIAN, LEAKED, LOW, HIGH, MEDIAN_LOW, MEDIAN_HIGH, GROUP, RANK_LOW, RANK_HIGH, P_BEST, LIMITED, WHY] = Array(19).keys();
const FEWEST = Number(document.body.dataset.minArtists); // artists, for an interval

const all = (selector, within = document) => [...within.querySelectorAll(selector)];

function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

function drawing(tag, attributes = {}, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

// An encoded number as a JavaScript one; NaN where there is none.
function decode(value) {
  if (value === "inf") return Infinity;
  if (value === "-inf") return -Infinity;
  return typeof value === "number" ? value : NaN;
}

// One value of a track, kept in hundredths.
function trackValue(value) {
  return decode(value) / 100;
}

function decibels(value) {
  if (Number.isNaN(value)) return "–";
  if (!Number.isFinite(value)) return value > 0 ? "∞" : "−∞";
  return value.toFixed(2).replace("-", "−");
}

const count = (n, what) => `${n.toLocaleString("en")} ${what}${n === 1 ? "" : "s"}`;
const stemLabel = (stem) => stem.split(":")[0].replaceAll("_", " ");
const statIndex = () => (state.stat === "mean" ? MEAN : MEDIAN);
const rankIndex = () => (state.stat === "mean" ? RANK : RANK_MEDIAN);
const dataset = (node) => DATA.datasets[Number(node.dataset.dataset)];
const level = (node) => dataset(node).levels.find((one) => one.name === node.dataset.level);

// The summary of one stem under the metric shown; empty where the metric has none.
function summary(of, stem) {
  return of.summary[state.metric]?.[stem] ?? { cells: {}, n: {}, out: {}, why: {}, artists: {}, pairs: {} };
}

// Ends of the interval of what is shown; NaN where there is none.
function ends(cell) {
  const [low, high] = state.stat === "mean" ? [LOW, HIGH] : [MEDIAN_LOW, MEDIAN_HIGH];
  return [decode(cell[low]), decode(cell[high])];
}

// Whether two cells share a letter: nothing tells them apart.
const together = (a, b) => Boolean(a && b) && [...a[GROUP]].some((letter) => b[GROUP].includes(letter));

// Whether a row stays when the page is filtered: any of the words, parted by commas, is in it.
function isShown(row) {
  const words = state.filter.toLowerCase().split(",").map((word) => word.trim()).filter(Boolean);
  const about = [row.separator, row.title, row.role, row.fed, row.licence].join(" ").toLowerCase();
  return !words.length || words.some((word) => about.includes(word));
}

// Whether a row is compared with the others for the stem: a separator not trained on its tracks.
const isRanked = (of, stem, row) => Boolean(summary(of, stem).cells[row]?.[RANK]);

function bestOf(values) {
  return METRICS.get(state.metric).higher ? Math.max(...values) : Math.min(...values);
}

function rowLabel(row) {
  return row.input === "mixture" ? row.separator : `${row.separator} (${row.fed})`;
}

const metricUnit = () => {
  const { label, unit } = METRICS.get(state.metric);
  return unit ? `${label}, ${unit}` : label;
};

// Order numbers or words with what is missing last, whichever the direction.
function compare(a, b, direction) {
  const gone = [a, b].map((x) => x === null || (typeof x === "number" && Number.isNaN(x)));
  if (gone[0] || gone[1]) return gone[0] - gone[1];
  return a < b ? -direction : a > b ? direction : 0;
}

// Mark which column a table is sorted by; a second click turns the direction round.
function markSorted(table, key, first) {
  const heads = all("thead th[data-key]", table);
  const head = heads.find((th) => th.dataset.key === key);
  const was = head.getAttribute("aria-sort");
  const turned = was === "ascending" ? "descending" : "ascending";
  heads.forEach((th) => th.removeAttribute("aria-sort"));
  head.setAttribute("aria-sort", was ? turned : first);
  return head.getAttribute("aria-sort") === "ascending" ? 1 : -1;
}
