// The address holds the state of the page: #metric=sdr&stat=median&stem=bass&at=dataset-0.

const LINKED = ["metric", "stat", "spread", "filter", "stem"];

function readAddress() {
  const asked = new URLSearchParams(location.hash.slice(1));
  for (const name of LINKED) {
    const value = asked.get(name);
    if (value === null || (name === "metric" && !METRICS.has(value))) continue;
    const input = document.querySelector(`.switch input[name="${name}"][value="${CSS.escape(value)}"]`);
    if (input) input.checked = true;
    if (input || name === "filter" || name === "stem") state[name] = value;
  }
  const filter = document.getElementById("filter");
  if (filter) filter.value = state.filter;
  return asked.get("at");
}

function writeAddress() {
  const shown = new URLSearchParams();
  const usual = { metric: DATA.metric, stat: "mean", spread: "interval", filter: "", stem: "" };
  for (const name of LINKED) {
    if (state[name] !== usual[name]) shown.set(name, state[name]);
  }
  const plain = location.hash.slice(1);
  const at = plain.includes("=") ? new URLSearchParams(plain).get("at") : plain;
  if (at) shown.set("at", at);
  history.replaceState(null, "", [...shown].length ? `#${shown}` : location.pathname + location.search);
}

// Show a part of the page, also one in a fold.
function goTo(target, how) {
  for (let fold = target?.closest("details"); fold; fold = fold.parentElement.closest("details")) fold.open = true;
  target?.scrollIntoView(how);
}

// A click on a link within the page keeps the state.
function keepState(event) {
  const link = event.target.closest?.('a[href^="#"]');
  if (!link || link.closest(".skip")) return;
  const target = document.getElementById(link.getAttribute("href").slice(1));
  if (!target) return;
  event.preventDefault();
  goTo(target);
  target.tabIndex = -1;
  target.focus({ preventScroll: true });
  history.pushState(null, "", `#at=${encodeURIComponent(target.id)}`);
  writeAddress();
}

function setUpLinks() {
  document.addEventListener("click", keepState);
  addEventListener("hashchange", () => {
    goTo(document.getElementById(readAddress() ?? location.hash.slice(1)));
    draw();
  });
}
