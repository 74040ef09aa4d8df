"""What the model makes of windows with gaps: one call of the solver for several, then back to waves."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil
from typing import NamedTuple, cast

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor

from masktools.classical.linear_prediction import CONTEXT_S, MAX_ORDER
from masktools.classical.noise import SPECTRUM_S, noise_between
from masktools.io import resample_to
from masktools.pipeline import Pipeline, Progress, Walk, keep_known
from masktools.restoration.bridging import bridged
from masktools.restoration.gap_windows import shoulders
from masktools.segments import Window
from masktools.shapes import Mask, Mel, Tokens, Wave
from masktools.solver import Plan, SolveResult

__all__ = ["Rendering", "WindowItem", "prefilled", "render_items"]

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
