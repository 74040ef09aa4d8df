/** What a mouse, a pen or fingers do on the stage: seek, mark, move edges, pan, zoom. */

import { laneAt, shareAt } from './lanes.js';
import { boxOf } from './marks.js';
import { add, letGo, preview, update } from './regions.js';
import { app, select } from './state.js';
import { draw, stage, view } from './stage.js';

const STILL = 4; // px that a click may wander

/** @typedef {import('./state.js').Region} Region */

/** One thing that a pointer is doing; move and end are given places on the stage. @typedef {{move: (x: number, y: number, event: PointerEvent) => void, end: (done: boolean, moved: boolean) => void}} Doing */

/** @type {Map<number, {x: number, y: number, x0: number, y0: number}>} */
const down = new Map();
/** @type {Doing | null} */
let doing = null;
let moved = false;
let marking = false; // on a phone: whether one finger marks instead of moving the view

/** Let one finger mark, or move the view. @param {boolean} on */
export function setMarking(on) {
  marking = on;
  box().classList.toggle('marking', on);
}

const box = () => /** @type {HTMLElement} */ (document.getElementById('stage'));
const edited = (/** @type {Region} */ region) => {
  const { id, ...parts } = region;
  return parts;
};

/** Wheels and pads. @param {WheelEvent} event */
function onWheel(event) {
  if (!app.recording) return;
  event.preventDefault();
  const unit = event.deltaMode === 1 ? 16 : event.deltaMode === 2 ? view.width : 1;
  const across = (event.shiftKey && !event.deltaX ? event.deltaY : event.deltaX) * unit;
  if (event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY)) view.pan(across);
  else view.zoom(1.0018 ** (-event.deltaY * unit * (event.ctrlKey ? 4 : 1)), event.clientX - box().getBoundingClientRect().left);
}

/**
 * Listen to the stage.
 * @param {(sample: number) => void} seek
 */
export function startPointer(seek) {
  const target = box();
  target.addEventListener('wheel', onWheel, { passive: false });
  document.getElementById('axis')?.addEventListener('wheel', onWheel, { passive: false });
  document.getElementById('overview')?.addEventListener('wheel', onWheel, { passive: false });
  target.addEventListener('pointerdown', (event) => {
    if (!app.recording || (event.button !== 0 && event.button !== 1)) return;
    const { x, y } = at(event);
    down.set(event.pointerId, { x, y, x0: x, y0: y });
    target.setPointerCapture(event.pointerId);
    if (down.size === 2) {
      doing?.end(false, moved);
      doing = pinch();
      return;
    }
    moved = false;
    doing = begin(event, x, y, seek);
    if (event.button === 1) event.preventDefault();
  });
  target.addEventListener('pointermove', (event) => {
    const pointer = down.get(event.pointerId);
    if (!pointer) return;
    Object.assign(pointer, at(event));
    if (Math.hypot(pointer.x - pointer.x0, pointer.y - pointer.y0) >= STILL) moved = true;
    if (moved) doing?.move(pointer.x, pointer.y, event);
  });
  const finish = (/** @type {PointerEvent} */ event) => {
    if (!down.delete(event.pointerId)) return;
    if (down.size === 0) {
      const done = doing;
      doing = null;
      done?.end(event.type === 'pointerup', moved);
    }
  };
  target.addEventListener('pointerup', finish);
  target.addEventListener('pointercancel', finish);
  startStrip('axis', (x) => seek(view.sample(x)), () => null);
  startStrip('overview', (x, grip) => view.set((x - grip) * (view.samples / view.width), view.perPixel), (x) => {
    const scale = view.width / view.samples, left = view.start * scale, wide = view.perPixel * view.width * scale;
    return x >= left && x <= left + wide ? x - left : wide / 2;
  });
}

/** Leave what is being done. Whether there was anything. */
export function cancelPointer() {
  if (!doing) return false;
  doing.end(false, moved);
  doing = null;
  return true;
}

/** @param {PointerEvent} event */
function at(event) {
  const frame = box().getBoundingClientRect();
  return { x: event.clientX - frame.left, y: event.clientY - frame.top };
}

/** What a pointer that goes down here does. @returns {Doing} */
function begin(/** @type {PointerEvent} */ event, /** @type {number} */ x, /** @type {number} */ y, /** @type {(sample: number) => void} */ seek) {
  const target = /** @type {HTMLElement} */ (event.target);
  const edge = target.closest('[data-edge]'), tab = target.closest('[data-region]');
  if (edge) return dragEdge(/** @type {HTMLElement} */ (edge).dataset.edge ?? '', x, y);
  if (tab) return dragMark(/** @type {HTMLElement} */ (tab).dataset.region ?? '', x);
  if (event.button === 1 || (event.pointerType === 'touch' && !marking)) return pan(x, y, seek);
  return mark(x, y, event.altKey, seek);
}

/** Draw a new mark; a click only seeks, and chooses what lies there. @returns {Doing} */
function mark(/** @type {number} */ x0, /** @type {number} */ y0, /** @type {boolean} */ whole, /** @type {(sample: number) => void} */ seek) {
  const lane = laneAt(stage.lanes, y0);
  return {
    move(x, y) {
      stage.drawn = { id: 'drawing', kind: 'drawn', ...spanOf(x0, x), ...(lane.kind === 'wave' ? channelsOf(y0, y) : whole ? {} : bandOf(lane, y0, y)) };
      draw();
    },
    end(done, didMove) {
      const drawn = stage.drawn;
      stage.drawn = null;
      draw();
      if (!done) return;
      if (!didMove) click(x0, y0, seek);
      else if (drawn && drawn.end > drawn.start) add(edited(drawn));
    },
  };
}

/** @param {number} x0 @param {number} x */
function spanOf(x0, x) {
  return { start: view.sample(Math.min(x0, x)), end: view.sample(Math.max(x0, x)) };
}

/** The channels whose lanes a drag touched; none named means all. @param {number} y0 @param {number} y */
function channelsOf(y0, y) {
  const touched = stage.lanes.filter((lane) => lane.kind === 'wave' && lane.top < Math.max(y0, y) && lane.top + lane.height >= Math.min(y0, y));
  const channels = touched.map((lane) => lane.channel);
  return channels.length && channels.length < (app.recording?.channels ?? 1) ? { channels } : {};
}

/** @param {import('./lanes.js').Lane} lane @param {number} y0 @param {number} y */
function bandOf(lane, y0, y) {
  const shares = [shareAt(lane, y0), shareAt(lane, y)].sort((one, other) => one - other);
  const top = (app.recording?.rate ?? 2) / 2;
  const low = Math.round(stage.scale.hertz(shares[0])), high = Math.min(top, Math.max(low + 1, Math.round(stage.scale.hertz(shares[1]))));
  return { low_hz: low, high_hz: high };
}

/** @param {number} x @param {number} y @param {(sample: number) => void} seek */
function click(x, y, seek) {
  seek(view.sample(x));
  const lane = laneAt(stage.lanes, y);
  const hit = app.regions.filter((region) => {
    const place = boxOf(region, lane, stage.scale, view);
    return place && x >= place.left - 2 && x <= place.left + place.width + 2 && y >= place.top && y <= place.top + place.height;
  });
  const size = (/** @type {Region} */ region) => (region.end - region.start) * ((region.high_hz ?? view.rate / 2) - (region.low_hz ?? 0));
  select(hit.sort((one, other) => size(one) - size(other))[0]?.id ?? null);
}

/** @returns {Doing} */
function pan(/** @type {number} */ x0, /** @type {number} */ y0, /** @type {(sample: number) => void} */ seek) {
  let before = x0;
  return {
    move(x) {
      view.pan(before - x);
      before = x;
    },
    end(done, didMove) {
      if (done && !didMove) click(x0, y0, seek);
    },
  };
}

/** Two fingers: what lay under each stays there. @returns {Doing} */
function pinch() {
  const fingers = () => [...down.values()].map((one) => one.x).sort((one, other) => one - other);
  const [left, right] = fingers().map((x) => view.at(x));
  moved = true;
  return {
    move() {
      const [x, other] = fingers();
      if (other === undefined || other - x < 8) return;
      const perPixel = Math.min(view.most, Math.max(view.least, (right - left) / (other - x)));
      view.set((left + right) / 2 - ((x + other) / 2) * perPixel, perPixel);
    },
    end() {},
  };
}

/** @returns {Doing} */
function dragEdge(/** @type {string} */ side, /** @type {number} */ x0, /** @type {number} */ y0) {
  const region = app.regions.find((one) => one.id === app.selected);
  if (!region) return { move() {}, end() {} };
  const lane = stage.lanes.find((one) => one.kind === 'spectrum') ?? stage.lanes[0];
  const top = view.rate / 2, first = { ...region };
  /** @type {Partial<Region>} */
  let parts = {};
  return {
    move(x, y) {
      const by = Math.round((x - x0) * view.perPixel);
      const level = (/** @type {number} */ hertz) => Math.round(stage.scale.hertz(Math.min(1, Math.max(0, stage.scale.share(hertz) - (y - y0) / lane.height))));
      if (side === 'start') parts = { start: Math.min(first.end - 1, Math.max(0, first.start + by)) };
      if (side === 'end') parts = { end: Math.max(first.start + 1, Math.min(view.samples, first.end + by)) };
      if (side === 'low') parts = { low_hz: Math.min((first.high_hz ?? top) - 1, level(first.low_hz ?? 0)) };
      if (side === 'high') parts = { high_hz: Math.max((first.low_hz ?? 0) + 1, level(first.high_hz ?? top)) };
      preview(region.id, parts);
    },
    end(done, didMove) {
      if (done && didMove) update(region.id, parts);
      else letGo();
    },
  };
}

/** Move a mark as a whole. @returns {Doing} */
function dragMark(/** @type {string} */ id, /** @type {number} */ x0) {
  const region = app.regions.find((one) => one.id === id);
  if (!region) return { move() {}, end() {} };
  const { start, end } = region;
  let by = 0;
  return {
    move(x) {
      by = Math.max(-start, Math.min(view.samples - end, Math.round((x - x0) * view.perPixel)));
      preview(id, { start: start + by, end: end + by });
    },
    end(done, didMove) {
      if (!didMove) select(id);
      else if (done) update(id, { start: start + by, end: end + by });
      else letGo();
    },
  };
}

/** A strip above the stage that is dragged along. @param {string} id @param {(x: number, grip: any) => void} move @param {(x: number) => any} grip */
function startStrip(id, move, grip) {
  const strip = /** @type {HTMLElement} */ (document.getElementById(id));
  /** @type {any} */
  let held;
  const place = (/** @type {PointerEvent} */ event) => event.clientX - strip.getBoundingClientRect().left;
  strip.addEventListener('pointerdown', (event) => {
    if (!app.recording || event.button !== 0) return;
    strip.setPointerCapture(event.pointerId);
    held = grip(place(event));
    move(place(event), held);
  });
  strip.addEventListener('pointermove', (event) => {
    if (strip.hasPointerCapture(event.pointerId)) move(place(event), held);
  });
}
