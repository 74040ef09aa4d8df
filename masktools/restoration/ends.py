"""The ends of a recording: continuation after its end or before its start, and loops."""

import math
from collections.abc import Callable, Iterator
from dataclasses import fields
from math import ceil
from time import perf_counter
from typing import Any

import numpy as np
from torch import Tensor

from masktools.core.arguments import check_within, checked_call, checked_real
from masktools.core.arrays import as_channels
from masktools.core.errors import AudioError, ParameterError
from masktools.core.gaps import Gap
from masktools.core.settings import (
    MAX_SECONDS,
    MODEL,
    ContinuationSettings,
    GapSettings,
    LoopSettings,
    RestorationSettings,
)
from masktools.pipeline import Progress, Walk, share_of
from masktools.pipeline.hub import plan_for
from masktools.restoration.inpaint import inpaint, inpaint_pieces
from masktools.restoration.recordings import FilledGap, Restored, Signal, check_channels, put_into
from masktools.restoration.seams import crest_db
from masktools.solver import derive_seed, plan_value

_STEP_SHARE = 0.5  # of a window that is generated at once; the rest is context
_SPARE_S = 0.25  # generated beyond a step and dropped: a fill fades to silence where a recording ends
_HEARD_S = 31.0  # of known audio at each end, for the search of textures


def continue_recording(
    model: Walk,
    samples: np.ndarray | Tensor,
    sample_rate: int,
    seconds: float,
    settings: ContinuationSettings | None = None,
    *,
    progress: Progress | None = None,
    **changes: Any,
) -> Restored:
    """Return a recording continued by some seconds; the given samples are unchanged.

    Args:
        model: the model.
        samples: (channels, t), an array or a tensor, full scale 1, of any rate and length.
        sample_rate: sampling rate in Hz.
        seconds: length of the added audio in seconds, up to 600.
        settings: side of the continuation, and its decoding.
        progress: called with (steps done, steps in total).
        **changes: fields of ``ContinuationSettings`` to change.

    Raises:
        ParameterError: a length or a fade out of its range, several prompts, or an unknown name.
        AudioError: samples near the join that are not finite.
    """
    made, wave = ContinuationSettings.of(settings, changes), as_channels(samples, sample_rate, finite=False)
    piece, report = continuation(model, Signal.of(wave, sample_rate), seconds, made, progress=progress)
    parts = [wave, piece.astype(wave.dtype)]
    return Restored(np.concatenate(parts if made.side == "end" else parts[::-1], axis=1), sample_rate, report)


def continuation(
    model: Walk,
    signal: Signal,
    seconds: float,
    settings: ContinuationSettings | None = None,
    *,
    progress: Progress | None = None,
    **changes: Any,
) -> tuple[np.ndarray, dict[str, Any]]:
    """Return only the new audio, (channels, n), and the report: for files of any length.

    The new audio is made window by window, half a window at a time, with the previous audio as context. Its level
    matches
    the recording at the join, where linear prediction inside the new part joins them, and it fades out at its other
    end, for half of it at most. Of the recording only the half minute beside the join is read.

    Args:
        model: the model.
        signal: the recording.
        seconds: length of the new audio in seconds.
        settings: side of the continuation, and its decoding.
        progress: called with (steps done, steps in total).
        **changes: fields of ``ContinuationSettings`` to change.

    Raises:
        ParameterError: see ``continue_recording``.
        AudioError: see ``continue_recording``.
    """
    started, made_with = perf_counter(), ContinuationSettings.of(settings, changes)
    checked_call("progress", progress)
    seconds = checked_real("seconds", seconds)
    check_within(f"(0, {MAX_SECONDS:g}]", seconds=seconds)
    reader, n_samples, sample_rate = signal.read, signal.n_samples, signal.sample_rate
    plan, fill = plan_for(model, "inpaint", made_with), _gap_settings(made_with, method=MODEL)
    n_new, at_end = max(1, round(seconds * sample_rate)), made_with.side == "end"
    n_heard = min(n_samples, ceil(_HEARD_S * sample_rate))
    heard = np.asarray(reader(n_samples - n_heard, n_samples) if at_end else reader(0, n_heard))
    check_channels(made_with.channels, len(heard))
    if not np.isfinite(heard).all():
        raise AudioError(f"the {n_heard / sample_rate:.4g} s beside the join must be finite, got NaN or infinity")
    steps = list(_steps(n_new, round(model.window_samples * _STEP_SHARE * sample_rate / model.sample_rate)))
    made, n_forwards = np.zeros((len(heard), 0), heard.dtype), 0
    spare = ceil(_SPARE_S * sample_rate)
    for number, length in enumerate(steps):
        known = np.concatenate([heard, made] if at_end else [made, heard], axis=1)
        known = known[:, -n_heard:] if at_end else known[:, :n_heard]
        blank = np.zeros((len(heard), length + spare), heard.dtype)
        gap_s = (length + spare) / sample_rate
        known_s = known.shape[1] / sample_rate
        gap = Gap(known_s, known_s + gap_s) if at_end else Gap(0.0, gap_s)
        wave = np.concatenate([known, blank] if at_end else [blank, known], axis=1)
        seed = fill.seed if number == 0 else derive_seed(fill.seed, number)
        share = share_of(progress, number, len(steps))
        filled = inpaint(model, wave, sample_rate, [gap], fill, seed=seed, progress=share)
        n_forwards += filled.report["n_forwards"]
        new = filled.samples
        if at_end:
            made = np.concatenate([made, new[:, known.shape[1] : known.shape[1] + length]], axis=1)
        else:
            made = np.concatenate([new[:, spare : spare + length], made], axis=1)
    _fade(made, min(round(made_with.fade_s * sample_rate), n_new // 2), at_end)
    report = {
        "job": "continue",
        "model": model.name,
        **made_with.told(),
        "seconds": n_new / sample_rate,
        "prompted": made_with.prompt is not None,
        "n_steps": plan_value(plan, "n_steps"),
        "n_windows": len(steps),
        "n_forwards": n_forwards,
        "samples_added": n_new * len(heard),
        "samples_changed": 0,
        "timings": {"total_s": round(perf_counter() - started, 3)},
    }
    return made, report


def _steps(n: int, longest: int) -> Iterator[int]:
    """Yield about equal lengths that add up to n, none above the longest."""
    n_steps = ceil(n / longest)
    for number in range(n_steps):
        yield (number + 1) * n // n_steps - number * n // n_steps


def _fade(samples: np.ndarray, n: int, at_end: bool) -> None:
    """Fade samples (channels, t) over n at their outer end, in place."""
    if n:
        rise = np.sin(0.5 * np.pi * (np.arange(n) + 0.5) / n) ** 2
        part = samples[:, -n:] if at_end else samples[:, :n]
        part *= rise[::-1] if at_end else rise


_KNOWN_SHARE = 0.5  # least share of a recording that is unchanged


def _gap_settings(settings: RestorationSettings, **more: Any) -> GapSettings:
    """Return settings of a job as those for filling its gap."""
    return GapSettings(**{own.name: getattr(settings, own.name) for own in fields(RestorationSettings)} | more)


def loop(
    model: Walk | None,
    samples: np.ndarray | Tensor,
    sample_rate: int,
    settings: LoopSettings | None = None,
    *,
    progress: Progress | None = None,
    **changes: Any,
) -> Restored:
    """Return a recording of the same length that loops seamlessly: its end leads into its start.

    Args:
        model: the model; None if the seam is filled without one.
        samples: (channels, t), an array or a tensor, full scale 1, of any rate, at least twice as long as the seam.
        sample_rate: sampling rate in Hz.
        settings: length of the seam, and its filling.
        progress: called with (steps done, steps in total).
        **changes: fields of ``LoopSettings`` to change.

    Raises:
        ParameterError: a seam out of its range, several prompts, an unknown name, or no model where one is needed.
        AudioError: samples beside the seam that are not finite.
    """
    made, wave = LoopSettings.of(settings, changes), as_channels(samples, sample_rate, finite=False)
    pieces, report = loop_pieces(model, Signal.of(wave, sample_rate), made, progress=progress)
    return Restored(put_into(wave, pieces), sample_rate, report)


def loop_pieces(
    model: Walk | None,
    signal: Signal,
    settings: LoopSettings | None = None,
    *,
    progress: Progress | None = None,
    later: Callable[[], Walk] | None = None,
    **changes: Any,
) -> tuple[list[FilledGap], dict[str, Any]]:
    """Return the new start and end of a recording, and the report: for files of any length.

    Half of the seam is the end of the recording and half of it the start; both are filled as one gap between
    the audio before the end and that after the start. Between the two halves nothing changes. Of the
    recording only the half minute at each end is read.

    Args:
        model: the model; None if the seam is filled without one, or with the one from ``later``.
        signal: the recording.
        settings: length of the seam, and its filling.
        progress: called with (steps done, steps in total).
        later: function that returns the model, called if it is needed.
        **changes: fields of ``LoopSettings`` to change.

    Raises:
        ParameterError: see ``loop``.
        AudioError: see ``loop``.
    """
    started, asked = perf_counter(), LoopSettings.of(settings, changes)
    reader, n_samples, sample_rate, seam_s = signal.read, signal.n_samples, signal.sample_rate, asked.seam_s
    half = max(1, round(seam_s * sample_rate / 2))
    if 2 * half > _KNOWN_SHARE * n_samples:
        raise ParameterError(
            f"a recording must be at least twice as long as its seam of {seam_s:g} s, got "
            f"{n_samples / sample_rate:.6g} s: choose a shorter seam"
        )
    n_heard = min(n_samples // 2, round(_HEARD_S * sample_rate))
    # Rotated so that the end is followed by the start.
    known = np.concatenate([reader(n_samples - n_heard, n_samples), reader(0, n_heard)], axis=1)
    gap = Gap((n_heard - half) / sample_rate, (n_heard + half) / sample_rate)
    fill = _gap_settings(asked, method=asked.method, max_gap_s=math.inf)
    filling = inpaint_pieces(model, Signal.of(known, sample_rate), [gap], fill, progress=progress, later=later)
    made, every = put_into(known, filling), tuple(range(len(known)))
    told = filling.report()
    ending, beginning = made[:, n_heard - half : n_heard], made[:, n_heard : n_heard + half]
    changed = [(0, half), (n_samples - half, n_samples)]
    seconds = [{"start_s": start / sample_rate, "end_s": stop / sample_rate} for start, stop in changed]
    report = {
        **told,
        "job": "loop",
        "seam_s": 2 * half / sample_rate,
        "changed": [{**one, "channels": list(every)} for one in seconds],
        "wrap_crest_db": {"before": _wrap_db(known, sample_rate), "after": _wrap_db(made, sample_rate)},
        "timings": {**told["timings"], "total_s": round(perf_counter() - started, 3)},
    }
    del report["gaps"]
    report["method_used"] = sorted({gap["method"] for gap in told["gaps"]})
    pieces = [
        FilledGap(start, part, every, one)
        for (start, _), part, one in zip(changed, (beginning, ending), report["changed"], strict=True)
    ]
    return pieces, report


def _wrap_db(rotated: np.ndarray, sample_rate: int) -> float | None:
    """Return the crest of the join in the middle of a rotated recording; None where it is too short to measure."""
    found = crest_db(rotated, sample_rate, rotated.shape[1] / 2)
    return None if found is None else round(found, 2)
