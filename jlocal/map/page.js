// What a person does with the picture: point, search, show and hide, move and zoom.

// The card of a point

/** Indices of the points around a place, nearest first; those found, where there are any. */
function near(x, y, within) {
  const around = [];
  for (let index = 0; index < count; index += 1) {
    const distance = Math.hypot(screenX(data.x[index]) - x, screenY(data.y[index]) - y);
    if (distance <= within && isShown(index)) around.push([distance, index]);
  }
  around.sort((one, other) => one[0] - other[0] || one[1] - other[1]);
  const indices = around.map(([, index]) => index);
  const matching = indices.filter(isFound);
  return matching.length ? matching : indices;
}

function choose(index, others = 0) {
  chosen = index;
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
  const left = x + gap + card.offsetWidth > width ? x - gap - card.offsetWidth : x + gap;
  const top = y + gap + card.offsetHeight > height ? y - gap - card.offsetHeight : y + gap;
  const inside = (value, most) => Math.max(8, Math.min(value, most - 8));
  card.style.left = `${inside(left, width - card.offsetWidth)}px`;
  card.style.top = `${inside(top, height - card.offsetHeight)}px`;
}

// Searching

let haystacks = null;
// A letter and its accent may be one character or two.
const folded = (text) => text.normalize("NFC").toLowerCase();

function search() {
  const needle = folded(query.value);
  haystacks ??= data.text.map((text, index) => folded(`${data.paths[data.path[index]]}\n${text}`));
  found = needle ? Uint8Array.from(haystacks, (text) => (text.includes(needle) ? 1 : 0)) : null;
  release();
  said();
}

function said() {
  const shown = data.group.filter((group) => !hidden.has(group)).length;
  let text = shown < count ? `${format(shown)} of ${points(count)} shown` : points(count);
  if (found !== null) {
    const all = found.reduce((sum, one) => sum + one, 0);
    const covered = found.reduce((sum, one, index) => sum + (one && !isShown(index) ? 1 : 0), 0);
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
  const at = candidates.indexOf(chosen);
  const place = at < 0 && step < 0 ? 0 : at;
  const index = candidates[(place + step + candidates.length) % candidates.length];
  const x = screenX(data.x[index]);
  const y = screenY(data.y[index]);
  if (x < 0 || y < 0 || x > width || y > height) move(width / 2 - x, height / 2 - y);
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
  if (chosen >= 0 && !isShown(chosen)) release();
  said();
  changed();
}

function fillSizes() {
  const hits = new Array(data.groups.length).fill(0);
  if (found !== null) found.forEach((one, index) => (hits[data.group[index]] += one));
  buttons.forEach((button, group) => {
    const size = format(sizes[group]);
    button.lastChild.textContent = found === null ? size : `${format(hits[group])} / ${size}`;
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

// Pointer, wheel and keys

const pressed = new Map();
let travelled = 0;
let cycle = { indices: [], at: 0 };

const place = (event) => {
  const box = canvas.getBoundingClientRect();
  return { x: event.clientX - box.left, y: event.clientY - box.top };
};

const spread = () => {
  const [one, other] = pressed.values();
  return {
    x: (one.x + other.x) / 2,
    y: (one.y + other.y) / 2,
    distance: Math.max(Math.hypot(one.x - other.x, one.y - other.y), 1),
  };
};

canvas.addEventListener("pointerdown", (event) => {
  canvas.setPointerCapture(event.pointerId);
  if (!pressed.size) travelled = 0;
  pressed.set(event.pointerId, place(event));
});

canvas.addEventListener("pointermove", (event) => {
  const here = place(event);
  const before = pressed.get(event.pointerId);
  if (!before) {
    hover(here, event.pointerType);
    return;
  }
  const middle = pressed.size === 2 ? spread() : null;
  pressed.set(event.pointerId, here);
  travelled += Math.hypot(here.x - before.x, here.y - before.y);
  if (middle) {
    const now = spread();
    move(now.x - middle.x, now.y - middle.y);
    zoom(now.distance / middle.distance, now.x, now.y);
    release();
  } else if (pressed.size === 1 && travelled > 4) {
    canvas.classList.add("dragging");
    release();
    move(here.x - before.x, here.y - before.y);
  }
});

for (const ending of ["pointerup", "pointercancel"]) {
  canvas.addEventListener(ending, (event) => {
    if (ending === "pointerup" && pressed.size === 1 && travelled <= 4) {
      click(place(event), event.pointerType);
    }
    pressed.delete(event.pointerId);
    if (!pressed.size) canvas.classList.remove("dragging");
  });
}

function hover(here, pointer) {
  if (pinned) return;
  const indices = near(here.x, here.y, REACH[pointer] ?? REACH.mouse);
  if ((indices[0] ?? -1) !== chosen) choose(indices[0] ?? -1, others(indices));
}

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

/** Pin the point that was clicked; with each further click on the spot, the next one there. */
function click(here, pointer) {
  const indices = near(here.x, here.y, REACH[pointer] ?? REACH.mouse);
  const again = pinned && indices.length > 1 && indices.join() === cycle.indices.join();
  cycle = { indices, at: again ? (cycle.at + 1) % indices.length : 0 };
  pinned = indices.length > 0;
  choose(indices[cycle.at] ?? -1, others(indices));
}

canvas.addEventListener("pointerleave", () => {
  if (!pinned && !pressed.size) release();
});

canvas.addEventListener(
  "wheel",
  (event) => {
    event.preventDefault();
    const here = place(event);
    const lines = event.deltaMode === WheelEvent.DOM_DELTA_LINE ? 16 : 1;
    // A pinch on a touchpad comes as a wheel with Ctrl, in small steps.
    zoom(Math.exp(-event.deltaY * lines * (event.ctrlKey ? 0.01 : 0.0015)), here.x, here.y);
    release();
  },
  { passive: false },
);

const KEYS = {
  ArrowLeft: () => move(60, 0),
  ArrowRight: () => move(-60, 0),
  ArrowUp: () => move(0, 60),
  ArrowDown: () => move(0, -60),
  "+": () => zoom(1.4),
  "=": () => zoom(1.4),
  "-": () => zoom(1 / 1.4),
  0: showAll,
};

canvas.addEventListener("keydown", (event) => {
  if (!(event.key in KEYS) || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  release();
  KEYS[event.key]();
});

document.addEventListener("keydown", (event) => {
  if (event.key === "/" && document.activeElement !== query) {
    event.preventDefault();
    query.focus();
  } else if (event.key === "Escape") {
    if (chosen < 0 && document.activeElement === query) {
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

dark.addEventListener("change", readColours);
new ResizeObserver(() => {
  ratio = window.devicePixelRatio || 1;
  width = stage.clientWidth;
  height = stage.clientHeight;
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round(height * ratio);
  radius = 0;
  if (!camera.moved) showAll();
  if (chosen >= 0) placeCard(chosen);
  changed();
}).observe(stage);

fillPage();
readColours();
