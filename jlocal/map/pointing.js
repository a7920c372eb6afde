// Pointer, wheel and keys on a picture: point, drag, pinch, zoom.

const REACH = { mouse: 10, pen: 14, touch: 22 };

/**
 * Let a person move a picture, and point at its points.
 *
 * `hover` is called with the points near the mouse, `click` with those that were clicked, and
 * `release` when the picture moves or the mouse leaves it.
 */
function listen(picture, { hover, click, release, leave }) {
  const { canvas, move, zoom, near, showAll } = picture;
  const pressed = new Map();
  let travelled = 0;

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

  const around = (here, pointer) => near(here.x, here.y, REACH[pointer] ?? REACH.mouse);

  function pointerDown(event) {
    canvas.setPointerCapture(event.pointerId);
    if (!pressed.size) travelled = 0;
    pressed.set(event.pointerId, place(event));
  }

  function pointerMove(event) {
    const here = place(event);
    const before = pressed.get(event.pointerId);
    if (!before) {
      hover(around(here, event.pointerType));
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
  }

  function pointerEnd(event) {
    if (event.type === "pointerup" && pressed.size === 1 && travelled <= 4) {
      click(around(place(event), event.pointerType));
    }
    pressed.delete(event.pointerId);
    if (!pressed.size) canvas.classList.remove("dragging");
  }

  function wheel(event) {
    event.preventDefault();
    const here = place(event);
    const lines = event.deltaMode === WheelEvent.DOM_DELTA_LINE ? 16 : 1;
    // A pinch on a touchpad comes as a wheel with Ctrl, in small steps.
    zoom(Math.exp(-event.deltaY * lines * (event.ctrlKey ? 0.01 : 0.0015)), here.x, here.y);
    release();
  }

  const keys = {
    ArrowLeft: () => move(60, 0),
    ArrowRight: () => move(-60, 0),
    ArrowUp: () => move(0, 60),
    ArrowDown: () => move(0, -60),
    "+": () => zoom(1.4),
    "=": () => zoom(1.4),
    "-": () => zoom(1 / 1.4),
    0: showAll,
  };

  function keyDown(event) {
    if (!(event.key in keys) || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    event.stopPropagation();
    release();
    keys[event.key]();
  }

  // As properties, so that another picture on the canvas takes their place.
  Object.assign(canvas, {
    onpointerdown: pointerDown,
    onpointermove: pointerMove,
    onpointerup: pointerEnd,
    onpointercancel: pointerEnd,
    onpointerleave: () => pressed.size || leave(),
    onwheel: wheel,
    onkeydown: keyDown,
  });
}
