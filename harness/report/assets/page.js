// Switches and the first drawing.

function draw() {
  if (!state.metric) return;
  const metric = METRICS.get(state.metric);
  const unit = metric.unit ? ` in ${metric.unit}` : "";
  document.getElementById("definition").replaceChildren(element("b", {}, metric.label), `${unit}: ${metric.definition}`);
  drawBoards();
  all("figure.strips").forEach(drawStrips);
  all(".pick select").forEach(drawByStem);
}

function setUpSwitches() {
  for (const input of all(".switch input")) {
    input.addEventListener("change", () => {
      state[input.name] = input.value;
      draw();
    });
  }
  all(".pick select").forEach((select) => select.addEventListener("change", () => drawByStem(select)));
  all(".filter").forEach((input) =>
    input.addEventListener("input", () => filterHeat(input.closest(".by-stem").querySelector("table"))),
  );
}

function reveal() {
  all(".controls, .by-stem, .glance").forEach((node) => {
    node.hidden = false;
  });
}

setUpBoards();
setUpSwitches();
reveal();
draw();
