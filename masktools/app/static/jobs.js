/** Jobs: what is asked of the model, how far it is, and which of its candidates is heard. */

import { button, get, input } from './dom.js';
import { duration, readHertz } from './format.js';
import { inOrder, isBand } from './marks.js';
import { askJson, Refused } from './net.js';
import { keepAll } from './regions.js';
import { app, holding, on, say, selected, tell, trying } from './state.js';
import { choose } from './transport.js';

/** @typedef {import('./state.js').Job} Job @typedef {import('./state.js').Region} Region */


const OWN = 'masktools-jobs'; // those that this tab has started: their results are taken without asking
const ENDED = ['done', 'failed', 'cancelled', 'lost'];
const NAMES = /** @type {Record<string, string>} */ ({
  inpaint: 'filling', repair: 'repairing', bwe: 'extending the band', restore: 'restoring', extend: 'going on beyond the end',
  loop: 'making a loop', generate: 'making sound', batch: 'working through files',
});

/** @returns {string[]} */
function own() {
  try {
    return JSON.parse(sessionStorage.getItem(OWN) ?? '[]');
  } catch {
    return [];
  }
}

/** @param {string[]} ids */
function setOwn(ids) {
  try {
    sessionStorage.setItem(OWN, JSON.stringify(ids));
  } catch {
    // a reload then asks before it takes a result
  }
}

/** Whether a job is of the recording that is shown. @param {Job} job */
const here = (job) => Boolean(app.recording) && job.recording === app.recording?.id;

/** All jobs of the server. */
export async function loadJobs() {
  const list = await askJson('api/jobs');
  app.jobs = new Map(list.map((/** @type {Job} */ job) => [job.id, job]));
  for (const job of app.jobs.values()) settle(job);
  tell('jobs');
}

/** @param {any} data of an event */
export function heardJob(data) {
  const id = data.id ?? data.job;
  const before = app.jobs.get(id);
  const { file, ...more } = data;
  const job = /** @type {Job} */ ({ ...before, ...more, id });
  if (file) job.report = { ...before?.report, files: [...(before?.report?.files ?? []), file] };
  app.jobs.set(id, job);
  if (!before || (ENDED.includes(job.state) && !ENDED.includes(before.state))) trying(() => look(id));
  tell('jobs');
}

/** Read a job whole. @param {string} id */
async function look(id) {
  const job = await askJson(`api/jobs/${id}`);
  app.jobs.set(id, job);
  settle(job);
  tell('jobs');
}

/** Take the result of a job of this tab; say how another ended. @param {Job} job */
function settle(job) {
  if (!ENDED.includes(job.state) || !own().includes(job.id)) return;
  if (!here(job) && job.recording) return;
  setOwn(own().filter((id) => id !== job.id));
  if (job.state === 'done' && job.recording) trying(() => accept(job));
  else if (job.state !== 'done') say(ending(job), job.state === 'cancelled' ? 'note' : 'error');
}

/** @param {Job} job */
function ending(job) {
  const reason = typeof job.error === 'string' ? job.error : job.error?.message;
  if (job.state === 'cancelled') return 'Cancelled. What was done before stays.';
  if (job.state === 'lost') return reason ?? 'The process that holds the model broke down, and was started again.';
  return reason ?? 'The job failed.';
}

/** Which candidates a job has for each region. @param {Job} job @returns {Record<string, any[]>} */
const candidates = (job) => job.candidates ?? {};

/** Take the best candidate of every region. @param {Job} job */
async function accept(job) {
  const choices = Object.fromEntries(Object.entries(candidates(job)).filter(([, list]) => list.length).map(([region]) => [region, 0]));
  if (job.made?.length) tell('made', job.made[0]);
  if (!Object.keys(choices).length) return job.made?.length ? undefined : say(job.report?.reason ?? 'There was nothing to repair.');
  await edit(job.id, choices);
  const n = Object.keys(choices).length;
  say(`${n === 1 ? 'One repair is' : `${n} repairs are`} in place. 1 and 2 switch between before and after, Ctrl Z undoes.`);
  choose('after');
}

/** @param {string} job @param {Record<string, number>} choices */
async function edit(job, choices) {
  const state = await askJson(`api/recordings/${app.recording?.id}/edits`, { method: 'POST', json: { job, choices } });
  app.recording = { ...app.recording, ...state };
  tell('recording');
  tell('edited');
}

/** The result of a region that is heard, or the newest one that could be. @param {string} region */
function resultOf(region) {
  const held = holding().get(region);
  const done = [...app.jobs.values()].filter((job) => here(job) && job.state === 'done' && candidates(job)[region]?.length);
  if (held) {
    const job = app.jobs.get(held.job);
    return { job: held.job, candidate: held.candidate, list: (job && candidates(job)[region]) ?? [] };
  }
  const last = done[done.length - 1];
  return last ? { job: last.id, candidate: -1, list: candidates(last)[region] } : null;
}

/** How a candidate was made and how well it fits, in words. @param {any} one */
function details(one) {
  const known = one?.fit_db !== undefined && one?.fit_db !== null;
  return [one?.method ? `by ${one.method}` : '', known ? `${Number(one.fit_db).toFixed(1)} dB off its surroundings` : ''].filter(Boolean).join(', ');
}

/** Hear another candidate of the chosen mark. @param {number} way */
export function nextCandidate(way, region = selected()?.id) {
  const result = region ? resultOf(region) : null;
  if (!region || !result || !result.list.length) return say('Choose a mark that has been filled: C goes through its candidates.');
  const next = (result.candidate + way + result.list.length) % result.list.length;
  if (result.list.length === 1 && result.candidate === 0) return say('There is one candidate only: raise their number, and fill again.');
  return trying(async () => {
    await edit(result.job, { [region]: next });
    choose('after');
    say(`Candidate ${[`${next + 1} of ${result.list.length}`, details(result.list[next])].filter(Boolean).join(', ')}.`);
  });
}

/** What the fields of the panel say about a kind of job; what is left as it is is not said. @param {string} kind */
function settings(kind) {
  const prompt = input('prompt').value.trim(), method = input('method').value, texture = input('texture').value;
  const cutoff = readHertz(input('cutoff').value);
  if (input('cutoff').value.trim() && cutoff === null) throw new Refused(422, { message: 'Where the band ends must be a frequency, such as 5500 or 5.5k.', field: 'cutoff_hz' });
  return {
    ...(['inpaint', 'repair', 'loop'].includes(kind) ? { method } : {}), ...(prompt ? { prompt } : {}), ...(texture ? { texture } : {}),
    ...(['bwe', 'restore'].includes(kind) && cutoff !== null ? { cutoff_hz: cutoff } : {}), ...(kind === 'extend' ? { seconds: Number(input('seconds').value) } : {}),
  };
}

const FIELDS = /** @type {Record<string, string>} */ ({ n_candidates: 'candidates', seed: 'seed', method: 'method', prompt: 'prompt', texture: 'texture', cutoff_hz: 'cutoff', seconds: 'seconds' });

/**
 * Ask for a job.
 * @param {string} kind
 * @param {string[] | null} regions their names; null for the whole recording
 */
export function ask(kind, regions) {
  return trying(async () => {
    for (const name of Object.values(FIELDS)) input(name).removeAttribute('aria-invalid');
    try {
      if (regions) await keepAll();
      const { job } = await askJson(`api/recordings/${app.recording?.id}/jobs`, {
        method: 'POST', json: {
          kind, ...(regions ? { regions } : {}), settings: settings(kind),
          n_candidates: Number(input('candidates').value) || 1, seed: Number(input('seed').value) || 0,
        },
      });
      started(job, { kind, recording: app.recording?.id, regions: regions ?? undefined });
    } catch (error) {
      const field = error instanceof Refused && FIELDS[error.field ?? ''];
      if (field) input(field).setAttribute('aria-invalid', 'true');
      throw error;
    }
  });
}

/** @param {any} job @param {Partial<Job>} parts */
export function started(job, parts) {
  const id = typeof job === 'string' ? job : job.id;
  setOwn([...own(), id]);
  if (!app.jobs.has(id)) heardJob({ state: 'queued', share: 0, seconds_left: null, ...parts, id });
  else trying(() => look(id));
}

/** Fill the chosen mark. */
export function fillSelected() {
  const mark = selected();
  if (!mark) return say('Choose a mark first: N goes to the next.');
  return ask(isBand(mark) ? 'repair' : 'inpaint', [mark.id]);
}

async function fillAll() {
  const held = holding();
  const open = inOrder().filter((region) => !held.has(region.id));
  const gaps = open.filter((region) => !isBand(region)), bands = open.filter(isBand);
  if (!open.length) return say(app.regions.length ? 'Every mark is filled already.' : 'Nothing is marked.');
  if (gaps.length) await ask('inpaint', gaps.map((region) => region.id));
  if (bands.length) await ask('repair', bands.map((region) => region.id));
}

/** @param {Job} job */
const isRunning = (job) => !ENDED.includes(job.state);

/** How far a job is, in words. @param {Job} job */
export function progress(job) {
  if (job.state === 'queued') return 'waiting';
  const left = job.seconds_left;
  return `${Math.floor(100 * (job.share ?? 0))} %${left === null || left === undefined ? '' : `, ${duration(left)} left`}`;
}

/** @param {Job} job */
function cancel(job) {
  return trying(async () => {
    await askJson(`api/jobs/${job.id}`, { method: 'DELETE' });
    say('Cancelling…');
  });
}

/** @type {Map<string, HTMLElement>} */
const shown = new Map();
let spoken = '';

/** Show jobs that run in a box. @param {HTMLElement} box @param {(job: Job) => boolean} wanted */
export function showRunning(box, wanted) {
  const running = [...app.jobs.values()].filter((job) => isRunning(job) && wanted(job));
  for (const job of running) {
    let line = shown.get(job.id);
    if (!line) {
      line = document.createElement('div');
      line.className = 'job';
      const bar = document.createElement('progress'), words = document.createElement('span');
      bar.max = 1;
      bar.setAttribute('aria-label', NAMES[job.kind] ?? job.kind);
      line.append(words, bar, button('Cancel', () => cancel(job)));
      shown.set(job.id, line);
    }
    if (line.parentElement !== box) box.append(line);
    /** @type {HTMLElement} */ (line.querySelector('span')).textContent = `${NAMES[job.kind] ?? job.kind}: ${progress(job)}`;
    const bar = /** @type {HTMLProgressElement} */ (line.querySelector('progress'));
    if (job.state === 'queued') bar.removeAttribute('value');
    else bar.value = job.share ?? 0;
  }
  for (const line of [...box.querySelectorAll('.job')]) {
    const id = [...shown].find(([, one]) => one === line)?.[0];
    if (running.some((job) => job.id === id)) continue;
    line.remove();
    if (id) shown.delete(id);
  }
}

/** A result that nobody has taken: of a job whose page was closed, or of another page's. */
function waiting() {
  const used = new Set(app.recording?.edits.map((edit) => edit.job));
  const ended = [...app.jobs.values()].filter((job) => here(job) && job.state === 'done' && Object.keys(candidates(job)).length);
  const last = ended[ended.length - 1];
  return last && !used.has(last.id) && !own().includes(last.id) && !left.has(last.id) ? last : null;
}

/** Results that were left aside on this page. @type {Set<string>} */
const left = new Set();

function showWaiting() {
  const job = waiting(), box = get('ready');
  box.hidden = !job;
  if (!job || box.dataset.job === job.id) return;
  box.dataset.job = job.id;
  box.replaceChildren(`Done: ${NAMES[job.kind] ?? job.kind}. `, button('Use it', () => trying(() => accept(job))), ' ', button('Leave it', () => {
    left.add(job.id);
    refresh();
  }, { className: 'quiet' }));
}

/** How long things take here, as far as that is known. */
function estimate() {
  const ended = [...app.jobs.values()].filter((job) => here(job) && job.state === 'done' && job.seconds);
  const last = ended[ended.length - 1];
  get('estimate').textContent = last ? `${NAMES[last.kind] ?? last.kind} took ${duration(last.seconds ?? 0)}` : '';
}

function refresh() {
  showRunning(get('running'), here);
  showWaiting();
  estimate();
  const job = [...app.jobs.values()].find((one) => here(one) && one.state === 'running');
  const now = job ? `${NAMES[job.kind] ?? job.kind}, ${Math.floor((job.share ?? 0) * 4) * 25} %` : '';
  if (now !== spoken) get('progress-said').textContent = spoken = now;
}

/** The state of a mark and its candidates, in its row of the table. */
function fillRow(/** @type {{row: HTMLElement, region: Region, number: number}} */ { row, region, number }) {
  const job = [...app.jobs.values()].find((one) => here(one) && isRunning(one) && one.regions?.some((/** @type {any} */ asked) => (asked.id ?? asked) === region.id));
  const result = resultOf(region.id), state = /** @type {HTMLElement} */ (row.querySelector('.state'));
  const said = job ? progress(job).split(',')[0] : result ? (result.candidate < 0 ? 'ready' : 'done') : region.kind === 'drawn' ? 'marked' : 'found';
  if (state.textContent !== said) state.textContent = said;
  state.className = `state ${said.includes('%') ? 'running' : said}`;
  const chooser = /** @type {HTMLElement} */ (row.querySelector('.chooser'));
  const key = result ? `${result.job} ${result.candidate} ${result.list.length}` : '';
  if (chooser.dataset.key === key) return;
  const back = document.activeElement && chooser.contains(document.activeElement) ? document.activeElement.className : '';
  chooser.dataset.key = key;
  chooser.replaceChildren();
  if (!result || !result.list.length) return;
  const words = document.createElement('span');
  words.textContent = `${result.candidate < 0 ? '–' : result.candidate + 1}/${result.list.length}`;
  const one = result.list[Math.max(0, result.candidate)];
  words.title = [details(one), one?.seed ? `seed ${one.seed}` : ''].filter(Boolean).join(', ');
  const before = button('‹', () => nextCandidate(-1, region.id)), after = button('›', () => nextCandidate(1, region.id));
  before.className = 'back';
  after.className = 'forth';
  before.setAttribute('aria-label', `Earlier candidate of mark ${number}`);
  after.setAttribute('aria-label', `Next candidate of mark ${number}`);
  chooser.append(before, words, after);
  if (back) /** @type {HTMLElement | null} */ (chooser.querySelector(`.${back}`))?.focus();
}

export function startJobs() {
  const act = (/** @type {string} */ id, /** @type {() => any} */ what) => get(id).addEventListener('click', what);
  act('fill', fillSelected);
  act('fill-all', fillAll);
  act('extend-band', () => ask('bwe', null));
  act('restore-all', () => ask('restore', null));
  act('continue', () => ask('extend', null));
  act('make-loop', () => ask('loop', null));
  on('jobs recording', refresh);
  on('row', fillRow);
}
