// Light, dark, or as the system has it.

const THEME = "jlocal-theme";
const THEMES = ["system", "light", "dark"];
let theme = THEMES.includes(localStorage.getItem(THEME)) ? localStorage.getItem(THEME) : "system";

function useTheme(name) {
  theme = name;
  localStorage.setItem(THEME, name);
  if (name === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = name;
  const label = name === "system" ? "as the system has it" : name;
  element("to-theme").setAttribute("aria-label", `Theme: ${label}`);
  drawn?.picture.readColours();
}

const nextTheme = () => useTheme(THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length]);
element("to-theme").addEventListener("click", nextTheme);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => useTheme(theme));
