// A picture of points: which are shown, the camera, and drawing. What a person does with it is in
// pointing.js and on the pages.

const PADDING = 36;

/**
 * Make a picture on a canvas, which fills its parent.
 *
 * The data has x and y of each point, from -10,000 to 10,000, its group, and the names of all
 * groups. Points that are found are bright, and at least as large as `least` says.
 */
function makePicture(canvas, data, least = 0) {
  const context = canvas.getContext("2d");
  const count = data.x.length;
  const furthest = (values) => values.reduce((most, value) => Math.max(most, Math.abs(value)), 1);
  const reach = { x: furthest(data.x), y: furthest(data.y) };
  const camera = { x: 0, y: 0, scale: 1, all: 1, moved: false };

  const picture = {
    canvas,
    count,
    camera,
    hidden: new Set(), // groups
    found: null, // one byte for each point; null where nothing is looked for
    lit: [], // indices that shine, each with its strength from 0 to 1
    chosen: -1,
    width: 0,
    height: 0,
    resized: () => {},
  };

  const isShown = (index) => !picture.hidden.has(data.group[index]);
  const isFound = (index) => picture.found === null || picture.found[index] === 1;

  // The camera: y points up in the picture and down on the screen.

  const screenX = (x) => picture.width / 2 + (x - camera.x) * camera.scale;
  const screenY = (y) => picture.height / 2 - (y - camera.y) * camera.scale;

  function showAll() {
    const across = Math.max(picture.width / 2 - PADDING, 1) / reach.x;
    const up = Math.max(picture.height / 2 - PADDING, 1) / reach.y;
    Object.assign(camera, { x: 0, y: 0, scale: Math.min(across, up), moved: false });
    camera.all = camera.scale;
    changed();
  }

  function move(right, down) {
    camera.x -= right / camera.scale;
    camera.y += down / camera.scale;
    camera.moved = true;
    changed();
  }

  function zoom(factor, atX = picture.width / 2, atY = picture.height / 2) {
    const before = camera.scale;
    camera.scale = Math.min(Math.max(before * factor, camera.all / 4), camera.all * 400);
    const kept = 1 / before - 1 / camera.scale;
    camera.x += (atX - picture.width / 2) * kept;
    camera.y -= (atY - picture.height / 2) * kept;
    camera.moved = true;
    changed();
  }

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

  // Drawing: the disc of a colour is drawn once and copied to all of its points.

  // Points of one folder follow each other; drawn so, the last folder would cover the others.
  const stride = count % 7919 ? 7919 : 7907;
  const order = Uint32Array.from({ length: count }, (_, place) => (place * stride) % count);

  let ratio = 1;
  let colours = {};
  let radius = 0;
  let discs = [];
  let bright = { radius: 0, discs: [] };
  let waiting = false;

  function changed() {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => {
      waiting = false;
      draw();
    });
  }

  function readColours() {
    const style = getComputedStyle(document.documentElement);
    const names = ["paper", "ink", ...data.groups.map((_, group) => `c${group}`)];
    colours = Object.fromEntries(names.map((name) => [name, style.getPropertyValue(`--${name}`)]));
    radius = 0;
    changed();
  }

  function disc(colour, size) {
    const half = Math.ceil((size + 1) * ratio);
    const made = document.createElement("canvas");
    made.width = made.height = 2 * half;
    const brush = made.getContext("2d");
    brush.beginPath();
    brush.arc(half, half, size * ratio, 0, 2 * Math.PI);
    brush.fillStyle = colour;
    brush.fill();
    if (size > 2.5) {
      brush.lineWidth = 0.8 * ratio;
      brush.strokeStyle = colours.paper;
      brush.stroke();
    }
    return made;
  }

  const allDiscs = (size) => data.groups.map((_, group) => disc(colours[`c${group}`], size));

  function draw() {
    const crowded = Math.sqrt((picture.width * picture.height) / count) * 0.17;
    const closer = Math.max(camera.scale / camera.all, 1) ** 0.3;
    const wanted = Math.round(Math.min(Math.max(crowded, 1.5), 5.5) * closer * 4) / 4;
    if (wanted !== radius) {
      radius = wanted;
      discs = allDiscs(radius);
      const larger = Math.max(radius, least);
      bright = { radius: larger, discs: larger > radius ? allDiscs(larger) : discs };
    }
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, canvas.width, canvas.height);
    // Where there are many, one should still see where they are dense.
    const alpha = count > 10_000 ? 0.5 : 0.82;
    if (picture.found === null) {
      copyDiscs(alpha, () => true, discs, radius);
    } else {
      copyDiscs(0.14, (index) => !isFound(index), discs, radius);
      copyDiscs(1, isFound, bright.discs, bright.radius);
    }
    for (const [index, strength] of picture.lit) shine(index, strength);
    if (picture.chosen >= 0) ring(picture.chosen);
  }

  /** Draw a point above all others, in a light that is as wide as it is strong. */
  function shine(index, strength) {
    if (!isShown(index)) return;
    const size = bright.radius * (0.75 + 0.5 * strength);
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.fillStyle = colours[`c${data.group[index]}`];
    for (const [wide, alpha] of [[3.4, 0.1], [2.3, 0.17], [1, 1]]) {
      context.globalAlpha = alpha * (wide > 1 ? strength : 0.45 + 0.55 * strength);
      context.beginPath();
      context.arc(screenX(data.x[index]), screenY(data.y[index]), size * wide, 0, 2 * Math.PI);
      context.fill();
    }
    context.globalAlpha = 1;
  }

  function copyDiscs(alpha, wanted, copied, size) {
    context.globalAlpha = alpha;
    // So small a disc looks like a square, which without a GPU is drawn three times as fast.
    const small = size * ratio < 2;
    const half = small ? 0.9 * size * ratio : copied[0].width / 2;
    for (const index of order) {
      if (!isShown(index) || !wanted(index)) continue;
      const x = screenX(data.x[index]);
      const y = screenY(data.y[index]);
      if (x < -size || y < -size || x > picture.width + size || y > picture.height + size) continue;
      const left = x * ratio - half;
      const top = y * ratio - half;
      if (small) {
        context.fillStyle = colours[`c${data.group[index]}`];
        context.fillRect(left, top, 2 * half, 2 * half);
      } else {
        context.drawImage(copied[data.group[index]], left, top);
      }
    }
    context.globalAlpha = 1;
  }

  function ring(index) {
    const size = isFound(index) && picture.found !== null ? bright.radius : radius;
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.beginPath();
    context.arc(screenX(data.x[index]), screenY(data.y[index]), size + 3.5, 0, 2 * Math.PI);
    context.lineWidth = 2;
    context.strokeStyle = colours.ink;
    context.stroke();
  }

  const watcher = new ResizeObserver(() => {
    ratio = window.devicePixelRatio || 1;
    picture.width = canvas.parentElement.clientWidth;
    picture.height = canvas.parentElement.clientHeight;
    canvas.width = Math.round(picture.width * ratio);
    canvas.height = Math.round(picture.height * ratio);
    radius = 0;
    if (!camera.moved) showAll();
    picture.resized();
    changed();
  });
  watcher.observe(canvas.parentElement);

  return Object.assign(picture, {
    isShown, isFound, screenX, screenY, showAll, move, zoom, near, changed, readColours,
    close: () => watcher.disconnect(),
  });
}
