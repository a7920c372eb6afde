"use strict";

// The picture: data, camera and drawing. What a person does with it is in page.js.

const element = (id) => document.getElementById(id);
const data = JSON.parse(element("data").textContent);
element("data").remove();

const count = data.x.length;
const stage = element("stage");
const canvas = element("canvas");
const context = canvas.getContext("2d");
const card = element("card");
const query = element("query");
const dark = matchMedia("(prefers-color-scheme: dark)");

const PADDING = 36;
const REACH = { mouse: 10, pen: 14, touch: 22 };

const formatter = new Intl.NumberFormat("en");
const format = (value) => formatter.format(value);
const points = (value) => `${format(value)} ${value === 1 ? "point" : "points"}`;

// What texts may hold is shown as text always; these would act on it or not be seen.
const plain = (text) => text.replace(/[\p{Cc}\u202a-\u202e\u2066-\u2069]/gu, "\ufffd");

const make = (tag, name, text) => {
  const made = document.createElement(tag);
  made.className = name;
  made.textContent = text;
  return made;
};

const dot = (group) => {
  const made = make("span", "dot", "");
  made.style.color = made.style.background = `var(--c${group})`;
  return made;
};

// Which points are shown, and which are found; null where nothing is looked for.

const hidden = new Set();
let found = null;
let chosen = -1;
let pinned = false;

const isShown = (index) => !hidden.has(data.group[index]);
const isFound = (index) => found === null || found[index] === 1;

const sizes = new Array(data.groups.length).fill(0);
for (const group of data.group) sizes[group] += 1;

// The camera: y points up in the picture and down on the screen.

const camera = { x: 0, y: 0, scale: 1, all: 1, moved: false };
let width = 0;
let height = 0;
const furthest = (values) => values.reduce((most, value) => Math.max(most, Math.abs(value)), 1);
const reach = { x: furthest(data.x), y: furthest(data.y) };

const screenX = (x) => width / 2 + (x - camera.x) * camera.scale;
const screenY = (y) => height / 2 - (y - camera.y) * camera.scale;

function showAll() {
  const across = Math.max(width / 2 - PADDING, 1) / reach.x;
  const up = Math.max(height / 2 - PADDING, 1) / reach.y;
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

function zoom(factor, atX = width / 2, atY = height / 2) {
  const before = camera.scale;
  camera.scale = Math.min(Math.max(before * factor, camera.all / 4), camera.all * 400);
  const kept = 1 / before - 1 / camera.scale;
  camera.x += (atX - width / 2) * kept;
  camera.y -= (atY - height / 2) * kept;
  camera.moved = true;
  changed();
}

// Drawing: the disc of a colour is drawn once and copied to all of its points.

// Points of one folder follow each other; drawn so, the last folder would cover the others.
const stride = count % 7919 ? 7919 : 7907;
const order = Uint32Array.from({ length: count }, (_, place) => (place * stride) % count);

let ratio = 1;
let colours = [];
let discs = [];
let radius = 0;
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

function disc(colour) {
  const half = Math.ceil((radius + 1) * ratio);
  const made = document.createElement("canvas");
  made.width = made.height = 2 * half;
  const brush = made.getContext("2d");
  brush.beginPath();
  brush.arc(half, half, radius * ratio, 0, 2 * Math.PI);
  brush.fillStyle = colour;
  brush.fill();
  if (radius > 2.5) {
    brush.lineWidth = 0.8 * ratio;
    brush.strokeStyle = colours.paper;
    brush.stroke();
  }
  return made;
}

function draw() {
  const crowded = Math.sqrt((width * height) / count) * 0.17;
  const closer = Math.max(camera.scale / camera.all, 1) ** 0.3;
  const wanted = Math.round(Math.min(Math.max(crowded, 1.5), 5.5) * closer * 4) / 4;
  if (wanted !== radius) {
    radius = wanted;
    discs = data.groups.map((_, group) => disc(colours[`c${group}`]));
  }
  context.setTransform(1, 0, 0, 1, 0, 0);
  context.clearRect(0, 0, canvas.width, canvas.height);
  if (found !== null) copyDiscs(0.14, (index) => !isFound(index));
  // Where there are many, one should still see where they are dense.
  const alpha = count > 10_000 ? 0.5 : 0.82;
  copyDiscs(found === null ? alpha : 1, isFound);
  if (chosen >= 0) ring(chosen);
}

function copyDiscs(alpha, wanted) {
  context.globalAlpha = alpha;
  // So small a disc looks like a square, which without a GPU is drawn three times as fast.
  const small = radius * ratio < 2;
  const half = small ? 0.9 * radius * ratio : discs[0].width / 2;
  for (const index of order) {
    if (!isShown(index) || !wanted(index)) continue;
    const x = screenX(data.x[index]);
    const y = screenY(data.y[index]);
    if (x < -radius || y < -radius || x > width + radius || y > height + radius) continue;
    const left = x * ratio - half;
    const top = y * ratio - half;
    if (small) {
      context.fillStyle = colours[`c${data.group[index]}`];
      context.fillRect(left, top, 2 * half, 2 * half);
    } else {
      context.drawImage(discs[data.group[index]], left, top);
    }
  }
  context.globalAlpha = 1;
}

function ring(index) {
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.beginPath();
  context.arc(screenX(data.x[index]), screenY(data.y[index]), radius + 3.5, 0, 2 * Math.PI);
  context.lineWidth = 2;
  context.strokeStyle = colours.ink;
  context.stroke();
}
