// Parts shared by all charts that scripts draw.

const cut = (text, most) => (text.length > most ? `${text.slice(0, most - 1)}…` : text);

// Round numbers between two ends, about five.
function ticksBetween(low, high) {
  const rough = (high - low) / 5;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= rough * (1 - 1e-9));
  const ticks = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high; i++) ticks.push(i * step);
  return ticks;
}

function chart(width, height, title, description) {
  const id = `chart-${chart.count++}`;
  const about = { class: "chart", viewBox: `0 0 ${width} ${height}`, role: "img", "aria-labelledby": `${id} ${id}-more` };
  const head = [drawing("title", { id }, title), drawing("desc", { id: `${id}-more` }, description)];
  return drawing("svg", about, ...head);
}
chart.count = 0;

// A linear scale over the values, with round ticks.
function axisOf(values, { width, left, right }, extra = 0.04) {
  let [low, high] = [Math.min(...values), Math.max(...values)];
  const pad = Math.max((high - low) * extra, high === low ? 0.5 : 0);
  [low, high] = [low < 0 || extra ? low - pad : low, high + (high - low) * 0.04 + pad];
  const x = (v) => left + ((v - low) / (high - low)) * (width - left - right);
  return { low, high, x, ticks: ticksBetween(low, high) };
}

// A horizontal axis below a chart, with its grid.
function axis(scale, height, label, { width, left, right }) {
  const group = drawing("g");
  for (const tick of scale.ticks) {
    const x = scale.x(tick);
    const line = { class: tick === 0 ? "grid zero" : "grid", x1: x, x2: x, y1: 0, y2: height };
    group.append(drawing("line", line));
    group.append(drawing("text", { class: "tick", x, y: height + 14, "text-anchor": "middle" }, short(tick)));
  }
  const x = (left + width - right) / 2;
  group.append(drawing("text", { class: "axis", x, y: height + 29, "text-anchor": "middle" }, label));
  return group;
}
