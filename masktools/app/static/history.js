/** Undo and redo, in the order in which things were done: repairs, which the server keeps, and marks, which this page remembers. */

import { get } from './dom.js';
import { askJson } from './net.js';
import { put } from './regions.js';
import { app, on, say, tell, trying } from './state.js';

/** @typedef {import('./state.js').Region} Region */
/** Marks that changed, as they were and as they became; or a repair. @typedef {Map<string, (Region | null)[]> | 'edit'} Step */
/** @type {Step[]} */
const past = [];
/** @type {Step[]} */
const future = [];

/** @param {'undo' | 'redo'} way */
async function onServer(way) {
  const state = await askJson(`api/recordings/${app.recording?.id}/${way}`, { method: 'POST' });
  app.recording = { ...app.recording, ...state };
  tell('recording');
}

export const undo = () => trying(async () => {
  const step = past.pop();
  if (step && step !== 'edit') put(step, 0);
  else if (app.recording?.cursor) await onServer('undo');
  else return say('There is nothing to undo.');
  future.push(step ?? 'edit');
  buttons();
});

export const redo = () => trying(async () => {
  const step = future.pop();
  if (step && step !== 'edit') put(step, 1);
  else if (app.recording && app.recording.cursor < app.recording.edits.length) await onServer('redo');
  else return say('There is nothing to do again.');
  past.push(step ?? 'edit');
  buttons();
});

/** @param {Step} step */
function note(step) {
  past.push(step);
  future.length = 0;
  buttons();
}

function buttons() {
  const { cursor = 0, edits = [] } = app.recording ?? {};
  const marks = (/** @type {Step[]} */ steps) => steps.some((step) => step !== 'edit');
  /** @type {HTMLButtonElement} */ (get('undo')).disabled = !cursor && !marks(past);
  /** @type {HTMLButtonElement} */ (get('redo')).disabled = cursor >= edits.length && !marks(future);
}

export function startHistory() {
  get('undo').addEventListener('click', undo);
  get('redo').addEventListener('click', redo);
  on('marked', note);
  on('edited', () => note('edit'));
  on('recording closed', buttons);
  on('opened', () => {
    past.length = future.length = 0;
  });
}
