// Leaderboards: cells under the metric and statistic shown, ranks, sorting; the cards on top.

const deviation = (sd) => (sd === null ? "" : `SD ${decibels(decode(sd))}`);

// What stands below a score: how sure it is, or how much tracks differ.
function rangeText(cell, n) {
  const few = cell[N] === n ? "" : `n ${cell[N]}`;
  const [low, high, q1, q3] = [...ends(cell), ...[Q1, Q3].map((i) => decode(cell[i]))].map(decibels);
  const sure = state.spread === "interval" && !Number.isNaN(ends(cell)[0]);
  const spread = state.stat === "mean" ? deviation(cell[SD]) : `quartiles ${q1}, ${q3}`;
  return [sure ? `${low} to ${high}` : spread, few].filter(Boolean).join(" · ");
}

function fillCell(td, cell, n, first) {
  const best = Boolean(cell) && cell[rankIndex()] === 1;
  const leaked = Boolean(cell) && cell[LEAKED] === 1;
  const near = !best && together(cell, first);
  td.className = [best ? "best" : "", near ? "near" : "", leaked ? "leaked" : ""].filter(Boolean).join(" ");
  const why = cell?.[WHY] ? [element("small", { class: "why" }, cell[WHY])] : [];
  if (!cell || !cell[N]) return td.replaceChildren("–", ...why);
  const parts = [element("b", {}, decibels(decode(cell[statIndex()])))];
  if (best) parts.push(element("span", { class: "hidden" }, " best"));
  if (cell[GROUP]) {
    const title = "separators that share a letter cannot be told apart";
    parts.push(element("abbr", { class: "letters", title }, cell[GROUP]));
  }
  if (leaked) {
    const title = "includes tracks seen in training; not ranked";
    parts.push(element("abbr", { class: "mark", title }, "leaked"));
  }
  parts.push(element("small", {}, rangeText(cell, n)));
  if (cell[LIMITED]) {
    const title = "scores beyond ±30 dB count as ±30 dB in means, intervals and ranks";
    parts.push(element("small", { class: "limited", title }, `${cell[LIMITED]} limited to ±30 dB`));
  }
  td.replaceChildren(...parts, ...why);
}

// The rank, or the ranks that the tracks do not rule out.
function placeText(cell) {
  const rank = cell?.[rankIndex()];
  if (!rank) return "";
  const [low, high] = [cell[RANK_LOW], cell[RANK_HIGH]];
  return state.stat === "mean" && low && low < high ? `${low}–${high}` : String(rank);
}

// The best of a stem among those with the same input as a row.
function bestCell(of, stem, row) {
  const { cells } = summary(of, stem);
  const { input } = of.rows[row];
  const found = Object.entries(cells).find(([i, cell]) => cell[rankIndex()] === 1 && of.rows[i].input === input);
  return found?.[1];
}

function fillBoard(table) {
  const of = dataset(table);
  for (const tr of all("tr[data-row]", table)) {
    for (const td of all("td[data-stem]", tr)) {
      const { cells, n } = summary(of, td.dataset.stem);
      fillCell(td, cells[tr.dataset.row], n.mixture, bestCell(of, td.dataset.stem, tr.dataset.row));
    }
    const cell = summary(of, table.dataset.by).cells[tr.dataset.row];
    tr.querySelector(".place").textContent = placeText(cell);
    tr.hidden = !isShown(of.rows[tr.dataset.row]);
  }
  for (const stem of level(table).stems) {
    const head = all("thead th", table).find((th) => th.dataset.key === stem);
    const { n, artists } = summary(of, stem);
    const known = n.mixture !== undefined;
    head.querySelector(".n").textContent = known ? `n = ${n.mixture} of ${of.tracks.track.length}` : "";
    head.querySelector(".artists").textContent = known ? count(artists.mixture, "artist") : "";
  }
}

// What a row is sorted by in one column.
function boardKey(table, key, tr) {
  const row = dataset(table).rows[tr.dataset.row];
  if (key === "name") return row.separator;
  if (level(table).stems.includes(key)) {
    return decode(summary(dataset(table), key).cells[tr.dataset.row]?.[statIndex()]);
  }
  return (key === "weights" ? row.weights : row.costs[key]) ?? null;
}

// Sort within each group; in the column of a stem, those without a rank come after the others.
function sortBoard(table, key, direction) {
  const { cells } = summary(dataset(table), key);
  for (const body of table.tBodies) {
    const rows = all("tr[data-row]", body).map((tr) => {
      const value = boardKey(table, key, tr);
      return { value, gone: Number.isNaN(value), unranked: !cells[tr.dataset.row]?.[rankIndex()], tr };
    });
    rows.sort((a, b) => a.gone - b.gone || a.unranked - b.unranked || compare(a.value, b.value, direction) || a.tr.dataset.row - b.tr.dataset.row);
    body.append(...rows.map(({ tr }) => tr));
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
  const { cells, artists } = summary(of, item.dataset.stem);
  const winners = Object.entries(cells).filter(([, cell]) => cell[rankIndex()] === 1);
  const names = winners.map(([row]) => rowLabel(of.rows[row]));
  item.querySelector(".winner").textContent = names.join(", ") || "–";
  const unit = METRICS.get(state.metric).unit;
  const score = winners.length ? decibels(decode(winners[0][1][statIndex()])) : "";
  item.querySelector(".score").textContent = score && `${score} ${unit}`.trim();
  const rivals = winners.length
    ? Object.entries(cells).filter(([row, cell]) => !cell[LEAKED] && cell[rankIndex()] > 1 && together(cell, winners[0][1]) && of.rows[row].input === of.rows[winners[0][0]].input)
    : [];
  const sure = rivals.length ? `not told apart from ${rivals.map(([row]) => of.rows[row].separator).join(", ")}` : "ahead of all others";
  const few = (artists.mixture ?? 0) < FEWEST;
  item.querySelector(".sure").textContent = winners.length ? (few ? "too few artists to tell" : sure) : "";
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
