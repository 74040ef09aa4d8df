/** The axes: times above the lanes, frequencies beside them, and the lines that cross a spectrogram. */

import { clock, hertz, places, tickStep } from './format.js';

/**
 * @typedef {{ink: string, soft: string, line: string, paper: string, wave: string, seen: string, done: string, drawn: string, lane: string,
 *   limit: string, font: string}} Colours
 */

/**
 * Draw the time axis.
 * @param {CanvasRenderingContext2D} context in CSS pixels
 * @param {import('./view.js').View} view
 * @param {number} height
 * @param {Colours} colours
 */
export function drawTimes(context, view, height, colours) {
  context.clearRect(0, 0, view.width, height);
  const step = tickStep(view.perPixel / view.rate), decimals = places(step);
  const small = step / (String(step).includes('2') && step !== 0.25 ? 4 : 5);
  context.font = `11px ${colours.font}`;
  context.textBaseline = 'middle';
  const first = Math.floor(view.start / view.rate / small), last = Math.ceil(Math.min(view.end, view.samples) / view.rate / small);
  for (let number = first; number <= last; number++) {
    const second = number * small, x = Math.round(view.x(second * view.rate)) + 0.5;
    const whole = Math.abs(second / step - Math.round(second / step)) < 1e-6;
    context.fillStyle = whole ? colours.soft : colours.line;
    context.fillRect(x - 0.5, height - (whole ? 7 : 4), 1, whole ? 7 : 4);
    if (!whole || second > view.samples / view.rate + 1e-9) continue;
    const text = clock(second, decimals), wide = context.measureText(text).width;
    const left = Math.min(Math.max(2, x - wide / 2), view.width - wide - 2);
    if (Math.abs(left + wide / 2 - x) > wide / 2 + 4) continue;
    context.fillStyle = colours.soft;
    context.fillText(text, left, height / 2 - 3);
  }
}

/**
 * Draw the frequencies of a spectrogram over it, on its left.
 * @param {CanvasRenderingContext2D} context in CSS pixels
 * @param {import('./pitch.js').Scale} scale
 * @param {import('./lanes.js').Lane} lane
 */
export function drawFrequencies(context, scale, lane) {
  let before = Infinity;
  for (const value of scale.ticks) {
    const y = lane.top + lane.height * (1 - scale.share(value));
    if (before - y < 18 || y < lane.top + 9 || y > lane.top + lane.height - 6) continue;
    const text = hertz(value);
    label(context, text, 4, y, '#e8edf2');
    context.fillStyle = '#ffffff26';
    context.fillRect(context.measureText(text).width + 10, Math.round(y), 5, 1);
    before = y;
  }
}

/** Text that can be read over any spectrogram. */
export function label(/** @type {CanvasRenderingContext2D} */ context, /** @type {string} */ text, /** @type {number} */ x, /** @type {number} */ y, /** @type {string} */ colour) {
  context.textBaseline = 'middle';
  context.lineJoin = 'round';
  context.lineWidth = 3;
  context.strokeStyle = '#07080cb0';
  context.strokeText(text, x, y);
  context.fillStyle = colour;
  context.fillText(text, x, y);
}

/**
 * Draw a line across a spectrogram with words at its right end.
 * @param {CanvasRenderingContext2D} context in CSS pixels
 * @param {import('./lanes.js').Lane} lane
 * @param {number} share of the height
 * @param {number} width
 * @param {string} words
 * @param {{colour: string, dash: number[], above: boolean}} style
 */
export function drawLevel(context, lane, share, width, words, { colour, dash, above }) {
  const y = Math.round(lane.top + lane.height * (1 - share)) + 0.5;
  context.save();
  context.strokeStyle = colour;
  context.lineWidth = 1;
  context.setLineDash(dash);
  context.beginPath();
  context.moveTo(0, y);
  context.lineTo(width, y);
  context.stroke();
  context.restore();
  const wide = context.measureText(words).width;
  const place = above ? Math.max(y - 9, lane.top + 8) : Math.min(y + 9, lane.top + lane.height - 8);
  label(context, words, width - wide - 8, place, colour);
}
