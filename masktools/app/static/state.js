/** What the page knows: one recording, its marks, its jobs; and who wants to hear when that changes. */

/**
 * @typedef {{id: string, start: number, end: number, low_hz?: number | null, high_hz?: number | null,
 *   channels?: number[] | null, kind: string, method?: string | null, prompt?: string | null}} Region
 * @typedef {{kind: string, start: number, end: number, channels: number[]}} Damage
 * @typedef {{id: string, kind: string, job: string, choices: Record<string, number>}} Edit
 * @typedef {{id: string, name: string, rate: number, samples: number, channels: number, format: string, subtype: string,
 *   surveyed: number, damage: Damage[], bandwidth: {cutoff_hz: number | null, confidence: number} | null,
 *   edits: Edit[], cursor: number, revision: number, warnings?: string[], can_save?: boolean}} Recording
 * @typedef {{id: string, kind: string, state: string, share: number, seconds_left: number | null, seconds?: number | null, recording?: string,
 *   regions?: any[], made?: string[], candidates?: any, report?: any, error?: any}} Job
 */

/** @type {{about: any, recordings: any[], recording: Recording | null, regions: Region[], selected: string | null,
 *   jobs: Map<string, Job>, side: 'before' | 'after' | 'difference', connected: boolean,
 *   saved: boolean, freshened: number}} saved into the file that was named, after which the server ends;
 *   freshened: how often the overview of the repaired side was completed */
export const app = {
  about: {}, recordings: [], recording: null, regions: [], selected: null, jobs: new Map(), side: 'before',
  connected: true, saved: false, freshened: 0,
};

/** @type {Map<string, Set<(detail?: any) => void>>} */
const listeners = new Map();

/** Be told of a change. @param {string} topics separated by spaces @param {(detail?: any) => void} hear */
export function on(topics, hear) {
  for (const topic of topics.split(' ')) {
    if (!listeners.has(topic)) listeners.set(topic, new Set());
    listeners.get(topic)?.add(hear);
  }
}

/** Say that something changed. @param {string} topic @param {any} [detail] */
export function tell(topic, detail) {
  for (const hear of listeners.get(topic) ?? []) hear(detail);
}

/** Say one line to everybody, screen readers too. @param {string} text @param {'note' | 'error'} [kind] */
export function say(text, kind = 'note') {
  tell('said', { text, kind });
}

/** Run something that may be refused; the refusal is said. @template T @param {() => Promise<T>} act @returns {Promise<T | undefined>} */
export async function trying(act) {
  try {
    return await act();
  } catch (error) {
    if (error?.name === 'AbortError') return undefined;
    say(error instanceof Error ? error.message : String(error), 'error');
    return undefined;
  }
}

/** @param {string | null} id */
export function select(id) {
  if (app.selected === id) return;
  app.selected = id;
  tell('selection');
}

/** The selected mark, or null. @returns {Region | null} */
export function selected() {
  return app.regions.find((region) => region.id === app.selected) ?? null;
}

/** The damage that was found, as marks, named as the server names it in its jobs. @param {Recording} recording */
export function found(recording) {
  return recording.damage.map(({ kind, start, end, channels }, number) => /** @type {Region} */ ({
    id: `damage-${number}`, kind, start, end,
    channels: channels.length < recording.channels ? channels : null,
  }));
}

/** What is heard of each region: the last choice that holds. @returns {Map<string, {job: string, candidate: number}>} */
export function holding() {
  const chosen = new Map();
  for (const { job, choices } of app.recording?.edits.slice(0, app.recording.cursor) ?? []) {
    for (const [region, candidate] of Object.entries(choices)) chosen.set(region, { job, candidate });
  }
  return chosen;
}

/** How many edits of the recording are in force. */
export function edited() {
  return app.recording ? app.recording.cursor : 0;
}

/**
 * What samples of a side depend on, and, where a span is given, a picture of it from afar: it is a first glance until
 * the survey has come by. What has another stamp is old.
 * @param {string} side
 * @param {number} [from]
 * @param {number} [to]
 */
export function stamp(side, from = 0, to = 0) {
  const recording = app.recording;
  if (!recording) return '';
  const seen = to > from ? (recording.surveyed * recording.samples - from) / (Math.min(to, recording.samples) - from) : 1;
  const glance = `s${Math.floor(4 * Math.min(1, Math.max(0, seen)))}`;
  if (side === 'before' || !recording.cursor) return glance;
  const last = recording.edits[recording.cursor - 1];
  return `${glance} ${to > from ? app.freshened : ''} ${recording.cursor} ${last?.id}`;
}

/** The side whose samples are those of a side: without edits "after" is "before". @param {string} side */
export function effective(side) {
  return side === 'after' && edited() === 0 ? 'before' : side;
}
