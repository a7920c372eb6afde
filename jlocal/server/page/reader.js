// A passage in its document, as the collection has it.

const side = element("side");
const reader = element("reader");
const wide = matchMedia("(min-width: 1100px)");

let reading = null; // cancels the last request
let before = null; // what had the focus

// Lines and tabs of a text stay; what acts on it, or cannot be seen, does not.
const plainText = (text) =>
  text.replace(/\r\n?/g, "\n").replace(/(?![\n\t])[\p{Cc}\u202a-\u202e\u2066-\u2069]/gu, "\ufffd");

/** Open a place: a hit, another place of its passage, or a point of the map. */
function openPlace(place, hit = null) {
  const { collection, document: name, kind, record, start, end } = place;
  state.open = { collection, document: name, kind, record, start, end };
  remember();
  showPlace(hit, { focus: true });
}

async function showPlace(hit = null, { focus = false } = {}) {
  const place = state.open;
  reading?.abort();
  const mine = new AbortController();
  reading = mine;
  if (focus && !side.contains(document.activeElement)) before = document.activeElement;
  showSide("reader");
  markOpen();
  try {
    const fields = { ...place, query: state.query || null, before: 1500, after: 4000 };
    if (!place.end) delete fields.end;
    const part = await ask("document", fields, mine.signal);
    if (reading !== mine) return;
    fillReader(part, hit);
    if (focus) reader.focus({ preventScroll: true });
  } catch (problem) {
    if (reading !== mine || problem.name === "AbortError") return;
    const box = make("div", "problem", "");
    box.append(make("h2", "", "This passage cannot be read"));
    const text = problem instanceof Problem ? plain(problem.message) : "The server does not answer.";
    box.append(make("p", "", text));
    reader.replaceChildren(box);
  }
}

function fillReader(part, hit) {
  const title = make("h2", "title", "");
  title.append(make("bdi", "", plain(part.document)));
  const facts = [plain(part.collection)];
  const where = hit ? whereOf(hit) : part.page === null ? "" : `p. ${format(part.page)}`;
  if (where) facts.push(where);
  if (hit && hit.state === "missing") facts.push("the file was deleted; this is its text as indexed");
  if (hit && hit.state === "changed") facts.push("the file has changed since it was indexed");
  const about = make("p", "about", facts.join(" · "));
  const headings = hit ? above(hit) : [];
  const body = make("div", part.code ? "text code" : "text", "");
  const passage = marked("div", part.passage, plainText);
  passage.className = "passage";
  // The passage is a block, which needs no line breaks around it.
  const earlier = make("span", "around", plainText(part.before).replace(/\n$/, ""));
  const later = make("span", "around", plainText(part.after).replace(/^\n/, ""));
  body.dir = "auto";
  body.append(earlier, passage, later);
  reader.replaceChildren(title, about, ...headings);
  if (hit?.metadata) reader.append(metadata(hit.metadata));
  const up = grows(part, "previous", earlier, part.previous);
  const down = grows(part, "following", later, part.following);
  reader.append(up, body, down);
  // Not scrollIntoView, which would move the hits as well.
  reader.scrollTop = passage.offsetTop - reader.offsetTop - 0.25 * reader.clientHeight;
}

function metadata(values) {
  const made = make("dl", "metadata", "");
  for (const [name, value] of Object.entries(values)) {
    made.append(make("dt", "", plain(name)), make("dd", "", plain(String(value))));
  }
  return made;
}

/** A button that reads on before or after what is shown. */
function grows(part, direction, into, next) {
  const isUp = direction === "previous";
  const button = make("button", "grow", isUp ? "Earlier text" : "Later text");
  button.type = "button";
  button.hidden = next === null;
  let { record } = part;
  button.addEventListener("click", async () => {
    button.disabled = true;
    try {
      const more = await ask("document", {
        collection: part.collection,
        document: part.document,
        kind: part.kind,
        record: next.record,
        start: next.start,
        end: next.start,
        before: isUp ? 8000 : 0,
        after: isUp ? 0 : 8000,
      });
      const text = plainText(isUp ? more.before : more.after);
      const turn = make("span", "turn", more.page === null ? "\n\n" : `p. ${isUp ? format(more.page + 1) : format(more.page)}`);
      const isTurned = more.record !== record;
      record = more.record;
      if (isUp) {
        const height = reader.scrollHeight;
        into.prepend(text, ...(isTurned ? [turn] : []));
        reader.scrollTop += reader.scrollHeight - height;
      } else {
        into.append(...(isTurned ? [turn] : []), text);
      }
      next = more[direction];
      button.hidden = next === null;
    } catch (problem) {
      button.textContent = plain(problem.message);
    }
    button.disabled = false;
  });
  return button;
}

// The side: the map, or a passage. Beside the hits where there is room, otherwise above them.

function showSide(name) {
  side.hidden = false;
  document.body.classList.add("with-side");
  for (const tab of ["map", "reader"]) {
    element(tab).hidden = tab !== name;
    element(`tab-${tab}`).setAttribute("aria-selected", String(tab === name));
    element(`tab-${tab}`).tabIndex = tab === name ? 0 : -1;
  }
  element("tab-reader").hidden = !state.open;
  element("to-map").setAttribute("aria-expanded", String(name === "map"));
  if (name === "map") showMap();
}

const shownSide = () => (side.hidden ? null : element("map").hidden ? "reader" : "map");

/** Close what is beside the hits; a passage gives way to the map where there is room for it. */
function closeSide() {
  const wasReader = shownSide() === "reader";
  reading?.abort();
  if (state.open) {
    state.open = null;
    remember();
  }
  markOpen();
  if (wasReader && wide.matches && catalogue.length) showSide("map");
  else hideSide();
  (before?.isConnected ? before : query).focus({ preventScroll: true });
  before = null;
}

function hideSide() {
  side.hidden = true;
  document.body.classList.remove("with-side");
  element("to-map").setAttribute("aria-expanded", "false");
}

element("close").addEventListener("click", closeSide);
element("tab-map").addEventListener("click", () => showSide("map"));
element("tab-reader").addEventListener("click", () => state.open && showSide("reader"));
for (const [from, to] of [["tab-map", "tab-reader"], ["tab-reader", "tab-map"]]) {
  element(from).addEventListener("keydown", (event) => {
    if (!["ArrowLeft", "ArrowRight"].includes(event.key) || element(to).hidden) return;
    event.preventDefault();
    event.stopPropagation();
    element(to).click();
    element(to).focus();
  });
}
