/** The tab for many files: folders that were named on the command line, and nothing else. */

import { button, get, input, make } from './dom.js';
import { showRunning, started } from './jobs.js';
import { askJson } from './net.js';
import { app, on, trying } from './state.js';

const MOST = 200; // files that are listed

export function startBatch() {
  const folders = /** @type {{id: string, name: string}[]} */ (app.about.folders ?? []);
  const choice = (/** @type {string} */ id, last = false) => {
    const made = make('select', { id }, ...folders.map((folder) => new Option(folder.name, folder.id)));
    if (last) made.selectedIndex = folders.length - 1;
    return made;
  };
  const what = make('select', { id: 'what' }, new Option('fill gaps and extend the band', 'restore'), new Option('fill gaps', 'inpaint'), new Option('extend the band', 'bwe'));
  get('batch').replaceChildren(
    make('h1', {}, 'Many files'),
    make('p', { className: 'soft' }, 'Every recording of a folder is looked at and restored. A broken one does not stop the others, and what was done is not done again.'),
    folders.length > 1
      ? make('div', {},
        make('div', { className: 'fields' }, make('label', {}, 'From ', choice('source')), make('label', {}, 'To ', choice('target', true)), make('label', {}, 'What ', what)),
        make('div', { className: 'buttons' }, button('Restore all of them', begin, { className: 'main', id: 'batch-go' })))
      : make('p', {}, 'Name two folders on the command line, one to read and one to write: ', make('code', {}, 'masktools app tapes/ restored/')),
    make('div', { id: 'working' }), make('ul', { id: 'worked', className: 'recordings' }));
  const shown = () => {
    showRunning(get('working'), (job) => job.kind === 'batch');
    const listed = [...app.jobs.values()].filter((job) => job.kind === 'batch' && job.state !== 'queued').reverse();
    get('worked').replaceChildren(...listed.map((job) => make('li', {}, make('div', {}, summary(job), make('ul', { className: 'files' }, ...files(job))))));
  };
  on('jobs', shown);
  shown();
}

/** What became of each file, those that failed first. @param {import('./state.js').Job} job */
function files(job) {
  const all = /** @type {{file: string, status: string, error: string | null}[]} */ (job.report?.files ?? []);
  const sorted = [...all].sort((one, other) => Number(Boolean(other.error)) - Number(Boolean(one.error)));
  return sorted.slice(0, MOST).map(({ file, status, error }) => make('li', { className: error ? 'failed' : '' }, `${file}: ${error ?? status}`));
}

/** @param {import('./state.js').Job} job */
function summary(job) {
  const { recordings, finished_before: before, files = [] } = job.report ?? {};
  const failed = files.filter((/** @type {any} */ one) => one.error).length, done = files.length;
  const counts = [recordings === undefined ? `${done} file${done === 1 ? '' : 's'} so far` : `${recordings} recordings`, before ? `${before} of them done earlier` : '', failed ? `${failed} failed` : ''].filter(Boolean).join(', ');
  return [job.state, counts, job.error?.message ?? job.error].filter(Boolean).join(': ');
}

function begin() {
  return trying(async () => {
    const { job } = await askJson('api/jobs', { method: 'POST', json: { kind: 'batch', source: input('source').value, target: input('target').value, what: input('what').value } });
    started(job, { kind: 'batch' });
  });
}
