/** Marks on the stage: what they cover, a handle to choose each, and handles for the edges of the chosen one. */

import { channelNames, clock, hertz } from './format.js';
import { app, holding, select } from './state.js';

const MOST = 250; // that are shown at once
const TARGET = 24; // px, the least that a finger is asked to meet

/** @typedef {import('./state.js').Region} Region */

const layer = () => /** @type {HTMLElement} */ (document.getElementById('marks'));
/** @type {Map<string, HTMLElement>} */
let kept = new Map();

/** What a mark is called. @param {Region} region */
export function describe(region) {
  const recording = app.recording;
  if (!recording) return '';
  const band = isBand(region) ? `, ${hertz(region.low_hz ?? 0)} to ${hertz(region.high_hz ?? recording.rate / 2)}` : '';
  const channels = region.channels ? `, channel ${channelNames(region.channels, recording.channels)}` : '';
  return `${clock(region.start / recording.rate)} to ${clock(region.end / recording.rate)}${band}${channels}`;
}

/** Whether a mark is of time and frequency. @param {Region} region */
export function isBand(region) {
  return region.low_hz != null || region.high_hz != null;
}

/** Marks in the order of the table, and the place of each in it; made again when the marks are others. */
let ordered = { of: app.regions, list: app.regions, places: /** @type {Map<string, number>} */ (new Map()) };

function order() {
  if (ordered.of !== app.regions) {
    const list = [...app.regions].sort((one, other) => one.start - other.start || one.end - other.end);
    ordered = { of: app.regions, list, places: new Map(list.map((region, number) => [region.id, number])) };
  }
  return ordered;
}

/** The order of the table: of time. */
export const inOrder = () => order().list;

/**
 * Where a mark is in a lane, in CSS pixels, cut at the edges of what is visible; null where it is not.
 * @param {Region} region
 * @param {import('./lanes.js').Lane} lane
 * @param {import('./pitch.js').Scale} scale
 * @param {import('./view.js').View} view
 */
export function boxOf(region, lane, scale, view) {
  if (region.channels && !region.channels.includes(lane.channel)) return null;
  const left = Math.max(-9, view.x(region.start)), right = Math.min(view.width + 9, view.x(region.end));
  if (right < -8 || left > view.width + 8 || right < left) return null;
  const box = { left, width: right - left, top: lane.top, height: lane.height };
  if (lane.kind === 'spectrum' && isBand(region)) {
    const high = scale.share(region.high_hz ?? Infinity), low = scale.share(region.low_hz ?? 0);
    box.top = lane.top + lane.height * (1 - Math.min(1, high));
    box.height = lane.top + lane.height * (1 - low) - box.top;
  }
  return box;
}

/** @param {string} key @param {string} tag @param {string} name @param {Map<string, HTMLElement>} now */
function keep(key, tag, name, now) {
  let found = kept.get(key);
  if (!found) {
    found = document.createElement(tag);
    if (tag === 'button') /** @type {HTMLButtonElement} */ (found).type = 'button';
    layer().append(found);
  }
  if (found.className !== name) found.className = name;
  now.set(key, found);
  return found;
}

/** @param {HTMLElement} target @param {{left: number, top: number, width: number, height: number}} box */
function put(target, { left, top, width, height }) {
  Object.assign(target.style, { left: `${left}px`, top: `${top}px`, width: `${width}px`, height: `${height}px` });
}

/**
 * Put all marks where they belong.
 * @param {{lanes: import('./lanes.js').Lane[], scale: import('./pitch.js').Scale, drawn: Region | null}} stage
 * @param {import('./view.js').View} view
 */
export function drawMarks(stage, view) {
  const now = new Map();
  const { list, places } = order();
  const visible = list.filter((region) => region.end >= view.start && region.start <= view.end);
  const chosen = visible.find((region) => region.id === app.selected);
  // The smallest lies on top, or it could not be reached.
  const shown = visible.slice(0, MOST).sort((one, other) => area(other, view) - area(one, view));
  if (chosen && !shown.includes(chosen)) shown.push(chosen);
  const held = holding();
  const kind = (/** @type {Region} */ region) => `${held.has(region.id) ? 'done' : region.kind === 'drawn' ? 'drawn' : ''} ${region.id === app.selected ? 'chosen' : ''}`;
  for (const region of stage.drawn ? [...shown, stage.drawn] : shown) {
    const state = region === stage.drawn ? 'drawing' : kind(region);
    stage.lanes.forEach((lane, number) => {
      const box = boxOf(region, lane, stage.scale, view);
      if (box) put(keep(`${region.id} ${number}`, 'span', `mark ${isBand(region) ? 'band' : 'gap'} ${state} ${lane.kind}`, now), box);
    });
  }
  drawTabs(shown, places, kind, stage, view, now);
  if (chosen && !stage.drawn) drawEdges(chosen, stage, view, now);
  for (const [key, old] of kept) if (!now.has(key)) old.remove();
  kept = now;
}

const area = (/** @type {Region} */ region, /** @type {any} */ view) =>
  (region.end - region.start) * (isBand(region) ? (region.high_hz ?? view.rate / 2) - (region.low_hz ?? 0) : view.rate / 2);

/** Numbered tabs to choose marks by; one that would lie over another is left out. */
function drawTabs(/** @type {Region[]} */ shown, /** @type {Map<string, number>} */ places, /** @type {(region: Region) => string} */ kind, /** @type {any} */ stage, /** @type {any} */ view, /** @type {any} */ now) {
  /** @type {{left: number, top: number, right: number}[]} */
  const taken = [];
  const first = [...shown].sort((one, other) => Number(other.id === app.selected) - Number(one.id === app.selected) || one.start - other.start);
  for (const region of first) {
    const lane = stage.lanes.find((/** @type {any} */ one) => (isBand(region) ? one.kind === 'spectrum' : one.kind === 'wave') && boxOf(region, one, stage.scale, view));
    if (!lane) continue;
    const box = /** @type {any} */ (boxOf(region, lane, stage.scale, view));
    const text = String((places.get(region.id) ?? 0) + 1), width = Math.max(TARGET, 12 + 8 * text.length);
    const left = Math.min(Math.max(0, box.left), view.width - width);
    const top = Math.max(lane.top, Math.min(box.top, lane.top + lane.height - TARGET));
    if (taken.some((one) => left < one.right + 1 && left + width > one.left - 1 && Math.abs(top - one.top) <= TARGET)) continue;
    taken.push({ left, top, right: left + width });
    const tab = keep(`tab ${region.id}`, 'button', `tab ${kind(region)}`, now);
    if (tab.textContent !== text) tab.textContent = text;
    tab.dataset.region = region.id;
    tab.setAttribute('aria-label', `Mark ${text}: ${describe(region)}`);
    tab.setAttribute('aria-pressed', String(region.id === app.selected));
    tab.onclick = () => select(region.id);
    put(tab, { left, top, width, height: TARGET });
  }
}

/** Handles for the edges of the chosen mark. */
function drawEdges(/** @type {Region} */ region, /** @type {any} */ stage, /** @type {any} */ view, /** @type {any} */ now) {
  const lanes = stage.lanes.filter((/** @type {any} */ one) => boxOf(region, one, stage.scale, view));
  const band = isBand(region) && lanes.find((/** @type {any} */ one) => one.kind === 'spectrum');
  if (!lanes.length) return;
  const box = /** @type {any} */ (boxOf(region, band || lanes[0], stage.scale, view));
  const last = lanes[lanes.length - 1];
  const tall = band ? box : { ...box, top: lanes[0].top, height: last.top + last.height - lanes[0].top };
  for (const side of ['start', 'end']) {
    const x = view.x(side === 'start' ? region.start : region.end);
    if (x < -1 || x > view.width + 1) continue;
    const left = side === 'start' ? x - TARGET : x; // outside the mark, so that narrow ones keep both
    put(edge(region, side, now), { left, top: tall.top, width: TARGET, height: Math.max(TARGET, tall.height) });
  }
  if (!band) return;
  for (const side of ['low', 'high']) {
    const y = side === 'high' ? box.top - TARGET : box.top + box.height;
    put(edge(region, side, now), { left: Math.max(0, box.left), top: y, width: Math.max(TARGET, Math.min(box.width, view.width)), height: TARGET });
  }
}

const NAMES = { start: 'Start of the mark', end: 'End of the mark', low: 'Lowest frequency', high: 'Highest frequency' };

/** @param {Region} region @param {string} side @param {Map<string, HTMLElement>} now */
function edge(region, side, now) {
  const recording = /** @type {import('./state.js').Recording} */ (app.recording);
  const handle = keep(`edge ${side}`, 'div', `edge ${side}`, now);
  const isTime = side === 'start' || side === 'end';
  const value = isTime ? region[/** @type {'start' | 'end'} */ (side)] / recording.rate
    : side === 'low' ? region.low_hz ?? 0 : region.high_hz ?? recording.rate / 2;
  const said = {
    role: 'slider', tabindex: '0', 'aria-label': NAMES[/** @type {'start'} */ (side)], 'aria-valuemin': '0',
    'aria-valuemax': String(isTime ? recording.samples / recording.rate : recording.rate / 2), 'aria-valuenow': String(value),
    'aria-valuetext': isTime ? clock(value) : hertz(value), 'aria-orientation': isTime ? 'horizontal' : 'vertical',
  };
  for (const [name, text] of Object.entries(said)) if (handle.getAttribute(name) !== text) handle.setAttribute(name, text);
  handle.dataset.edge = side;
  return handle;
}
