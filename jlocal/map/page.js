// The page of a map: the card of a point, search, and the legend.

const data = JSON.parse(element("data").textContent);
element("data").remove();

const card = element("card");
const query = element("query");
const canvas = element("canvas");
const points = (value) => `${format(value)} ${value === 1 ? "point" : "points"}`;

const picture = makePicture(canvas, data);
const { count, camera, hidden, isShown, isFound, screenX, screenY, move, zoom, showAll, changed } =
  picture;
let pinned = false;

const sizes = new Array(data.groups.length).fill(0);
for (const group of data.group) sizes[group] += 1;

// The card of a point

function choose(index, others = 0) {
  picture.chosen = index;
  canvas.classList.toggle("pointing", index >= 0);
  card.hidden = index < 0;
  card.classList.toggle("pinned", pinned);
  if (index >= 0) {
    fillCard(index, others);
    placeCard(index);
  }
  changed();
}

function release() {
  pinned = false;
  choose(-1);
}

function fillCard(index, others) {
  const group = make("p", "group", "");
  group.append(dot(data.group[index]), plain(data.groups[data.group[index]]));
  const place = make("p", "place", plain(data.paths[data.path[index]]) + data.where[index]);
  const passage = make("p", "passage", plain(data.text[index]));
  passage.dir = "auto";
  const more = [];
  const elsewhere = data.places[index] - 1;
  if (elsewhere) {
    more.push(`The same text stands in ${format(elsewhere)} more place${elsewhere > 1 ? "s" : ""}.`);
  }
  if (others) more.push(`${points(others)} more very near; click again for the next.`);
  card.replaceChildren(group, place, passage, make("p", "more", more.join(" ")));
}

function placeCard(index) {
  const gap = 14;
  const x = screenX(data.x[index]);
  const y = screenY(data.y[index]);
  const left = x + gap + card.offsetWidth > picture.width ? x - gap - card.offsetWidth : x + gap;
  const top = y + gap + card.offsetHeight > picture.height ? y - gap - card.offsetHeight : y + gap;
  const inside = (value, most) => Math.max(8, Math.min(value, most - 8));
  card.style.left = `${inside(left, picture.width - card.offsetWidth)}px`;
  card.style.top = `${inside(top, picture.height - card.offsetHeight)}px`;
}

// Searching

let haystacks = null;
// A letter and its accent may be one character or two.
const folded = (text) => text.normalize("NFC").toLowerCase();

function search() {
  const needle = folded(query.value);
  haystacks ??= data.text.map((text, index) => folded(`${data.paths[data.path[index]]}\n${text}`));
  picture.found = needle ? Uint8Array.from(haystacks, (text) => (text.includes(needle) ? 1 : 0)) : null;
  release();
  said();
}

function said() {
  const shown = data.group.filter((group) => !hidden.has(group)).length;
  let text = shown < count ? `${format(shown)} of ${points(count)} shown` : points(count);
  if (picture.found !== null) {
    const all = picture.found.reduce((sum, one) => sum + one, 0);
    const covered = picture.found.reduce((sum, one, index) => sum + (one && !isShown(index) ? 1 : 0), 0);
    text = `${format(all)} of ${points(count)} found`;
    if (covered) text += `, ${format(covered)} of them hidden`;
  }
  element("count").textContent = text;
  fillSizes();
}

function next(step) {
  const candidates = [];
  for (let index = 0; index < count; index += 1) {
    if (isShown(index) && isFound(index)) candidates.push(index);
  }
  if (!candidates.length) return;
  const at = candidates.indexOf(picture.chosen);
  const place = at < 0 && step < 0 ? 0 : at;
  const index = candidates[(place + step + candidates.length) % candidates.length];
  const x = screenX(data.x[index]);
  const y = screenY(data.y[index]);
  if (x < 0 || y < 0 || x > picture.width || y > picture.height) {
    move(picture.width / 2 - x, picture.height / 2 - y);
  }
  pinned = true;
  choose(index);
}

// The legend

const buttons = data.groups.map((name, group) => {
  const button = make("button", "", "");
  button.type = "button";
  button.append(dot(group), make("span", "name", plain(name)), make("span", "size", ""));
  button.addEventListener("click", () => {
    if (!hidden.delete(group)) hidden.add(group);
    legendChanged();
  });
  return button;
});
const every = make("button", "", "");
every.type = "button";
every.addEventListener("click", () => {
  if (hidden.size) hidden.clear();
  else data.groups.forEach((_, group) => hidden.add(group));
  legendChanged();
});

function legendChanged() {
  buttons.forEach((button, group) => button.setAttribute("aria-pressed", !hidden.has(group)));
  every.textContent = hidden.size ? "Show all" : "Hide all";
  if (picture.chosen >= 0 && !isShown(picture.chosen)) release();
  said();
  changed();
}

function fillSizes() {
  const hits = new Array(data.groups.length).fill(0);
  if (picture.found !== null) picture.found.forEach((one, index) => (hits[data.group[index]] += one));
  buttons.forEach((button, group) => {
    const size = format(sizes[group]);
    button.lastChild.textContent = picture.found === null ? size : `${format(hits[group])} / ${size}`;
  });
}

function fillPage() {
  document.title = element("title").textContent = plain(data.title);
  const sample = count < data.total;
  const about = [
    sample
      ? `A random sample of ${format(count)} of ${format(data.total)} passages.`
      : `${format(count)} passage${count === 1 ? "" : "s"}.`,
    data.layout,
  ];
  if (data.cut) about.push(`Passages are cut to ${format(data.characters)} characters here.`);
  element("about").textContent = about.join(" ");
  canvas.setAttribute("aria-label", `Map of ${points(count)}`);
  const heading = make("h2", "", "");
  heading.append(data.grouping === "cluster" ? "Clusters" : "Folders", every);
  const list = document.createElement("ul");
  for (const button of buttons) {
    const item = document.createElement("li");
    item.append(button);
    list.append(item);
  }
  element("legend").append(heading, list);
  legendChanged();
}

// Pointer and keys

let cycle = { indices: [], at: 0 };

/** How many more of these points are so near to the first that they look like one. */
function others(indices) {
  const same = (a, b) => Math.abs(a - b) * camera.scale < 2;
  const [first] = indices;
  return indices.filter(
    (index) =>
      index !== first &&
      same(data.x[index], data.x[first]) &&
      same(data.y[index], data.y[first]),
  ).length;
}

function hover(indices) {
  if (pinned) return;
  if ((indices[0] ?? -1) !== picture.chosen) choose(indices[0] ?? -1, others(indices));
}

/** Pin the point that was clicked; with each further click on the spot, the next one there. */
function click(indices) {
  const again = pinned && indices.length > 1 && indices.join() === cycle.indices.join();
  cycle = { indices, at: again ? (cycle.at + 1) % indices.length : 0 };
  pinned = indices.length > 0;
  choose(indices[cycle.at] ?? -1, others(indices));
}

function leave() {
  if (!pinned) release();
}

listen(picture, { hover, click, release, leave });

document.addEventListener("keydown", (event) => {
  if (event.key === "/" && document.activeElement !== query) {
    event.preventDefault();
    query.focus();
  } else if (event.key === "Escape") {
    if (picture.chosen < 0 && document.activeElement === query) {
      query.value = "";
      search();
    }
    release();
  }
});

query.addEventListener("input", search);
query.addEventListener("keydown", (event) => {
  if (event.key === "Enter") next(event.shiftKey ? -1 : 1);
});

const steps = { in: () => zoom(1.4), out: () => zoom(1 / 1.4), reset: showAll };
for (const [id, step] of Object.entries(steps)) {
  element(id).addEventListener("click", () => {
    release();
    step();
  });
}

matchMedia("(prefers-color-scheme: dark)").addEventListener("change", picture.readColours);
picture.resized = () => {
  if (picture.chosen >= 0) placeCard(picture.chosen);
};

fillPage();
picture.readColours();
