"""Quiet moments: what bandwidth extension adds over pauses, with and without its guard, and over digital silence."""

from collections.abc import Sequence

import numpy as np

from masktools.evaluation.clips import Clip
from masktools.evaluation.protocols.common import check_clips, make_report
from masktools.evaluation.report import Report, Row, summarise
from masktools.evaluation.restoration_checks.composition import without_top
from masktools.metrics import quiet_excess_db
from masktools.model import Model
from masktools.pipeline import Progress
from masktools.restoration import bwe
from masktools.restoration.band_level import high_pass
from masktools.runtime import threads
from masktools.solver import SolverConfig

__all__ = ["measure_quiet"]

GUARDED, UNGUARDED = "guarded", "unguarded"
GUARD_DB = 3.0
_HUSH_S, _MARGIN_S = 1.0, 0.1  # of the digital silence, and at its ends: where filters still sound
_FAINT = 1e-15


def measure_quiet(
    model: Model,
    clips: Sequence[Clip],
    cutoff_hz: float = 4000.0,
    *,
    texture: str = "blend",
    seed: int = 0,
    progress: Progress | None = None,
) -> Report:
    """Return how much louder than the truth the quietest moments of recordings become.

    ``quiet_xs_db`` is of the whole band, ``quiet_xs_hi_db`` of what lies above the cutoff alone, down to -100 dBFS;
    ``silence_dbfs`` is the highest sample inside a second of zeros that was put into the middle of each clip.

    Args:
        model: the model.
        clips: at the model's rate.
        cutoff_hz: where they are cut off first.
        texture: what the added band is made of.
        seed: of the decoding.
        progress: called with the pieces of work done and their number.

    Raises:
        ParameterError: no clips, or clips at another rate.
    """
    check_clips(model, clips)
    pipeline, rate = model.pipeline, model.sample_rate
    solver = pipeline.decoding.get("bwe", SolverConfig())
    rows: list[Row] = []

    def extended(wave: np.ndarray, guard_db: float | None) -> np.ndarray:
        made = bwe(
            pipeline, wave[None], rate, cutoff_hz, seed=seed, solver=solver, texture=texture, quiet_guard_db=guard_db
        )
        return made.samples[0]

    with threads(model.threads):
        for number, clip in enumerate(clips):
            low = without_top(clip.wave, rate, cutoff_hz)
            top = high_pass(clip.wave, rate, cutoff_hz)
            for method, guard_db in ((GUARDED, GUARD_DB), (UNGUARDED, None)):
                made = extended(low, guard_db)
                excess_hi = quiet_excess_db(top, high_pass(made, rate, cutoff_hz), floor_db=-100.0)
                rows.append(Row.of(clip, method, "quiet_xs_db", quiet_excess_db(clip.wave, made)))
                rows.append(Row.of(clip, method, "quiet_xs_hi_db", excess_hi))
            middle = len(low) // 2
            hushed = np.concatenate([low[:middle], np.zeros(round(_HUSH_S * rate), np.float32), low[middle:]])
            inside = slice(middle + round(_MARGIN_S * rate), middle + round((_HUSH_S - _MARGIN_S) * rate))
            loudest = float(np.abs(extended(hushed, GUARD_DB)[inside]).max())
            rows.append(Row.of(clip, GUARDED, "silence_dbfs", 20 * np.log10(loudest + _FAINT)))
            if progress is not None:
                progress(number + 1, len(clips))
    settings = {
        "protocol": "quiet",
        "model": model.name,
        "cutoff_hz": cutoff_hz,
        "texture": texture,
        "guard_db": GUARD_DB,
        "seed": seed,
        "n_clips": len(clips),
    }
    worst = max(row.value for row in rows if row.metric == "quiet_xs_db" and row.method == GUARDED)
    notes = [f"quiet_xs_db of the worst clip, guarded: {worst:.2f} dB"]
    return make_report("Quiet moments", settings, clips, rows, summarise(rows), notes)
