// Leaderboards: cells under the metric and statistic shown, ranks, sorting; the cards on top.

function fillCell(td, cell) {
  const best = Boolean(cell) && cell[rankIndex()] === 1;
  const leaked = Boolean(cell) && cell[LEAKED] === 1;
  td.className = [best ? "best" : "", leaked ? "leaked" : ""].filter(Boolean).join(" ");
  if (!cell || !cell[N]) return td.replaceChildren("–");
  const parts = [element("b", {}, decibels(decode(cell[statIndex()])))];
  if (best) parts.push(element("span", { class: "hidden" }, " best"));
  if (leaked) {
    const title = "includes tracks seen in training; not ranked";
    parts.push(element("abbr", { class: "mark", title }, "leaked"));
  }
  const [low, high, spread] = [Q1, Q3, SD].map((i) => decibels(decode(cell[i])));
  const range = state.stat === "mean" ? `± ${spread}` : `[${low}, ${high}]`;
  parts.push(element("small", {}, `${range} · n ${cell[N]}`));
  td.replaceChildren(...parts);
}

function fillBoard(table) {
  const of = dataset(table);
  for (const tr of all("tr[data-row]", table)) {
    for (const td of all("td[data-stem]", tr)) {
      fillCell(td, summary(of, td.dataset.stem).cells[tr.dataset.row]);
    }
    const place = summary(of, table.dataset.by).cells[tr.dataset.row]?.[rankIndex()];
    tr.querySelector(".place").textContent = place ?? "";
  }
  for (const stem of level(table).stems) {
    const head = all("thead th", table).find((th) => th.dataset.key === stem);
    const n = summary(of, stem).n.mixture;
    const text = n === undefined ? "" : `n = ${n} of ${of.tracks.track.length}`;
    head.querySelector(".n").textContent = text;
  }
}

// What a row is sorted by in one column.
function boardKey(table, key, tr) {
  const row = dataset(table).rows[tr.dataset.row];
  if (key === "name") return row.separator;
  if (level(table).stems.includes(key)) {
    return decode(summary(dataset(table), key).cells[tr.dataset.row]?.[statIndex()]);
  }
  return row.costs[key] ?? null;
}

// Sort within each group, so that ranked separators and the others never mix.
function sortBoard(table, key, direction) {
  for (const body of table.tBodies) {
    const rows = all("tr[data-row]", body).map((tr) => [boardKey(table, key, tr), tr]);
    rows.sort((a, b) => compare(a[0], b[0], direction) || a[1].dataset.row - b[1].dataset.row);
    body.append(...rows.map(([, tr]) => tr));
  }
}

function clickBoard(table, key) {
  const isStem = level(table).stems.includes(key);
  const highFirst = isStem && METRICS.get(state.metric).higher;
  const direction = markSorted(table, key, highFirst ? "descending" : "ascending");
  if (isStem) table.dataset.by = key;
  fillBoard(table);
  sortBoard(table, key, direction);
}

// After a switch: best first again in the column that ranks.
function resetBoard(table) {
  all("thead th[aria-sort]", table).forEach((th) => th.removeAttribute("aria-sort"));
  clickBoard(table, table.dataset.by);
}

// Which tracks no column holds and why, stems with equal reasons together.
function fillLeftOut(note) {
  const of = dataset(note);
  const stems = new Map();
  for (const stem of level(note).stems) {
    for (const [input, why] of Object.entries(summary(of, stem).why)) {
      const { fed } = of.rows.find((row) => row.input === input);
      const where = fed ? `${stemLabel(stem)} (${fed})` : stemLabel(stem);
      stems.set(why, [...(stems.get(why) ?? []), where]);
    }
  }
  const parts = [...stems].map(([why, where]) => `${where.join(", ")} ${why}`);
  note.textContent = parts.length ? `Left out: ${parts.join("; ")}.` : "";
}

function fillCard(item) {
  const of = dataset(item);
  const cells = Object.entries(summary(of, item.dataset.stem).cells);
  const winners = cells.filter(([, cell]) => cell[rankIndex()] === 1);
  const names = winners.map(([row]) => rowLabel(of.rows[row]));
  item.querySelector(".winner").textContent = names.join(", ") || "–";
  const unit = METRICS.get(state.metric).unit;
  const score = winners.length ? decibels(decode(winners[0][1][statIndex()])) : "";
  item.querySelector(".score").textContent = score && `${score} ${unit}`.trim();
}

function setUpBoards() {
  for (const table of all("table.board")) {
    for (const th of all("thead th[data-key]", table)) {
      th.querySelector("button").addEventListener("click", () => clickBoard(table, th.dataset.key));
    }
  }
}

function drawBoards() {
  all("table.board").forEach(resetBoard);
  all(".left-out").forEach(fillLeftOut);
  all(".glance li").forEach(fillCard);
}
