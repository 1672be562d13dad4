// Switches and the first drawing.

function draw() {
  if (!state.metric) return;
  const metric = METRICS.get(state.metric);
  const unit = metric.unit && `${isRange(metric.unit) ? "," : " in"} ${metric.unit}`;
  document.getElementById("definition").replaceChildren(element("b", {}, metric.label), `${unit}: ${metric.definition}`, isPlacing() ? "" : ". No separator has a place by this metric alone");
  drawBoards();
  all("figure.strips").forEach(drawStrips);
  all(".by-stem").forEach(drawByStem);
}

// Draw the chart or table next to a choice of stem.
const BY_STEM = { genres: drawGenres, heat: drawHeat, pairs: drawPairs, pareto: drawPareto };
function drawByStem(part) {
  const select = part.querySelector("select.stem");
  if (state.stem && dataset(select).stems.includes(state.stem)) select.value = state.stem;
  BY_STEM[part.dataset.draw](part.querySelector(".canvas"), select.value);
}

function show(change) {
  Object.assign(state, change);
  writeAddress();
  draw();
}

function setUpSwitches() {
  all(".switch input").forEach((input) =>
    input.addEventListener("change", () => show({ [input.name]: input.value })),
  );
  document.getElementById("filter")?.addEventListener("input", (event) => show({ filter: event.target.value }));
  all("select.stem").forEach((select) => select.addEventListener("change", () => show({ stem: select.value })));
  all("select.rival, select.cost").forEach((select) =>
    select.addEventListener("change", () => drawByStem(select.closest(".by-stem"))),
  );
  all(".by-stem .filter").forEach((input) =>
    input.addEventListener("input", () => filterHeat(input.closest(".by-stem").querySelector("table"))),
  );
}

function reveal() {
  all(".controls, .by-stem").forEach((node) => {
    node.hidden = false;
  });
}

setUpBoards();
setUpSwitches();
setUpLinks();
reveal();
const asked = readAddress();
draw();
const aim = asked ?? location.hash.slice(1);
if (aim) goTo(document.getElementById(aim), { behavior: "instant" });
