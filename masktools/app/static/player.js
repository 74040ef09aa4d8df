/** The player: windows of samples from the server, put one behind the other on the clock of Web Audio. */

import { Graph } from './graph.js';

const AHEAD = 2.5; // seconds that are scheduled
const START = 0.06; // seconds until the first sample
const KEPT = 8; // windows of a side

/**
 * @typedef {{rate: number, samples: number, channels: number,
 *   load: (side: string, from: number, count: number) => Promise<Float32Array>, same: () => boolean,
 *   stamp: (side: string) => string}} Source
 * load gives planar samples; same tells whether after is before
 * @typedef {{frame: number, from: number, count: number}} Piece of the plan, in frames of the context and in samples
 */

/** Plays a source from any place, in loops or to its end. */
export class Player {
  /** @param {() => void} changed called when playing begins, ends or fails @param {(error: unknown) => void} failed */
  constructor(changed, failed) {
    this.changed = changed;
    this.failed = failed;
    /** @type {Source | null} */
    this.source = null;
    /** @type {AudioContext | null} */
    this.context = null;
    /** @type {Graph | null} */
    this.graph = null;
    this.playing = false;
    this.place = 0;
    /** @type {Piece[]} */
    this.plan = [];
    this.next = 0;
    this.run = 0;
    /** @type {[number, number] | null} */
    this.loop = null;
    this.side = 'before';
    this.decibels = 0;
    /** @type {[number, number] | null} */
    this.band = null;
    /** @type {Map<string, Promise<AudioBuffer>>} */
    this.buffers = new Map();
  }

  /** @param {Source | null} source */
  open(source) {
    this.pause();
    this.place = 0;
    this.loop = this.band = null;
    this.buffers.clear();
    if (this.context && this.context.sampleRate !== source?.rate) {
      this.context.close();
      this.context = this.graph = null;
    }
    this.source = source;
  }

  /** Samples of a window: a power of two of about three seconds. */
  get window() {
    return 2 ** Math.floor(Math.log2(4 * (this.source?.rate ?? 44100)));
  }

  /** The sample that is heard now. */
  position() {
    if (!this.playing || !this.context) return this.place;
    const late = this.context.outputLatency || 0;
    const frame = (this.context.currentTime - late) * this.context.sampleRate;
    let found = this.place;
    for (const piece of this.plan) {
      if (piece.frame > frame) break;
      found = piece.from + Math.min(piece.count, (frame - piece.frame) * this.ratio());
    }
    return found;
  }

  /** Samples of the source in one frame of the context: 1 wherever the browser has the rate. */
  ratio() {
    return this.source && this.context ? this.source.rate / this.context.sampleRate : 1;
  }

  async play() {
    if (!this.source || this.playing) return;
    this.playing = true;
    if (!this.context) {
      this.context = makeContext(this.source.rate);
      this.graph = new Graph(this.context);
      this.graph.fader.gain.value = 0;
      this.graph.amplify(this.decibels);
      this.graph.choose(this.side);
      if (this.band) this.graph.only(this.band);
    }
    if (this.place >= this.source.samples - 1) this.place = this.loop ? this.loop[0] : 0;
    this.changed();
    await this.context.resume();
    this.begin();
  }

  pause() {
    if (!this.playing) return;
    this.place = Math.round(this.position());
    this.playing = false;
    this.run++;
    this.graph?.fade(false);
    this.plan = [];
    this.changed();
  }

  toggle() {
    if (this.playing) this.pause();
    else this.play().catch(this.failed);
  }

  /** @param {number} sample */
  seek(sample) {
    if (!this.source) return;
    const wanted = Math.min(this.source.samples, Math.max(0, Math.round(sample)));
    if (this.playing) {
      this.graph?.fade(false);
      this.place = wanted;
      this.begin();
    } else this.place = wanted;
    this.changed();
  }

  /** Play what is new from here: after an edit, or with another loop. */
  again() {
    if (this.playing) this.seek(this.position());
  }

  /** @param {string} side */
  choose(side) {
    this.side = side;
    this.graph?.choose(side);
  }

  /** @param {number} decibels */
  amplify(decibels) {
    this.decibels = decibels;
    this.graph?.amplify(decibels);
  }

  /** @param {[number, number] | null} band Hz */
  only(band) {
    this.band = band;
    this.graph?.only(band);
  }

  /** @param {[number, number] | null} span samples */
  setLoop(span) {
    this.loop = span;
    if (!this.playing) return;
    const now = this.position();
    this.seek(span && (now < span[0] || now >= span[1]) ? span[0] : now);
  }

  /** Begin a new plan at the place. */
  begin() {
    const run = ++this.run;
    const context = /** @type {AudioContext} */ (this.context);
    this.plan = [];
    this.next = this.place;
    let frame = 0;
    const go = async () => {
      while (run === this.run && this.playing) {
        const piece = this.following();
        if (!piece) {
          if (frame && context.currentTime * context.sampleRate > frame) this.finish();
          await wait(50);
          continue;
        }
        const [before, after] = await this.both(piece.window);
        if (run !== this.run || !this.playing) return;
        const soon = Math.ceil((context.currentTime + START) * context.sampleRate);
        if (frame < soon) {
          this.graph?.fade(true, soon / context.sampleRate);
          frame = soon;
        }
        this.graph?.schedule(before, after, frame / context.sampleRate, piece.offset, piece.count);
        this.plan.push({ frame, from: this.next, count: piece.count });
        if (this.plan.length > 40) this.plan.shift();
        frame += Math.round(piece.count / this.ratio());
        this.next += piece.count;
        if (this.loop && this.next >= this.loop[1]) this.next = this.loop[0];
        while (run === this.run && frame / context.sampleRate - context.currentTime > AHEAD) await wait(50);
      }
    };
    go().catch((error) => {
      if (run !== this.run) return;
      this.pause();
      this.failed(error);
    });
  }

  /** The next stretch of the plan; null at the end. */
  following() {
    const source = /** @type {Source} */ (this.source);
    const end = this.loop && this.next < this.loop[1] ? Math.min(this.loop[1], source.samples) : source.samples;
    if (this.next >= end) return null;
    const window = Math.floor(this.next / this.window), offset = this.next - window * this.window;
    return { window, offset, count: Math.min(end - this.next, this.window - offset) };
  }

  finish() {
    this.place = this.source?.samples ?? 0;
    this.playing = false;
    this.run++;
    this.plan = [];
    this.changed();
  }

  /** The same window of both sides. @param {number} window */
  both(window) {
    const same = this.source?.same();
    const before = this.buffer('before', window);
    return Promise.all([before, same ? before : this.buffer('after', window)]);
  }

  /** @param {string} side @param {number} window @returns {Promise<AudioBuffer>} */
  buffer(side, window) {
    const source = /** @type {Source} */ (this.source);
    const key = `${side} ${window} ${source.stamp(side)}`;
    let found = this.buffers.get(key);
    if (!found) {
      const from = window * this.window, count = Math.min(this.window, source.samples - from);
      found = source.load(side, from, count).then((samples) => {
        const buffer = new AudioBuffer({ numberOfChannels: source.channels, length: samples.length / source.channels, sampleRate: source.rate });
        for (let channel = 0; channel < source.channels; channel++) {
          buffer.copyToChannel(samples.subarray(channel * buffer.length, (channel + 1) * buffer.length), channel);
        }
        return buffer;
      });
      found.catch(() => this.buffers.delete(key));
    }
    this.buffers.delete(key);
    this.buffers.set(key, found);
    for (const old of this.buffers.keys()) {
      if (this.buffers.size <= 2 * KEPT) break;
      this.buffers.delete(old);
    }
    return found;
  }
}

const wait = (/** @type {number} */ ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** A context of the recording's rate; of the machine's where the browser has no other. @param {number} rate */
function makeContext(rate) {
  try {
    return new AudioContext({ sampleRate: rate, latencyHint: 'interactive' });
  } catch {
    return new AudioContext({ latencyHint: 'interactive' });
  }
}
