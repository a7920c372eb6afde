// The beginning, and the ways by which the state changes as a whole.

function typed(text) {
  state.query = text;
  query.value = text;
  wanted = FIRST_HITS;
  document.body.classList.toggle("asked", text.trim() !== "");
  remember({ typing: true });
  if (text.trim()) searchSoon();
  else search();
}

query.addEventListener("input", () => typed(query.value));

/** Show what the address says: at the beginning, and after steps back and forth. */
function showState() {
  readAddress();
  query.value = state.query;
  document.title = state.query ? `${plain(state.query)} · jlocal` : "jlocal";
  document.body.classList.toggle("asked", state.query.trim() !== "");
  wanted = FIRST_HITS;
  settled = 0;
  showMode();
  fillFilters();
  search();
  if (state.open) showPlace();
  else if (wide.matches && catalogue.length) showSide("map");
  else hideSide();
}

addEventListener("popstate", showState);
element("home").addEventListener("click", (event) => {
  event.preventDefault();
  if (location.hash) history.pushState(null, "", "#");
  showState();
  query.focus();
});

// What sticks below the header needs its height.
new ResizeObserver(() => {
  const { height } = document.querySelector("header").getBoundingClientRect();
  document.documentElement.style.setProperty("--top", `${height}px`);
}).observe(document.querySelector("header"));

async function begin() {
  useTheme(theme);
  showMode();
  readAddress();
  query.value = state.query;
  query.focus();
  await readCatalogue();
  showState();
  readStatus();
}

begin();
