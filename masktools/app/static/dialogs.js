/** Opening and saving: files that are dropped or chosen, and what can be taken away. */

import { button, get, input, make } from './dom.js';
import { makeExample } from './example.js';
import { clock } from './format.js';
import { address, ask, askJson, upload } from './net.js';
import { bringBack, keepAll, receive } from './regions.js';
import { app, edited, on, say, tell, trying } from './state.js';

/** @type {(id: string) => Promise<void>} */
let show = async () => {};

/** Send a file to the server and open it. @param {Blob} file @param {string} name */
export async function openFile(file, name) {
  const arriving = get('arriving'), bar = /** @type {HTMLProgressElement} */ (arriving.querySelector('progress'));
  const limit = app.about.limits?.upload_bytes;
  if (limit && file.size > limit) return say(`${name} is larger than ${Math.round(limit / 2 ** 30)} GiB: name it on the command line, where it is read in place.`, 'error');
  const words = /** @type {HTMLElement} */ (arriving.querySelector('span'));
  words.textContent = `Reading ${name}`;
  bar.value = 0;
  const sending = upload(file, name, (share) => (bar.value = share));
  /** @type {HTMLButtonElement} */ (arriving.querySelector('button')).onclick = sending.cancel;
  arriving.hidden = false;
  await trying(async () => {
    const { id } = await sending.done;
    await show(id);
  });
  arriving.hidden = true;
}

/** A window over the page. @param {string} title @param {(Node | string)[]} inside */
function dialog(title, ...inside) {
  const made = make('dialog', { 'aria-label': title }, make('h2', {}, title), ...inside);
  made.append(make('p', { className: 'foot' }, button('Close', () => made.close())));
  made.addEventListener('close', () => made.remove());
  made.addEventListener('click', (event) => event.target === made && made.close());
  document.body.append(made);
  made.showModal();
  return made;
}

async function openDialog() {
  await trying(async () => (app.recordings = await askJson('api/recordings')));
  const list = app.recordings.map((one) => {
    const item = make('li', {}, button(one.name, () => {
      window_.close();
      show(one.id);
    }, { disabled: Boolean(one.bad) }), make('span', { className: 'soft' }, one.bad ?? [one.seconds ? clock(one.seconds, 0) : '', one.changed ? 'repaired' : ''].filter(Boolean).join(', ')));
    item.append(button('Forget', async () => {
      const shown = app.recording?.id === one.id;
      if (shown) tell('left'); // first: what is asked for of a recording that is gone is not found
      const done = await trying(async () => (await ask(`api/recordings/${one.id}`, { method: 'DELETE' }), true));
      if (done) item.remove();
      else if (shown) show(one.id);
    }, { className: 'quiet', 'aria-label': `Forget ${one.name}` }));
    return item;
  });
  const window_ = dialog('Open a recording',
    make('p', {}, button('Choose a file…', () => {
      window_.close();
      input('file').click();
    }, { className: 'main' }), ' ', button('Try a made example', () => {
      window_.close();
      openExample();
    })),
    list.length ? make('h3', {}, 'Opened before') : '', make('ul', { className: 'recordings' }, ...list));
}

function openExample() {
  openFile(makeExample(), 'example.wav');
}

const FORMATS = { keep: 'as the recording is', wav: 'WAV', flac: 'FLAC', mp3: 'MP3', ogg: 'Ogg Vorbis', opus: 'Opus', aiff: 'AIFF' };

function saveDialog() {
  const recording = app.recording;
  if (!recording) return;
  const base = `api/recordings/${recording.id}/`;
  const format = make('select', { id: 'format' }, ...Object.entries(FORMATS).map(([value, text]) => new Option(text, value)));
  const link = (/** @type {string} */ text, /** @type {() => string} */ path, more = {}) =>
    button(text, () => download(path()), more);
  const window_ = dialog('Save',
    make('p', {}, edited() ? 'What was repaired is replaced; every other sample stays as it is.' : 'Nothing has been repaired: what is saved is the recording as it came.'),
    make('p', { className: 'line' }, make('label', {}, 'Format ', format), link('Download', () => `${base}export?what=audio&format=${format.value}`, { className: 'main', id: 'download' })),
    make('p', { className: 'line' }, link('Report', () => `${base}export?what=report`), link('Page of comparison', () => `${base}export?what=page`), link('Labels', () => `${base}labels.txt`)),
    recording.can_save ? make('p', { className: 'line' }, button(`Save into ${recording.name}`, () => trying(async () => {
      await ask(`${base}save`, { method: 'POST' });
      app.saved = true;
      window_.close();
      say(`Saved into ${recording.name}. The first original is kept beside it as ${recording.name}.orig.`);
    }), { id: 'save-in-place' })) : '');
}

/** Take something away, once the server has said that there is something. @param {string} path */
function download(path) {
  return trying(async () => {
    await keepAll();
    const link = make('a', { href: address(path), download: '' });
    document.body.append(link);
    link.click();
    link.remove();
  });
}

function labelsDialog() {
  const window_ = dialog('Labels of Audacity',
    make('p', {}, 'Marks as a label track: a text file with times and frequencies, for Audacity and programs that read its labels.'),
    make('p', { className: 'line' }, button('Save labels', () => {
      download(`api/recordings/${app.recording?.id}/labels.txt`);
      window_.close();
    }), button('Read labels…', () => {
      window_.close();
      input('labels-file').click();
    }), button('Show removed damage again', () => {
      bringBack();
      receive(app.regions);
      window_.close();
    })));
}

async function readLabels(/** @type {File} */ file) {
  await trying(async () => {
    const recording = app.recording;
    if (!recording) return;
    await keepAll();
    await ask(`api/recordings/${recording.id}/labels.txt`, { method: 'PUT', body: await file.text(), headers: { 'Content-Type': 'text/plain; charset=utf-8', 'If-Match': `"${recording.revision}"` } });
    const state = await askJson(`api/recordings/${recording.id}`);
    app.recording = state;
    receive(state.regions);
    tell('recording');
    say('The labels are marks now.');
  });
}

/** @param {(id: string) => Promise<void>} open */
export function startDialogs(open) {
  show = open;
  get('open').addEventListener('click', openDialog);
  get('choose').addEventListener('click', () => input('file').click());
  get('example').addEventListener('click', openExample);
  get('save').addEventListener('click', saveDialog);
  get('labels').addEventListener('click', labelsDialog);
  const taken = (/** @type {string} */ id, /** @type {(file: File) => void} */ act) => input(id).addEventListener('change', () => {
    const file = input(id).files?.[0];
    input(id).value = '';
    if (file) act(file);
  });
  taken('file', (file) => openFile(file, file.name));
  taken('labels-file', readLabels);
  document.addEventListener('dragover', (event) => {
    event.preventDefault();
    document.body.classList.add('dropping');
  });
  document.addEventListener('dragleave', (event) => event.relatedTarget || document.body.classList.remove('dropping'));
  document.addEventListener('drop', (event) => {
    event.preventDefault();
    document.body.classList.remove('dropping');
    const file = event.dataTransfer?.files[0];
    if (file) (file.name.endsWith('.txt') ? readLabels(file) : openFile(file, file.name));
  });
  on('opened', () => /** @type {HTMLElement | null} */ (document.querySelector('dialog'))?.remove());
}
