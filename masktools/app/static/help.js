/** The tab that explains. */

import { get, make } from './dom.js';
import { app, on } from './state.js';

const TEXTS = [
  ['Repair a recording', 'Open it; damage that is found is listed at once, with a tick in the overview. Mark what was not found: drag over the waveform for a gap (in one lane: that channel only), over the spectrogram for a rectangle of time and frequency (with Alt: its whole height). Every number can be typed in the table. Then fill what is chosen, or all gaps.'],
  ['Hear the difference', 'Before, after and the difference run on one clock: a switch changes neither the level nor the place. Each fill has several candidates; C goes through them. Undo takes back a repair, and nothing of the file is written until you save.'],
  ['What a fill is', 'An invention that fits its surroundings, never what was lost. Above what the model reaches (the dotted line) nothing is invented by it.'],
  ['Mouse, pad and fingers', 'Wheel: zoom. Shift and wheel, or sideways: move. Drag the frame in the overview to move, a number at a mark to shift it, an edge of the chosen mark to stretch it. On a phone one finger moves, two zoom, and the switch Mark lets one finger mark.'],
  ['Nothing is lost', 'What you mark and accept is written to the disk before it is shown as done. Close the page at any time: a job goes on, and is there at the next visit.'],
];

export function startHelp() {
  const switch_ = make('label', { className: 'switch' }, make('input', { type: 'checkbox', id: 'keys-on', checked: true }), make('span', {}, 'Keys without Ctrl work'));
  get('help').replaceChildren(
    make('h1', {}, 'Help'),
    make('div', { className: 'texts' }, ...TEXTS.map(([title, text]) => make('section', {}, make('h2', {}, title), make('p', {}, text)))),
    make('h2', {}, 'Keys'), make('p', {}, switch_), make('dl', { id: 'keys' }),
    make('p', { className: 'soft', id: 'about' }));
  on('about', () => {
    const { version, model, device } = app.about;
    get('about').textContent = `masktools ${version ?? ''}, model ${model ?? ''} on ${device ?? ''}. Everything runs on this machine.`;
  });
}
