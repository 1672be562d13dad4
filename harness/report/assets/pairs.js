// Pairwise differences to one separator, with intervals: chart and table.

const PAIRS = { width: 720, left: 210, right: 20, row: 26, top: 8, bottom: 38 };

// All differences of other rows to one row: {row: {value, low, high, p, apart}}.
function differences(of, stem, row) {
  const found = {};
  for (const [rows, values] of Object.values(summary(of, stem).pairs)) {
    const mine = rows.indexOf(row);
    if (mine < 0) continue;
    let at = 0;
    for (let i = 0; i < rows.length; i++) {
      for (let j = i + 1; j < rows.length; j++, at++) {
        if (i !== mine && j !== mine) continue;
        const [value, low, high] = values[at].slice(0, 3).map(trackValue);
        const about = { p: decode(values[at][3]) / 1e4, apart: values[at][4] === 1 };
        const turned = i === mine; // a pair is first minus second
        found[rows[turned ? j : i]] = turned
          ? { ...about, value: -value, low: -high, high: -low }
          : { ...about, value, low, high };
      }
    }
  }
  return found;
}

function differenceText({ low, high }) {
  return Number.isNaN(low) ? "–" : `${signed(low)} to ${signed(high)}`;
}

function pText(p) {
  return Number.isNaN(p) ? "–" : p < 0.001 ? "< 0.001" : p.toFixed(3);
}

// Offer the ranked rows of a stem; keep the choice if it is among them, otherwise take the best.
function fillRivals(select, of, stem) {
  const { cells, pairs } = summary(of, stem);
  const rows = Object.values(pairs).flatMap(([members]) => members);
  rows.sort((a, b) => cells[a].rank - cells[b].rank);
  const before = select.value;
  select.replaceChildren(...rows.map((i) => element("option", { value: i }, rowLabel(of.rows[i]))));
  if (before && rows.includes(Number(before))) select.value = before;
  return rows.length ? Number(select.value) : null;
}

function pairLine(of, row, found, y, scale) {
  const { value, low, high, apart } = found;
  const group = drawing("g", { class: apart ? "pair apart" : "pair" });
  const name = rowLabel(of.rows[row]);
  const place = { class: "name", x: PAIRS.left - 10, y, "text-anchor": "end", "dominant-baseline": "middle" };
  group.append(drawing("text", place, cut(name, 28), drawing("title", {}, name)));
  if (!Number.isNaN(low)) {
    group.append(drawing("line", { class: "span", x1: scale.x(low), x2: scale.x(high), y1: y, y2: y }));
  }
  group.append(drawing("circle", { cx: scale.x(value), cy: y, r: 4.5 }));
  return group;
}

function drawPairs(canvas, stem) {
  const part = canvas.closest(".by-stem");
  const of = dataset(canvas);
  const rival = fillRivals(part.querySelector("select.rival"), of, stem);
  const found = rival === null ? {} : differences(of, stem, rival);
  const rows = Object.keys(found).map(Number).filter((i) => isShown(of.rows[i]));
  rows.sort((a, b) => compare(found[a].value, found[b].value, -1));
  if (!rows.length) return canvas.replaceChildren(element("p", { class: "note" }, "There are not two ranked separators to compare."));
  const ends = rows.flatMap((i) => [found[i].value, found[i].low, found[i].high]);
  const scale = axisOf([0, ...ends.filter(Number.isFinite)], PAIRS);
  const height = PAIRS.top + PAIRS.row * rows.length;
  const name = rowLabel(of.rows[rival]);
  const title = `Differences from ${name} for ${stemLabel(stem)}, ${metricUnit()}`;
  const picture = chart(PAIRS.width, height + PAIRS.bottom, title, "The numbers are in the table below.");
  picture.append(axis(scale, height, `difference from ${cut(name, 40)}: ${metricUnit()}`, PAIRS));
  rows.forEach((i, k) => picture.append(pairLine(of, i, found[i], PAIRS.top + PAIRS.row * (k + 0.5), scale)));
  const numbers = element("details", {}, element("summary", {}, "Numbers"), pairTable(of, rows, found, title));
  numbers.open = canvas.querySelector("details")?.open ?? false; // as it was
  canvas.replaceChildren(picture, numbers);
}

function pairTable(of, rows, found, title) {
  const heads = ["Separator", "Difference", "95 % interval", "p (Holm)", "Significant"];
  const head = element("tr", {}, ...heads.map((text) => element("th", { scope: "col" }, text)));
  const body = element("tbody");
  for (const i of rows) {
    const { value, p, apart } = found[i];
    const texts = [signed(value), differenceText(found[i]), pText(p), apart ? "yes" : Number.isNaN(p) ? "too few artists" : "no"];
    const tr = element("tr", {}, element("th", { scope: "row", class: "name" }, rowLabel(of.rows[i])));
    tr.append(...texts.map((text) => element("td", {}, text)));
    body.append(tr);
  }
  const table = element("table", { class: "plain" }, element("caption", {}, title), element("thead", {}, head), body);
  return element("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": title }, table);
}
