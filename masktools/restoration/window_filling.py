"""Gaps filled from one window of the model: what it hears, what it makes of it, and what becomes of its answer."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import ceil
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor

from masktools.classical.noise import SPECTRUM_S, noise_between
from masktools.classical.prediction import CONTEXT_S, MAX_ORDER
from masktools.io import resample_to
from masktools.mel import MelConfig
from masktools.pipeline import Pipeline, Progress, Walk, keep_known
from masktools.restoration.band_level import high_pass
from masktools.restoration.gap_plan import AUTO, BLEND, MODEL, GapSettings, GapTask, WindowJob, hidden_in, shoulders
from masktools.restoration.render import TEXTURES, band_gains_db, shape
from masktools.restoration.seams import (
    FULL_BAND_HZ,
    SHOULDER_S,
    SILENCE,
    FilledGap,
    bridged,
    filled_gap,
    generated_fill,
    mel_fit_db,
    noise_above,
    noise_core,
    shoulder_lsd_db,
    shoulder_samples,
    sides_of,
)
from masktools.restoration.surroundings import Part, Surroundings
from masktools.segments import Window
from masktools.shapes import Mask, Mel, Tokens, Wave
from masktools.solver import Plan, SolveResult, derive_seed

_OVERLAP_SHARE = 22 / 53  # of a window: what the next one knows, where a gap takes several


@dataclass(frozen=True, eq=False)
class WindowItem:
    """What the model hears at once: one window of one voice, or of several that are equal there."""

    voices: tuple[int, ...]
    samples: np.ndarray  # (t,) float32
    hidden: tuple[Window, ...]  # gaps, in samples of the window
    n_cols: int
    seed: int


@dataclass(frozen=True, eq=False)
class Rendering:
    """What the model made of an item."""

    wave: np.ndarray  # (t,) of the window, at the recording's rate
    mel: np.ndarray  # (f, m) it was rendered from: known frames are the recording's own
    made: np.ndarray  # (f, m) as the tokens say, known frames too
    known: np.ndarray  # (f, m) of the recording


def prefilled(wave: np.ndarray, hidden: Sequence[Window], sample_rate: int) -> np.ndarray:
    """Return a wave (t,) in float32 whose gaps hold what is around them, continued, and noise of their spectrum.

    Tokens are not local: silence in a gap would be heard in those beside it, and be taken for a part of what they say.
    """
    part = wave.astype(np.float32)
    margin, context = ceil(SPECTRUM_S * sample_rate), ceil(CONTEXT_S * sample_rate)
    for span in hidden:
        left, right = shoulders(span, hidden, len(part), context)
        before, after = (part[a:b].astype(np.float64) for a, b in (left, right))
        near = before[None, -margin:], after[None, :margin]
        noise = noise_between(*near, span.length, sample_rate, np.random.default_rng(0), margin)[0]
        part[span.start : span.stop] = bridged(before, after, noise, margin, sample_rate, MAX_ORDER)
    return part


def render_items(
    pipeline: Walk,
    items: Sequence[WindowItem],
    sample_rate: int,
    solver: Plan,
    condition: Tensor | None,
    progress: Progress | None,
) -> tuple[list[Rendering], SolveResult]:
    """Return items with their gaps filled, by one call of the solver; all must have as many columns.

    Args:
        pipeline: the model.
        items: at least one.
        sample_rate: of the items, in Hz.
        solver: settings of the decoding.
        condition: what to hear in the gaps, (1, d); None for anything.
        progress: called with (steps done, steps in all).
    """
    rate = pipeline.sample_rate
    n_model = [ceil(len(item.samples) * rate / sample_rate) for item in items]
    wave = np.zeros((len(items), max(n_model)), np.float32)
    for row, item, n in zip(wave, items, n_model, strict=True):
        row[:n] = resample_to(item.samples, sample_rate, rate, n)
    hidden = [_at_rate(item.hidden, sample_rate, rate) for item in items]
    given = None if condition is None else condition.expand(len(items), *condition.shape[1:])
    seeds, overlap = [item.seed for item in items], round(pipeline.window_cols * _OVERLAP_SHARE)

    def fill(tokens: Tokens, mask: Mask) -> SolveResult:
        return pipeline.fill(tokens, mask, seeds, solver, given, overlap, progress)

    if pipeline.shape.has_bands:
        made = _by_cells(cast(Pipeline, pipeline), torch.from_numpy(wave), hidden, items[0].n_cols, fill)
    else:
        made = _by_columns(pipeline, torch.from_numpy(wave), hidden, fill)
    arrays = zip(made.wave.cpu().numpy(), *(_rows(mel) for mel in (made.mel, made.by_tokens, made.known)), strict=True)
    renderings = [
        Rendering(resample_to(row[:n], rate, sample_rate, len(item.samples)), of, by, was)
        for (row, of, by, was), item, n in zip(arrays, items, n_model, strict=True)
    ]
    return renderings, made.result


class _Made(NamedTuple):
    """What a model makes of waves with gaps; the mel spectrograms are of what is rendered, said by tokens, known."""

    wave: Tensor
    mel: Mel
    by_tokens: Mel
    known: Mel
    result: SolveResult


_Fill = Callable[[Tensor, Tensor], SolveResult]


def _by_cells(pipeline: Pipeline, wave: Wave, hidden: Sequence[list[Window]], n_cols: int, fill: _Fill) -> _Made:
    """Fill columns of a grid of bands: outside the gaps cells of the mel spectrogram stay as they are known."""
    mel = pipeline.to_mel(wave)[..., : n_cols * pipeline.grid.patch_frames]
    mask = torch.stack([_column_mask(pipeline, spans, mel.shape[-1]) for spans in hidden]).to(mel.device)
    result = fill(pipeline.tokenise(mel), mask)
    unknown = torch.stack([_frame_mask(pipeline, spans, mel.shape[-1]) for spans in hidden]).to(mel.device)
    unknown = unknown[:, None].expand_as(mel) & pipeline.cells(mask)
    made = pipeline.to_mel_from(result.tokens)
    filled = keep_known(made, mel, unknown)
    return _Made(pipeline.render(pipeline.deepened(filled, wave, unknown)), filled, made, mel, result)


def _by_columns(walk: Walk, wave: Wave, hidden: Sequence[list[Window]], fill: _Fill) -> _Made:
    """Fill columns of tokens that are no bands, those that hear a gap too; the whole wave is the decoder's."""
    tokens, shape = walk.encode(wave), walk.shape
    mask = torch.zeros_like(tokens, dtype=torch.bool)
    for own, spans in zip(mask, hidden, strict=True):
        for span in spans:
            first = max(0, span.start // shape.column_samples - shape.reach_cols)
            own[:, first : walk.grid.n_columns(span.stop) + shape.reach_cols] = True
    result = fill(tokens, mask)
    decoded = walk.decode(result.tokens, wave.shape[-1])
    made = walk.to_mel(decoded)
    return _Made(decoded, made, made, walk.to_mel(wave), result)


def _rows(mel: Mel) -> np.ndarray:
    return mel.float().cpu().numpy()


def _at_rate(hidden: Sequence[Window], sample_rate: int, rate: int) -> list[Window]:
    """Return gaps in samples of the model, outwards to whole ones."""
    return [Window(start * rate // sample_rate, -(-stop * rate // sample_rate)) for start, stop in hidden]


def _column_mask(pipeline: Pipeline, spans: Sequence[Window], n_frames: int) -> Bool[Tensor, "r w"]:
    """Return the tokens whose columns a gap touches."""
    grid = pipeline.grid
    mask = torch.zeros(grid.n_rows, n_frames // grid.patch_frames, dtype=torch.bool)
    for span in spans:
        mask[:, span.start // grid.column_samples : grid.n_columns(span.stop)] = True
    return mask


def _frame_mask(pipeline: Pipeline, spans: Sequence[Window], n_frames: int) -> Bool[Tensor, "m"]:
    """Return the frames whose window of analysis reaches into a gap."""
    mel = pipeline.mel
    first = torch.arange(n_frames) * mel.hop_length - mel.margin
    mask = torch.zeros(n_frames, dtype=torch.bool)
    for span in spans:
        mask |= (first < span.stop) & (first + mel.n_fft > span.start)
    return mask


_RESAMPLED_SHARE = 0.96  # of the model's band that is left when its wave is brought to a higher rate
_CONTEXT_S = 0.25  # known audio beyond a window


@dataclass(frozen=True, eq=False)
class HeardWindow:
    """A window as the model hears it."""

    job: WindowJob
    part: Part  # the window and some audio around it
    window: Window  # in samples of the part
    grain: np.ndarray | None  # (voices, t) the part with its gaps filled classically, if the texture is made of that
    candidates: tuple[tuple[WindowItem, ...], ...]  # for each: what has to be rendered, equal voices once

    @property
    def items(self) -> list[WindowItem]:
        """All that has to be rendered, a candidate after the other."""
        return [item for items in self.candidates for item in items]


def hear_window(surroundings: Surroundings, job: WindowJob, settings: GapSettings) -> HeardWindow:
    """Return what the model hears of a window; linked voices that are equal there are heard once.

    Raises:
        AudioError: known samples that are not finite.
    """
    first, rate = job.tasks[0], surroundings.sample_rate
    reach = ceil(_CONTEXT_S * rate)
    wide = Window(job.plan.window.start - reach, job.plan.window.stop + reach)
    part = surroundings.known(wide, first).centred()
    window = part.local(job.plan.window)
    given = part.samples[:, window.start : window.stop]
    if not settings.leak_free:
        given = surroundings.everything(job.plan.window, first)
    own: list[WindowItem] = []
    seed = derive_seed(settings.seed, job.number, *(() if settings.linked else first.channels))
    for voice, wave in enumerate(given):
        hidden = tuple(hidden_in(window, part.hidden[voice]))
        heard = prefilled(wave, hidden, rate) if settings.leak_free else wave.astype(np.float32)
        twin = next(
            (n for n, one in enumerate(own) if one.hidden == hidden and np.array_equal(one.samples, heard)), None
        )
        if twin is None:
            own.append(WindowItem((voice,), heard, hidden, job.plan.n_cols, seed))
        else:
            own[twin] = replace(own[twin], voices=(*own[twin].voices, voice))
    seeds = [seed, *(derive_seed(seed, number) for number in range(1, settings.n_candidates))]
    grain = _grain(surroundings, job, part, settings)
    return HeardWindow(job, part, window, grain, tuple(tuple(replace(item, seed=one) for item in own) for one in seeds))


def fill_window(
    pipeline: Walk, heard: HeardWindow, renderings: Sequence[Rendering], settings: GapSettings, n_ranks: int
) -> list[list[FilledGap]]:
    """Return for each task of a window its fills, the best ``n_ranks`` first.

    Args:
        pipeline: the model.
        heard: the window.
        renderings: of ``heard.items``, in their order.
        settings: of the filling.
        n_ranks: how many fills of each gap are wanted, at most as many as there are candidates.
    """
    per_candidate = len(heard.candidates[0])
    rendered = [
        _of_voices(heard, renderings[number * per_candidate :][:per_candidate])
        for number in range(len(heard.candidates))
    ]
    filled = []
    for task in heard.job.tasks:
        fits_db = [_fit_db(pipeline.mel, heard, task, voices) for voices in rendered]
        order = sorted(range(len(fits_db)), key=lambda number: (fits_db[number], number))
        table = [{"seed": heard.candidates[number][0].seed, "fit_db": round(fits_db[number], 3)} for number in order]
        filled.append(
            [
                _filled(pipeline, heard, task, rendered[number], settings, table, rank)
                for rank, number in enumerate(order[:n_ranks])
            ]
        )
    return filled


def _of_voices(heard: HeardWindow, renderings: Sequence[Rendering]) -> list[Rendering]:
    """Return the renderings of one candidate, one for each voice."""
    of_voice = {
        voice: rendering
        for item, rendering in zip(heard.candidates[0], renderings, strict=True)
        for voice in item.voices
    }
    return [of_voice[voice] for voice in sorted(of_voice)]


def _fit_db(config: MelConfig, heard: HeardWindow, task: GapTask, voices: Sequence[Rendering]) -> float:
    """Return how far what the tokens say of the known frames beside a gap is from the truth, in dB."""
    rate, frame_s = heard.part.sample_rate, config.hop_length / config.sample_rate
    margin_s = config.margin / config.sample_rate  # of what is heard for a frame, before and after its hop
    fits = []
    for voice, rendering in enumerate(voices):
        frames: list[int] = []
        for side in sides_of(heard.part, voice, heard.part.local(task.span)):
            start_s, stop_s = ((edge - heard.window.start) / rate for edge in side)
            first, last = ceil((start_s + margin_s) / frame_s), int((stop_s - margin_s) / frame_s)
            frames += [frame for frame in range(max(0, first), last) if frame < rendering.mel.shape[1]]
        fits.append(mel_fit_db(rendering.made, rendering.known, frames, config))
    return float(np.mean(fits))


def _filled(
    pipeline: Walk,
    heard: HeardWindow,
    task: GapTask,
    voices: Sequence[Rendering],
    settings: GapSettings,
    table: list[dict[str, Any]],
    rank: int,
) -> FilledGap:
    part, rate, span = heard.part, heard.part.sample_rate, heard.part.local(task.span)
    waves = np.zeros(part.samples.shape)
    for wave, rendering in zip(waves, voices, strict=True):
        wave[heard.window.start : heard.window.stop] = rendering.wave
    method = "burg+model" if task.method == BLEND else MODEL
    seeds = settings.seeds_for(task.number, task.channels)
    core = _core(part, span, waves, seeds) if task.method == BLEND else None
    texture, above = TEXTURES[settings.texture], None
    if core is not None:
        waves, method = core, "burg+spectral_noise"
    elif texture is not None and heard.grain is not None:
        for voice, rendering in enumerate(voices):
            waves[voice] = _shaped(
                pipeline, heard, heard.grain[voice], waves[voice], rendering.mel, span, texture.share
            )
    elif rate >= FULL_BAND_HZ:
        above = noise_above(part, span, shoulder_samples(part), _top_hz(pipeline), seeds)
    is_vocoded = core is None and texture is None
    bridge = settings.method == AUTO  # which is free to take linear prediction as far as it goes
    fill = generated_fill(part, span, waves, settings.match_level_db, match_lag=is_vocoded, bridge=bridge, above=above)
    return filled_gap(
        part,
        task,
        fill.voices,
        method=method,
        seed=table[rank]["seed"],
        lag_s=fill.lag / rate,
        gains_db=[[round(gain_db, 2) for gain_db in ends] for ends in fill.gains_db],
        window_s=[heard.job.plan.window.start / rate, heard.job.plan.window.stop / rate],
        candidates=table,
        rank=rank,
        **heard.job.notes.get(task.span, {}),
    )


def _core(part: Part, span: Window, waves: np.ndarray, seeds: tuple[int, ...]) -> np.ndarray | None:
    """Return noise (voices, t) for a gap, if it renders what is beside it better than the model does; else None."""
    margin = shoulder_samples(part)
    noise, start = np.zeros_like(part.samples, np.float64), span.start - margin
    made = noise_core(part, span, margin, seeds)
    first, last = max(0, start), min(part.samples.shape[1], span.stop + margin)
    noise[:, first:last] = made[:, first - start : last - start]
    pairs: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {"model": [], "noise": []}
    for voice, known in enumerate(part.samples):
        for a, b in sides_of(part, voice, span):
            pairs["model"].append((known[a:b], waves[voice, a:b]))
            pairs["noise"].append((known[a:b], noise[voice, a:b]))
    rate = part.sample_rate
    return noise if shoulder_lsd_db(pairs["noise"], rate) < shoulder_lsd_db(pairs["model"], rate) else None


def _top_hz(pipeline: Walk) -> float:
    """Return where the band ends that the model renders at higher rates."""
    return min(pipeline.mel.f_max, _RESAMPLED_SHARE * pipeline.sample_rate / 2)


def _grain(surroundings: Surroundings, job: WindowJob, part: Part, settings: GapSettings) -> np.ndarray | None:
    """Return the part (voices, t) with the gaps of the window filled by the texture's classical method."""
    texture = TEXTURES[settings.texture]
    if texture is None:
        return None
    grain = part.samples.copy()
    for task in job.tasks:
        span = part.local(task.span)
        fill = surroundings.classical(texture.gap, task, settings.seeds_for(task.number, task.channels))
        grain[:, span.start : span.stop] = fill - part.offset
    return grain


def _shaped(
    pipeline: Walk,
    heard: HeardWindow,
    grain: np.ndarray,
    wave: np.ndarray,
    mel: np.ndarray,
    span: Window,
    share: float,
) -> np.ndarray:
    """Return a wave (t,) whose gap is the classical fill, brought towards the model's mel (f, m).

    Where the classical fill is silent the wave stays as it is.

    Args:
        pipeline: the model.
        heard: the window.
        grain: (t,) of the part, with its gaps filled.
        wave: (t,) of the part, as the model renders it.
        mel: of the window, what it was rendered from.
        span: the gap, in samples of the part.
        share: how far towards the model.
    """
    start, stop = span.start - heard.window.start, span.stop - heard.window.start
    own = grain[heard.window.start : heard.window.stop].astype(np.float32)
    mixed = wave.astype(np.float64)
    if not np.any(np.abs(own[start:stop]) > SILENCE):
        return mixed
    sample_rate, rate = heard.part.sample_rate, pipeline.sample_rate
    n_model = ceil(len(own) * rate / sample_rate)
    present = pipeline.to_mel(torch.from_numpy(resample_to(own, sample_rate, rate, n_model))[None])[0].cpu().numpy()
    n_frames = min(present.shape[1], mel.shape[1])
    gains_db = band_gains_db(mel[:, :n_frames], present[:, :n_frames], pipeline.mel, share)
    shaped = shape(own, sample_rate, gains_db, pipeline.mel)
    if sample_rate >= FULL_BAND_HZ:  # above its band the model has nothing to say
        shaped += high_pass(own - shaped, sample_rate, _top_hz(pipeline))
    reach = ceil(SHOULDER_S * sample_rate)  # the shoulders are compared with what is known there
    first, last = max(0, start - reach), min(len(own), stop + reach)
    mixed[heard.window.start + first : heard.window.start + last] = shaped[first:last]
    return mixed
