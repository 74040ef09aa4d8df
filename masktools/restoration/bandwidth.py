"""Bandwidth extension: what a recording lacks above a cutoff is generated; what it has below stays as it was."""

from typing import Any

import numpy as np
from torch import Tensor

from masktools.arguments import checked_call, shown
from masktools.arrays import as_channels, checked_seed
from masktools.conditioning import Prompts
from masktools.errors import ParameterError
from masktools.pipeline import Pipeline, Progress
from masktools.restoration.band_extension import BandExtension
from masktools.restoration.band_plan import BandSettings, Decision, check_cutoff, choose_cutoff, choose_top
from masktools.restoration.band_upper import Take, check_like, take_of
from masktools.restoration.recordings import (
    LINKED,
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
    lfr: bool = True,
    seed: int = 0,
    solver: SolverConfig = SolverConfig(),
    prompt: Prompts | None = None,
    channels: str = LINKED,
    texture: str = "model",
    leak_free: bool = True,
    quiet_guard_db: float | None = 3.0,
    hf_gain_db: float = 0.0,
    limit_peaks: bool = True,
    clean_above: bool = False,
    to_hz: float | None = None,
    take: Take | None = None,
    block_samples: int = 1 << 16,
    progress: Progress | None = None,
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
        lfr: as for ``bwe``, like all that follow but one.
        seed: the same seed gives the same result.
        solver: settings of the decoding.
        prompt: what the recording is of.
        channels: one of ``CHANNEL_MODES``.
        texture: one of ``TEXTURES``.
        leak_free: False computes the known tokens from the recording as it is.
        quiet_guard_db: over the continuation of the noise floor, in pauses.
        hf_gain_db: of the added band.
        limit_peaks: keep the sum within full scale.
        clean_above: take away what faint rest there is above the cutoff.
        to_hz: up to where the band is extended.
        take: a full-band take of the same source, as ``take_of`` gives it, whose band is lent in place of the model's.
        block_samples: length of the blocks that come out; the result does not depend on it.
        progress: called with (steps done, steps in all).

    Raises:
        ParameterError: as ``bwe``, at once, and not when the first block is asked for.
    """
    for name, value in (("n_samples", n_samples), ("n_channels", n_channels), ("block_samples", block_samples)):
        if value < 1:
            raise ParameterError(f"{name} must be at least 1, got {value}")
    settings = BandSettings(
        lfr, channels, texture, leak_free, quiet_guard_db, hf_gain_db, limit_peaks, clean_above, to_hz
    )
    check_channels(channels, n_channels)
    if take is not None and not lfr:
        raise ParameterError("a take to be like is for what is added to a recording: without lfr all is the model's")
    top_hz = choose_top(pipeline, sample_rate, to_hz) if lfr else pipeline.mel.f_max
    check_cutoff(pipeline, cutoff_hz, sample_rate, top_hz)
    condition = one_condition(pipeline, prompt, "extended")
    return BandExtension(
        Decoder(pipeline, solver, condition),
        reader,
        (n_channels, n_samples),
        sample_rate,
        (cutoff_hz, top_hz),
        settings,
        take=take,
        seed=seed,
        block_samples=block_samples,
        progress=progress,
    )


def bwe(
    pipeline: Pipeline,
    samples: np.ndarray | Tensor,
    sample_rate: int,
    cutoff_hz: float | str,
    *,
    lfr: bool = True,
    seed: int = 0,
    solver: SolverConfig = SolverConfig(),
    prompt: Prompts | None = None,
    channels: str = LINKED,
    texture: str = "model",
    leak_free: bool = True,
    quiet_guard_db: float | None = 3.0,
    hf_gain_db: float = 0.0,
    limit_peaks: bool = True,
    clean_above: bool = False,
    to_hz: float | None = None,
    like: tuple[np.ndarray, int] | str | None = None,
    progress: Progress | None = None,
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
        lfr: low-frequency replacement: the original plus what was generated above the cutoff. Without it the
            model's version of everything is returned.
        seed: the same seed gives the same result.
        solver: settings of the decoding.
        prompt: what the recording is of; without one the known band alone decides, as in the paper.
        channels: ``linked`` decodes all channels with the same random numbers, ``independent`` each with its own;
            ``mid_side`` extends the middle of two channels, and their difference after it.
        texture: what the added band is made of in detail, one of ``TEXTURES``; without ``lfr`` always the model's.
        leak_free: False computes the known tokens from the recording as it is, whatever it has above the cutoff.
        quiet_guard_db: by how much the added band may exceed the continuation of the recording's noise floor where
            the recording is within 6 dB of its floor; None for no limit.
        hf_gain_db: of the added band.
        limit_peaks: where a sum would leave full scale, only what is added is attenuated, for 10 ms to either side.
        clean_above: take away what the recording has above the cutoff, if that is more than 50 dB fainter than what
            it has below.
        to_hz: up to where the band is extended, at most half the rate of what comes back; where it is not given, to
            20 kHz or as far as there is room. Above the model's band the detail of the band below goes on, as loud as
            the model's table of levels expects; a cutoff above the model's band is extended so from the start.
        like: samples (channels, t) and sample rate of a full-band take of the same source: the moments of it that are
            most alike below the cutoff lend their level and their detail, and the model is not asked. "own": the
            recording's full-band moments lend to its dull ones, and nothing is added to the former.
        progress: called with (steps done, steps in all).

    Raises:
        ParameterError: a cutoff outside what the recording or the model has, several prompts, an unknown name, or a
            value out of its range.

    Source: SpecMaskGIT (arXiv:2406.17672), section 4.3; the replacement is additive (no filter on the original).
    """
    wave = as_channels(samples, sample_rate)
    checked_seed(seed)
    checked_call("progress", progress)
    n_channels, n_samples = wave.shape
    BandSettings(lfr, channels, texture, leak_free, quiet_guard_db, hf_gain_db, limit_peaks, clean_above)
    check_channels(channels, n_channels)
    if isinstance(cutoff_hz, str):
        decision = _decided(pipeline, wave, sample_rate, cutoff_hz, to_hz, lfr)
        if decision.cutoff_hz is None:
            report = _nothing_done(pipeline, decision, seed, sample_rate)
            return untouched(pipeline, wave, sample_rate, prompt, report)
        cutoff_hz = decision.cutoff_hz
    take = None
    if like is not None:
        check_like(like)
        is_own = isinstance(like, str)
        if isinstance(like, str):
            like = wave, sample_rate
        other, other_rate = as_channels(like[0], like[1]), like[1]
        take = take_of(
            reader_of(other),
            other.shape[1],
            int(other_rate),
            max(sample_rate, pipeline.sample_rate),
            cutoff_hz,
            is_own,
        )
    extension = extend_blocks(
        pipeline,
        reader_of(wave),
        n_samples,
        n_channels,
        sample_rate,
        cutoff_hz,
        lfr=lfr,
        seed=seed,
        solver=solver,
        prompt=prompt,
        channels=channels,
        texture=texture,
        leak_free=leak_free,
        quiet_guard_db=quiet_guard_db,
        hf_gain_db=hf_gain_db,
        limit_peaks=limit_peaks,
        clean_above=clean_above,
        to_hz=to_hz,
        take=take,
        progress=progress,
    )
    keeps = extension.sample_rate == sample_rate
    extended = np.empty((n_channels, extension.n_samples), wave.dtype if keeps else np.float32)
    for start, block in extension:
        extended[:, start : start + block.shape[1]] = block
    return Restored(extended, extension.sample_rate, extension.report)


def _decided(
    pipeline: Pipeline, samples: np.ndarray, sample_rate: int, word: str, to_hz: float | None, lfr: bool
) -> Decision:
    if word != "auto":
        raise ParameterError(f"cutoff must be a frequency in Hz or 'auto', got {shown(word)}")
    from masktools.detection import find_bandwidth

    return choose_cutoff(find_bandwidth(samples, sample_rate), pipeline, sample_rate, to_hz, lfr)


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
