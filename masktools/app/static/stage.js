/** The stage: overview, time axis, lanes and the place that is played, drawn when something has changed. */

import { drawFrequencies, drawLevel, drawTimes, label } from './axis.js';
import { channelNames, hertz } from './format.js';
import { layOut } from './lanes.js';
import { Loader } from './loader.js';
import { drawMarks } from './marks.js';
import { makeScale } from './pitch.js';
import { drawTiles, tileWishes } from './spectrogram.js';
import { app, edited, effective, holding, on, tell } from './state.js';
import { View } from './view.js';
import { drawWave, wishes } from './waveform.js';

const element = (/** @type {string} */ id) => /** @type {HTMLElement} */ (document.getElementById(id));
const canvas = (/** @type {string} */ id) => /** @type {HTMLCanvasElement} */ (document.querySelector(`#${id} canvas`));

export const view = new View(() => {
  draw();
  tell('view');
});

export const stage = {
  /** @type {import('./lanes.js').Lane[]} */
  lanes: [],
  scale: makeScale('mel', 44100),
  /** Channels whose spectrogram is shown. @type {number[]} */
  shown: [0],
  /** A mark that is being drawn. @type {import('./state.js').Region | null} */
  drawn: null,
  playhead: 0,
};

const close = (/** @type {any} */ value) => value?.close?.();
const waves = new Loader(160, 2, draw);
const tiles = new Loader(120, 2, draw, close);
const whole = { overview: '', image: /** @type {HTMLCanvasElement | null} */ (null) };
let waiting = 0;

/** Draw before the next picture of the screen. */
export function draw() {
  waiting ||= requestAnimationFrame(() => {
    waiting = 0;
    paint();
  });
}

/** Note when something was there for the first time, for whoever measures. @param {string} name */
function once(name) {
  if (!performance.getEntriesByName(name).length) performance.mark(name);
}

/** @type {import('./axis.js').Colours} */
let colours;

function readColours() {
  const style = getComputedStyle(document.documentElement);
  const value = (/** @type {string} */ name) => style.getPropertyValue(`--${name}`).trim();
  colours = {
    ink: value('ink'), soft: value('soft'), line: value('line'), paper: value('paper'), wave: value('wave'),
    seen: value('damage'), done: value('done'), drawn: value('drawn'), lane: value('lane'), limit: value('limit'), font: getComputedStyle(document.body).fontFamily,
  };
  draw();
}

/** Give a canvas the size of its box; its context, in CSS pixels. @param {HTMLCanvasElement} target */
function sized(target) {
  const ratio = window.devicePixelRatio || 1;
  const box = /** @type {HTMLElement} */ (target.parentElement);
  const width = Math.max(1, Math.round(box.clientWidth * ratio)), height = Math.max(1, Math.round(box.clientHeight * ratio));
  if (target.width !== width || target.height !== height) Object.assign(target, { width, height });
  const context = /** @type {CanvasRenderingContext2D} */ (target.getContext('2d'));
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  return { context, ratio, width: box.clientWidth, height: box.clientHeight };
}

function paint() {
  const recording = app.recording;
  const box = element('stage');
  if (!recording || !box.clientWidth || !colours) return;
  const ratio = window.devicePixelRatio || 1;
  view.width = box.clientWidth;
  stage.lanes = layOut(box.clientHeight, recording.channels, stage.shown);
  const side = effective(app.side);
  const span = { recording, side, start: view.start, perPixel: view.perPixel / ratio, width: Math.round(view.width * ratio) };
  const spectrum = { ...span, scale: stage.scale.name };
  const over = { recording, side: 'before', start: 0, perPixel: view.most / ratio, width: span.width };
  const after = { ...over, side: effective('after') };
  const isThere = (/** @type {import('./waveform.js').Span} */ one) => wishes(one).every((wish) => waves.get(wish.key));
  // The other side comes last, so that a switch shows it at once.
  const other = edited() ? [side === 'before' ? 'after' : 'before'] : [];
  waves.want([wishes(over), wishes(span), wishes(after), ...other.map((one) => wishes({ ...span, side: one }))].flat());
  // The overview first: whoever opens an hour wants to see it before its details.
  tiles.want(!isThere(over) ? [] : [side, ...other].flatMap((one) => stage.shown.flatMap((channel) => tileWishes({ ...spectrum, side: one }, channel))));
  drawTimes(sized(canvas('axis')).context, view, element('axis').clientHeight, colours);
  drawOverview(isThere(after) ? after : over);
  if (isThere(over)) once('overview');
  drawLanes(span, spectrum);
  if (!isThere(over)) drawWaiting();
  drawMarks(stage, view);
  movePlayhead(stage.playhead);
  tell('painted');
}

/** @param {import('./waveform.js').Span} span @param {import('./spectrogram.js').Spectrum} spectrum */
function drawLanes(span, spectrum) {
  const { context, ratio, width } = sized(canvas('stage'));
  context.clearRect(0, 0, width, element('stage').clientHeight);
  for (const lane of stage.lanes) {
    const box = { top: Math.round(lane.top * ratio), height: Math.round(lane.height * ratio) };
    context.fillStyle = lane.kind === 'wave' ? colours.lane : '#0b0c10';
    context.fillRect(0, lane.top, Math.min(width, view.x(view.samples)), lane.height);
    context.save();
    context.setTransform(1, 0, 0, 1, 0, 0);
    if (lane.kind === 'spectrum') drawTiles(context, tiles, spectrum, lane.channel, box);
    else {
      context.fillStyle = colours.line;
      context.fillRect(0, Math.round(box.top + box.height / 2), span.width, 1);
      context.fillStyle = colours.wave;
      drawWave(context, waves, span, lane.channel, box);
    }
    context.restore();
    context.font = `11px ${colours.font}`;
    if (lane.kind === 'spectrum') drawSpectrumWords(context, lane, width);
    else if (span.recording.channels > 1 && lane.height > 24) {
      context.fillStyle = colours.soft;
      context.textBaseline = 'alphabetic';
      context.fillText(channelNames([lane.channel], span.recording.channels), 5, lane.top + lane.height - 5);
    }
  }
}

/** Say that the recording is being read: on a busy machine that takes a while. */
function drawWaiting() {
  const { context, width } = sized(canvas('stage'));
  context.font = `13px ${colours.font}`;
  context.fillStyle = colours.soft;
  context.textBaseline = 'middle';
  context.fillText('Reading…', width / 2 - 28, stage.lanes[0].top + stage.lanes[0].height / 2 - 12);
}

/** @param {CanvasRenderingContext2D} context @param {import('./lanes.js').Lane} lane @param {number} width */
function drawSpectrumWords(context, lane, width) {
  const recording = /** @type {import('./state.js').Recording} */ (app.recording);
  drawFrequencies(context, stage.scale, lane);
  const cutoff = recording.bandwidth?.cutoff_hz, limit = app.about.model_hz, first = lane === stage.lanes.find((one) => one.kind === 'spectrum');
  const levels = [
    ...(limit && limit < recording.rate / 2 ? [{ at: limit, words: `the model reaches ${hertz(limit)}`, colour: '#e8edf2', dash: [2, 4] }] : []),
    ...(cutoff ? [{ at: cutoff, words: `band ends at ${hertz(cutoff)}`, colour: '#6ee7ff', dash: [6, 4] }] : []),
  ].sort((one, other) => one.at - other.at);
  const near = levels.length > 1 && lane.height * (stage.scale.share(levels[1].at) - stage.scale.share(levels[0].at)) < 24;
  levels.forEach(({ at, words, colour, dash }, number) =>
    drawLevel(context, lane, stage.scale.share(at), width, first ? words : '', { colour, dash, above: number > 0 && near }));
  if (stage.shown.length > 1) label(context, channelNames([lane.channel], recording.channels), width - 14, lane.top + lane.height - 10, '#e8edf2');
}

/** The whole recording in one strip: both channels, where damage is, and what is visible. @param {import('./waveform.js').Span} span */
function drawOverview(span) {
  const { context, ratio, width, height } = sized(canvas('overview'));
  const recording = span.recording;
  const state = `${recording.id} ${span.side} ${width} ${height} ${ratio} ${colours.wave} ${wishes(span).map((wish) => waves.kept.get(wish.key)?.stamp)}`;
  if (state !== whole.overview || !whole.image) {
    whole.image ??= document.createElement('canvas');
    Object.assign(whole.image, { width: Math.round(width * ratio), height: Math.round(height * ratio) });
    const inner = /** @type {CanvasRenderingContext2D} */ (whole.image.getContext('2d'));
    inner.fillStyle = colours.wave;
    const shown = Math.min(2, recording.channels), each = (whole.image.height - 8 * ratio) / shown;
    for (let channel = 0; channel < shown; channel++) drawWave(inner, waves, span, channel, { top: channel * each, height: each });
    whole.overview = state;
  }
  context.clearRect(0, 0, width, height);
  context.drawImage(whole.image, 0, 0, width, height);
  const scale = width / Math.max(1, recording.samples);
  const held = holding();
  for (const region of app.regions) {
    context.fillStyle = held.has(region.id) ? colours.done : region.kind === 'drawn' ? colours.drawn : colours.seen;
    context.fillRect(region.start * scale - 0.5, height - 7, Math.max(2, (region.end - region.start) * scale), 7);
  }
  const frame = element('frame');
  const left = view.start * scale, wide = Math.max(3, view.perPixel * view.width * scale);
  frame.style.transform = `translateX(${left}px)`;
  frame.style.width = `${Math.min(wide, width)}px`;
  frame.hidden = wide >= width - 0.5;
}

/** Show the place that is played. @param {number} sample */
export function movePlayhead(sample) {
  stage.playhead = sample;
  const x = view.x(sample), head = element('playhead');
  head.hidden = x < -1 || x > view.width + 1;
  head.style.transform = `translateX(${x}px)`;
  const small = element('overview-playhead');
  small.style.transform = `translateX(${(sample / Math.max(1, view.samples)) * view.width}px)`;
}

/** Show another scale of frequency. @param {string} name */
export function chooseScale(name) {
  stage.scale = makeScale(name, app.recording?.rate ?? 44100);
  draw();
}

/** Show the spectrograms of these channels. @param {number[]} channels */
export function showChannels(channels) {
  stage.shown = channels;
  draw();
}

export function startStage() {
  readColours();
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', readColours);
  new MutationObserver(readColours).observe(document.documentElement, { attributes: true, attributeFilter: ['data-theme'] });
  new ResizeObserver(() => {
    view.resize(element('stage').clientWidth);
    draw();
  }).observe(element('stage'));
  on('closed', () => {
    waves.clear();
    tiles.clear();
  });
  on('opened', () => {
    const recording = /** @type {import('./state.js').Recording} */ (app.recording);
    waves.clear();
    tiles.clear();
    stage.scale = makeScale(stage.scale.name, recording.rate);
    stage.shown = recording.channels === 2 && element('stage').clientHeight > 420 ? [0, 1] : [0];
    view.width = element('stage').clientWidth || 1;
    view.open(recording.samples, recording.rate);
  });
  on('recording', () => app.recording && app.recording.samples !== view.samples && view.lengthen(app.recording.samples));
  on('recording regions selection side about surveyed', draw);
}
