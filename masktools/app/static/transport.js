/** The bar under the picture: playing, what is heard and seen, loops, the marked band, zoom. */

import { get } from './dom.js';
import { clock } from './format.js';
import { isBand } from './marks.js';
import { ask } from './net.js';
import { Player } from './player.js';
import { chooseScale, movePlayhead, showChannels, stage, view } from './stage.js';
import { app, edited, on, say, selected, stamp, tell } from './state.js';

const AROUND = 1; // seconds before and after a mark that a loop takes along

export const player = new Player(shown, (error) => say(`Nothing can be heard: ${error instanceof Error ? error.message : error}`, 'error'));
const state = { looping: false, only: false, following: 0 };

function open() {
  const recording = app.recording;
  if (!recording) return;
  player.open({
    rate: recording.rate, samples: recording.samples, channels: recording.channels, stamp, same: () => edited() === 0,
    load: async (side, from, count) =>
      new Float32Array(await (await ask(`api/recordings/${recording.id}/samples/${side}?from=${from}&count=${count}`)).arrayBuffer()),
  });
  state.looping = state.only = false;
  /** @type {HTMLSelectElement} */
  const channels = /** @type {any} */ (get('channel'));
  const names = recording.channels === 2 ? ['left', 'right'] : Array.from({ length: recording.channels }, (_, number) => `channel ${number + 1}`);
  channels.replaceChildren(...(recording.channels === 2 ? [new Option('left and right', '0,1')] : []), ...names.map((name, number) => new Option(name, String(number))));
  channels.value = stage.shown.join(',');
  get('channel-label').hidden = recording.channels === 1;
  choose('before');
  shown();
}

/** Go to a sample. @param {number} sample @param {boolean} [follow] whether the view comes along */
export function seek(sample, follow = false) {
  player.seek(sample);
  if (follow) view.reveal(player.place, 0.3);
}

/** Hear and see a side. @param {'before' | 'after' | 'difference'} side */
export function choose(side) {
  app.side = side;
  player.choose(side);
  for (const input of document.querySelectorAll('input[name=side]')) {
    /** @type {HTMLInputElement} */ (input).checked = /** @type {HTMLInputElement} */ (input).value === side;
  }
  if (side === 'difference' && edited() === 0) say('Nothing has been repaired yet: the difference is silence.');
  tell('side');
}

/** @returns {[number, number] | null} */
function span() {
  const recording = app.recording, mark = selected();
  if (!recording) return null;
  if (!mark) return [view.sample(0), view.sample(view.width)];
  const room = AROUND * recording.rate;
  return [Math.max(0, mark.start - room), Math.min(recording.samples, mark.end + room)];
}

export function toggleLoop() {
  state.looping = !state.looping;
  player.setLoop(state.looping ? span() : null);
  shown();
  draw();
}

/** Hear only the frequencies of the chosen mark. */
export function toggleBand() {
  const mark = selected();
  if (!state.only && !(mark && isBand(mark))) {
    say('Choose a mark of some frequencies first: drag a rectangle on the spectrogram.');
    return;
  }
  state.only = !state.only;
  applyBand();
}

function applyBand() {
  const mark = selected();
  player.only(state.only && mark && isBand(mark) ? [mark.low_hz ?? 1, mark.high_hz ?? (app.recording?.rate ?? 2) / 2] : null);
  if (!mark || !isBand(mark)) state.only = false;
  shown();
}

/** Show what the player does. */
function shown() {
  const button = get('play');
  button.textContent = player.playing ? 'Pause' : 'Play';
  get('loop').setAttribute('aria-pressed', String(state.looping));
  get('only').setAttribute('aria-pressed', String(state.only));
  follow();
}

function follow() {
  cancelAnimationFrame(state.following);
  const place = player.position();
  movePlayhead(place);
  if (app.recording) said(place, app.recording);
  if (!player.playing) return;
  if (place >= view.end && place < view.end + view.perPixel * view.width) view.reveal(place, 0);
  state.following = requestAnimationFrame(follow);
}

/** @param {number} place @param {import('./state.js').Recording} recording */
function said(place, recording) {
  const seconds = place / recording.rate, text = clock(seconds);
  if (get('clock').textContent !== text) get('clock').textContent = text;
  const slider = get('axis'), now = seconds.toFixed(player.playing ? 0 : 3);
  if (slider.getAttribute('aria-valuenow') === now) return;
  slider.setAttribute('aria-valuemax', (recording.samples / recording.rate).toFixed(3));
  slider.setAttribute('aria-valuenow', now);
  slider.setAttribute('aria-valuetext', clock(seconds, player.playing ? 0 : 3));
}

/** Show the stretch that is looped. */
function draw() {
  const loop = get('looped'), between = state.looping ? player.loop : null;
  loop.hidden = !between;
  if (!between) return;
  const left = Math.max(-2, view.x(between[0])), right = Math.min(view.width + 2, view.x(between[1]));
  loop.style.transform = `translateX(${left}px)`;
  loop.style.width = `${Math.max(0, right - left)}px`;
}

export function startTransport() {
  const act = (/** @type {string} */ id, /** @type {() => void} */ what) => get(id).addEventListener('click', what);
  act('play', () => player.toggle());
  act('loop', toggleLoop);
  act('only', toggleBand);
  act('closer', () => view.zoom(2, inView()));
  act('farther', () => view.zoom(0.5, inView()));
  act('fit', () => view.fit());
  for (const input of document.querySelectorAll('input[name=side]')) {
    input.addEventListener('change', () => choose(/** @type {any} */ (input).value));
  }
  get('gain').addEventListener('change', (event) => player.amplify(Number(/** @type {any} */ (event.target).value)));
  get('scale').addEventListener('change', (event) => chooseScale(/** @type {any} */ (event.target).value));
  get('channel').addEventListener('change', (event) => showChannels(/** @type {any} */ (event.target).value.split(',').map(Number)));
  on('opened', open);
  on('closed', () => player.open(null));
  on('painted', draw);
  on('selection', () => {
    if (state.looping && selected()) player.setLoop(span());
    if (state.only) applyBand();
    draw();
  });
  on('length', () => {
    if (player.source && app.recording) player.source.samples = app.recording.samples;
  });
  let heard = '';
  on('recording', () => {
    const now = `${app.recording?.id} ${edited()} ${JSON.stringify(app.recording?.edits)}`;
    if (heard && heard !== now) player.again();
    heard = now;
  });
}

/** Where a zoom by key or button stays: the place that is played if it is visible. */
export function inView() {
  const x = view.x(player.position());
  return x >= 0 && x <= view.width ? x : view.width / 2;
}
