/** The page: who is let in, which recording is open, and what happens when the server tells something. */

import { startBatch } from './batch.js';
import { startDialogs } from './dialogs.js';
import { get, input } from './dom.js';
import { clock, hertz } from './format.js';
import { startHelp } from './help.js';
import { startHistory } from './history.js';
import { heardJob, loadJobs, startJobs } from './jobs.js';
import { startKeys } from './keys.js';
import { startMake } from './make.js';
import { ask, askJson, listen, Refused } from './net.js';
import { setMarking, startPointer } from './pointer.js';
import { forget, receive } from './regions.js';
import { startStage } from './stage.js';
import { app, holding, on, say, tell, trying } from './state.js';
import { startTable } from './table.js';
import { startTabs } from './tabs.js';
import { seek, startTransport } from './transport.js';

/** The token stands behind the # of the address, which no log and no server sees; a cookie takes its place. */
async function enter() {
  const token = new URLSearchParams(location.hash.slice(1)).get('token');
  if (!token) return;
  history.replaceState(null, '', location.pathname + location.search);
  await ask('api/enter', { method: 'POST', json: { token } });
}

/** Show a recording; whether that could be. @param {string} id */
export async function open(id) {
  return trying(async () => {
    const state = await askJson(`api/recordings/${id}`);
    forget();
    app.selected = null;
    app.recording = state;
    location.hash = id;
    get('welcome').hidden = true;
    get('workbench').hidden = false;
    tell('opened');
    receive(state.regions);
    tell('recording');
    tell('selection');
    return true;
  });
}

/** Show no recording: the one that was shown is forgotten. */
function close() {
  forget();
  app.recording = app.selected = null;
  app.regions = [];
  location.hash = '';
  document.title = 'masktools';
  get('name').textContent = 'Restore a recording';
  get('facts').replaceChildren();
  get('workbench').hidden = true;
  get('welcome').hidden = false;
  /** @type {HTMLButtonElement} */ (get('save')).disabled = true;
  tell('closed');
}

/** Read the state of the recording again; several reasons at once are one. */
let reading = 0;
function refresh() {
  window.clearTimeout(reading);
  reading = window.setTimeout(() => {
    const id = app.recording?.id;
    if (id) trying(async () => {
      const state = await askJson(`api/recordings/${id}`);
      if (app.recording?.id !== id || state.revision < app.recording.revision) return;
      const length = app.recording.samples;
      app.recording = state;
      if (length !== state.samples) tell('length');
      receive(state.regions);
      tell('recording');
    });
  }, 30);
}

/** How a recording is coded, in words. @param {import('./state.js').Recording} recording */
function coding({ format, subtype }) {
  const lossy = /** @type {Record<string, string>} */ ({ MPEG_LAYER_III: 'MP3', OPUS: 'Opus', VORBIS: 'Ogg Vorbis' })[subtype];
  return lossy ?? `${format} ${subtype.replace(/^PCM_[SU]?(\d+)$/, '$1 bit').replace(/_/g, ' ').toLowerCase()}`;
}

/** What is said of the recording in the title. */
function facts() {
  const recording = app.recording;
  if (!recording) return;
  document.title = `${recording.name} - masktools`;
  get('name').textContent = recording.name;
  const channels = recording.channels === 1 ? 'mono' : recording.channels === 2 ? 'stereo' : `${recording.channels} channels`;
  const cutoff = recording.bandwidth?.cutoff_hz, gaps = recording.damage.length, repaired = holding().size;
  const said = [
    clock(recording.samples / recording.rate, 0), hertz(recording.rate), coding(recording), channels,
    recording.surveyed < 1 ? `looking for damage, ${Math.round(100 * recording.surveyed)} %` : gaps ? `${gaps} place${gaps > 1 ? 's' : ''} damaged` : 'no gap found',
    ...(repaired ? [`${repaired} repaired`] : []), ...(cutoff ? [`band ends at ${hertz(cutoff)}`] : []), ...(recording.warnings ?? []),
  ];
  get('facts').replaceChildren(...said.map((text, number) => {
    const item = document.createElement('li');
    item.textContent = text;
    if (number === 4) item.className = recording.surveyed < 1 ? 'busy' : gaps ? 'marked' : '';
    return item;
  }));
  /** @type {HTMLButtonElement} */ (get('save')).disabled = false;
}

/** The recordings that the server knows. */
async function list() {
  app.recordings = await askJson('api/recordings');
  get('kept').hidden = !app.recordings.length;
  get('recordings').replaceChildren(...app.recordings.map((one) => {
    const item = document.createElement('li'), button = document.createElement('button'), soft = document.createElement('span');
    button.type = 'button';
    button.textContent = one.name;
    button.addEventListener('click', () => open(one.id));
    soft.className = 'soft';
    soft.textContent = one.bad ?? [one.seconds ? clock(one.seconds, 0) : '', one.changed ? 'repaired' : ''].filter(Boolean).join(', ');
    item.append(button, soft);
    return item;
  }));
  tell('recordings');
}

/** @param {string} kind @param {any} data */
function heard(kind, data) {
  if (kind === 'reset') return again();
  if (kind === 'job') return heardJob(data);
  if (kind === 'model') {
    Object.assign(app.about, data);
    if (data.error) say(data.error.message, 'error');
    return tell('about');
  }
  if (kind === 'recording') trying(list);
  if (data.recording !== app.recording?.id || !app.recording) return;
  if (data.removed) return close();
  if (data.lost) say('The reader of audio broke down and was started again.', 'error');
  if (data.error) say(typeof data.error === 'string' ? data.error : data.error.message, 'error');
  if (kind === 'survey' && data.side) {
    app.freshened++;
    tell('surveyed');
  } else if (kind === 'survey') {
    app.recording.surveyed = data.share;
    facts();
    tell('surveyed');
    if (data.share >= 1) refresh();
  } else refresh();
}

/** After a time without the server: everything may be another. */
async function again() {
  refresh();
  await trying(list);
  await trying(loadJobs);
}

/** @param {boolean} connected */
function connection(connected) {
  const lost = get('lost');
  const before = app.connected;
  app.connected = connected;
  if (connected) {
    lost.hidden = true;
    // What happened between reading the state and listening was not heard.
    if (before) refresh();
    else again();
    window.setTimeout(refresh, 1000); // the line is open a little before the server writes to it
    return;
  }
  window.setTimeout(async () => {
    if (app.connected) return;
    const old = await ask('api/about').then(() => false, (error) => error instanceof Refused && error.status === 401);
    lost.textContent = app.saved ? 'Saved. masktools has ended, and this page can be closed.' : old ? 'This page has no key any more: open the address that masktools printed.'
      : 'The server does not answer. What was done is kept; this page goes on when it is there again.';
    lost.hidden = false;
  }, 1500);
}

function startSaid() {
  let timer = 0;
  on('said', ({ text, kind }) => {
    const line = get('said');
    line.textContent = text;
    line.className = `shown ${kind}`;
    window.clearTimeout(timer);
    timer = window.setTimeout(() => (line.className = ''), kind === 'error' ? 12000 : 5000);
  });
}

function startTheme() {
  const root = document.documentElement;
  const stored = (() => {
    try {
      return localStorage.getItem('masktools-theme');
    } catch {
      return null;
    }
  })();
  if (stored) root.dataset.theme = stored;
  get('theme').addEventListener('click', () => {
    const dark = root.dataset.theme ? root.dataset.theme === 'dark' : matchMedia('(prefers-color-scheme: dark)').matches;
    root.dataset.theme = dark ? 'light' : 'dark';
    try {
      localStorage.setItem('masktools-theme', root.dataset.theme);
    } catch {
      // it holds for this page only
    }
  });
}

async function start() {
  startTheme();
  startTabs();
  startSaid();
  startStage();
  startTable();
  startTransport();
  startPointer(seek);
  input('marking').addEventListener('change', () => setMarking(input('marking').checked));
  startJobs();
  startHistory();
  startDialogs(open);
  startHelp();
  startKeys();
  try {
    await enter();
    app.about = await askJson('api/about');
  } catch (error) {
    get('lost').textContent = error instanceof Error ? error.message : String(error);
    get('lost').hidden = false;
    return;
  }
  tell('about');
  on('made', open);
  on('left', close);
  on('recording', facts);
  startMake(open);
  startBatch();
  const listening = listen(heard, connection);
  window.addEventListener('pagehide', listening);
  window.addEventListener('pageshow', (event) => event.persisted && location.reload());
  await trying(list);
  const wanted = location.hash.slice(1);
  const named = app.recordings.filter((one) => one.named).sort((one, other) => one.named - other.named);
  for (const one of [...app.recordings.filter(({ id }) => id === wanted), ...named]) if (!one.bad && await open(one.id)) break;
  await trying(loadJobs);
  tell('started');
}

start();
