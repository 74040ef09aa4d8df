/** How times, frequencies and levels are written and read. Pure functions: nothing here knows the page. */

/**
 * A time as h:mm:ss.mmm, hours only where there are any.
 * @param {number} seconds
 * @param {number} [places] decimals
 */
export function clock(seconds, places = 3) {
  const units = 10 ** places;
  const whole = Math.round(Math.max(0, seconds) * units);
  const rest = (whole % (60 * units)) / units;
  const minutes = Math.floor(whole / (60 * units)) % 60;
  const hours = Math.floor(whole / (3600 * units));
  const tail = rest.toFixed(places).padStart(places ? places + 3 : 2, '0');
  return hours ? `${hours}:${String(minutes).padStart(2, '0')}:${tail}` : `${minutes}:${tail}`;
}

/**
 * The seconds of a typed time (1:02:03.5, 2:03.5, 123.5, 123,5 s), or null.
 * @param {string} text
 * @returns {number | null}
 */
export function readClock(text) {
  const parts = text.trim().replace(',', '.').replace(/\s*s$/i, '').split(':');
  const last = /** @type {string} */ (parts.pop());
  if (parts.length > 2 || !parts.every((part) => /^\d+$/.test(part)) || !/^(\d+\.?\d*|\.\d+)$/.test(last)) return null;
  parts.push(last);
  return parts.reduce((total, part) => total * 60 + Number(part), 0);
}

/** A frequency in words. @param {number} value */
export function hertz(value) {
  if (value < 1000) return `${Math.round(value)} Hz`;
  const kilo = value / 1000;
  return `${kilo >= 100 ? Math.round(kilo) : Number(kilo.toFixed(kilo < 10 ? 2 : 1))} kHz`;
}

/**
 * A typed frequency in Hz (5500, 5.5k, 5.5 kHz), or null.
 * @param {string} text
 * @returns {number | null}
 */
export function readHertz(text) {
  const found = /^(\d+(?:[.,]\d*)?)\s*(k)?(?:hz)?$/i.exec(text.trim());
  return found ? Number(found[1].replace(',', '.')) * (found[2] ? 1000 : 1) : null;
}

/** A duration in words, for people who wait. @param {number} seconds */
export function duration(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 60) return `${whole} s`;
  const minutes = Math.floor(whole / 60);
  if (minutes < 60) return whole % 60 && minutes < 10 ? `${minutes} min ${whole % 60} s` : `${minutes} min`;
  return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

/** Channels, counted from 1, or "all". @param {number[] | null | undefined} channels @param {number} count */
export function channelNames(channels, count) {
  if (!channels || channels.length >= count) return 'all';
  return channels.map((channel) => (count === 2 ? 'LR'[channel] : String(channel + 1))).join(', ');
}

/**
 * Typed channels ("all", "1, 3", "L"), counted from 0; null for all of them, undefined where they are wrong.
 * @param {string} text
 * @param {number} count
 * @returns {number[] | null | undefined}
 */
export function readChannels(text, count) {
  const words = text.trim().toLowerCase().split(/[\s,+]+/).filter(Boolean);
  if (!words.length || words[0] === 'all') return null;
  const found = words.map((word) => ('lr'.includes(word) && count === 2 ? 'lr'.indexOf(word) : Number(word) - 1));
  if (!found.every((channel) => Number.isInteger(channel) && channel >= 0 && channel < count)) return undefined;
  const sorted = [...new Set(found)].sort((one, other) => one - other);
  return sorted.length === count ? null : sorted;
}

const STEPS = [1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15,
  30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400];

/** The distance of the marks on a time axis, in seconds. @param {number} seconds_per_px @param {number} [apart] px */
export function tickStep(seconds_per_px, apart = 90) {
  return STEPS.find((step) => step / seconds_per_px >= apart) ?? 36000;
}

/** How many decimals tell marks apart that are step seconds from each other. @param {number} step */
export function places(step) {
  return Math.max(0, Math.min(6, Math.ceil(-Math.log10(step) - 1e-9)));
}
