/** Waveforms: lowest and highest sample of each column, or the samples themselves where there are few. */

import { stamp } from './state.js';

const COLUMNS = 1024; // of a piece of peaks
const SAMPLES = 16384; // of a piece of samples
const FINE = 9; // levels below are read from the samples themselves
const FEW = 4; // samples in a device pixel, below which samples are drawn

/** @typedef {import('./loader.js').Wish} Wish */

/**
 * @typedef {{recording: import('./state.js').Recording, side: string, start: number, perPixel: number, width: number}} Span
 * width in device pixels, perPixel samples in one of them
 */

/** @param {Span} span */
function grid(span) {
  if (span.perPixel < FEW) return { level: -1, piece: SAMPLES };
  const level = Math.floor(Math.log2(span.perPixel));
  return { level, piece: COLUMNS * 2 ** level };
}

/** What is needed to draw a span. @param {Span} span @returns {Wish[]} */
export function wishes(span) {
  const { level, piece } = grid(span);
  const { recording, side } = span;
  const end = Math.min(recording.samples, span.start + span.perPixel * span.width);
  const wanted = [];
  for (let number = Math.max(0, Math.floor(span.start / piece)); number * piece < end; number++) {
    const from = number * piece;
    const base = `api/recordings/${recording.id}/`;
    wanted.push({
      key: `${recording.id} ${side} w${level} ${number}`, stamp: level < FINE ? stamp(side) : stamp(side, from, from + piece),
      path: level < 0
        ? `${base}samples/${side}?from=${from}&count=${Math.min(piece, recording.samples - from)}`
        : `${base}peaks?side=${side}&from=${from}&to=${from + piece}&width=${COLUMNS}`,
      read: async (/** @type {Response} */ response) => {
        const bytes = await response.arrayBuffer();
        return level < 0 ? new Float32Array(bytes) : new Int16Array(bytes);
      },
    });
  }
  return wanted;
}

/** Where a channel lies in a piece: samples are planar, peaks are (channel, column, 2). */
function part(/** @type {ArrayLike<number>} */ all, /** @type {number} */ channel, /** @type {number} */ channels) {
  const size = all.length / channels;
  return { offset: channel * size, size };
}

/**
 * Draw one channel's lane.
 * @param {CanvasRenderingContext2D} context in device pixels
 * @param {import('./loader.js').Loader} loader
 * @param {Span} span
 * @param {number} channel
 * @param {{top: number, height: number}} box device pixels
 */
export function drawWave(context, loader, span, channel, box) {
  const { level } = grid(span);
  if (level >= 0 || !drawSamples(context, loader, span, channel, box)) {
    drawPeaks(context, loader, span, channel, box, Math.max(2, level));
  }
}

/** @type {(...args: [...Parameters<typeof drawWave>, number]) => void} */
function drawPeaks(context, loader, span, channel, box, level) {
  const middle = box.top + box.height / 2, half = box.height / 2 - 1;
  const find = finder(loader, span, channel);
  let before = null;
  context.beginPath();
  for (let x = 0; x < span.width; x++) {
    const from = span.start + x * span.perPixel;
    if (from >= span.recording.samples || from + span.perPixel <= 0) continue;
    const found = find(from, from + span.perPixel, level);
    const now = found && { high: middle - (found.high / 32768) * half, low: middle - (found.low / 32768) * half };
    if (now) {
      const high = before ? Math.min(now.high, before.low) : now.high;
      const low = before ? Math.max(now.low, before.high) : now.low;
      context.rect(x, high - 0.5, 1, Math.max(1, low - high + 1));
    }
    before = now;
  }
  context.fill();
}

/** A function that finds lowest and highest sample of a span, at the finest level that has arrived. */
function finder(/** @type {import('./loader.js').Loader} */ loader, /** @type {Span} */ span, /** @type {number} */ channel) {
  const { recording, side } = span;
  const pieces = new Map();
  const piece = (/** @type {number} */ level, /** @type {number} */ number) => {
    const place = level * 1e9 + number;
    if (!pieces.has(place)) {
      const found = loader.get(`${recording.id} ${side} w${level} ${number}`);
      pieces.set(place, found ?? (side === 'after' ? loader.get(`${recording.id} before w${level} ${number}`) : null));
    }
    return pieces.get(place);
  };
  return (/** @type {number} */ from, /** @type {number} */ to, /** @type {number} */ level) => {
    for (let tried = level; tried < level + 18; tried++) {
      const first = Math.max(0, Math.floor(from / 2 ** tried)), last = Math.max(first, Math.ceil(to / 2 ** tried) - 1);
      const found = { low: 32767, high: -32768 };
      for (let number = first; number <= last; number++) {
        const all = piece(tried, Math.floor(number / COLUMNS));
        if (!all) break;
        const { offset, size } = part(all, channel, recording.channels);
        const place = 2 * (number % COLUMNS);
        if (place >= size) break;
        found.low = Math.min(found.low, all[offset + place]);
        found.high = Math.max(found.high, all[offset + place + 1]);
      }
      if (found.low <= found.high) return found;
    }
    return null;
  };
}

/** @type {(...args: Parameters<typeof drawWave>) => boolean} whether all samples were there */
function drawSamples(context, loader, span, channel, box) {
  const { recording, side } = span;
  const middle = box.top + box.height / 2, half = box.height / 2 - 1;
  const first = Math.max(0, Math.floor(span.start) - 1);
  const last = Math.min(recording.samples - 1, Math.ceil(span.start + span.perPixel * span.width) + 1);
  const points = [];
  for (let number = Math.floor(first / SAMPLES); number <= Math.floor(last / SAMPLES); number++) {
    const all = loader.get(`${recording.id} ${side} w-1 ${number}`);
    if (!all) return false;
    const { offset, size } = part(all, channel, recording.channels);
    const base = number * SAMPLES;
    for (let sample = Math.max(first, base); sample <= Math.min(last, base + size - 1); sample++) {
      points.push([(sample - span.start) / span.perPixel, middle - all[offset + sample - base] * half]);
    }
  }
  const dots = 1 / span.perPixel >= 6;
  context.strokeStyle = context.fillStyle;
  context.lineWidth = dots ? 1.5 : 1.2;
  context.lineJoin = 'round';
  context.beginPath();
  points.forEach(([x, y], number) => (number ? context.lineTo(x, y) : context.moveTo(x, y)));
  context.stroke();
  context.beginPath();
  for (const [x, y] of dots ? points : []) {
    context.moveTo(x + 3, y);
    context.arc(x, y, 3, 0, 7);
  }
  context.fill();
  return true;
}
