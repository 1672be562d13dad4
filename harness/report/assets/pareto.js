// Quality and cost: separators that no other beats in both.

const PARETO = { width: 720, left: 58, right: 130, top: 14, height: 340, bottom: 44 };

// Points of separators with a score and a cost; the best by score first.
function costPoints(of, stem, cost) {
  const { cells } = summary(of, stem);
  const points = Object.entries(cells).map(([i, cell]) => {
    const row = of.rows[i];
    return { row, index: Number(i), score: cell[state.stat], cost: row.costs[cost] ?? NaN, ranked: isRanked(of, stem, i) };
  });
  return points.filter((p) => Number.isFinite(p.score) && Number.isFinite(p.cost) && isShown(p.row) && p.row.role !== "oracle");
}

// Whether no ranked separator is at least as good in both and better in one.
function isOnFront(point, points) {
  const sign = METRICS.get(state.metric).higher ? 1 : -1;
  const beats = (q) =>
    sign * q.score >= sign * point.score && q.cost <= point.cost && (q.score !== point.score || q.cost < point.cost);
  return point.ranked && !points.some((q) => q.ranked && beats(q));
}

// Costs that differ more than thirtyfold have a logarithmic scale.
function costScale(costs) {
  const positive = costs.filter((c) => c > 0);
  const wide = positive.length === costs.length && Math.max(...costs) > 30 * Math.min(...costs);
  const scale = axisOf(wide ? costs.map(Math.log10) : [0, ...costs], PARETO, wide ? 0.15 : 0);
  if (!wide) return scale;
  const ticks = [];
  for (let power = Math.ceil(scale.low); power <= scale.high; power++) ticks.push(power);
  return { ...scale, ticks, x: (cost) => scale.x(Math.log10(cost)), tickValue: (tick) => 10 ** tick, log: true };
}

function costText(value, column) {
  if (column.unit === "bytes") return value >= 1e9 ? `${short(value / 1e9, 3)} GB` : `${short(value / 1e6, 3)} MB`;
  if (column.name === "parameters") return value >= 1e4 ? `${short(value / 1e6, 3)} M` : short(value, 3);
  return `${short(value, 3)} ${column.unit}`.trim();
}

// Put each label beside its dot where it covers no other; if there is no room, omit it.
function placeLabels(points) {
  const taken = points.map((p) => ({ x: p.x - 5, y: p.y - 6, w: 10, h: 12 }));
  const free = (box) => !taken.some((t) => box.x < t.x + t.w && t.x < box.x + box.w && box.y < t.y + t.h && t.y < box.y + box.h);
  for (const p of points) {
    const w = 6.4 * p.label.length;
    const spots = [[9, 0], [-w - 9, 0], [-w / 2, -13], [-w / 2, 13]];
    const boxes = spots.map(([dx, dy]) => ({ x: p.x + dx, y: p.y + dy - 7, w, h: 14 }));
    const box = boxes.find((b) => b.x > PARETO.left && b.x + w < PARETO.width && free(b));
    if (box) taken.push(box);
    p.place = box;
  }
}

function drawPareto(canvas, stem) {
  const of = dataset(canvas);
  const cost = canvas.closest(".by-stem").querySelector("select.cost").value;
  const column = DATA.costs.find((one) => one.name === cost);
  const points = costPoints(of, stem, cost);
  if (points.length < 2) return canvas.replaceChildren(element("p", { class: "note" }, "Fewer than two separators have both this score and this cost."));
  const across = costScale(points.map((p) => p.cost));
  const up = axisOf(points.map((p) => p.score), { width: PARETO.height, left: 0, right: 0 }, 0.06);
  for (const p of points) {
    Object.assign(p, { x: across.x(p.cost), y: PARETO.top + PARETO.height - up.x(p.score), label: cut(rowLabel(p.row), 24), front: isOnFront(p, points) });
  }
  points.sort((a, b) => b.front - a.front || a.cost - b.cost);
  placeLabels(points);
  const title = `${metricUnit()} of ${stemLabel(stem)} and ${column.label}`;
  const best = points.filter((p) => p.front).map((p) => `${rowLabel(p.row)}: ${decimals(p.score)} at ${costText(p.cost, column)}`);
  const picture = chart(PARETO.width, PARETO.top + PARETO.height + PARETO.bottom, title, `Best trade-offs: ${best.join("; ")}.`);
  const axisX = { ...across, text: (tick) => costText(across.log ? across.tickValue(tick) : tick, column), at: across.log ? (t) => across.x(10 ** t) : across.x };
  picture.append(costAxes(axisX, up, column), front(points), ...points.map(costPoint(column)));
  const note = `Best trade-offs (no ranked separator is both better and cheaper): ${best.join("; ")}.`;
  canvas.replaceChildren(picture, element("p", { class: "note" }, note));
}

function costAxes(across, up, column) {
  const group = drawing("g");
  const bottom = PARETO.top + PARETO.height;
  const right = PARETO.width - PARETO.right;
  for (const tick of across.ticks) {
    const x = across.at(tick);
    group.append(drawing("line", { class: "grid", x1: x, x2: x, y1: PARETO.top, y2: bottom }));
    group.append(drawing("text", { class: "tick", x, y: bottom + 16, "text-anchor": "middle" }, across.text(tick)));
  }
  for (const tick of up.ticks) {
    const y = bottom - up.x(tick);
    group.append(drawing("line", { class: "grid", x1: PARETO.left, x2: right, y1: y, y2: y }));
    group.append(drawing("text", { class: "tick", x: PARETO.left - 8, y: y + 4, "text-anchor": "end" }, short(tick)));
  }
  const middle = (PARETO.left + right) / 2;
  const scaled = across.log ? ", logarithmic" : "";
  group.append(drawing("text", { class: "axis", x: middle, y: bottom + 36, "text-anchor": "middle" }, `${column.label}: ${column.definition || column.unit}${scaled}; lower is better`));
  const y = PARETO.top + PARETO.height / 2;
  group.append(drawing("text", { class: "axis", transform: `translate(14 ${y}) rotate(-90)`, "text-anchor": "middle" }, metricUnit()));
  return group;
}

function front(points) {
  const steps = points.filter((p) => p.front).sort((a, b) => a.x - b.x);
  const path = steps.map((p, i) => (i ? `H${p.x.toFixed(1)}V${p.y.toFixed(1)}` : `M${p.x.toFixed(1)} ${p.y.toFixed(1)}`));
  return drawing("path", { class: "front", d: path.join("") });
}

const costPoint = (column) => (p) => {
  const group = drawing("g", { class: `cost-point role-${p.row.role}${p.front ? " on-front" : ""}` });
  const about = `${rowLabel(p.row)}: ${decimals(p.score)} at ${costText(p.cost, column)}`;
  group.append(drawing("circle", { cx: p.x, cy: p.y, r: p.front ? 5.5 : 4.5 }, drawing("title", {}, about)));
  if (p.place) group.append(drawing("text", { class: "name", x: p.place.x, y: p.place.y + 11 }, p.label));
  return group;
};
