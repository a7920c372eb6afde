// Collections and folders: what there is, and filters of the search.

const SHOWN_FOLDERS = 12;

let catalogue = []; // the collections
let looking = 0;
const unfolded = new Set();

async function readCatalogue() {
  clearTimeout(looking);
  let isThere = true;
  try {
    const known = JSON.stringify(catalogue);
    catalogue = (await ask("collections")).collections;
    if (JSON.stringify(catalogue) !== known) {
      fillFilters();
      if (!state.query.trim()) showWelcome();
    }
  } catch {
    isThere = false;
  }
  // A first collection is noticed without a click.
  looking = setTimeout(readCatalogue, catalogue.length && isThere ? 30_000 : 3000);
}

const hasLimits = () => state.collections.size + state.folders.size > 0 || state.path !== "";

function clearLimits() {
  state.collections.clear();
  state.folders.clear();
  state.path = "";
  limitsChanged();
}

function limitsChanged() {
  wanted = FIRST_HITS;
  remember();
  fillFilters();
  search();
  if (shownSide() === "map") showMap();
}

function fillFilters() {
  const nav = element("filters");
  const focused = document.activeElement?.closest("#filters [data-key]")?.dataset.key;
  const parts = catalogue.map(collectionFilter);
  const heading = make("h2", "", "Search in");
  if (hasLimits()) heading.append(action("All", clearLimits));
  nav.replaceChildren(heading, ...parts);
  if (catalogue.length) nav.append(pathFilter());
  const count = state.collections.size + state.folders.size + (state.path ? 1 : 0);
  element("filter-count").textContent = count;
  element("filter-count").hidden = !count;
  if (focused) nav.querySelector(`[data-key="${CSS.escape(focused)}"]`)?.focus();
}

function collectionFilter(one) {
  const box = make("div", "collection", "");
  box.append(toggle("collections", one.name, one.name, one.documents, one.error));
  const roots = one.folders.filter((folder) => !isInside(folder.name, one.folders));
  // A single folder that is the whole collection limits nothing.
  const folders = roots.length === 1 ? one.folders.filter((folder) => folder !== roots[0]) : one.folders;
  const isAll = unfolded.has(one.name) || folders.length <= SHOWN_FOLDERS + 1;
  const shown = isAll
    ? folders
    : folders.filter((folder, place) => place < SHOWN_FOLDERS || state.folders.has(folder.name));
  for (const folder of shown) {
    const name = roots.length === 1 ? folder.name.slice(roots[0].name.length + 1) : folder.name;
    box.append(toggle("folders", folder.name, `${name}/`, folder.documents));
  }
  if (!isAll) {
    const more = action(`${format(folders.length - shown.length)} more folders`, () => {
      unfolded.add(one.name);
      fillFilters();
    });
    box.append(more);
  }
  return box;
}

const isInside = (name, folders) =>
  folders.some((other) => name.startsWith(`${other.name}/`));

function toggle(kind, name, label, documents, error = null) {
  const button = make("button", kind, "");
  button.type = "button";
  button.dataset.key = `${kind}:${name}`;
  button.setAttribute("aria-pressed", String(state[kind].has(name)));
  button.append(make("bdi", "name", plain(label)), make("span", "size", error ? "!" : format(documents)));
  if (error) button.title = plain(error);
  button.addEventListener("click", () => {
    if (!state[kind].delete(name)) state[kind].add(name);
    limitsChanged();
  });
  return button;
}

function pathFilter() {
  const box = make("div", "path", "");
  const label = make("label", "", "Only paths like");
  const field = make("input", "", "");
  field.id = label.htmlFor = "path";
  field.dataset.key = "path";
  field.placeholder = "*.pdf";
  field.spellcheck = false;
  field.value = state.path;
  field.addEventListener("change", () => {
    state.path = field.value.trim();
    limitsChanged();
  });
  box.append(label, field);
  return box;
}

function toggleFilters(isOpen = !document.body.classList.contains("with-filters")) {
  document.body.classList.toggle("with-filters", isOpen);
  element("to-filters").setAttribute("aria-expanded", String(isOpen));
  if (isOpen) element("filters").querySelector("button")?.focus();
}
element("to-filters").addEventListener("click", () => toggleFilters());
// A click beside the list closes it.
document.addEventListener("pointerdown", (event) => {
  if (!event.target.closest("#filters, #to-filters")) toggleFilters(false);
});

// What stands where there are no hits yet

function showWelcome() {
  const box = make("div", "welcome", "");
  if (!catalogue.length) {
    box.append(
      make("h2", "", "Nothing is indexed yet"),
      make("p", "", "Type this in a terminal, with a folder of yours:"),
      command("jlocal index ~/notes"),
      make("p", "hint", "This page notices by itself when it is done."),
    );
  } else {
    const documents = catalogue.reduce((sum, one) => sum + one.documents, 0);
    const passages = catalogue.reduce((sum, one) => sum + one.passages, 0);
    const where = catalogue.length > 1 ? ` in ${counted(catalogue.length, "collection")}` : "";
    box.append(
      make("h2", "", "What are you looking for?"),
      make("p", "", `${counted(documents, "document")}, ${counted(passages, "passage")}${where}. Ask a question, or type a few words.`),
    );
    const keys = make("p", "hint", "");
    keys.append(make("kbd", "", "↓"), make("kbd", "", "↑"), " choose, ", make("kbd", "", "Enter"), " reads, ", make("kbd", "", "?"), " shows all keys");
    box.append(keys);
  }
  element("empty").replaceChildren(box);
}

function command(text) {
  const box = make("div", "command", "");
  const copy = action("Copy", async () => {
    await navigator.clipboard?.writeText(text);
    copy.textContent = "Copied";
  });
  box.append(make("code", "", text), copy);
  return box;
}
