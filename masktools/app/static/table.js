/** The table of repairs: the same marks as the picture, with a field for each of their numbers. */

import { button, get } from './dom.js';
import { channelNames, clock, hertz, readChannels, readClock, readHertz } from './format.js';
import { describe, inOrder, isBand } from './marks.js';
import { remove, update } from './regions.js';
import { app, on, say, select, tell } from './state.js';

const PAGE = 100; // rows at once

/** @typedef {import('./state.js').Region} Region */
/** @type {Map<string, HTMLTableRowElement>} */
const rows = new Map();
let from = 0;

const body = () => /** @type {HTMLElement} */ (document.querySelector('#repairs tbody'));

/** What a field shows, exactly where it is being written, and what its text means. */
const FIELDS = {
  start: { name: 'Start', size: 'time', show: (/** @type {Region} */ one, /** @type {boolean} */ exact) => time(one.start, exact), read: readTime },
  end: { name: 'End', size: 'time', show: (/** @type {Region} */ one, /** @type {boolean} */ exact) => time(one.end, exact), read: readTime },
  low_hz: { name: 'From Hz', size: 'hertz', show: (/** @type {Region} */ one) => (isBand(one) ? String(Math.round(one.low_hz ?? 0)) : ''), read: readBand },
  high_hz: { name: 'To Hz', size: 'hertz', show: (/** @type {Region} */ one) => (isBand(one) ? String(Math.round(one.high_hz ?? rate() / 2)) : ''), read: readBand },
  channels: { name: 'Channels', size: 'few', show: (/** @type {Region} */ one) => channelNames(one.channels, app.recording?.channels ?? 1), read: (/** @type {string} */ text) => readChannels(text, app.recording?.channels ?? 1) },
};

const rate = () => app.recording?.rate ?? 44100;
const time = (/** @type {number} */ sample, /** @type {boolean} */ exact) => clock(sample / rate(), exact ? 6 : 3);

/** @param {string} text @returns {number | undefined} */
function readTime(text) {
  const seconds = readClock(text);
  return seconds === null ? undefined : Math.round(seconds * rate());
}

/** @param {string} text @returns {number | null | undefined} */
function readBand(text) {
  if (!text.trim() || text.trim().toLowerCase() === 'all') return null;
  return readHertz(text) ?? undefined;
}

/** What is wrong with a mark, in words; nothing if it is fine. @param {Region} region */
function wrong(region) {
  const recording = app.recording;
  if (!recording) return '';
  if (region.end <= region.start) return 'a mark must end after its start';
  if (region.end > recording.samples) return `the recording ends at ${clock(recording.samples / recording.rate)}`;
  const low = region.low_hz ?? 0, high = region.high_hz ?? recording.rate / 2;
  if (high > recording.rate / 2) return `there is nothing above ${hertz(recording.rate / 2)} in this recording`;
  if (low < 0 || high <= low) return 'the upper frequency must lie above the lower';
  return '';
}

/** @param {HTMLInputElement} input @param {string} id @param {keyof typeof FIELDS} field */
function changed(input, id, field) {
  const region = app.regions.find((one) => one.id === id);
  if (!region || input.value === input.dataset.shown) return;
  const value = FIELDS[field].read(input.value);
  const next = /** @type {Region} */ ({ ...region, [field]: value });
  const problem = value === undefined ? `${FIELDS[field].name} cannot be read: ${input.value}` : wrong(next);
  input.setAttribute('aria-invalid', String(Boolean(problem)));
  if (problem) {
    say(problem[0].toUpperCase() + problem.slice(1) + '.', 'error');
    return;
  }
  const parts = { [field]: value };
  if (field === 'low_hz' && value !== null && region.high_hz == null) parts.high_hz = rate() / 2;
  if (field === 'high_hz' && value !== null && region.low_hz == null) parts.low_hz = 0;
  if ((field === 'low_hz' || field === 'high_hz') && value === null) Object.assign(parts, { low_hz: null, high_hz: null });
  input.dataset.shown = input.value;
  update(id, parts);
}

/** @param {Region} region */
function makeRow(region) {
  const row = document.createElement('tr');
  const cell = (/** @type {string} */ name, /** @type {Node[]} */ ...inside) => {
    const made = document.createElement('td');
    made.className = name;
    made.append(...inside);
    row.append(made);
  };
  const choose = button('', () => select(region.id));
  choose.className = 'choose';
  cell('number', choose);
  for (const [field, { size }] of Object.entries(FIELDS)) {
    const input = document.createElement('input');
    Object.assign(input, { type: 'text', autocomplete: 'off', spellcheck: false, className: size });
    input.dataset.field = field;
    input.addEventListener('focus', () => {
      select(region.id);
      const now = app.regions.find((one) => one.id === region.id);
      if (now && input.value === input.dataset.shown) input.value = input.dataset.shown = FIELDS[/** @type {'start'} */ (field)].show(now, true);
      input.select();
    });
    input.addEventListener('change', () => changed(input, region.id, /** @type {'start'} */ (field)));
    input.addEventListener('blur', fill);
    input.addEventListener('keydown', (event) => {
      if (event.key === 'Escape') input.value = input.dataset.shown ?? '';
      if (event.key === 'Enter') changed(input, region.id, /** @type {'start'} */ (field));
    });
    cell(size, input);
  }
  cell('kind');
  cell('state');
  const chooser = document.createElement('span');
  chooser.className = 'chooser';
  cell('candidates', chooser);
  const bin = button('×', () => remove([region.id]));
  bin.className = 'quiet';
  cell('bin', bin);
  row.addEventListener('click', (event) => {
    if (!(/** @type {HTMLElement} */ (event.target).closest('button, input'))) select(region.id);
  });
  return row;
}

/** Show the marks as they are; what is being written stays. */
function fill() {
  const order = inOrder();
  from = Math.min(from, Math.max(0, Math.floor((order.length - 1) / PAGE) * PAGE));
  const shown = order.slice(from, from + PAGE);
  const ids = new Set(shown.map((region) => region.id));
  for (const [id, row] of rows) {
    if (ids.has(id)) continue;
    row.remove();
    rows.delete(id);
  }
  let before = null;
  shown.forEach((region, number) => {
    let row = rows.get(region.id);
    if (!row) rows.set(region.id, (row = makeRow(region)));
    fillRow(row, region, from + number + 1);
    const next = before ? before.nextSibling : body().firstChild;
    if (row !== next) body().insertBefore(row, next);
    before = row;
  });
  const pager = /** @type {HTMLElement} */ (document.getElementById('pager'));
  pager.hidden = order.length <= PAGE;
  /** @type {HTMLElement} */ (pager.querySelector('span')).textContent = `${from + 1} to ${from + shown.length} of ${order.length}`;
  /** @type {HTMLElement} */ (document.getElementById('no-repairs')).hidden = order.length > 0;
}

/** @param {HTMLTableRowElement} row @param {Region} region @param {number} number */
function fillRow(row, region, number) {
  const chosen = region.id === app.selected;
  row.classList.toggle('chosen', chosen);
  const choose = /** @type {HTMLButtonElement} */ (row.querySelector('.choose'));
  choose.textContent = String(number);
  choose.setAttribute('aria-label', `Choose mark ${number}`);
  choose.setAttribute('aria-pressed', String(chosen));
  for (const input of row.querySelectorAll('input')) {
    const { name, show } = FIELDS[/** @type {'start'} */ (input.dataset.field)];
    input.setAttribute('aria-label', `${name} of mark ${number}`);
    const invalid = input.getAttribute('aria-invalid') === 'true';
    if (input === document.activeElement || (invalid && input.value !== input.dataset.shown)) continue;
    input.value = input.dataset.shown = show(region, false);
    if (field(input) === 'low_hz' || field(input) === 'high_hz') input.placeholder = 'all';
  }
  /** @type {HTMLElement} */ (row.querySelector('.kind')).textContent = region.kind;
  /** @type {HTMLElement} */ (row.querySelector('.bin button')).setAttribute('aria-label', `Remove mark ${number}`);
  tell('row', { row, region, number });
}

const field = (/** @type {HTMLInputElement} */ input) => input.dataset.field;

/** Show the row of the chosen mark. */
function reveal() {
  const place = inOrder().findIndex((region) => region.id === app.selected);
  if (place >= 0) from = Math.floor(place / PAGE) * PAGE;
  fill();
  const row = rows.get(app.selected ?? ''), frame = body().closest('.wide');
  if (!row || !frame || frame.scrollHeight <= frame.clientHeight) return;
  const top = row.offsetTop - frame.clientHeight / 2;
  if (row.offsetTop < frame.scrollTop + 30 || row.offsetTop + row.offsetHeight > frame.scrollTop + frame.clientHeight) frame.scrollTop = top;
}

/** @param {number} pages */
function turn(pages) {
  from = Math.max(0, Math.min(Math.floor((app.regions.length - 1) / PAGE) * PAGE, from + pages * PAGE));
  fill();
}

export function startTable() {
  on('regions recording jobs', fill);
  on('selection', reveal);
  on('selection', () => {
    const place = inOrder().findIndex((region) => region.id === app.selected), region = inOrder()[place];
    get('progress-said').textContent = region ? `Mark ${place + 1}: ${describe(region)}, ${region.kind}` : '';
  });
  const [back, forth] = document.querySelectorAll('#pager button');
  back.addEventListener('click', () => turn(-1));
  forth.addEventListener('click', () => turn(1));
}
