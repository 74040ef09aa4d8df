"""A recording becomes a loop: its end is made to lead into its start."""

from time import perf_counter
from typing import Any

import numpy as np
from torch import Tensor

from masktools.arguments import checked_real
from masktools.arrays import as_channels
from masktools.conditioning import Prompts
from masktools.errors import ParameterError
from masktools.gaps import Gap
from masktools.metrics import seam_crest_db
from masktools.pipeline import Progress, Walk
from masktools.restoration.gap_fill import FilledGap
from masktools.restoration.inpaint import inpaint
from masktools.restoration.restored import Restored
from masktools.restoration.surroundings import Reader
from masktools.solver import Plan, SolverConfig

__all__ = ["loop", "loop_pieces"]

MAX_SEAM_S = 10.0
_KNOWN_SHARE = 0.5  # of a recording that stays as it is at least


def loop(
    pipeline: Walk | None,
    samples: np.ndarray | Tensor,
    sample_rate: int,
    seam_s: float = 0.5,
    *,
    seed: int = 0,
    solver: Plan = SolverConfig(),
    prompt: Prompts | None = None,
    channels: str = "linked",
    texture: str = "recording",
    method: str = "auto",
    progress: Progress | None = None,
) -> Restored:
    """Return a recording of the same length that can be played round and round: its end leads into its start.

    Half of the seam is the end of the recording and half of it the start; both are filled as a gap is whose
    surroundings are what comes before the end and after the start. Between the two halves nothing changes.

    Args:
        pipeline: the model; None where the seam is not filled by one.
        samples: (channels, t), an array or a tensor, full scale 1, of any rate, at least twice as long as the seam.
        sample_rate: in Hz.
        seam_s: what is replaced, up to 10 s.
        seed: the same seed gives the same result.
        solver: settings of the decoding.
        prompt: what to hear in the seam.
        channels: as ``inpaint`` takes them.
        texture: what a fill of the model's is made of in detail, one of ``TEXTURES``.
        method: as ``inpaint`` takes it.
        progress: called with (steps done, steps in all).

    Raises:
        ParameterError: a seam out of its range, several prompts, an unknown name, or no model where one is needed.
        AudioError: samples beside the seam that are not finite.
    """
    wave = as_channels(samples, sample_rate, finite=False)
    pieces, report = loop_pieces(
        pipeline,
        lambda start, stop: wave[:, start:stop],
        wave.shape[1],
        sample_rate,
        seam_s,
        seed=seed,
        solver=solver,
        prompt=prompt,
        channels=channels,
        texture=texture,
        method=method,
        progress=progress,
    )
    looped = wave.copy()
    for piece in pieces:
        looped[:, piece.start : piece.start + piece.samples.shape[1]] = piece.samples
    return Restored(looped, sample_rate, report)


def loop_pieces(
    pipeline: Walk | None,
    reader: Reader,
    n_samples: int,
    sample_rate: int,
    seam_s: float = 0.5,
    *,
    seed: int = 0,
    solver: Plan = SolverConfig(),
    prompt: Prompts | None = None,
    channels: str = "linked",
    texture: str = "recording",
    method: str = "auto",
    progress: Progress | None = None,
) -> tuple[list[FilledGap], dict[str, Any]]:
    """Return what replaces the start and the end of a recording, and the report: for files of any length.

    Of the recording only the half minute at each end is read.

    Args:
        pipeline: the model; None where the seam is not filled by one.
        reader: gives the samples [start, stop) of the recording, (channels, stop - start).
        n_samples: of the recording.
        sample_rate: in Hz.
        seam_s: what is replaced, half at each end.
        seed: the same seed gives the same result.
        solver: settings of the decoding.
        prompt: what to hear in the seam.
        channels: as ``inpaint`` takes them.
        texture: one of ``TEXTURES``.
        method: as ``inpaint`` takes it.
        progress: called with (steps done, steps in all).

    Raises:
        ParameterError: as ``loop``.
        AudioError: as ``loop``.
    """
    started = perf_counter()
    seam_s = checked_real("seam_s", seam_s, "seconds")
    if not 0 < seam_s <= MAX_SEAM_S:
        raise ParameterError(f"seam_s must lie in (0, {MAX_SEAM_S:g}] s, got {seam_s:g} s")
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
    filled = inpaint(
        pipeline,
        known,
        sample_rate,
        [gap],
        seed=seed,
        solver=solver,
        prompt=prompt,
        channels=channels,
        texture=texture,
        method=method,
        max_gap_s=MAX_SEAM_S,
        progress=progress,
    )
    made, every = filled.samples, tuple(range(len(known)))
    ending, beginning = made[:, n_heard - half : n_heard], made[:, n_heard : n_heard + half]
    changed = [(0, half), (n_samples - half, n_samples)]
    seconds = [{"start_s": start / sample_rate, "end_s": stop / sample_rate} for start, stop in changed]
    report = {
        **filled.report,
        "job": "loop",
        "seam_s": 2 * half / sample_rate,
        "changed": [{**one, "channels": list(every)} for one in seconds],
        "wrap_crest_db": {"before": _wrap_db(known, sample_rate), "after": _wrap_db(made, sample_rate)},
        "timings": {**filled.report["timings"], "total_s": round(perf_counter() - started, 3)},
    }
    del report["gaps"]
    report["method_used"] = sorted({gap["method"] for gap in filled.report["gaps"]})
    pieces = [
        FilledGap(start, part, every, one)
        for (start, _), part, one in zip(changed, (beginning, ending), report["changed"], strict=True)
    ]
    return pieces, report


def _wrap_db(rotated: np.ndarray, sample_rate: int) -> float | None:
    """Return the crest of the join in the middle of a rotated recording; None where it is too short to tell."""
    try:
        return round(seam_crest_db(rotated, sample_rate, rotated.shape[1] / 2 / sample_rate), 2)
    except ParameterError:
        return None
