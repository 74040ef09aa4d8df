"""Bandwidth extension: what a recording lacks above a cutoff is generated; what it has below stays as it was."""

from typing import Any

import numpy as np
from torch import Tensor

from masktools.arguments import checked_call, shown
from masktools.arrays import as_channels, checked_seed
from masktools.conditioning import Prompts
from masktools.detection import find_bandwidth
from masktools.errors import ParameterError
from masktools.pipeline import Pipeline, Progress
from masktools.restoration.band_extension import BandExtension
from masktools.restoration.band_plan import BandSettings, Decision, check_cutoff, choose_cutoff, choose_top
from masktools.restoration.band_upper import Take, check_like, take_of
from masktools.restoration.recordings import (
    Reader,
    Restored,
    check_channels,
    one_condition,
    reader_of,
    untouched,
)
from masktools.restoration.render import Decoder
from masktools.solver import SolverConfig


def extend_blocks(
    pipeline: Pipeline,
    reader: Reader,
    n_samples: int,
    n_channels: int,
    sample_rate: int,
    cutoff_hz: float,
    *,
    seed: int = 0,
    solver: SolverConfig = SolverConfig(),
    prompt: Prompts | None = None,
    take: Take | None = None,
    block_samples: int = 1 << 16,
    progress: Progress | None = None,
    **settings: Any,
) -> BandExtension:
    """Return a recording of any length with its missing band added, block by block, in bounded memory.

    Args:
        pipeline: the model.
        reader: tells samples [start, stop) of the recording, (channels, stop - start); they are read twice or three
            times over.
        n_samples: of the recording, at least 1.
        n_channels: of the recording.
        sample_rate: in Hz.
        cutoff_hz: where the recording's own band ends; ``choose_cutoff`` tells whether there is one to extend from.
        seed: the same seed gives the same result.
        solver: settings of the decoding.
        prompt: what the recording is of; without one the known band alone decides, as in the paper.
        take: a full-band take of the same source, as ``take_of`` gives it, whose band is lent in place of the model's.
        block_samples: length of the blocks that come out; the result does not depend on it.
        progress: called with (steps done, steps in all).
        **settings: the fields of ``BandSettings``.

    Raises:
        ParameterError: as ``bwe``, at once, and not when the first block is asked for.
    """
    for name, value in (("n_samples", n_samples), ("n_channels", n_channels), ("block_samples", block_samples)):
        if value < 1:
            raise ParameterError(f"{name} must be at least 1, got {value}")
    made = BandSettings(**settings)
    check_channels(made.channels, n_channels)
    if take is not None and not made.lfr:
        raise ParameterError("a take to be like is for what is added to a recording: without lfr all is the model's")
    top_hz = choose_top(pipeline, sample_rate, made.to_hz) if made.lfr else pipeline.mel.f_max
    check_cutoff(pipeline, cutoff_hz, sample_rate, top_hz)
    decoder = Decoder(pipeline, solver, one_condition(pipeline, prompt, "extended"))
    size, band_hz, told = (n_channels, n_samples), (cutoff_hz, top_hz), (take, seed, block_samples, progress)
    return BandExtension(decoder, reader, size, sample_rate, band_hz, made, *told)


def bwe(
    pipeline: Pipeline,
    samples: np.ndarray | Tensor,
    sample_rate: int,
    cutoff_hz: float | str,
    *,
    seed: int = 0,
    solver: SolverConfig = SolverConfig(),
    prompt: Prompts | None = None,
    like: tuple[np.ndarray, int] | str | None = None,
    progress: Progress | None = None,
    **settings: Any,
) -> Restored:
    """Return a band-limited recording with its missing band added.

    A recording of a lower rate than the model's comes back at the model's rate; any other keeps its own.

    Args:
        pipeline: the model.
        samples: (channels, t), an array or a tensor, full scale 1, of any rate and length.
        sample_rate: in Hz.
        cutoff_hz: where the recording's own band ends, or "auto": then it is measured, and a recording that has no
            such edge, or none that this model can go on from, comes back as it is, with the reason in the report.
            Every row of tokens that reaches above the cutoff is generated.
        seed: the same seed gives the same result.
        solver: settings of the decoding.
        prompt: what the recording is of; without one the known band alone decides, as in the paper.
        like: samples (channels, t) and sample rate of a full-band take of the same source: the moments of it that are
            most alike below the cutoff lend their level and their detail, and the model is not asked. "own": the
            recording's full-band moments lend to its dull ones, and nothing is added to the former.
        progress: called with (steps done, steps in all).
        **settings: the fields of ``BandSettings``.

    Raises:
        ParameterError: a cutoff outside what the recording or the model has, several prompts, an unknown name, or a
            value out of its range.

    Source: SpecMaskGIT (arXiv:2406.17672), section 4.3; the replacement is additive (no filter on the original).
    """
    wave = as_channels(samples, sample_rate)
    checked_seed(seed)
    checked_call("progress", progress)
    n_channels, n_samples = wave.shape
    made = BandSettings(**settings)
    check_channels(made.channels, n_channels)
    if isinstance(cutoff_hz, str):
        if cutoff_hz != "auto":
            raise ParameterError(f"cutoff must be a frequency in Hz or 'auto', got {shown(cutoff_hz)}")
        found = find_bandwidth(wave, sample_rate)
        decision = choose_cutoff(found, pipeline, sample_rate, made.to_hz, made.lfr)
        if decision.cutoff_hz is None:
            report = _nothing_done(pipeline, decision, seed, sample_rate)
            return untouched(pipeline, wave, sample_rate, prompt, report)
        cutoff_hz = decision.cutoff_hz
    take = None
    if like is not None:
        check_like(like)
        is_own = isinstance(like, str)
        other, other_rate = (wave, sample_rate) if isinstance(like, str) else (as_channels(*like), int(like[1]))
        to_rate = max(sample_rate, pipeline.sample_rate)
        take = take_of(reader_of(other), other.shape[1], other_rate, to_rate, cutoff_hz, is_own)
    asked = {"seed": seed, "solver": solver, "prompt": prompt, "take": take, "progress": progress}
    size = n_samples, n_channels, sample_rate
    extension = extend_blocks(pipeline, reader_of(wave), *size, cutoff_hz, **asked, **settings)
    keeps = extension.sample_rate == sample_rate
    extended = np.empty((n_channels, extension.n_samples), wave.dtype if keeps else np.float32)
    for start, block in extension:
        extended[:, start : start + block.shape[1]] = block
    return Restored(extended, extension.sample_rate, extension.report)


def _nothing_done(pipeline: Pipeline, decision: Decision, seed: int, sample_rate: int) -> dict[str, Any]:
    return {
        "job": "bwe",
        "status": decision.status,
        "reason": decision.reason,
        "model": pipeline.name,
        "seed": seed,
        "cutoff_hz": None,
        "sample_rate": sample_rate,
        "warnings": [],
    }
