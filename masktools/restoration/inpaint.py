"""Gaps in a recording, filled: everything outside them stays as it was, sample for sample."""

from collections.abc import Iterable
from typing import Any

import numpy as np
from torch import Tensor

from masktools.arguments import checked_call
from masktools.arrays import as_channels
from masktools.conditioning import Prompts
from masktools.errors import ParameterError
from masktools.gaps import GapLike
from masktools.pipeline import Progress, Walk
from masktools.restoration.gap_fill import FilledGap
from masktools.restoration.gap_filling import GapFilling, LaterModel
from masktools.restoration.gap_settings import BLEND, MODEL, GapSettings
from masktools.restoration.gap_tasks import plan_gaps
from masktools.restoration.restored import Restored
from masktools.restoration.surroundings import Reader, Surroundings
from masktools.solver import Plan, SolverConfig

__all__ = ["FilledGap", "inpaint", "inpaint_candidates", "inpaint_pieces"]


def inpaint(
    pipeline: Walk | None,
    samples: np.ndarray | Tensor,
    sample_rate: int,
    gaps: Iterable[GapLike],
    *,
    seed: int = 0,
    solver: Plan = SolverConfig(),
    prompt: Prompts | None = None,
    channels: str = "linked",
    texture: str = "model",
    leak_free: bool = True,
    method: str = MODEL,
    classical_below_s: float = 0.06,
    max_gap_s: float = 4.0,
    n_candidates: int = 1,
    match_level_db: float = 6.0,
    progress: Progress | None = None,
) -> Restored:
    """Return a recording with its gaps filled; no sample outside them is changed, and none inside them is read.

    Args:
        pipeline: the model; None where no gap is filled by one.
        samples: (channels, t), an array or a tensor, full scale 1, of any rate and length; in the gaps
            anything, NaN too.
        sample_rate: in Hz.
        gaps: (start, end) in seconds, or ``Gap`` where only some channels are damaged.
        seed: the same seed gives the same result, however large batches are.
        solver: settings of the decoding.
        prompt: what to hear in the gaps; without one the surroundings alone decide, as in the paper.
        channels: ``linked`` decodes all channels with the same random numbers, ``independent`` each with its own,
            ``mid_side`` the middle and the side of two, where both are damaged.
        texture: what a fill of the model's is made of in detail, one of ``TEXTURES``.
        leak_free: False computes the known tokens from audio that still holds what is in the gaps, as the paper
            does. It is meant for tables: what is restored then knows the answer in part.
        method: ``model``; one of ``classical.GAP_FILLS``; or ``auto``: Janssen's up to ``classical_below_s``, and up
            to 0.186 s the edges by linear prediction and the middle by the model or by noise of the spectrum around
            it, whichever renders the known audio beside the gap better. Above it the model; but with texture
            ``blend`` and no prompt first ``search``, which leaves to the model what the recording holds nothing like.
        classical_below_s: with ``auto``, in seconds.
        max_gap_s: with ``auto``, longer gaps are refused.
        n_candidates: fills by the model of each gap, of which the one is taken that fits its surroundings best;
            copies are from different places.
        match_level_db: by which a fill is made louder or fainter at most, to meet what is known at both ends.
        progress: called with (steps done, steps in all).

    Raises:
        ParameterError: gaps that are none of this recording or too long, several prompts, a value out of its range,
            an unknown name, or no model where one is needed.
        AudioError: samples beside a gap that are not finite.

    Source: SpecMaskGIT (arXiv:2406.17672), section 4.3.
    """
    settings = GapSettings(
        seed, method, classical_below_s, max_gap_s, n_candidates, match_level_db, channels, texture, leak_free
    )
    return _composed(pipeline, samples, sample_rate, gaps, settings, solver, prompt, 1, progress)[0]


def inpaint_candidates(
    pipeline: Walk | None,
    samples: np.ndarray | Tensor,
    sample_rate: int,
    gaps: Iterable[GapLike],
    *,
    n_candidates: int,
    seed: int = 0,
    solver: Plan = SolverConfig(),
    prompt: Prompts | None = None,
    progress: Progress | None = None,
    **settings: Any,
) -> list[Restored]:
    """Return ``n_candidates`` recordings with their gaps filled, the one whose fills fit best first.

    Each gap has its best fill in the first of them, its second best in the second, and so on: answers of the model, or
    copies from different places. Gaps that are filled by another classical method are the same in all.

    Args:
        pipeline: the model; None where no gap is filled by one.
        samples: (channels, t), as ``inpaint`` takes them.
        sample_rate: in Hz.
        gaps: as ``inpaint`` takes them.
        n_candidates: at least 1.
        seed: the same seed gives the same results.
        solver: settings of the decoding.
        prompt: what to hear in the gaps.
        progress: called with (steps done, steps in all).
        **settings: the others of ``inpaint``.

    Raises:
        ParameterError: as ``inpaint``.
        AudioError: as ``inpaint``.
    """
    made = GapSettings(seed=seed, n_candidates=n_candidates, **settings)
    return _composed(pipeline, samples, sample_rate, gaps, made, solver, prompt, n_candidates, progress)


def inpaint_pieces(
    pipeline: Walk | None,
    reader: Reader,
    n_samples: int,
    n_channels: int,
    sample_rate: int,
    gaps: Iterable[GapLike],
    *,
    seed: int = 0,
    solver: Plan = SolverConfig(),
    prompt: Prompts | None = None,
    n_ranks: int = 1,
    progress: Progress | None = None,
    later: LaterModel | None = None,
    **settings: Any,
) -> GapFilling:
    """Return the filled gaps of a recording one after the other, in order of time: for files of any length.

    Nothing is read but what lies around the gaps, when its turn comes; where the recording is searched, it is read
    once as a whole.

    Args:
        pipeline: the model; None where no gap is filled by one.
        reader: gives the samples [start, stop) of the recording, (channels, stop - start); in the gaps it may give
            anything, NaN too.
        n_samples: of the recording.
        n_channels: of the recording.
        sample_rate: in Hz.
        gaps: as ``inpaint`` takes them.
        seed: the same seed gives the same result.
        solver: settings of the decoding.
        prompt: what to hear in the gaps.
        n_ranks: how many fills of each gap are kept for ``GapFilling.ranked``, at most ``n_candidates``.
        progress: called with (steps done, steps in all).
        later: gives the model and its decoding when a gap is left to it, in place of ``pipeline`` and ``solver``; for
            work without a prompt.
        **settings: the others of ``inpaint``.

    Returns:
        An iterator of ``FilledGap``; its ``report()`` says what has been done so far.

    Raises:
        ParameterError: as ``inpaint``.
        AudioError: as ``inpaint``, when the gap is reached.
    """
    made = GapSettings(seed=seed, **settings)
    size = n_channels, n_samples
    return _filling(pipeline, reader, size, sample_rate, gaps, made, solver, prompt, n_ranks, progress, later)


def _filling(
    pipeline: Walk | None,
    reader: Reader,
    size: tuple[int, int],
    sample_rate: int,
    gaps: Iterable[GapLike],
    settings: GapSettings,
    solver: Plan,
    prompt: Prompts | None,
    n_ranks: int,
    progress: Progress | None,
    later: LaterModel | None = None,
) -> GapFilling:
    n_channels, n_samples = size
    checked_call("progress", progress)
    plan = plan_gaps(gaps, n_samples, n_channels, sample_rate, settings)
    if not 1 <= n_ranks <= settings.n_candidates:
        raise ParameterError(f"n_ranks must lie in [1, {settings.n_candidates}], the candidates, got {n_ranks}")
    longest = [task for task in plan.tasks if task.method in (MODEL, BLEND)]
    if pipeline is None and later is None and longest:
        start, stop = longest[0].span
        raise ParameterError(
            f"a gap of {(stop - start) / sample_rate:.6g} s at {start / sample_rate:.6g} s needs a model by method "
            f"{settings.method!r}, got none: load one, or choose a classical method"
        )
    condition = None if pipeline is None else pipeline.condition(prompt)
    if condition is not None and len(condition) != 1:
        raise ParameterError(f"a recording is filled by one prompt at most, got {len(condition)}")
    surroundings = Surroundings(reader, n_samples, n_channels, sample_rate, plan.hidden)
    return GapFilling(pipeline, surroundings, plan, settings, solver, condition, n_ranks, progress, later)


def _composed(
    pipeline: Walk | None,
    samples: np.ndarray | Tensor,
    sample_rate: int,
    gaps: Iterable[GapLike],
    settings: GapSettings,
    solver: Plan,
    prompt: Prompts | None,
    n_ranks: int,
    progress: Progress | None,
) -> list[Restored]:
    """Return the recording with its gaps filled, once for each rank of fills."""
    wave = as_channels(samples, sample_rate, finite=False)
    filling = _filling(
        pipeline,
        lambda start, stop: wave[:, start:stop],
        (wave.shape[0], wave.shape[1]),
        sample_rate,
        gaps,
        settings,
        solver,
        prompt,
        n_ranks,
        progress,
    )
    restored = [wave.copy() for _ in range(n_ranks)]
    reports: list[list[dict[str, Any]]] = [[] for _ in range(n_ranks)]
    for fills in filling.ranked():
        for repaired, done, fill in zip(restored, reports, fills, strict=True):
            repaired[list(fill.channels), fill.start : fill.start + fill.samples.shape[1]] = fill.samples
            done.append(fill.report)
    whole = filling.report()
    return [
        Restored(repaired, sample_rate, {**whole, "gaps": done})
        for repaired, done in zip(restored, reports, strict=True)
    ]
