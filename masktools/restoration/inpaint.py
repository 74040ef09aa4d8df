"""Gaps in a recording, filled: everything outside them stays as it was, sample for sample."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from math import ceil
from time import perf_counter
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor

from masktools.classical import GAP_FILLS
from masktools.classical.linear_prediction import CONTEXT_S, extrapolate, fill_between
from masktools.conditioning import Prompts
from masktools.errors import ParameterError, unknown_name
from masktools.gaps import Gap, check_gaps
from masktools.io import resample_to
from masktools.pipeline import Pipeline, Progress, keep_known, share_of
from masktools.restoration.gap_windows import GapWindow, gap_spans, plan_windows, shoulders
from masktools.restoration.restored import CHANNELS, Restored
from masktools.restoration.splice import SHOULDER_S, SILENCE, end_gains, fill_gap, seam_length
from masktools.restoration.texture import TEXTURES, Texture, band_gains_db, shape
from masktools.segments import Window
from masktools.shapes import Condition
from masktools.solver import SolverConfig, SolveResult, derive_seed

__all__ = ["inpaint"]

_PREFILL_S = 0.03  # how far into a gap its surroundings are continued before the model hears them
_OVERLAP_SHARE = 22 / 53  # of a window: what the next one knows, where a gap takes several


@dataclass(frozen=True, eq=False)
class _Item:
    """What the model hears at once: one window of one channel, or of several that are equal there."""

    plan: GapWindow
    channels: tuple[int, ...]
    samples: np.ndarray  # (t,) of the window
    seed: int


def inpaint(
    pipeline: Pipeline,
    samples: np.ndarray,
    sample_rate: int,
    gaps: Iterable[Gap],
    *,
    seed: int = 0,
    solver: SolverConfig = SolverConfig(),
    prompt: Prompts | None = None,
    channels: str = "linked",
    texture: str = "model",
    leak_free: bool = True,
    progress: Progress | None = None,
) -> Restored:
    """Return a recording with its gaps filled; no sample outside them is changed, and none inside them is read.

    Args:
        pipeline: the model.
        samples: (channels, t), full scale 1, of any rate and length.
        sample_rate: in Hz.
        gaps: (start, end) in seconds.
        seed: the same seed gives the same result.
        solver: settings of the decoding.
        prompt: what to hear in the gaps; without one the surroundings alone decide, as in the paper.
        channels: ``linked`` decodes all channels with the same random numbers, ``independent`` each with its own.
        texture: what the fill is made of in detail, one of ``TEXTURES``.
        leak_free: False computes the known tokens from audio that still holds what is in the gaps, as the paper
            does. It is meant for tables: what is restored then knows the answer in part.
        progress: called with (steps done, steps in all).

    Raises:
        ParameterError: gaps that are none of this recording, several prompts, or an unknown name.

    Source: SpecMaskGIT (arXiv:2406.17672), section 4.3.
    """
    started = perf_counter()
    if channels not in CHANNELS:
        raise unknown_name("channels", channels, CHANNELS)
    if texture not in TEXTURES:
        raise unknown_name("texture", texture, TEXTURES)
    condition = pipeline.condition(prompt)
    if condition is not None and len(condition) != 1:
        raise ParameterError(f"a recording is filled by one prompt at most, got {len(condition)}")
    n_samples = samples.shape[1]
    spans = gap_spans(check_gaps(gaps, n_samples / sample_rate), n_samples, sample_rate)
    plans = plan_windows(spans, n_samples, sample_rate, pipeline.grid, pipeline.window_cols)
    items = _items(samples, sample_rate, plans, seed, channels == "linked", leak_free)
    groups = list(_groups(items, pipeline.batch_size))
    made_of = TEXTURES[texture]
    grain = None if made_of is None else _grain(made_of, samples, sample_rate, spans, channels == "linked", seed)
    repaired, details, solved = samples.copy(), list[dict[str, Any]](), list[SolveResult]()
    for number, group in enumerate(groups):
        part = share_of(progress, number, len(groups))
        waves, mels, result = _render(pipeline, group, sample_rate, solver, condition, leak_free, part)
        solved.append(result)
        for item, wave, mel in zip(group, waves, mels, strict=True):
            known = samples[item.channels[0]]
            if grain is not None and made_of is not None:
                own = grain[item.channels[0]]
                wave = _shaped(pipeline, own, wave, mel, item.plan, sample_rate, made_of.share)
            for span in item.plan.spans:
                fill, gains_db = _fill(known, wave, item.plan.window, span, spans, sample_rate)
                repaired[list(item.channels), span.start : span.stop] = fill
                details += [_detail(item, channel, span, gains_db, sample_rate) for channel in item.channels]
    report = {
        "job": "inpaint",
        "model": pipeline.name,
        "seed": seed,
        "prompted": condition is not None,
        "leak_free": leak_free,
        "texture": texture,
        "n_steps": solver.n_steps,
        "n_forwards": sum(result.n_forwards for result in solved),
        "gaps": sorted(details, key=lambda gap: (gap["start_s"], gap["channel"])),
        "samples_changed": sum(span.length for span in spans) * len(samples),
        "timings": {
            "solve_s": round(sum(record.seconds for result in solved for record in result.trace), 3),
            "total_s": round(perf_counter() - started, 3),
        },
    }
    return Restored(repaired, sample_rate, report)


def _detail(item: _Item, channel: int, span: Window, gains_db: list[float], sample_rate: int) -> dict[str, Any]:
    window = item.plan.window
    return {
        "start_s": span.start / sample_rate,
        "end_s": span.stop / sample_rate,
        "channel": channel,
        "seed": item.seed,
        "window_s": [window.start / sample_rate, window.stop / sample_rate],
        "gain_db": gains_db,
    }


def _items(
    samples: np.ndarray, sample_rate: int, plans: Sequence[GapWindow], seed: int, linked: bool, leak_free: bool
) -> list[_Item]:
    """Return what has to be decoded; linked channels that are equal in a window are decoded once."""
    items: list[_Item] = []
    for number, plan in enumerate(plans):
        own: list[_Item] = []
        for channel, wave in enumerate(samples):
            part = wave[plan.window.start : plan.window.stop].astype(np.float32)
            if leak_free:
                _prefill(part, plan.hidden_inside(), sample_rate)
            twin = next((n for n, item in enumerate(own) if linked and np.array_equal(item.samples, part)), None)
            if twin is None:
                item_seed = derive_seed(seed, number) if linked else derive_seed(seed, number, channel)
                own.append(_Item(plan, (channel,), part, item_seed))
            else:
                own[twin] = replace(own[twin], channels=(*own[twin].channels, channel))
        items += own
    return items


def _prefill(part: np.ndarray, spans: Sequence[Window], sample_rate: int) -> None:
    """Continue the known samples a little way into the gaps, in place, and silence what is beyond."""
    context, reach = ceil(CONTEXT_S * sample_rate), ceil(_PREFILL_S * sample_rate)
    for span in spans:
        left, right = shoulders(span, spans, len(part), context)
        before, after = part[left.start : left.stop], part[right.start : right.stop]
        part[span.start : span.stop] = fill_between(before, after, span.length, reach)


def _groups(items: list[_Item], batch_size: int) -> Iterator[list[_Item]]:
    """Yield batches of items whose windows have as many columns."""
    for _, alike in groupby(sorted(items, key=lambda item: item.plan.n_cols), key=lambda item: item.plan.n_cols):
        waiting = list(alike)
        for start in range(0, len(waiting), batch_size):
            yield waiting[start : start + batch_size]


def _render(
    pipeline: Pipeline,
    group: Sequence[_Item],
    sample_rate: int,
    solver: SolverConfig,
    condition: Condition | None,
    leak_free: bool,
    progress: Progress | None,
) -> tuple[list[np.ndarray], np.ndarray, SolveResult]:
    """Return the windows with their gaps filled, by one call of the solver: waves at the recording's rate, and mels."""
    grid, rate = pipeline.grid, pipeline.sample_rate
    n_model = [ceil(len(item.samples) * rate / sample_rate) for item in group]
    wave = np.zeros((len(group), max(n_model)), np.float32)
    for row, item, n in zip(wave, group, n_model, strict=True):
        row[:n] = resample_to(item.samples, sample_rate, rate, n)
    mel = pipeline.to_mel(torch.from_numpy(wave))
    mel = mel[..., : group[0].plan.n_cols * grid.patch_frames]
    hidden = [_at_rate(item.plan, sample_rate, rate) for item in group]
    mask = torch.stack([_column_mask(pipeline, spans, mel.shape[-1]) for spans in hidden]).to(mel.device)
    tokens = pipeline.tokenise(pipeline.erase(mel, mask) if leak_free else mel)
    result = pipeline.fill(
        tokens,
        mask,
        [item.seed for item in group],
        solver,
        None if condition is None else condition.expand(len(group), -1),
        round(pipeline.window_cols * _OVERLAP_SHARE),
        progress,
    )
    unknown = torch.stack([_frame_mask(pipeline, spans, mel.shape[-1]) for spans in hidden]).to(mel.device)
    unknown = unknown[:, None].expand_as(mel) & pipeline.cells(mask)
    filled = keep_known(pipeline.to_mel_from(result.tokens), mel, unknown)
    rendered = pipeline.render(filled).cpu().numpy()
    waves = [
        resample_to(row[:n], rate, sample_rate, len(item.samples))
        for row, item, n in zip(rendered, group, n_model, strict=True)
    ]
    return waves, filled.cpu().numpy(), result


def _grain(
    texture: Texture, samples: np.ndarray, sample_rate: int, spans: Sequence[Window], linked: bool, seed: int
) -> np.ndarray:
    """Return the recording with its gaps filled by a classical method, for all channels together or for each."""
    gaps = [(span.start / sample_rate, span.stop / sample_rate) for span in spans]
    together = [samples] if linked else [channel[None] for channel in samples]
    fill = GAP_FILLS[texture.gap]
    return np.concatenate([fill(part, sample_rate, gaps, seed) for part in together])


def _shaped(
    pipeline: Pipeline,
    grain: np.ndarray,
    wave: np.ndarray,
    mel: np.ndarray,
    plan: GapWindow,
    sample_rate: int,
    share: float,
) -> np.ndarray:
    """Return a window's classical fills brought towards the model's mel (f, m); the model's wave where they are silent.

    Args:
        pipeline: the model.
        grain: (t,) a channel with its gaps filled.
        wave: the window as the model renders it.
        mel: what it was rendered from.
        plan: the window and its gaps.
        sample_rate: in Hz.
        share: how far towards the model.
    """
    part = grain[plan.window.start : plan.window.stop].astype(np.float32)
    rate = pipeline.sample_rate
    n_model = ceil(len(part) * rate / sample_rate)
    present = pipeline.to_mel(torch.from_numpy(resample_to(part, sample_rate, rate, n_model))[None])[0].cpu().numpy()
    n_frames = min(present.shape[1], mel.shape[1])
    gains_db = band_gains_db(mel[:, :n_frames], present[:, :n_frames], pipeline.mel, share)
    shaped = shape(part, sample_rate, gains_db, pipeline.mel)
    mixed = wave.astype(np.float64)
    reach = ceil(SHOULDER_S * sample_rate)  # the shoulders are compared with what is known there
    for span in plan.spans:
        start, stop = span.start - plan.window.start, span.stop - plan.window.start
        if np.any(np.abs(part[start:stop]) > SILENCE):
            mixed[max(0, start - reach) : stop + reach] = shaped[max(0, start - reach) : stop + reach]
    return mixed


def _at_rate(plan: GapWindow, sample_rate: int, rate: int) -> list[Window]:
    """Return the gaps of a window in samples of the model, outwards to whole ones."""
    inside = plan.hidden_inside()
    return [Window(start * rate // sample_rate, -(-stop * rate // sample_rate)) for start, stop in inside]


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


def _fill(
    known: np.ndarray, wave: np.ndarray, window: Window, span: Window, spans: Sequence[Window], sample_rate: int
) -> tuple[np.ndarray, list[float]]:
    """Return the samples of a gap, and the gains in dB at its ends.

    Args:
        known: (t,) the channel; what is in its gaps is not read.
        wave: the window as the model renders it.
        window: where in the recording that is.
        span: the gap.
        spans: all gaps of the recording.
        sample_rate: in Hz.
    """
    reach = ceil(SHOULDER_S * sample_rate)
    sides = shoulders(span, spans, len(known), reach)
    pairs = [(known[a:b], wave[a - window.start : b - window.start]) for a, b in sides]
    gains = end_gains(*pairs)
    if gains is None:
        return np.zeros(span.length), [0.0, 0.0]
    seam = seam_length(span.length, sample_rate)
    left, right = (x[0].astype(np.float64) for x in pairs)
    fill = fill_gap(
        wave[span.start - window.start : span.stop - window.start].astype(np.float64),
        extrapolate(left, seam),
        extrapolate(right[::-1], seam)[::-1],
        gains,
    )
    return fill, [round(float(20 * np.log10(gain)), 2) for gain in gains]
