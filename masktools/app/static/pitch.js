/** The scales of frequency: where on the height of a spectrogram a frequency lies. */

/**
 * @typedef {{name: string, share: (hertz: number) => number, hertz: (share: number) => number, ticks: number[]}} Scale
 */

const mel = (/** @type {number} */ hertz) => 2595 * Math.log10(1 + hertz / 700);
const unmel = (/** @type {number} */ value) => 700 * (10 ** (value / 2595) - 1);

/**
 * A scale from 0 Hz (share 0, at the bottom) to half the sample rate (share 1).
 * @param {string} name mel or linear
 * @param {number} rate samples per second
 * @returns {Scale}
 */
export function makeScale(name, rate) {
  const top = rate / 2;
  if (name === 'linear') {
    const step = [500, 1000, 2000, 2500, 5000, 10000, 20000].find((wide) => top / wide <= 6) ?? 40000;
    const ticks = Array.from({ length: Math.floor(top / step) + 1 }, (_, number) => number * step);
    return { name, share: (hertz) => hertz / top, hertz: (share) => share * top, ticks };
  }
  const all = [100, 200, 500, 1000, 2000, 3000, 5000, 8000, 12000, 16000, 20000, 30000, 40000, 60000, 90000];
  return {
    name, share: (hertz) => mel(hertz) / mel(top), hertz: (share) => unmel(share * mel(top)),
    ticks: all.filter((hertz) => hertz <= top),
  };
}
