// Keys for everything.

const HELP = [
  ["/", "write in the search field"],
  ["↓ ↑ or j k", "choose a hit; beside a passage, read the next one"],
  ["Enter", "read the hit in its document"],
  ["Esc", "close, or clear the search field"],
  ["m", "both, words, or meaning"],
  ["f", "collections and folders"],
  ["v", "map"],
  ["s", "what the server is doing"],
  ["t", "light or dark"],
  ["?", "these keys"],
];

function setMode(mode) {
  state.mode = mode;
  showMode();
  remember();
  search();
}

function showMode() {
  for (const button of element("modes").children) {
    const isChosen = button.dataset.mode === state.mode;
    button.setAttribute("aria-checked", String(isChosen));
    button.tabIndex = isChosen ? 0 : -1;
  }
}

const nextMode = (step = 1) =>
  setMode(MODES[(MODES.indexOf(state.mode) + step + MODES.length) % MODES.length]);

/** Choose another hit, and read it where one is being read. */
function step(by) {
  if (!answer?.hits.length) return;
  const index = selected < 0 && by < 0 ? answer.hits.length - 1 : selected + by;
  if (shownSide() === "reader") openHit(Math.min(index, answer.hits.length - 1));
  else select(index);
}

function closeTop() {
  if (document.body.classList.contains("with-filters")) {
    toggleFilters(false);
    element("to-filters").focus();
  } else if (shownSide() === "reader" || (shownSide() && !wide.matches)) {
    closeSide();
  } else if (document.activeElement === query && query.value) {
    typed("");
  } else {
    query.focus();
  }
}

function openHelp() {
  const title = make("h2", "", "Keys");
  title.id = "help-title";
  const keys = make("dl", "keys", "");
  for (const [names, what] of HELP) {
    const name = make("dt", "", "");
    for (const part of names.split(" ")) {
      name.append(part === "or" ? " or " : make("kbd", "", part));
    }
    keys.append(name, make("dd", "", what));
  }
  const more = make("p", "hint", "Letters work outside of the search field. The address of this page holds the search; it can be kept and shared. ");
  const routes = make("a", "", "What programs can ask this server");
  routes.href = "docs";
  more.append(routes);
  element("help").replaceChildren(title, keys, more, action("Close", () => element("help").close()));
  element("help").showModal();
}
element("to-help").addEventListener("click", openHelp);

const ANYWHERE = {
  "/": () => {
    query.focus();
    query.select();
  },
  j: () => step(1),
  k: () => step(-1),
  m: () => nextMode(),
  f: () => toggleFilters(),
  v: toggleMap,
  s: openServer,
  t: nextTheme,
  "?": openHelp,
};

const isTyping = (target) =>
  target.matches("input, textarea, select") || target.isContentEditable;

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
  if (document.querySelector("dialog[open]")) return;
  if (event.key === "Escape") {
    event.preventDefault();
    closeTop();
  } else if (!isTyping(event.target) && event.key in ANYWHERE) {
    event.preventDefault();
    ANYWHERE[event.key]();
  } else if (event.target === query || event.target === list || event.target === document.body) {
    const moves = { ArrowDown: 1, ArrowUp: -1 };
    if (event.key in moves) {
      event.preventDefault();
      step(moves[event.key]);
    } else if (event.key === "Enter") {
      event.preventDefault();
      enter();
    }
  }
});

/** Read the chosen hit; of a query that is still being answered, the best one. */
async function enter() {
  if (!answer || answer.query !== state.query) await search();
  openHit(selected);
}

element("modes").addEventListener("keydown", (event) => {
  const steps = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 };
  if (!(event.key in steps)) return;
  event.preventDefault();
  event.stopPropagation();
  nextMode(steps[event.key]);
  element("modes").querySelector("[aria-checked=true]").focus();
});
for (const button of element("modes").children) {
  button.addEventListener("click", () => setMode(button.dataset.mode));
}
for (const dialog of document.querySelectorAll("dialog:not(#key)")) {
  // A click beside it closes it.
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
}
