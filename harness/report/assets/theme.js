// Theme and printing, on every page.
"use strict";

function setTheme(theme) {
  document.documentElement.dataset.theme = theme;
  document.getElementById("theme").setAttribute("aria-pressed", String(theme === "dark"));
}

function remembered() {
  try {
    return localStorage.getItem("theme");
  } catch {
    return null; // storage may be disabled; then the system's theme is used
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
      return; // it cannot be stored
    }
  });
}

addEventListener("beforeprint", () => {
  for (const node of document.querySelectorAll("details")) node.open = true;
});
setUpTheme();
