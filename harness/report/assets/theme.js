// Day and night, and printing: what every page has.
"use strict";

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
  const button = document.getElementById("theme");
  button.hidden = false;
  button.addEventListener("click", () => {
    const theme = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
    setTheme(theme);
    try {
      localStorage.setItem("theme", theme);
    } catch {
      return; // nothing to remember it with
    }
  });
}

addEventListener("beforeprint", () => {
  for (const node of document.querySelectorAll("details")) node.open = true;
});
setUpTheme();
