/** Pieces of picture and sound: what is wanted now is fetched, newest view first. */

import { ask } from './net.js';

/**
 * @typedef {{key: string, path: string, stamp: string, read: (response: Response) => Promise<any>}} Wish
 * @typedef {{stamp: string, value: any, failed: number}} Kept
 */

const PATIENCE = 2000; // ms

/** A cache that fetches: the least recently used goes first, and what is old is shown until the new is there. */
export class Loader {
  /**
   * @param {number} most entries kept
   * @param {number} at_once requests in flight: all loaders together must leave some of the six connections to one host
   * @param {() => void} arrived
   * @param {(value: any) => void} [drop]
   */
  constructor(most, at_once, arrived, drop = () => {}) {
    this.most = most;
    this.atOnce = at_once;
    this.arrived = arrived;
    this.drop = drop;
    /** @type {Map<string, Kept>} */
    this.kept = new Map();
    /** @type {Map<string, {abort: AbortController, stamp: string, since: number}>} */
    this.flying = new Map();
    /** @type {Wish[]} */
    this.queue = [];
  }

  /** What is there under a key, or null. @param {string} key */
  get(key) {
    const found = this.kept.get(key);
    if (!found || found.value === null) return null;
    this.kept.delete(key);
    this.kept.set(key, found);
    return found.value;
  }

  /** Fetch these, the first first, and nothing else any more. @param {Wish[]} wishes */
  want(wishes) {
    const keys = new Map(wishes.map((wish) => [wish.key, wish.stamp]));
    const now = performance.now();
    // The server draws what it has begun to draw, whoever has left: what flies may land, unless it takes too long.
    for (const [key, flight] of this.flying) {
      if (keys.get(key) !== flight.stamp && now - flight.since > PATIENCE) {
        flight.abort.abort();
        this.flying.delete(key);
      }
    }
    const seen = new Set();
    this.queue = wishes.filter((wish) => {
      if (seen.has(wish.key)) return false;
      seen.add(wish.key);
      const found = this.kept.get(wish.key);
      if (this.flying.has(wish.key)) return false;
      return !found || found.stamp !== wish.stamp || (found.value === null && now - found.failed > 3000);
    });
    this.next();
  }

  next() {
    while (this.flying.size < this.atOnce && this.queue.length) {
      const wish = /** @type {Wish} */ (this.queue.shift());
      this.fetch(wish);
    }
  }

  /** @param {Wish} wish */
  async fetch(wish) {
    const flight = { abort: new AbortController(), stamp: wish.stamp, since: performance.now() };
    this.flying.set(wish.key, flight);
    let value = null;
    try {
      value = await wish.read(await ask(wish.path, { signal: flight.abort.signal }));
    } catch {
      if (flight.abort.signal.aborted) return;
    }
    if (this.flying.get(wish.key) !== flight) {
      if (value !== null) this.drop(value);
      return;
    }
    this.flying.delete(wish.key);
    this.put(wish.key, { stamp: wish.stamp, value, failed: performance.now() });
    this.arrived();
    this.next();
  }

  /** @param {string} key @param {Kept} entry */
  put(key, entry) {
    const before = this.kept.get(key);
    if (before?.value && entry.value === null) entry.value = before.value;
    else if (before?.value) this.drop(before.value);
    this.kept.delete(key);
    this.kept.set(key, entry);
    for (const [old, found] of this.kept) {
      if (this.kept.size <= this.most) break;
      this.kept.delete(old);
      if (found.value) this.drop(found.value);
    }
  }

  clear() {
    for (const flight of this.flying.values()) flight.abort.abort();
    for (const found of this.kept.values()) if (found.value) this.drop(found.value);
    this.flying.clear();
    this.kept.clear();
    this.queue = [];
  }
}
