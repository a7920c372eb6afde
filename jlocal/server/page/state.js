// What the page shows, which is also in its address: behind the #, so that no log has it.

const MODES = ["both", "words", "meaning"];
const FIRST_HITS = 20;
const MOST_HITS = 200;

const state = {
  query: "",
  mode: "both",
  collections: new Set(),
  folders: new Set(),
  path: "",
  // The passage that is read: collection, document, kind, record, start, end; or null.
  open: null,
};

function address() {
  const fields = new URLSearchParams();
  if (state.query) fields.set("q", state.query);
  if (state.mode !== "both") fields.set("mode", state.mode);
  for (const name of state.collections) fields.append("in", name);
  for (const name of state.folders) fields.append("folder", name);
  if (state.path) fields.set("path", state.path);
  if (state.open) {
    const { collection, document, kind, record, start, end } = state.open;
    fields.set("read", document);
    fields.set("of", collection);
    fields.set("at", [kind, record, start, end].join("."));
  }
  return `#${fields}`;
}

function readAddress() {
  const fields = new URLSearchParams(location.hash.slice(1));
  state.query = fields.get("q") ?? "";
  state.mode = MODES.includes(fields.get("mode")) ? fields.get("mode") : "both";
  state.collections = new Set(fields.getAll("in"));
  state.folders = new Set(fields.getAll("folder"));
  state.path = fields.get("path") ?? "";
  const [kind, record, start, end] = (fields.get("at") ?? "").split(".");
  state.open =
    fields.get("read") && fields.get("of")
      ? {
          collection: fields.get("of"),
          document: fields.get("read"),
          kind: kind === "text" ? "text" : "file",
          record: Number(record) || 0,
          start: Number(start) || 0,
          end: Number(end) || 0,
        }
      : null;
}

// The letters of a query that is being typed are one step back, not one each.
let settled = 0;

function remember({ typing = false } = {}) {
  const next = address();
  if (next === (location.hash || "#")) return;
  const now = performance.now();
  if (typing && now - settled < 2000) history.replaceState(null, "", next);
  else history.pushState(null, "", next);
  settled = typing ? now : 0;
  const name = plain(state.query);
  document.title = name ? `${name} · jlocal` : "jlocal";
}

/** The fields of a search that limit it. */
function limits() {
  const fields = {};
  if (state.collections.size) fields.collections = [...state.collections];
  if (state.folders.size) fields.folders = [...state.folders];
  if (state.path) fields.path = state.path;
  return fields;
}
