/** Marks and how they are changed: at once on the screen, then on the server; what two pages do at once is joined. */

import { askJson, Refused } from './net.js';
import { app, found, say, select, tell } from './state.js';

/** @typedef {import('./state.js').Region} Region @typedef {(regions: Region[]) => Region[]} Change */

/** Changes that the server does not have yet. @type {Change[]} */
let unsaved = [];
/** @type {Promise<void> | null} */
let saving = null;

/** A name that no other mark has: 128 bits. */
export function newId() {
  const letters = 'abcdefghijklmnopqrstuvwxyz234567';
  return Array.from(crypto.getRandomValues(new Uint8Array(26)), (byte) => letters[byte & 31]).join('');
}

/** The marks before what is being dragged. @type {Region[]} */
let settled = [];
/** What is being dragged, put over the marks. @type {Change | null} */
let dragged = null;

/** Change the marks. @param {Change} change one that can be made again on marks that others have changed meanwhile */
export function change(change) {
  const before = new Map(settled.map((region) => [region.id, region]));
  const step = new Map();
  apply(change);
  for (const region of app.regions) {
    const was = before.get(region.id) ?? null;
    if (JSON.stringify(was) !== JSON.stringify(region)) step.set(region.id, [was, region]);
    before.delete(region.id);
  }
  for (const [id, region] of before) step.set(id, [region, null]);
  if (step.size) tell('marked', step);
  return save();
}

/** @param {Change} change */
function apply(change) {
  app.regions = settled = change(app.regions);
  dragged = null;
  unsaved.push(change);
  tell('regions');
}

/** Put marks back as they were, or became. @param {Map<string, (Region | null)[]>} step @param {0 | 1} which */
export function put(step, which) {
  const gone = [...step].filter(([, both]) => !both[which]).map(([id]) => id), kept = [...step.values()].flatMap((both) => both[which] ?? []);
  dismiss(gone, kept.map((region) => region.id));
  apply((regions) => [...regions.filter((region) => !step.has(region.id)), ...kept]);
  select(kept[0]?.id ?? null);
  return save();
}

/** @param {Omit<Region, 'id'>} region */
export function add(region) {
  const added = { ...region, id: newId() };
  const done = change((regions) => [...regions.filter((one) => one.id !== added.id), added]);
  select(added.id);
  return done;
}

/** @param {string} id @param {Partial<Region>} parts */
export function update(id, parts) {
  return change((regions) => regions.map((region) => (region.id === id ? { ...region, ...parts } : region)));
}

/** @param {string[]} ids */
export function remove(ids) {
  if (app.selected && ids.includes(app.selected)) select(null);
  dismiss(ids);
  return change((regions) => regions.filter((region) => !ids.includes(region.id)));
}

/** Change a mark on the screen only: while it is being dragged. @param {string} id @param {Partial<Region>} parts */
export function preview(id, parts) {
  dragged = (regions) => regions.map((region) => (region.id === id ? { ...region, ...parts } : region));
  app.regions = dragged(app.regions);
  tell('regions');
}

/** Put the marks back where they were before one was dragged. */
export function letGo() {
  dragged = null;
  app.regions = settled;
  tell('regions');
}

/** Take the marks that the server has, and what was found; what is unsaved or dragged is put over them. @param {Region[]} regions */
export function receive(regions) {
  const ids = new Set([...regions.map((region) => region.id), ...dismissed()]);
  const unmarked = app.recording ? found(app.recording).filter((region) => !ids.has(region.id)) : [];
  settled = unsaved.reduce((now, change) => change(now), [...regions, ...unmarked]);
  app.regions = dragged ? dragged(settled) : settled;
  if (app.selected && !app.regions.some((region) => region.id === app.selected)) select(null);
  tell('regions');
}

/** Found damage that was taken out of the list in this browser. @returns {string[]} */
function dismissed() {
  try {
    return JSON.parse(localStorage.getItem(`masktools-dismissed-${app.recording?.id}`) ?? '[]');
  } catch {
    return [];
  }
}

/** @param {string[]} ids @param {string[]} [back] those that are in the list again */
function dismiss(ids, back = []) {
  const now = new Set([...dismissed(), ...ids].filter((id) => !back.includes(id)));
  try {
    localStorage.setItem(`masktools-dismissed-${app.recording?.id}`, JSON.stringify([...now]));
  } catch {
    // it is in the list again at the next visit
  }
}

/** Show damage again that was taken out of the list. */
export function bringBack() {
  try {
    localStorage.removeItem(`masktools-dismissed-${app.recording?.id}`);
  } catch {
    return;
  }
}

/** Make sure that the server has all that is marked. */
export async function keepAll() {
  await change((regions) => regions);
}

/** Forget what is unsaved: another recording is shown. */
export function forget() {
  unsaved = [];
  dragged = null;
}

function save() {
  saving ??= send().finally(() => {
    saving = null;
  });
  return saving;
}

async function send() {
  let tries = 0;
  try {
    while (unsaved.length && app.recording) {
      const sent = [...unsaved], recording = app.recording;
      try {
        const answer = await askJson(`api/recordings/${recording.id}/regions`, {
          method: 'PUT', json: app.regions, headers: { 'If-Match': `"${recording.revision}"` },
        });
        if (recording.id !== app.recording?.id) break;
        unsaved = unsaved.filter((one) => !sent.includes(one));
        if (answer?.revision !== undefined) app.recording.revision = answer.revision;
        tries = 0;
      } catch (error) {
        if (!(error instanceof Refused) || error.status !== 409 || ++tries > 5) throw error;
        await reload();
      }
    }
  } catch (error) {
    unsaved = [];
    say(`The marks were not kept: ${error instanceof Error ? error.message : error}`, 'error');
    await reload().catch(() => undefined);
  }
}

/** Somebody else changed them: theirs first, then ours again. */
async function reload() {
  if (!app.recording) return;
  const state = await askJson(`api/recordings/${app.recording.id}`);
  app.recording = { ...app.recording, ...state };
  receive(state.regions ?? (await askJson(`api/recordings/${state.id}/regions`)));
}
