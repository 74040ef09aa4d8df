/** The lanes of the stage: waveforms above, spectrograms below, each with its channel and its place. */

/**
 * @typedef {{kind: 'wave' | 'spectrum', channel: number, top: number, height: number}} Lane
 */

const BETWEEN = 6; // px between waveforms and spectrograms

/**
 * @param {number} height CSS pixels of the stage
 * @param {number} channels of the recording
 * @param {number[]} shown channels whose spectrogram is shown
 * @returns {Lane[]} from the top to the bottom
 */
export function layOut(height, channels, shown) {
  const share = channels === 1 ? 0.3 : channels === 2 ? 0.4 : 0.55;
  const waves = Math.round((height - BETWEEN) * share);
  const lanes = /** @type {Lane[]} */ ([]);
  const add = (/** @type {'wave' | 'spectrum'} */ kind, /** @type {number[]} */ list, /** @type {number} */ top, /** @type {number} */ room) =>
    list.forEach((channel, number) => {
      const from = Math.round(top + (room * number) / list.length);
      const to = Math.round(top + (room * (number + 1)) / list.length);
      lanes.push({ kind, channel, top: from, height: to - from - (number < list.length - 1 ? 2 : 0) });
    });
  add('wave', Array.from({ length: channels }, (_, channel) => channel), 0, waves);
  add('spectrum', shown, waves + BETWEEN, height - BETWEEN - waves);
  return lanes;
}

/** The lane at a height, the nearest one outside. @param {Lane[]} lanes @param {number} y */
export function laneAt(lanes, y) {
  return lanes.find((lane) => y < lane.top + lane.height) ?? lanes[lanes.length - 1];
}

/** The share of a lane's height at y, 0 at its bottom and 1 at its top. @param {Lane} lane @param {number} y */
export function shareAt(lane, y) {
  return Math.min(1, Math.max(0, 1 - (y - lane.top) / lane.height));
}
