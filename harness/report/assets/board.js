// Leaderboards: cells of the metric and statistic shown, ranks, sorting; the cards at the top.

const deviation = (sd) => (Number.isNaN(sd) ? "" : `SD ${decimals(sd)}`);

// How much better a cell is than the unprocessed input on the same tracks; NaN if that is unknown.
function gainOf(cell, n, anchor) {
  const floor = decode(anchor?.[state.stat === "mean" ? 0 : 1]);
  return cell.n === n ? (METRICS.get(state.metric).higher ? 1 : -1) * (cell[state.stat] - floor) : NaN;
}

// The text below a score: its interval, the variation between tracks, or the gain.
function rangeText(cell, n, anchor) {
  const few = cell.n === n ? "" : `n ${cell.n}`;
  if (state.spread === "gain") {
    const gain = gainOf(cell, n, anchor);
    return [Number.isNaN(gain) ? "" : `${signed(gain)} gain`, few].filter(Boolean).join(" · ");
  }
  const [low, high] = endsOf(cell);
  const hasInterval = state.spread === "interval" && !Number.isNaN(low);
  const spread = state.stat === "mean" ? deviation(cell.sd) : `quartiles ${decimals(cell.q1)}, ${decimals(cell.q3)}`;
  return [hasInterval ? `${decimals(low)} to ${decimals(high)}` : spread, few].filter(Boolean).join(" · ");
}

function fillCell(td, cell, n, first, anchor) {
  const best = rankOf(cell) === 1;
  const leaked = Boolean(cell?.leaked);
  const near = !best && together(cell, first);
  td.className = [best ? "best" : "", near ? "near" : "", leaked ? "leaked" : ""].filter(Boolean).join(" ");
  const why = cell?.why ? [element("small", { class: "why" }, cell.why)] : [];
  if (!cell?.n) return td.replaceChildren("–", ...why);
  const parts = [element("b", {}, decimals(cell[state.stat]))];
  if (best) parts.push(element("span", { class: "hidden" }, " best"));
  if (cell.group) {
    const title = "separators that share a letter do not differ significantly";
    parts.push(element("abbr", { class: "letters", title }, cell.group));
  }
  if (leaked) {
    const title = "includes tracks in its training data; not ranked";
    parts.push(element("abbr", { class: "mark", title }, "leaked"));
  }
  parts.push(element("small", {}, rangeText(cell, n, anchor)));
  if (best && gainOf(cell, n, anchor) <= 0) parts.push(element("small", { class: "limited" }, "not above the mixture"));
  if (cell.limited) {
    const title = "scores beyond ±30 dB count as ±30 dB in means, intervals and ranks";
    parts.push(element("small", { class: "limited", title }, `${cell.limited} limited to ±30 dB`));
  }
  td.replaceChildren(...parts, ...why);
}

// The rank, or the range of ranks that the tracks leave open.
function placeText(cell) {
  const rank = rankOf(cell);
  if (!rank) return "";
  const { rank_low: low, rank_high: high } = cell;
  return state.stat === "mean" && low && low < high ? `${low}–${high}` : String(rank);
}

// The best cell of a stem among the rows with the same input.
function bestCell(of, stem, row) {
  const { cells } = summary(of, stem);
  const { input } = of.rows[row];
  const found = Object.entries(cells).find(([i, cell]) => rankOf(cell) === 1 && of.rows[i].input === input);
  return found?.[1];
}

function fillBoard(table) {
  const of = dataset(table);
  for (const tr of all("tr[data-row]", table)) {
    for (const td of all("td[data-stem]", tr)) {
      const { cells, n, anchor } = summary(of, td.dataset.stem);
      const { input } = of.rows[tr.dataset.row];
      fillCell(td, cells[tr.dataset.row], n.mixture, bestCell(of, td.dataset.stem, tr.dataset.row), anchor[input]);
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

// The sort key of a row in one column.
function boardKey(table, key, tr) {
  const row = dataset(table).rows[tr.dataset.row];
  if (key === "name") return row.separator;
  if (level(table).stems.includes(key)) {
    return summary(dataset(table), key).cells[tr.dataset.row]?.[state.stat] ?? NaN;
  }
  if (key === "clean") return -(row.seen.leaked ?? 0) - (row.seen.unknown ?? 0);
  return (key === "weights" ? row.weights : row.costs[key]) ?? null;
}

// Sort within each group; in the column of a stem, rows with too few tracks come after the others.
function sortBoard(table, key, direction) {
  const { cells } = summary(dataset(table), key);
  for (const body of table.tBodies) {
    const rows = all("tr[data-row]", body).map((tr) => {
      const value = boardKey(table, key, tr);
      return { value, gone: Number.isNaN(value), few: Boolean(cells[tr.dataset.row]?.why), tr };
    });
    rows.sort((a, b) => a.gone - b.gone || a.few - b.few || compare(a.value, b.value, direction) || a.tr.dataset.row - b.tr.dataset.row);
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

// After a switch: best first again in the column that the table is ranked by.
function resetBoard(table) {
  all("thead th[aria-sort]", table).forEach((th) => th.removeAttribute("aria-sort"));
  clickBoard(table, table.dataset.by);
}

// The excluded tracks and why; stems with the same reasons are listed together.
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
  const parts = [...stems].map(([why, where]) => `Excluded for ${where.join(", ")}: ${why}.`);
  note.textContent = parts.join(" ");
}

// The texts are those of harness/report/page/story.py.
function fillCard(item) {
  const of = dataset(item);
  const values = of.cards[state.metric]?.[state.stat === "mean" ? 0 : 1][item.dataset.stem] ?? [];
  const card = Object.fromEntries(DATA.places.card.map((name, i) => [name, values[i] ?? ""]));
  const { price, license } = of.rows[card.row] ?? {};
  item.classList.toggle("below", Boolean(card.below));
  for (const part of all("span:not(.stem)", item)) part.textContent = { ...card, price, license }[part.classList[0]] ?? "";
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
