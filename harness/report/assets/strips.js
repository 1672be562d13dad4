// Strip plots: one panel per stem, one row per separator, one dot per track.

const STRIP = { width: 380, left: 146, right: 12, row: 24, top: 6, bottom: 34, dot: 3.4 };

// The scale covers all values but outliers (beyond three times the interquartile range).
function scaleOf(values) {
  const finite = values.filter(Number.isFinite).sort((a, b) => a - b);
  if (!finite.length) return null;
  const at = (q) => finite[Math.round(q * (finite.length - 1))];
  const reach = 3 * (at(0.75) - at(0.25));
  let low = Math.max(at(0), at(0.25) - reach);
  let high = Math.min(at(1), at(0.75) + reach);
  const pad = Math.max((high - low) * 0.04, 0.5);
  [low, high] = [low - pad, high + pad];
  const span = STRIP.width - STRIP.left - STRIP.right;
  const x = (v) => STRIP.left + ((Math.min(Math.max(v, low), high) - low) / (high - low)) * span;
  return { low, high, x, ticks: ticksBetween(low, high) };
}

// A fixed vertical scatter, so that dots with similar values do not hide each other.
const jitter = (i) => (((i * 0.618034) % 1) - 0.5) * (STRIP.row - 12);

// Dots are lines of zero length with round ends: one path holds hundreds.
const dots = (points) => points.map((p) => `M${p.x.toFixed(1)} ${p.y.toFixed(1)}h0`).join("");

function triangle(p, right) {
  const d = right ? 5 : -5;
  return `M${p.x.toFixed(1)} ${(p.y - 3).toFixed(1)}l${d} 3l${-d} 3z`;
}

// The name, cut to fit; its input must stay, since names repeat.
function shortLabel(row, most) {
  const fed = { mixture: "", reference: " · true stem", cascade: " · cascade" }[row.kind];
  return `${cut(row.separator, most - fed.length)}${fed}`;
}

function stripRow(of, stem, index, y, scale) {
  const row = of.rows[index];
  const cell = summary(of, stem).cells[index];
  const out = new Set(summary(of, stem).out[row.input] ?? []);
  const values = of.values[state.metric][stem][index].map(trackValue);
  const points = values
    .map((value, track) => ({ value, track, x: scale.x(value), y: y + jitter(track), index }))
    .filter((p) => !Number.isNaN(p.value));
  const within = (p) => p.value >= scale.low && p.value <= scale.high;
  const group = drawing("g", { class: `strip role-${row.role}` });
  const base = { x1: STRIP.left, x2: STRIP.width - STRIP.right, y1: y, y2: y };
  group.append(drawing("line", { class: "base", ...base }));
  const [low, high] = [cell.q1, cell.q3].map(scale.x);
  if (Number.isFinite(low + high)) {
    const box = { x: low, y: y - 9, width: Math.max(high - low, 1), height: 18, rx: 3 };
    group.append(drawing("rect", { class: "band", ...box }));
  }
  const seen = points.filter(within);
  group.append(drawing("path", { class: "dots", d: dots(seen.filter((p) => !out.has(p.track))) }));
  group.append(drawing("path", { class: "dots faint", d: dots(seen.filter((p) => out.has(p.track))) }));
  const off = points.filter((p) => !within(p)).map((p) => triangle(p, p.value > scale.high));
  group.append(drawing("path", { class: "off", d: off.join("") }));
  const stat = cell[state.stat];
  if (!Number.isNaN(stat)) {
    const x = scale.x(stat);
    group.append(drawing("line", { class: "stat-mark", x1: x, x2: x, y1: y - 10, y2: y + 10 }));
  }
  const name = rowLabel(row);
  const place = { class: "name", x: STRIP.left - 8, y, "text-anchor": "end", "dominant-baseline": "middle" };
  group.append(drawing("text", place, shortLabel(row, 21), drawing("title", {}, name)));
  return { group, points };
}

function stripPanel(of, stem, rows) {
  const present = rows.filter((i) => isShown(of.rows[i]) && of.values[state.metric]?.[stem]?.[i] && summary(of, stem).cells[i]);
  const every = present.flatMap((i) => of.values[state.metric][stem][i].map(trackValue));
  const scale = scaleOf(every);
  if (!scale) return null;
  const height = STRIP.top + STRIP.row * present.length;
  const metric = METRICS.get(state.metric);
  const title = `${metric.label} of ${stemLabel(stem)}: distribution over tracks for ${count(present.length, "separator")}`;
  const picture = chart(STRIP.width, height + STRIP.bottom, title, "The numbers are in the tables.");
  picture.append(axis(scale, height, metricUnit(), STRIP));
  const points = [];
  present.forEach((index, i) => {
    const y = STRIP.top + STRIP.row * (i + 0.5);
    const row = stripRow(of, stem, index, y, scale);
    picture.append(row.group);
    points.push(...row.points);
  });
  picture.addEventListener("pointermove", (event) => showTip(event, picture, points, of));
  picture.addEventListener("pointerleave", hideTip);
  return element("div", { class: "panel" }, element("h4", {}, stemLabel(stem)), picture);
}

function showTip(event, picture, points, of) {
  const scale = STRIP.width / picture.getBoundingClientRect().width;
  const x = event.offsetX * scale;
  const y = event.offsetY * scale;
  let best = null;
  let nearest = 8 ** 2;
  for (const p of points) {
    const distance = (p.x - x) ** 2 + (p.y - y) ** 2;
    if (distance < nearest) [best, nearest] = [p, distance];
  }
  if (!best) return hideTip();
  const { track, artist, genre } = of.tracks;
  const about = [artist[best.track], genre[best.track]].filter(Boolean).join(", ");
  const tip = document.getElementById("tip");
  tip.replaceChildren(
    element("b", {}, withUnit(best.value)),
    element("span", { class: "name" }, track[best.track]),
    element("small", {}, [about, rowLabel(of.rows[best.index])].filter(Boolean).join(" · ")),
  );
  tip.hidden = false;
  const left = Math.min(event.clientX + 14, document.documentElement.clientWidth - tip.offsetWidth - 8);
  tip.style.left = `${Math.max(left, 4)}px`;
  tip.style.top = `${Math.max(event.clientY - tip.offsetHeight - 10, 4)}px`;
}

function hideTip() {
  document.getElementById("tip").hidden = true;
}

function drawStrips(figure) {
  const of = dataset(figure);
  const rows = level(figure).groups.flatMap((group) => group.rows);
  const panels = level(figure).stems.map((stem) => stripPanel(of, stem, rows)).filter(Boolean);
  figure.querySelector(".panels").replaceChildren(...panels);
  figure.querySelector(".stat").textContent = state.stat;
  figure.hidden = !panels.length;
}
