/** The one time axis: which samples are visible, and where on the screen each of them is. */

export const LEAST_SECONDS = 0.004;

/** What is visible of a recording, in samples and CSS pixels. */
export class View {
  /** @param {() => void} changed called after every change */
  constructor(changed) {
    this.changed = changed;
    this.samples = 1;
    this.rate = 44100;
    this.width = 1;
    /** The sample at the left edge, with a fraction. */
    this.start = 0;
    /** Samples in one CSS pixel. */
    this.perPixel = 1;
  }

  /** @param {number} samples @param {number} rate */
  open(samples, rate) {
    this.samples = Math.max(1, samples);
    this.rate = rate;
    this.fit();
  }

  /** The length turned out to be another than was claimed. @param {number} samples */
  lengthen(samples) {
    const whole = this.perPixel >= this.most * 0.999;
    this.samples = Math.max(1, samples);
    if (whole) this.fit();
    else this.set(this.start, this.perPixel);
  }

  /** @param {number} width CSS pixels */
  resize(width) {
    if (width === this.width || width < 1) return;
    const shown = this.perPixel * this.width;
    this.width = width;
    this.set(this.start, shown / width);
  }

  /** Samples in a pixel with everything visible. */
  get most() {
    return Math.max(this.samples, this.rate * LEAST_SECONDS) / this.width;
  }

  get least() {
    return Math.min(this.most, (LEAST_SECONDS * this.rate) / this.width);
  }

  get end() {
    return this.start + this.perPixel * this.width;
  }

  /** @param {number} sample @returns {number} CSS pixels from the left edge */
  x(sample) {
    return (sample - this.start) / this.perPixel;
  }

  /** @param {number} x @returns {number} the sample there, with a fraction */
  at(x) {
    return this.start + x * this.perPixel;
  }

  /** The whole sample nearest to x, inside the recording. @param {number} x */
  sample(x) {
    return Math.min(this.samples, Math.max(0, Math.round(this.at(x))));
  }

  /** @param {number} start @param {number} perPixel */
  set(start, perPixel) {
    this.perPixel = Math.min(this.most, Math.max(this.least, perPixel));
    this.start = Math.min(Math.max(0, start), Math.max(0, this.samples - this.perPixel * this.width));
    this.changed();
  }

  /** Zoom, and keep what is at x where it is. @param {number} factor above 1: closer @param {number} x */
  zoom(factor, x = this.width / 2) {
    const sample = this.at(x);
    const perPixel = Math.min(this.most, Math.max(this.least, this.perPixel / factor));
    this.set(sample - x * perPixel, perPixel);
  }

  /** @param {number} pixels */
  pan(pixels) {
    this.set(this.start + pixels * this.perPixel, this.perPixel);
  }

  fit() {
    this.set(0, this.most);
  }

  /** Make a span visible with room on both sides. @param {number} start @param {number} end @param {number} [margin] share */
  show(start, end, margin = 1) {
    const room = Math.max((end - start) * margin, this.rate * LEAST_SECONDS);
    this.set(start - room, (end - start + 2 * room) / this.width);
  }

  /** Move as little as shows a sample; whether it moved. @param {number} sample @param {number} [share] where it comes to lie */
  reveal(sample, share = 0.1) {
    if (sample >= this.start && sample < this.end) return false;
    this.set(sample - share * this.perPixel * this.width, this.perPixel);
    return true;
  }
}
