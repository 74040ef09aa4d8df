"""Damage: whether one finds samples that were lost, and nothing where none were, in files as they are and after MP3."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from masktools.detection import Damage, find_damage
from masktools.errors import ParameterError
from masktools.evaluation.clips import Clip
from masktools.evaluation.protocols.common import make_report
from masktools.evaluation.report import Figure, Report, Row, summarise
from masktools.evaluation.restoration_checks.native import through_mp3
from masktools.pipeline import Progress

__all__ = ["FLOAT", "LENGTHS_S", "MP3", "measure_damage"]

LENGTHS_S = (0.002, 0.005, 0.010, 0.020, 0.050, 0.200)
FLOAT, MP3 = "zeros", "zeros, then MP3 of 160 kbit/s"
MP3_FROM_S = 0.010  # a lossy codec leaves nothing of shorter ones
EDGE_SAMPLES = 8
SHOULDER_S = 0.010
SHOULDER_DB: Mapping[str, float] = {FLOAT: -60.0, MP3: -45.0}  # dBFS, root mean square, where damage is made
APART_S, MARGIN_S = 0.08, 0.3
_TRIES = 100

Find = Callable[[np.ndarray, int], list[Damage]]


def measure_damage(
    clips: Sequence[Clip],
    seed: int = 0,
    *,
    lengths_s: Sequence[float] = LENGTHS_S,
    n_each: int = 2,
    progress: Progress | None = None,
) -> Report:
    """Return how many runs of zeros are found, how well their edges are, and how much is found where nothing is.

    Zeros of each length are put into every clip, between shoulders that are louder than -60 dBFS. ``recall`` is a
    percentage: found with both edges within 8 samples; after MP3 (only those of 10 ms and more, between shoulders
    above -45 dBFS), found over half of its length. ``edge_samples`` is the worse edge of those that were found;
    ``false_per_min`` counts what is found in the clips as they are, after MP3 too.

    Args:
        clips: recordings without damage.
        seed: of the places.
        lengths_s: of the runs.
        n_each: runs of each length in each clip.
        progress: called with the clips done and their number.

    Raises:
        ParameterError: no clips, or lengths that are none.
    """
    if not clips:
        raise ParameterError("there must be at least one clip to measure, got none")
    if not lengths_s or not all(0 < length < np.inf for length in lengths_s) or n_each < 1:
        raise ParameterError(f"lengths_s must be above 0 s and n_each at least 1, got {tuple(lengths_s)}, {n_each}")
    rows: list[Row] = []
    false: dict[str, int] = {FLOAT: 0, MP3: 0}
    for number, clip in enumerate(clips):
        for case, code, find in ((FLOAT, _as_it_is, _zeros), (MP3, through_mp3, _dropouts)):
            rng = np.random.default_rng((seed, number))
            lengths = [length for length in lengths_s if case == FLOAT or length >= MP3_FROM_S]
            spans = _spans(clip, [length for length in lengths for _ in range(n_each)], SHOULDER_DB[case], rng)
            damaged = clip.wave.copy()
            for start, stop in spans:
                damaged[start:stop] = 0
            found = find(code(damaged, clip.sample_rate), clip.sample_rate)
            for span in spans:
                rows += _judged(clip, span, found, case)
            false[case] += len(find(code(clip.wave, clip.sample_rate), clip.sample_rate))
        if progress is not None:
            progress(number + 1, len(clips))
    minutes = sum(clip.duration_s for clip in clips) / 60
    figures = [*summarise(rows, ("recall",))]
    for case, count in false.items():
        figures.append(_pooled(clips, "false_per_min", count / minutes, case))
        edges = [row.value for row in rows if row.metric == "edge_samples" and row.case == case]
        if case == FLOAT and edges:
            figures.append(_pooled(clips, "worst_edge_samples", max(edges), case))
    settings = {"protocol": "damage", "lengths_s": list(lengths_s), "n_each": n_each, "seed": seed}
    settings |= {"n_clips": len(clips), "minutes": round(minutes, 2)}
    notes = ("recall: %; edge_samples: of those found; false_per_min: of all clips as they are",)
    return make_report("Damage found", settings, clips, rows, figures, notes)


def _pooled(clips: Sequence[Clip], metric: str, value: float, case: str) -> Figure:
    return Figure("all clips", "ours", metric, value, None, None, len(clips), case=case, statistic="set")


def _judged(clip: Clip, span: tuple[int, int], found: Sequence[Damage], case: str) -> list[Row]:
    start, stop = span
    name = f"{clip.name} at {start / clip.sample_rate:.3f} s, {1e3 * (stop - start) / clip.sample_rate:.0f} ms"
    near = [damage for damage in found if damage.start < stop and damage.stop > start]
    edge = min((max(abs(one.start - start), abs(one.stop - stop)) for one in near), default=np.nan)
    if case == FLOAT:
        hit = edge <= EDGE_SAMPLES
    else:
        hit = sum(min(one.stop, stop) - max(one.start, start) for one in near) > 0.5 * (stop - start)
    values = {"recall": 100.0 * bool(hit), "edge_samples": float(edge)}
    return [Row(name, clip.kind, clip.origin, "ours", metric, value, case) for metric, value in values.items()]


def _spans(
    clip: Clip, lengths_s: Sequence[float], shoulder_db: float, rng: np.random.Generator
) -> list[tuple[int, int]]:
    """Return places in a clip, apart from each other, where the sound is loud enough on either side."""
    rate = clip.sample_rate
    shoulder, apart, margin = (round(seconds * rate) for seconds in (SHOULDER_S, APART_S, MARGIN_S))
    spans: list[tuple[int, int]] = []
    for length_s in lengths_s:
        length = int(np.ceil(length_s * rate))
        if len(clip.wave) <= 2 * margin + length:
            continue
        for _ in range(_TRIES):
            start = int(rng.integers(margin, len(clip.wave) - margin - length))
            stop = start + length
            free = all(stop + apart < one or start > other + apart for one, other in spans)
            sides = (clip.wave[start - shoulder : start], clip.wave[stop : stop + shoulder])
            if free and min(float(np.sqrt(np.mean(side**2))) for side in sides) > 10 ** (shoulder_db / 20):
                spans.append((start, stop))
                break
    return sorted(spans)


def _as_it_is(wave: np.ndarray, sample_rate: int) -> np.ndarray:
    return wave


def _zeros(wave: np.ndarray, sample_rate: int) -> list[Damage]:
    return find_damage(wave[None], sample_rate, ("zeros",))


def _dropouts(wave: np.ndarray, sample_rate: int) -> list[Damage]:
    return find_damage(wave[None], sample_rate, ("dropout",))
