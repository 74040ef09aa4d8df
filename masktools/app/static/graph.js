/** The graph of sound: before and after on one clock, chosen by gains, so that a switch changes neither level nor place. */

export const FADE = 0.005; // seconds

/** Gains of before and after for what is heard. @param {string} side @param {number} difference factor */
function gains(side, difference) {
  if (side === 'difference') return [-difference, difference];
  return side === 'after' ? [0, 1] : [1, 0];
}

/** Sources -> gain of each side -> sum -> all of it, or the band only -> out. */
export class Graph {
  /**
   * @param {BaseAudioContext} context
   * @param {AudioNode} [destination]
   */
  constructor(context, destination = context.destination) {
    this.context = context;
    this.sum = context.createGain();
    this.sides = [context.createGain(), context.createGain()];
    this.sides[1].gain.value = 0;
    for (const side of this.sides) side.connect(this.sum);
    this.fader = context.createGain();
    this.fader.connect(destination);
    this.dry = context.createGain();
    this.wet = context.createGain();
    this.wet.gain.value = 0;
    this.sum.connect(this.dry).connect(this.fader);
    this.filters = ['highpass', 'highpass', 'lowpass', 'lowpass'].map((type, number) => {
      const filter = context.createBiquadFilter();
      filter.type = /** @type {BiquadFilterType} */ (type);
      filter.Q.value = 20 * Math.log10(number % 2 ? 1.3066 : 0.5412); // Butterworth of order 4; Q of these two types is in dB
      return filter;
    });
    this.filters.reduce((before, filter) => before.connect(filter), /** @type {AudioNode} */ (this.sum)).connect(this.wet).connect(this.fader);
    this.side = 'before';
    this.difference = 1;
    /** @type {Set<AudioBufferSourceNode>} */
    this.playing = new Set();
  }

  /**
   * Let a stretch of both sides begin at the same moment.
   * @param {AudioBuffer} before
   * @param {AudioBuffer} after
   * @param {number} when seconds of the context
   * @param {number} offset samples into the buffers
   * @param {number} count samples
   */
  schedule(before, after, when, offset, count) {
    [before, after].forEach((buffer, number) => {
      const source = this.context.createBufferSource();
      source.buffer = buffer;
      source.connect(this.sides[number]);
      source.onended = () => {
        source.disconnect();
        this.playing.delete(source);
      };
      this.playing.add(source);
      const whole = offset === 0 && count === buffer.length;
      if (whole) source.start(when);
      else source.start(when, offset / buffer.sampleRate, count / buffer.sampleRate);
    });
  }

  /** Hear another side. @param {string} side @param {number} [when] */
  choose(side, when = this.context.currentTime) {
    this.side = side;
    gains(side, this.difference).forEach((value, number) => glide(this.sides[number].gain, value, when));
  }

  /** How much louder the difference is heard. @param {number} decibels @param {number} [when] */
  amplify(decibels, when = this.context.currentTime) {
    this.difference = 10 ** (decibels / 20);
    if (this.side === 'difference') this.choose(this.side, when);
  }

  /** Hear these frequencies only; null for all. @param {[number, number] | null} band @param {number} [when] */
  only(band, when = this.context.currentTime) {
    if (band) {
      const top = this.context.sampleRate / 2;
      this.filters.forEach((filter, number) => {
        filter.frequency.value = Math.min(top, Math.max(1, number < 2 ? band[0] : band[1]));
      });
    }
    glide(this.dry.gain, band ? 0 : 1, when);
    glide(this.wet.gain, band ? 1 : 0, when);
  }

  /** Fade in, or fade out and let go of everything. @param {boolean} sounding @param {number} [when] */
  fade(sounding, when = this.context.currentTime) {
    glide(this.fader.gain, sounding ? 1 : 0, when);
    if (sounding) return;
    for (const source of this.playing) source.stop(when + FADE);
  }
}

/** Where each gain is going: from, to, and when it set out. @type {WeakMap<AudioParam, {from: number, to: number, at: number}>} */
const ways = new WeakMap();

/** Bring a gain to a value within the fade, from wherever it is then. @param {AudioParam} gain @param {number} value @param {number} when */
function glide(gain, value, when) {
  const way = ways.get(gain) ?? { from: gain.value, to: gain.value, at: -1 };
  const share = Math.min(1, Math.max(0, (when - way.at) / FADE));
  const from = way.from + (way.to - way.from) * share;
  gain.cancelScheduledValues(when);
  gain.setValueAtTime(from, when);
  gain.linearRampToValueAtTime(value, when + FADE);
  ways.set(gain, { from, to: value, at: when });
}
