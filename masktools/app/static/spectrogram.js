/** Spectrograms: tiles of 256 x 256 that the server draws, laid out on the time axis. */

import { stamp } from './state.js';

const SIZE = 256;
const SMALLEST = 16; // samples in a column of level 0
const LEVELS = 20;
const FINE = 8; // levels below are drawn from the samples themselves

/**
 * @typedef {import('./waveform.js').Span & {scale: string}} Spectrum
 */

/** @param {number} perPixel */
function levelOf(perPixel) {
  return Math.min(LEVELS, Math.max(0, Math.round(Math.log2(perPixel / SMALLEST) - 0.2)));
}

const key = (/** @type {Spectrum} */ span, /** @type {number} */ channel, /** @type {number} */ level, /** @type {number} */ index) =>
  `${span.recording.id} ${span.side} ${channel} ${span.scale} t${level} ${index}`;

/**
 * What is needed to draw a span, nearest the middle first.
 * @param {Spectrum} span
 * @param {number} channel
 * @returns {import('./loader.js').Wish[]}
 */
export function tileWishes(span, channel) {
  const level = levelOf(span.perPixel), wide = SIZE * SMALLEST * 2 ** level;
  const end = Math.min(span.recording.samples, span.start + span.perPixel * span.width);
  const middle = span.start + (span.perPixel * span.width) / 2;
  const wanted = [];
  for (let index = Math.max(0, Math.floor(span.start / wide)); index * wide < end; index++) {
    const seen = level < FINE ? stamp(span.side) : stamp(span.side, index * wide, (index + 1) * wide);
    wanted.push({
      key: key(span, channel, level, index), stamp: seen, away: Math.abs((index + 0.5) * wide - middle),
      path: `api/recordings/${span.recording.id}/tiles/${span.side}/${channel}/${span.scale}/${level}/${index}.png` +
        `?r=${span.recording.revision}`,
      read: async (/** @type {Response} */ response) => createImageBitmap(await response.blob()),
    });
  }
  return wanted.sort((one, other) => one.away - other.away);
}

/**
 * Draw one channel's spectrogram; where a tile has not arrived, a coarser or a finer one stands in.
 * @param {CanvasRenderingContext2D} context in device pixels
 * @param {import('./loader.js').Loader} loader
 * @param {Spectrum} span
 * @param {number} channel
 * @param {{top: number, height: number}} box device pixels
 */
export function drawTiles(context, loader, span, channel, box) {
  const level = levelOf(span.perPixel), wide = SIZE * SMALLEST * 2 ** level;
  const end = Math.min(span.recording.samples, span.start + span.perPixel * span.width);
  context.save();
  context.beginPath();
  context.rect(0, box.top, (end - span.start) / span.perPixel, box.height);
  context.clip();
  context.imageSmoothingEnabled = true;
  context.imageSmoothingQuality = 'high';
  for (let index = Math.max(0, Math.floor(span.start / wide)); index * wide < end; index++) {
    // What is not repaired is the same on both sides: rather that for a moment than nothing.
    const found = loader.get(key(span, channel, level, index)) ??
      (span.side === 'after' ? loader.get(key({ ...span, side: 'before' }, channel, level, index)) : null);
    if (found) place(context, found, [0, SIZE], index * wide, wide, span, box);
    else standIn(context, loader, span, channel, level, index, box);
  }
  context.restore();
}

/** Draw columns of a tile where samples from..from + count are. */
function place(/** @type {CanvasRenderingContext2D} */ context, /** @type {ImageBitmap} */ tile, /** @type {number[]} */ [first, columns],
  /** @type {number} */ from, /** @type {number} */ count, /** @type {Spectrum} */ span, /** @type {any} */ box) {
  const left = (from - span.start) / span.perPixel, right = (from + count - span.start) / span.perPixel;
  context.drawImage(tile, first, 0, columns, SIZE, left, box.top, right - left + 0.5, box.height);
}

/** What is there of other levels, in place of a tile. */
function standIn(/** @type {CanvasRenderingContext2D} */ context, /** @type {import('./loader.js').Loader} */ loader,
  /** @type {Spectrum} */ span, /** @type {number} */ channel, /** @type {number} */ level, /** @type {number} */ index, /** @type {any} */ box) {
  const wide = SIZE * SMALLEST * 2 ** level;
  for (let up = 1; up <= 8 && level + up <= LEVELS; up++) {
    const found = loader.get(key(span, channel, level + up, index >> up));
    if (!found) continue;
    const columns = SIZE / 2 ** up, first = (index - ((index >> up) << up)) * columns;
    place(context, found, [first, columns], index * wide, wide, span, box);
    return;
  }
  for (let half = 0; half < 2 && level > 0; half++) {
    const found = loader.get(key(span, channel, level - 1, 2 * index + half));
    if (found) place(context, found, [0, SIZE], (2 * index + half) * (wide / 2), wide / 2, span, box);
  }
}
