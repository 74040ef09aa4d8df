/** The tab that makes sound from a text. */

import { button, get, input, make } from './dom.js';
import { started, showRunning } from './jobs.js';
import { askJson } from './net.js';
import { app, on, trying } from './state.js';
import { showTab } from './tabs.js';

/** @param {(id: string) => Promise<void>} open */
export function startMake(open) {
  const field = (/** @type {string} */ text, /** @type {Node} */ inside, name = '') => make('label', { className: name }, `${text} `, inside);
  get('make').replaceChildren(
    make('h1', {}, 'Make sound from text'),
    make('p', { className: 'soft' }, 'Describe what is to be heard. The same seed gives the same sound.'),
    make('div', { className: 'fields' },
      field('Prompt', make('input', { id: 'make-prompt', type: 'text', maxLength: 500, autocomplete: 'off', placeholder: 'rain on a tin roof, distant thunder' }), 'long'),
      field('Seconds', make('input', { id: 'make-seconds', type: 'number', min: '1', max: '600', step: '0.5', value: '10' })),
      field('How many', make('input', { id: 'make-n', type: 'number', min: '1', max: '8', value: '2' })),
      field('Seed', make('input', { id: 'make-seed', type: 'number', min: '0', value: '0' }))),
    make('div', { className: 'buttons' }, button('Make', begin, { className: 'main', id: 'make-go' })),
    make('div', { id: 'making' }), make('ul', { id: 'made', className: 'recordings' }));
  const shown = () => {
    showRunning(get('making'), (job) => job.kind === 'generate');
    const made = [...app.jobs.values()].filter((job) => job.kind === 'generate' && job.state !== 'queued' && job.state !== 'running');
    get('made').replaceChildren(...made.reverse().flatMap((job) => results(job, open)));
  };
  on('jobs recordings', shown);
  shown();
}

function begin() {
  return trying(async () => {
    const payload = {
      kind: 'generate', prompt: input('make-prompt').value.trim(), seconds: Number(input('make-seconds').value),
      n: Number(input('make-n').value), seed: Number(input('make-seed').value),
    };
    const { job } = await askJson('api/jobs', { method: 'POST', json: payload });
    started(job, { kind: 'generate' });
  });
}

/** What a job has made, each to be opened. @param {import('./state.js').Job} job @param {(id: string) => Promise<void>} open */
function results(job, open) {
  if (job.state !== 'done') return [make('li', {}, make('span', { className: 'soft' }, `${job.state}: ${job.error?.message ?? job.error ?? ''}`))];
  return (job.made ?? []).map((id) => {
    const one = app.recordings.find((known) => known.id === id);
    return one ? make('li', {}, button(one.name, () => {
      showTab('restore');
      open(one.id);
    })) : '';
  });
}
