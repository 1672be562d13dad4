// Data, state and small helpers of the other scripts. Names are only inserted as text, never as HTML.
"use strict";
const DATA = JSON.parse(document.getElementById("data").textContent);
const METRICS = new Map(DATA.metrics.map((metric) => [metric.name, metric]));
const state = { metric: DATA.metric, stat: "mean", spread: "interval", filter: "", stem: "" };

// From here on, cells have their values under these names.
const NUMBERS = ["mean", "median", "sd", "q1", "q3", "low", "high", "median_low", "median_high"];

function named(places, cell) {
  const found = Object.fromEntries(places.map((name, i) => [name, cell[i]]));
  for (const name of NUMBERS) found[name] = decode(found[name]);
  return found;
}

// Replace every value of an object.
function mapValues(object, change) {
  for (const key of Object.keys(object)) object[key] = change(object[key]);
}

for (const { summary, genres } of DATA.datasets) {
  for (const stems of Object.values(summary)) {
    for (const { cells } of Object.values(stems)) mapValues(cells, (cell) => named(DATA.places.board, cell));
  }
  for (const stems of Object.values(genres)) {
    for (const found of Object.values(stems)) {
      for (const cells of Object.values(found)) mapValues(cells, (cell) => named(DATA.places.genre, cell));
    }
  }
}

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

// An encoded number as a JavaScript one; NaN if missing.
function decode(value) {
  if (value === "inf") return Infinity;
  if (value === "-inf") return -Infinity;
  return typeof value === "number" ? value : NaN;
}

// One value of a track, which is stored in hundredths.
function trackValue(value) {
  return decode(value) / 100;
}

const count = (n, what) => `${n.toLocaleString("en")} ${what}${n === 1 ? "" : "s"}`;
const stemLabel = (stem) => stem.split(":")[0].replaceAll("_", " ");
const rankOf = (cell) => (state.stat === "mean" ? cell?.rank : cell?.rank_median);
const dataset = (node) => DATA.datasets[Number(node.dataset.dataset)];
const level = (node) => dataset(node).levels.find((one) => one.name === node.dataset.level);

// The summary of one stem for the metric shown; empty if it has none.
function summary(of, stem) {
  return of.summary[state.metric]?.[stem] ?? { cells: {}, n: {}, out: {}, why: {}, artists: {}, pairs: {}, anchor: {} };
}

// Ends of the interval of the statistic shown; NaN if there is none.
const endsOf = (cell) => (state.stat === "mean" ? [cell.low, cell.high] : [cell.median_low, cell.median_high]);

// Whether two cells share a letter: they do not differ significantly.
const together = (a, b) => Boolean(a && b) && [...a.group].some((letter) => b.group.includes(letter));

// Whether the filter keeps a row: it contains any of the words, which are separated by commas.
function isShown(row) {
  const words = state.filter.toLowerCase().split(",").map((word) => word.trim()).filter(Boolean);
  const seen = Object.keys(row.seen);
  const about = [row.separator, row.title, row.role, row.fed, row.license, ...(seen.length ? seen : ["clean"])].join(" ").toLowerCase();
  return !words.length || words.some((word) => about.includes(word));
}

// Whether a row is ranked for the stem: a separator not trained on its tracks.
const isRanked = (of, stem, row) => Boolean(summary(of, stem).cells[row]?.rank);

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

// Compare numbers or words; missing ones come last in both directions.
function compare(a, b, direction) {
  const gone = [a, b].map((x) => x === null || (typeof x === "number" && Number.isNaN(x)));
  if (gone[0] || gone[1]) return gone[0] - gone[1];
  return a < b ? -direction : a > b ? direction : 0;
}

// Whether separators have places by the chosen metric; some are deaf to too much.
const isPlacing = () => METRICS.get(state.metric).ranks !== false;

// Whether the unit of a metric is the range of its values, such as 0–100.
function isRange(unit) {
  return /^\d/.test(unit);
}

// A value of the chosen metric with its unit.
function withUnit(value) {
  const { unit } = METRICS.get(state.metric);
  return unit && !isRange(unit) ? `${decimals(value)} ${unit}` : decimals(value);
}

// Mark the column that a table is sorted by; a second click reverses the direction.
function markSorted(table, key, first) {
  const heads = all("thead th[data-key]", table);
  const head = heads.find((th) => th.dataset.key === key);
  const was = head.getAttribute("aria-sort");
  const turned = was === "ascending" ? "descending" : "ascending";
  heads.forEach((th) => th.removeAttribute("aria-sort"));
  head.setAttribute("aria-sort", was ? turned : first);
  return head.getAttribute("aria-sort") === "ascending" ? 1 : -1;
}
