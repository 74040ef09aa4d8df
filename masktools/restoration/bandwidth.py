"""Bandwidth extension: the missing band above a cutoff is generated; the band below is unchanged."""

from typing import Any, cast

import numpy as np
from torch import Tensor

from masktools.core.arguments import check_least, checked_call, shown
from masktools.core.arrays import as_channels
from masktools.core.errors import ParameterError
from masktools.core.settings import BandSettings
from masktools.detection import Bandwidth
from masktools.pipeline import Pipeline, Progress, Walk
from masktools.pipeline.hub import plan_for
from masktools.restoration.band_extension import BandExtension
from masktools.restoration.band_level import check_cutoff, choose_cutoff, choose_top
from masktools.restoration.band_upper import Take, check_like, take_of
from masktools.restoration.gap_plan import look_through
from masktools.restoration.recordings import Restored, Signal, check_channels, untouched
from masktools.restoration.render import Decoder


def extend_blocks(
    model: Walk,
    signal: Signal,
    cutoff_hz: float,
    settings: BandSettings | None = None,
    *,
    take: Take | None = None,
    block_samples: int = 1 << 16,
    progress: Progress | None = None,
    **changes: Any,
) -> BandExtension:
    """Return a recording of any length with its missing band added, block by block, in bounded memory.

    Args:
        model: the model.
        signal: the recording, at least one sample; it is read twice or three times over.
        cutoff_hz: cutoff of the recording in Hz; ``choose_cutoff`` tells whether there is one to extend from.
        settings: settings of the extension.
        take: a full-band recording of the same source, from ``take_of``, whose band is used instead of the model's.
        block_samples: length of the output blocks; the result does not depend on it.
        progress: called with (steps done, steps in total).
        **changes: fields of ``BandSettings`` to change.

    Raises:
        ParameterError: see ``bwe``; raised at once, not with the first block.
    """
    sizes = {"n_samples": signal.n_samples, "n_channels": signal.n_channels, "block_samples": block_samples}
    check_least(1, **sizes)
    made = BandSettings.of(settings, changes)
    check_channels(made.channels, signal.n_channels)
    if take is not None and not made.lfr:
        raise ParameterError("a take to be like is for what is added to a recording: without lfr all is the model's")
    decoder, bands = Decoder.of(model, "bwe", made, "extended"), cast(Pipeline, model)  # whose family was checked
    top_hz = choose_top(bands, signal.sample_rate, made.to_hz) if made.lfr else bands.mel.f_max
    check_cutoff(bands, cutoff_hz, signal.sample_rate, top_hz)
    return BandExtension(decoder, signal, (cutoff_hz, top_hz), made, take, block_samples, progress)


def bwe(
    model: Walk,
    samples: np.ndarray | Tensor,
    sample_rate: int,
    cutoff_hz: float | str = "auto",
    settings: BandSettings | None = None,
    *,
    like: tuple[np.ndarray, int] | str | None = None,
    progress: Progress | None = None,
    **changes: Any,
) -> Restored:
    """Return a band-limited recording with its missing band added.

    A recording of a lower rate than the model's is returned at the model's rate; any other keeps its own. Above the
    model's band the detail of the band below is continued, at the levels expected by the model's table; a cutoff above
    the model's band is extended that way from the start.

    Args:
        model: the model.
        samples: (channels, t), an array or a tensor, full scale 1, of any rate and length.
        sample_rate: sampling rate in Hz.
        cutoff_hz: cutoff of the recording in Hz, or "auto": then it is detected, and a recording without such an
            edge, or with one that this model cannot extend, is returned unchanged, with the reason in the report.
            Every row of tokens that extends above the cutoff is generated.
        settings: settings of the extension.
        like: samples (channels, t) and sample rate of a full-band recording of the same source: its most similar frames
            below the cutoff give their level and their detail, and the model is not used. "own": the
            recording's full-band frames are used for its dull ones, and the former are unchanged.
        progress: called with (steps done, steps in total).
        **changes: fields of ``BandSettings`` to change.

    Raises:
        ParameterError: a cutoff that does not fit the recording or the model, several prompts, an unknown name, or a
            value out of its range.

    Source: SpecMaskGIT (arXiv:2406.17672), section 4.3; the replacement is additive (no filter on the original).
    """
    made, wave = BandSettings.of(settings, changes), as_channels(samples, sample_rate)
    checked_call("progress", progress)
    signal = Signal.of(wave, sample_rate)
    check_channels(made.channels, signal.n_channels)
    plan_for(model, "bwe", made)  # errors are raised whatever is detected
    if isinstance(cutoff_hz, str):
        if cutoff_hz != "auto":
            raise ParameterError(f"cutoff must be a frequency in Hz or 'auto', got {shown(cutoff_hz)}")
        found = cast(Bandwidth, look_through(signal, None, made).bandwidth)
        decision = choose_cutoff(found, cast(Pipeline, model), sample_rate, made.to_hz, made.lfr)
        if decision.cutoff_hz is None:
            report = {"job": "bwe", "status": decision.status, "reason": decision.reason, "model": model.name}
            report |= {"seed": made.seed, "cutoff_hz": None, "sample_rate": sample_rate, "warnings": []}
            return untouched(model, wave, sample_rate, made.prompt, report)
        cutoff_hz = decision.cutoff_hz
    take = None
    if like is not None:
        check_like(like)
        lent = signal if isinstance(like, str) else Signal.of(as_channels(*like), int(like[1]))
        take = take_of(lent, max(sample_rate, model.sample_rate), cutoff_hz, is_own=lent is signal)
    extension = extend_blocks(model, signal, cutoff_hz, made, take=take, progress=progress)
    keeps = extension.sample_rate == sample_rate
    extended = np.empty((signal.n_channels, extension.n_samples), wave.dtype if keeps else np.float32)
    for start, block in extension:
        extended[:, start : start + block.shape[1]] = block
    return Restored(extended, extension.sample_rate, extension.report)
