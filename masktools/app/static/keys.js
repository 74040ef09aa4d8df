/** The keyboard: one table of keys, used by the listener and shown as help. */

import { redo, undo } from './history.js';
import { inOrder } from './marks.js';
import { cancelPointer } from './pointer.js';
import { add, preview, remove, update } from './regions.js';
import { stage, view } from './stage.js';
import { app, say, select, selected } from './state.js';
import { choose, inView, player, seek, toggleBand, toggleLoop } from './transport.js';
import { fillSelected, nextCandidate } from './jobs.js';
import { tabShown } from './tabs.js';

/** @typedef {{keys: string[], shown: string, does: string, act: (event: KeyboardEvent) => void}} Key */

const STORED = 'masktools-keys';
let enabled = stored() !== 'off';

function stored() {
  try {
    return localStorage.getItem(STORED);
  } catch {
    return null;
  }
}

const step = (/** @type {KeyboardEvent} */ event) => (event.altKey ? view.rate * 0.001 : view.perPixel * view.width * 0.02);

/** @type {Key[]} */
export const KEYS = [
  { keys: [' '], shown: 'Space', does: 'play, pause', act: () => player.toggle() },
  { keys: ['1'], shown: '1', does: 'hear and see before', act: () => choose('before') },
  { keys: ['2'], shown: '2', does: 'after', act: () => choose('after') },
  { keys: ['3'], shown: '3', does: 'the difference', act: () => choose('difference') },
  { keys: ['l'], shown: 'L', does: 'loop the chosen mark, or what is visible', act: toggleLoop },
  { keys: ['b'], shown: 'B', does: 'hear only the marked band', act: toggleBand },
  { keys: ['ArrowLeft'], shown: '←', does: 'back (Alt: 1 ms)', act: (event) => seek(player.position() - step(event), true) },
  { keys: ['ArrowRight'], shown: '→', does: 'forward (Alt: 1 ms)', act: (event) => seek(player.position() + step(event), true) },
  { keys: ['Shift+ArrowLeft', 'p'], shown: 'P, Shift ←', does: 'previous mark', act: () => go(-1) },
  { keys: ['Shift+ArrowRight', 'n'], shown: 'N, Shift →', does: 'next mark', act: () => go(1) },
  { keys: ['Home'], shown: 'Home', does: 'to the beginning', act: () => seek(0, true) },
  { keys: ['End'], shown: 'End', does: 'to the end', act: () => seek(view.samples, true) },
  { keys: ['+', '='], shown: '+', does: 'closer', act: () => view.zoom(2, inView()) },
  { keys: ['-'], shown: '-', does: 'farther', act: () => view.zoom(0.5, inView()) },
  { keys: ['f'], shown: 'F', does: 'the chosen mark, or all of it', act: frame },
  { keys: ['m'], shown: 'M', does: 'mark from here', act: markHere },
  { keys: ['['], shown: '[', does: 'the chosen mark starts here', act: () => edgeHere('start') },
  { keys: [']'], shown: ']', does: 'the chosen mark ends here', act: () => edgeHere('end') },
  { keys: ['Enter'], shown: 'Enter', does: 'fill the chosen mark', act: () => fillSelected() },
  { keys: ['c'], shown: 'C', does: 'next candidate', act: () => nextCandidate(1) },
  { keys: ['Delete', 'Backspace'], shown: 'Del', does: 'remove the chosen mark', act: () => app.selected && remove([app.selected]) },
  { keys: ['Control+z', 'Meta+z'], shown: 'Ctrl Z', does: 'undo a repair or a mark', act: () => undo() },
  { keys: ['Control+Shift+Z', 'Meta+Shift+Z', 'Control+y'], shown: 'Ctrl Shift Z', does: 'do it again', act: () => redo() },
  { keys: ['Escape'], shown: 'Esc', does: 'leave, choose nothing', act: () => cancelPointer() || select(null) },
  { keys: ['?'], shown: '?', does: 'this list', act: () => /** @type {HTMLElement} */ (document.getElementById('tab-help')).click() },
];

/** The next or the previous mark from here. @param {number} way */
export function go(way) {
  const order = inOrder();
  if (!order.length) return say('Nothing is marked.');
  const chosen = order.findIndex((region) => region.id === app.selected);
  const place = player.position();
  let number = chosen + way;
  if (chosen < 0) {
    const after = order.findIndex((region) => region.start > place);
    number = way > 0 ? (after < 0 ? 0 : after) : (after < 0 ? order.length : after) - 1;
  }
  const region = order[(number + order.length) % order.length];
  select(region.id);
  seek(region.start);
  if (region.start < view.start || region.end > view.end || view.x(region.end) - view.x(region.start) < 8) view.show(region.start, region.end, 1.5);
}

function frame() {
  const mark = selected();
  if (mark && Math.abs(view.perPixel * view.width - (mark.end - mark.start) * 4) > mark.end - mark.start) view.show(mark.start, mark.end, 1.5);
  else view.fit();
}

function markHere() {
  if (!app.recording) return;
  const start = Math.min(Math.round(player.position()), view.samples - 1);
  const long = Math.round(Math.min(0.5 * view.rate, view.perPixel * view.width * 0.1));
  add({ kind: 'drawn', start, end: Math.max(start + 1, Math.min(view.samples, start + long)) });
}

/** @param {'start' | 'end'} side */
function edgeHere(side) {
  const mark = selected(), place = Math.round(player.position());
  if (!mark) return markHere();
  if (side === 'start' ? place >= mark.end : place <= mark.start) return say('A mark must end after its start.', 'error');
  update(mark.id, { [side]: place });
}

/** Move an edge that has the focus. @param {HTMLElement} handle @param {KeyboardEvent} event */
function nudge(handle, event) {
  const mark = selected(), side = handle.dataset.edge;
  const way = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1 }[event.key];
  if (!mark || !way) return false;
  const times = way * (event.shiftKey ? 10 : 1), by = Math.round(times * Math.max(1, view.perPixel));
  const low = mark.low_hz ?? 0, high = mark.high_hz ?? view.rate / 2;
  const level = (/** @type {number} */ hertz) => Math.round(stage.scale.hertz(Math.min(1, Math.max(0, stage.scale.share(hertz) + times / 250))));
  if (side === 'start') preview(mark.id, { start: Math.min(mark.end - 1, Math.max(0, mark.start + by)) });
  if (side === 'end') preview(mark.id, { end: Math.max(mark.start + 1, Math.min(view.samples, mark.end + by)) });
  if (side === 'low') preview(mark.id, { low_hz: Math.min(high - 1, level(low)) });
  if (side === 'high') preview(mark.id, { high_hz: Math.max(low + 1, level(high)) });
  return true;
}

/** Keep what an edge was moved to. @param {Event} event */
function nudged(event) {
  const side = /** @type {HTMLElement} */ (event.target).dataset?.edge, mark = selected();
  if (!side || !mark) return;
  const key = /** @type {'start'} */ ({ start: 'start', end: 'end', low: 'low_hz', high: 'high_hz' }[side]);
  update(mark.id, { [key]: mark[key] });
}

/** @param {KeyboardEvent} event */
function onKey(event) {
  const target = /** @type {HTMLElement} */ (event.target);
  if (event.defaultPrevented || document.querySelector('dialog[open]')) return;
  if (target.dataset?.edge && nudge(target, event)) return event.preventDefault();
  const typing = target.matches('input:not([type=radio], [type=checkbox]), textarea, select');
  if (typing && !(event.ctrlKey || event.metaKey)) return;
  if (typing && ['z', 'Z', 'y'].includes(event.key)) return; // the field's own
  if ([' ', 'Enter'].includes(event.key) && target.matches('button, a, summary, input, [role=tab]')) return;
  if (event.key.startsWith('Arrow') && target.matches('input[type=radio], [role=tab]')) return;
  const plain = !event.ctrlKey && !event.metaKey;
  if (plain && !enabled && event.key !== 'Escape') return;
  const letter = event.key.length === 1 ? event.key : '';
  const names = [event.key, letter.toLowerCase()];
  if (event.shiftKey) names.unshift(`Shift+${event.key}`);
  if (event.shiftKey && event.key.startsWith('Arrow')) names.splice(1);
  if (!plain) names.splice(0, names.length, `${event.ctrlKey ? 'Control' : 'Meta'}+${event.shiftKey ? 'Shift+' : ''}${event.shiftKey ? event.key.toUpperCase() : event.key}`);
  const key = names.map((name) => KEYS.find((one) => one.keys.includes(name))).find(Boolean);
  if (!key || (tabShown() !== 'restore' && event.key !== '?')) return;
  event.preventDefault();
  key.act(event);
}

export function startKeys() {
  document.getElementById('previous')?.addEventListener('click', () => go(-1));
  document.getElementById('next')?.addEventListener('click', () => go(1));
  document.addEventListener('keydown', onKey);
  document.addEventListener('keyup', (event) => event.key.startsWith('Arrow') && nudged(event));
  const list = /** @type {HTMLElement} */ (document.getElementById('keys'));
  for (const key of KEYS) {
    const row = document.createElement('div'), name = document.createElement('dt'), does = document.createElement('dd');
    for (const part of key.shown.split(', ')) {
      const cap = document.createElement('kbd');
      cap.textContent = part;
      name.append(cap);
    }
    does.textContent = key.does;
    row.append(name, does);
    list.append(row);
  }
  const box = /** @type {HTMLInputElement} */ (document.getElementById('keys-on'));
  box.checked = enabled;
  box.addEventListener('change', () => {
    enabled = box.checked;
    try {
      localStorage.setItem(STORED, enabled ? 'on' : 'off');
    } catch {
      // it holds for this page only
    }
  });
}
