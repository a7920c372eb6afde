// The hits: searching, and the list.

const DOTS = 5;
const query = element("query");
const list = element("hits");
const said = element("said");

let answer = null; // of the last search
let wanted = FIRST_HITS;
let selected = -1;
let running = null;
let pause = 0;

/** Search once a person has stopped typing for a moment. */
function searchSoon() {
  clearTimeout(pause);
  pause = setTimeout(search, 110);
}

async function search() {
  clearTimeout(pause);
  // Only the last search may answer.
  running?.abort();
  const mine = new AbortController();
  running = mine;
  if (!state.query.trim()) {
    showNothing();
    return;
  }
  // A search that was replaced must not say so: nobody waits for it.
  const waiting = setTimeout(() => {
    if (running === mine) document.body.classList.add("waiting");
  }, 150);
  try {
    const fields = { query: state.query, mode: state.mode, n: wanted, text: false, ...limits() };
    const found = await ask("search", fields, mine.signal);
    if (running === mine) showHits(found);
  } catch (problem) {
    if (running !== mine || problem.name === "AbortError") return;
    if (problem.status === 429) pause = setTimeout(search, 1000);
    else showProblem(problem);
  } finally {
    clearTimeout(waiting);
    if (running === mine) document.body.classList.remove("waiting");
  }
}

function showNothing() {
  document.body.classList.remove("waiting");
  answer = null;
  clearHits();
  said.textContent = "";
  element("notes").replaceChildren();
  showWelcome();
  lightUp();
}

function clearHits() {
  selected = -1;
  list.replaceChildren();
  list.hidden = true;
  element("more").hidden = true;
  query.setAttribute("aria-expanded", "false");
  query.removeAttribute("aria-activedescendant");
  list.removeAttribute("aria-activedescendant");
}

function showHits(found) {
  const kept = answer && selected >= 0 ? keyOf(answer.hits[selected]) : null;
  answer = found;
  clearHits();
  const { hits } = answer;
  list.replaceChildren(...hits.map(entry));
  list.hidden = !hits.length;
  query.setAttribute("aria-expanded", String(hits.length > 0));
  element("more").hidden = hits.length < wanted || wanted >= MOST_HITS;
  const best = hits.length === wanted ? "The best " : "";
  said.textContent = `${best}${counted(hits.length, "hit")} in ${duration(answer.seconds)}`;
  element("notes").replaceChildren(
    ...answer.failed.map((failure) =>
      note(`${plain(failure.collection)} could not be searched: ${plain(failure.message)}`),
    ),
  );
  element("empty").replaceChildren();
  if (!hits.length) showNoHits();
  // The hit that was chosen stays so, where it is found again.
  const again = kept === null ? -1 : hits.findIndex((hit) => keyOf(hit) === kept);
  if (again >= 0) select(again, { scroll: false });
  else markOpen();
  lightUp();
}

const counted = (count, word) => `${format(count)} ${word}${count === 1 ? "" : "s"}`;
const duration = (seconds) =>
  seconds < 1 ? `${Math.max(1, Math.round(1000 * seconds))} ms` : `${seconds.toFixed(1)} s`;
const keyOf = (place) => [place.collection, place.document, place.record, place.start].join("\n");
const note = (text) => make("p", "note", text);

function showProblem(problem) {
  answer = null;
  clearHits();
  said.textContent = "";
  element("notes").replaceChildren();
  const box = make("div", "problem", "");
  const isAway = !(problem instanceof Problem);
  const title = isAway ? "The server does not answer" : "That cannot be searched now";
  const text = isAway ? "It may have been stopped. The page asks again in a moment." : plain(problem.message);
  box.append(make("h2", "", title), make("p", "", text));
  if (problem.parameter === "mode" && state.mode !== "words") {
    box.append(action("Search by words only", () => setMode("words")));
  }
  if (hasLimits()) box.append(action("Remove all filters", clearLimits));
  if (isAway) pause = setTimeout(search, 3000);
  element("empty").replaceChildren(box);
  lightUp();
}

function showNoHits() {
  const box = make("div", "problem", "");
  box.append(make("h2", "", "Nothing found"));
  if (hasLimits()) {
    box.append(make("p", "", "The search is limited by filters."));
    box.append(action("Remove all filters", clearLimits));
  }
  if (state.mode === "words") {
    box.append(make("p", "", "No passage has these words."));
    box.append(action("Search by meaning as well", () => setMode("both")));
  }
  element("empty").append(box);
}

function action(text, act) {
  const button = make("button", "action", text);
  button.type = "button";
  button.addEventListener("click", act);
  return button;
}

// An entry of the list

function entry(hit, index) {
  const item = make("li", "hit", "");
  item.id = `hit-${index}`;
  item.role = "option";
  item.setAttribute("aria-selected", "false");
  item.append(head(hit), ...above(hit), excerpt(hit), ...also(hit));
  item.addEventListener("click", (event) => {
    // A click that ends a selection of text does not open anything.
    if (String(getSelection())) return;
    const other = event.target.closest("[data-other]");
    select(index, { scroll: false });
    if (other) openPlace({ ...hit, ...hit.others[Number(other.dataset.other)], end: 0 }, hit);
    else openHit(index);
  });
  return item;
}

function head(hit) {
  const line = make("div", "head", "");
  const what = make("p", "what", "");
  const name = make("bdi", "name", "");
  const cut = hit.kind === "file" ? hit.document.lastIndexOf("/") + 1 : 0;
  name.append(
    make("span", "folder", plain(hit.document.slice(0, cut))),
    make("span", "file", plain(hit.document.slice(cut))),
  );
  what.append(name);
  const where = whereOf(hit);
  if (where) what.append(make("span", "where", where));
  if (hit.state !== "current") {
    const text = hit.state === "missing" ? "deleted" : "changed since";
    const badge = make("span", "badge", text);
    badge.title = "The collection has the text as it was indexed.";
    what.append(badge);
  }
  if (answer.collections.length > 1) what.append(make("span", "collection", plain(hit.collection)));
  line.append(what, dots(hit));
  return line;
}

function whereOf(place) {
  if (place.page !== null) return `p. ${format(place.page)}`;
  return place.first_line === null ? "" : `line ${format(place.first_line)}`;
}

/** Five dots, as on the terminal; small values differ more. */
function dots(hit) {
  const full = Math.round(Math.sqrt(Math.min(Math.max(hit.relevance, 0), 1)) * DOTS);
  const made = make("span", "dots", "");
  for (let number = 0; number < DOTS; number += 1) {
    made.append(make("i", number < full ? "full" : "", ""));
  }
  made.role = "img";
  const parts = [`relevance ${hit.relevance.toFixed(2)}`];
  if (hit.cosine !== null) parts.push(`cosine ${hit.cosine.toFixed(2)}`);
  if (hit.bm25 !== null) parts.push(`BM25 ${hit.bm25.toFixed(1)}`);
  made.title = parts.join(", ");
  made.setAttribute("aria-label", parts[0]);
  return made;
}

function above(hit) {
  if (!hit.headings.length) return [];
  const line = make("p", "headings", "");
  hit.headings.forEach((heading, number) => {
    if (number) line.append(make("span", "arrow", " › "));
    line.append(make("bdi", "", plain(heading)));
  });
  return [line];
}

function excerpt(hit) {
  const box = make("div", hit.code ? "excerpt code" : "excerpt", "");
  for (const line of hit.excerpt) box.append(marked("p", line));
  return box;
}

/** An element with a text in pieces, of which some are words of the query. */
function marked(tag, pieces, clean = plain) {
  const made = make(tag, "", "");
  made.dir = "auto";
  for (const piece of pieces) {
    made.append(piece.match ? make("mark", "", clean(piece.text)) : clean(piece.text));
  }
  return made;
}

function also(hit) {
  if (!hit.others.length) return [];
  const line = make("p", "also", "also in ");
  hit.others.slice(0, 3).forEach((other, number) => {
    if (number) line.append(", ");
    const link = make("span", "other", "");
    link.dataset.other = number;
    link.append(make("bdi", "", plain(other.document)), ` ${whereOf(other)}`.trimEnd());
    line.append(link);
  });
  const rest = hit.others.length - 3;
  if (rest > 0) line.append(` and ${format(rest)} more`);
  return [line];
}

// Choosing

function select(index, { scroll = true } = {}) {
  if (!answer?.hits.length) return;
  selected = Math.max(0, Math.min(index, answer.hits.length - 1));
  const item = list.children[selected];
  for (const field of [query, list]) field.setAttribute("aria-activedescendant", item.id);
  for (const child of list.children) child.setAttribute("aria-selected", String(child === item));
  if (scroll) item.scrollIntoView({ block: "nearest" });
  markOpen();
  ringSelected();
}

function markOpen() {
  const key = state.open && keyOf(state.open);
  answer?.hits.forEach((hit, index) => {
    list.children[index].classList.toggle("open", keyOf(hit) === key);
  });
}

function openHit(index) {
  if (!answer?.hits.length) return;
  select(Math.max(index, 0));
  const hit = answer.hits[selected];
  openPlace(hit, hit);
}

element("more").addEventListener("click", () => {
  wanted = Math.min(wanted + FIRST_HITS, MOST_HITS);
  search();
});
