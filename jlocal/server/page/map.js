// The map of a collection, with the hits lit up.

const canvas = element("canvas");
const card = element("card");
const chooser = element("map-of");
const LIT = 5.5;

let drawn = null; // picture, data, and indices of points by place
let drawing = null;
let picked = null; // the collection that a person chose for the map

/** The collection whose map is shown: that was chosen, or has the best hit, or is searched. */
function mapped() {
  const names = catalogue.filter((one) => one.passages).map((one) => one.name);
  const searched = names.filter((name) => !state.collections.size || state.collections.has(name));
  const best = answer?.hits[0]?.collection;
  return [picked, best].find((name) => searched.includes(name)) ?? searched[0] ?? names[0] ?? null;
}

async function showMap() {
  const name = mapped();
  fillChooser(name);
  const known = catalogue.find((one) => one.name === name);
  const version = known && `${name}\n${known.documents}\n${known.passages}`;
  if (!known || drawn?.version === version || drawing === version) return;
  drawing = version;
  element("map-about").textContent = "Drawing …";
  try {
    const data = await ask("map", { collection: name });
    if (drawing !== version) return;
    draw(data, version);
  } catch (problem) {
    if (drawing !== version) return;
    element("map-about").textContent = "";
    element("map-problem").textContent =
      problem instanceof Problem ? plain(problem.message) : "The server does not answer.";
    element("map-problem").hidden = false;
  } finally {
    if (drawing === version) drawing = null;
  }
}

function fillChooser(name) {
  const names = catalogue.filter((one) => one.passages).map((one) => one.name);
  chooser.replaceChildren(...names.map((one) => new Option(plain(one), one, false, one === name)));
  chooser.hidden = names.length < 2;
}

function draw(data, version) {
  drawn?.picture.close();
  const picture = makePicture(canvas, data, LIT);
  const indices = new Map();
  data.document.forEach((number, index) => {
    indices.set([data.documents[number], data.record[index], data.start[index]].join("\n"), index);
  });
  drawn = { picture, data, indices, version };
  picture.resized = hideCard;
  listen(picture, { hover: (near) => point(near[0] ?? -1), click: openPoint, release: hideCard, leave: hideCard });
  const points = `${format(picture.count)} ${picture.count === 1 ? "passage" : "passages"}`;
  canvas.setAttribute("aria-label", `Map of ${points}`);
  element("map-about").textContent =
    picture.count < data.total ? `A sample of ${points} of ${format(data.total)}` : points;
  element("map-about").title = data.layout;
  element("map-problem").hidden = true;
  element("legend").replaceChildren(
    ...data.groups.map((group, number) => {
      const item = make("li", "", "");
      item.append(dot(number), make("bdi", "", plain(group)));
      return item;
    }),
  );
  picture.readColours();
  lightUp();
}

/** The point of a passage, by any of the places where it stands; -1 if it was not drawn. */
function pointOf(hit) {
  if (hit.collection !== drawn.data.collection) return -1;
  for (const place of [hit, ...(hit.others ?? [])]) {
    const index = drawn.indices.get([place.document, place.record, place.start].join("\n"));
    if (index !== undefined) return index;
  }
  return -1;
}

function lightUp() {
  if (shownSide() === "map") showMap();
  if (!drawn) return;
  const { picture } = drawn;
  // The best hit shines above the others.
  const lit = (answer?.hits ?? []).map((hit) => [pointOf(hit), Math.sqrt(hit.relevance)]);
  picture.lit = lit.filter(([index]) => index >= 0).reverse();
  picture.found = answer ? new Uint8Array(picture.count) : null;
  for (const [index] of picture.lit) picture.found[index] = 1;
  ringSelected();
}

function ringSelected() {
  if (!drawn) return;
  const hit = answer?.hits[selected];
  drawn.picture.chosen = hit ? pointOf(hit) : -1;
  drawn.picture.changed();
}

function point(index) {
  canvas.classList.toggle("pointing", index >= 0);
  if (index < 0) {
    hideCard();
    return;
  }
  const { picture, data } = drawn;
  const name = make("p", "place", "");
  name.append(dot(data.group[index]), make("bdi", "", plain(data.documents[data.document[index]]) + data.where[index]));
  const text = make("p", "beginning", plain(data.text[index]));
  text.dir = "auto";
  card.replaceChildren(name, text);
  card.hidden = false;
  const x = picture.screenX(data.x[index]);
  const y = picture.screenY(data.y[index]);
  const inside = (value, most) => Math.max(8, Math.min(value, most - 8));
  const left = x + 14 + card.offsetWidth > picture.width ? x - 14 - card.offsetWidth : x + 14;
  const top = y + 14 + card.offsetHeight > picture.height ? y - 14 - card.offsetHeight : y + 14;
  card.style.left = `${inside(left, picture.width - card.offsetWidth)}px`;
  card.style.top = `${inside(top, picture.height - card.offsetHeight)}px`;
  picture.chosen = index;
  picture.changed();
}

function hideCard() {
  card.hidden = true;
  ringSelected();
}

function openPoint(near) {
  if (!near.length) return;
  const { data } = drawn;
  const [index] = near;
  const hit = answer?.hits.findIndex((one) => pointOf(one) === index) ?? -1;
  if (hit >= 0) {
    openHit(hit);
    return;
  }
  openPlace({
    collection: data.collection,
    document: data.documents[data.document[index]],
    kind: data.kind[index],
    record: data.record[index],
    start: data.start[index],
    end: data.start[index] + data.length[index],
  });
}

function toggleMap() {
  if (shownSide() === "map") closeSide();
  else showSide("map");
}

element("to-map").addEventListener("click", toggleMap);
chooser.addEventListener("change", () => {
  picked = chooser.value;
  showMap();
});
const steps = {
  in: (picture) => picture.zoom(1.4),
  out: (picture) => picture.zoom(1 / 1.4),
  reset: (picture) => picture.showAll(),
};
for (const [id, step] of Object.entries(steps)) {
  element(id).addEventListener("click", () => drawn && step(drawn.picture));
}
