// Switches, theme, printing, and the first drawing.

function draw() {
  if (!state.metric) return;
  const metric = METRICS.get(state.metric);
  const unit = metric.unit ? ` in ${metric.unit}` : "";
  document.getElementById("definition").replaceChildren(element("b", {}, metric.label), `${unit}: ${metric.definition}`);
  drawBoards();
  all("figure.strips").forEach(drawStrips);
  all(".pick select").forEach(drawByStem);
}

function setTheme(theme) {
  document.documentElement.dataset.theme = theme;
  document.getElementById("theme").setAttribute("aria-pressed", String(theme === "dark"));
}

function remembered() {
  try {
    return localStorage.getItem("theme");
  } catch {
    return null; // storage may be switched off; the system's theme then holds
  }
}

function setUpTheme() {
  const system = matchMedia("(prefers-color-scheme: dark)");
  const chosen = remembered();
  setTheme(chosen === "dark" || chosen === "light" ? chosen : system.matches ? "dark" : "light");
  document.getElementById("theme").addEventListener("click", () => {
    const theme = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
    setTheme(theme);
    try {
      localStorage.setItem("theme", theme);
    } catch {
      return; // nothing to remember it with
    }
  });
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

addEventListener("beforeprint", () => all("details").forEach((node) => (node.open = true)));
setUpTheme();
setUpBoards();
setUpSwitches();
reveal();
draw();
