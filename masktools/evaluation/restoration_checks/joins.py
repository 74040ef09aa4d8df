"""Joins: whether one can hear where the windows of a long recording were put together.

At each join the extended recording is measured beside the original, beside a rendering whose only window has that
place in its middle, and beside itself elsewhere.
"""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from scipy.signal import bilinear, lfilter

from masktools.errors import ParameterError
from masktools.evaluation.clips import Clip
from masktools.evaluation.protocols.common import check_clips, make_report
from masktools.evaluation.report import Report, Row, summarise
from masktools.evaluation.restoration_checks.composition import without_top
from masktools.metrics import seam_crest_db
from masktools.model import Model
from masktools.pipeline import Pipeline, Progress
from masktools.restoration import bwe
from masktools.restoration.band_extension import column_windows
from masktools.runtime import threads
from masktools.solver import SolverConfig

__all__ = ["join_times_s", "loudness_db", "measure_joins"]

LOUDNESS_S = 0.4
WINDOWS, ELSEWHERE, SINGLE, ORIGINAL = "windows", "elsewhere", "single", "original"
_FAINT = 1e-10  # power


def measure_joins(
    model: Model,
    clips: Sequence[Clip],
    cutoff_hz: float = 4000.0,
    *,
    texture: str = "blend",
    seed: int = 0,
    progress: Progress | None = None,
) -> Report:
    """Return how the joins between windows stand out.

    ``crest_db`` is how much a join sticks out of its surroundings; ``crest_excess_db`` how much more than the same
    place does in the original, or in the rendering of a single window: music has onsets there, too. ``step_db`` is how
    much otherwise the loudness (400 ms) changes over the join than in the rendering of a single window, and
    ``band_step_db`` how much that of the added band changes there: of ``windows`` at the joins, ``elsewhere`` half way
    between them. The notes give 95 % quantiles over all joins.

    Args:
        model: the model.
        clips: at the model's rate; those that are longer than a window have joins.
        cutoff_hz: where they are cut off first.
        texture: what the added band is made of.
        seed: of the decoding.
        progress: called with the clips done and their number.

    Raises:
        ParameterError: no clips, none that is longer than a window, or clips at another rate.

    Source: ITU-R BS.1770-4 for the loudness.
    """
    check_clips(model, clips)
    pipeline, rate = model.pipeline, model.sample_rate
    times = [join_times_s(pipeline, len(clip.wave)) for clip in clips]
    if not any(times):
        longest = max(clip.duration_s for clip in clips)
        raise ParameterError(
            f"a clip must be longer than a window of {pipeline.window_samples / rate:.2f} s to have a join, "
            f"got {longest:.2f} s at most: join recordings to longer ones first"
        )
    solver = pipeline.decoding.get("bwe", SolverConfig())
    rows: list[Row] = []

    def extended(wave: np.ndarray) -> np.ndarray:
        return bwe(pipeline, wave[None], rate, cutoff_hz, seed=seed, solver=solver, texture=texture).samples[0]

    with threads(model.threads):
        for number, (clip, joins) in enumerate(zip(clips, times, strict=True)):
            low = without_top(clip.wave, rate, cutoff_hz)
            whole = extended(low) if joins else low
            for join_s in joins:
                start, stop = _around(join_s, len(low), pipeline.window_samples, rate)
                at_s, own = join_s - start / rate, low[start:stop]
                parts = {WINDOWS: whole[start:stop], SINGLE: extended(own), ORIGINAL: own}
                case = f"at {join_s:.2f} s"
                crests = [seam_crest_db(part, rate, at_s) for part in parts.values()]
                rows.append(Row.of(clip, WINDOWS, "crest_excess_db", crests[0] - max(crests[1:]), case))
                for (method, part), crest_db in zip(parts.items(), crests, strict=True):
                    rows.append(Row.of(clip, method, "crest_db", crest_db, case))
                    if method != ORIGINAL:
                        rows.append(Row.of(clip, method, "band_step_db", abs(_step_db(part - own, rate, at_s)), case))
                otherwise_db = _step_db(parts[WINDOWS], rate, at_s) - _step_db(parts[SINGLE], rate, at_s)
                rows.append(Row.of(clip, WINDOWS, "step_db", abs(otherwise_db), case))
            for before_s, after_s in pairwise(joins):
                at_s = (before_s + after_s) / 2
                case = f"at {at_s:.2f} s"
                rows.append(Row.of(clip, ELSEWHERE, "crest_db", seam_crest_db(whole, rate, at_s), case))
                rows.append(Row.of(clip, ELSEWHERE, "band_step_db", abs(_step_db(whole - low, rate, at_s)), case))
            if progress is not None:
                progress(number + 1, len(clips))
    settings = {
        "protocol": "joins",
        "model": model.name,
        "cutoff_hz": cutoff_hz,
        "texture": texture,
        "seed": seed,
        "n_clips": len(clips),
        "n_joins": sum(map(len, times)),
    }
    notes = [f"{name}, 95 % of joins: {value:.2f} dB at most" for name, value in _quantiles(rows).items()]
    each = [Row(row.clip, row.kind, row.origin, row.method, row.metric, row.value) for row in rows]
    return make_report("Joins between windows", settings, clips, rows, summarise(each), notes)


def join_times_s(pipeline: Pipeline, n_samples: int) -> list[float]:
    """Return where, in seconds, windows are joined in a recording of so many samples at the model's rate."""
    windows = column_windows(pipeline, n_samples)
    middles = [(before.stop + after.start) / 2 for before, after in pairwise(windows)]
    return [middle * pipeline.grid.column_s for middle in middles]


def loudness_db(wave: np.ndarray, sample_rate: int) -> float:
    """Return the loudness of a wave (t,) in LKFS, without a gate.

    Source: ITU-R BS.1770-4, annex 1; its two filters by their analogue prototypes, for any sample rate.
    """
    weighted = wave.astype(np.float64)
    for numerator, denominator in (_shelf(), _high_pass()):
        b, a = bilinear(numerator, denominator, sample_rate)
        weighted = np.asarray(lfilter(b, a, weighted))
    return float(-0.691 + 10 * np.log10(np.mean(weighted**2) + _FAINT))


def _shelf() -> tuple[list[float], list[float]]:
    """Return the head's filter: 4 dB more above 1.7 kHz, as coefficients of s."""
    omega, quality = 2 * np.pi * 1681.97, 0.7071752
    gain = 10 ** (3.99984 / 20)
    middle = gain**0.4996667
    return [gain, middle * omega / quality, omega**2], [1.0, omega / quality, omega**2]


def _high_pass() -> tuple[list[float], list[float]]:
    """Return the filter that takes away what lies below 38 Hz, as coefficients of s."""
    omega, quality = 2 * np.pi * 38.1355, 0.5003271
    return [1.0, 0.0, 0.0], [1.0, omega / quality, omega**2]


def _around(join_s: float, n_samples: int, window_samples: int, sample_rate: int) -> tuple[int, int]:
    start = round(join_s * sample_rate) - window_samples // 2
    start = max(0, min(start, n_samples - window_samples))
    return start, min(n_samples, start + window_samples)


def _step_db(wave: np.ndarray, sample_rate: int, at_s: float) -> float:
    """Return by how much the loudness rises from the 400 ms before a place to the 400 ms after it."""
    place, n = round(at_s * sample_rate), round(LOUDNESS_S * sample_rate)
    before, after = wave[max(0, place - n) : place], wave[place : place + n]
    return loudness_db(after, sample_rate) - loudness_db(before, sample_rate)


def _quantiles(rows: Sequence[Row]) -> dict[str, float]:
    values: dict[str, list[float]] = {}
    for row in rows:
        values.setdefault(f"{row.metric} of {row.method}", []).append(row.value)
    return {name: float(np.quantile(found, 0.95)) for name, found in values.items()}
