// Two tables of one stem: means by genre, and the heat map of tracks × separators.

const headButton = (text) => element("button", { type: "button", class: "name" }, text);

// Rows with a value for the stem, in the initial order of its leaderboard.
function rowsOf(of, stem) {
  const values = of.values[state.metric]?.[stem] ?? {};
  const home = of.levels.find((one) => one.stems.includes(stem));
  return home.groups.flatMap((group) => group.rows).filter((i) => values[i] && isShown(of.rows[i]));
}

function genreCell(td, cell) {
  if (!cell) return td.append("–");
  const { mean, sd, low, high, limited } = cell;
  const hasInterval = state.spread === "interval" && !Number.isNaN(low);
  const range = hasInterval ? `${decimals(low)} to ${decimals(high)}` : deviation(sd);
  td.append(element("b", {}, decimals(mean)), element("small", {}, range));
  if (limited) td.append(element("small", { class: "limited" }, `${limited} limited to ±30 dB`));
}

function drawGenres(table, stem) {
  const of = dataset(table);
  const genres = of.genres[state.metric]?.[stem] ?? {};
  const names = Object.keys(genres);
  const head = element("tr", {}, element("th", { scope: "col", class: "first" }, "Separator"));
  for (const name of names) {
    const largest = (count) => Math.max(...Object.values(genres[name]).map((cell) => cell[count]));
    const n = largest("n");
    const th = element("th", { scope: "col" }, element("span", { class: "name" }, name));
    th.append(element("small", { class: "n" }, `n = ${n}, ${count(largest("artists"), "artist")}`));
    if (n < DATA.few) th.append(element("span", { class: "few", title: `fewer than ${DATA.few} tracks` }, "few"));
    head.append(th);
  }
  const body = element("tbody");
  const ranked = (i) => isRanked(of, stem, i);
  for (const i of rowsOf(of, stem)) {
    const tr = element("tr", { class: `role-${of.rows[i].role}` });
    tr.append(element("th", { scope: "row", class: "first name" }, rowLabel(of.rows[i])));
    for (const name of names) {
      const cells = genres[name];
      const best = bestOf(Object.entries(cells).filter(([j]) => ranked(j)).map(([, cell]) => cell.mean));
      const td = element("td", { class: ranked(i) && cells[i]?.mean === best ? "best" : "" });
      if (cells[i]?.n < DATA.few) td.classList.add("thin");
      genreCell(td, cells[i]);
      tr.append(td);
    }
    body.append(tr);
  }
  const caption = element("caption", {}, `${METRICS.get(state.metric).label}, ${stemLabel(stem)}, by genre`);
  table.replaceChildren(caption, element("thead", {}, head), body);
}

// Ends of the color scale: the middle nine tenths of the finite values.
function colorRange(values) {
  const finite = values.map(trackValue).filter(Number.isFinite).sort((a, b) => a - b);
  const at = (q) => finite[Math.round(q * (finite.length - 1))] ?? 0;
  return [at(0.05), at(0.95)];
}

function heatCell(of, stem, row, track, look) {
  const raw = of.values[state.metric][stem][row][track];
  const failed = of.failed[row]?.[track];
  const td = element("td");
  const value = trackValue(raw);
  if (failed !== undefined) {
    td.className = "failed";
    td.title = failed;
    td.append("✕");
  } else if (raw === "u") {
    td.className = "silent";
    td.append("silent");
  } else if (Number.isNaN(value)) {
    td.append("–");
  } else {
    const ranks = of.rows[row].role === "separator" && !look.leaked[row]?.has(track);
    const t = (value - look.low) / (look.high - look.low || 1);
    td.style.setProperty("--t", `${Math.round(Math.min(Math.max(t, 0), 1) * 100)}%`);
    td.className = `value${t > 0.7 ? " strong" : ""}${ranks && value === look.best ? " top" : ""}`;
    td.append(decimals(value));
  }
  if (look.leaked[row]?.has(track)) {
    td.classList.add("seen");
    td.title = "in the training data of the separator";
  }
  return td;
}

function heatRow(of, stem, rows, track, look) {
  const { artist, genre } = of.tracks;
  const who = [artist[track], genre[track]].filter(Boolean).join(" · ");
  const th = element("th", { scope: "row", class: "first" });
  th.append(element("span", { class: "name" }, of.tracks.track[track]), element("small", { class: "name" }, who));
  if (of.tracks.notes[track]) th.append(element("small", { class: "name noted" }, of.tracks.notes[track]));
  const values = rows
    .filter((i) => of.rows[i].role === "separator" && !look.leaked[i]?.has(track))
    .map((i) => trackValue(of.values[state.metric][stem][i][track]))
    .filter((v) => !Number.isNaN(v));
  const mark = { ...look, best: values.length ? bestOf(values) : null };
  const tr = element("tr", { "data-track": track }, th);
  tr.append(...rows.map((i) => heatCell(of, stem, i, track, mark)));
  return tr;
}

function drawHeat(table, stem) {
  const of = dataset(table);
  const rows = rowsOf(of, stem);
  const values = of.values[state.metric]?.[stem] ?? {};
  const [low, high] = colorRange(rows.flatMap((i) => values[i]));
  const leaked = Object.fromEntries(Object.entries(of.leaked).map(([i, t]) => [i, new Set(t)]));
  const head = element("tr", {}, element("th", { scope: "col", class: "first", "data-key": "name" }, headButton("Track")));
  for (const i of rows) {
    head.append(element("th", { scope: "col", "data-key": String(i), class: `role-${of.rows[i].role}` }, headButton(rowLabel(of.rows[i]))));
  }
  const body = element("tbody");
  body.append(...of.tracks.track.map((_, t) => heatRow(of, stem, rows, t, { low, high, leaked })));
  const caption = element("caption", {}, `${METRICS.get(state.metric).label}, ${stemLabel(stem)}, track by track`);
  table.replaceChildren(caption, element("thead", {}, head), body);
  for (const th of all("thead th", table)) {
    th.firstChild.addEventListener("click", () => clickHeat(table, stem, th.dataset.key));
  }
  filterHeat(table);
}

function clickHeat(table, stem, key) {
  const of = dataset(table);
  const highFirst = key !== "name" && METRICS.get(state.metric).higher;
  const direction = markSorted(table, key, highFirst ? "descending" : "ascending");
  const value = (tr) =>
    key === "name"
      ? of.tracks.track[tr.dataset.track]
      : trackValue(of.values[state.metric][stem][key][tr.dataset.track]);
  const rows = all("tbody tr", table).map((tr) => [value(tr), tr]);
  rows.sort((a, b) => compare(a[0], b[0], direction) || a[1].dataset.track - b[1].dataset.track);
  table.tBodies[0].append(...rows.map(([, tr]) => tr));
}

function filterHeat(table) {
  const { track, artist, genre } = dataset(table).tracks;
  const words = table.closest(".by-stem").querySelector(".filter").value.toLowerCase().trim();
  for (const tr of all("tbody tr", table)) {
    const i = tr.dataset.track;
    tr.hidden = !`${track[i]} ${artist[i]} ${genre[i]}`.toLowerCase().includes(words);
  }
}
