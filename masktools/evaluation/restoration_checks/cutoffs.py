"""Cutoffs: whether one finds where a recording was band-limited, whatever filter, hiss or codec it went through."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from scipy.signal import butter, cheby1, sosfilt

from masktools.detection import find_bandwidth
from masktools.errors import ParameterError, unknown_name
from masktools.evaluation.clips import Clip
from masktools.evaluation.protocols.common import make_report
from masktools.evaluation.report import Figure, Report, Row, summarise
from masktools.evaluation.restoration_checks.native import through_mp3
from masktools.evaluation.restoration_checks.peers import PEER_RULES
from masktools.io import resample, resample_to
from masktools.pipeline import Progress

__all__ = ["CUTOFFS_HZ", "FILTERS", "FULL_BAND", "OURS", "measure_cutoffs"]

CUTOFFS_HZ = (2000.0, 3000.0, 4000.0, 6000.0, 8000.0, 12_000.0, 16_000.0)
OURS, FULL_BAND = "shelf-drop (ours)", "full band"
HISS_DB = -75.0  # dBFS, root mean square
TOP_SHARE = 0.8  # of half the sample rate: cutoffs above it are not asked for
ALARM_SHARE = 15_000 / 22_050  # of half the sample rate: below it a cutoff of a full-band recording is a false alarm

Filter = Callable[[np.ndarray, int, float, np.random.Generator], np.ndarray]
Rule = Callable[[np.ndarray, int], float | None]


def measure_cutoffs(
    clips: Sequence[Clip],
    cutoffs_hz: Sequence[float] = CUTOFFS_HZ,
    filters: Sequence[str] = (),
    seed: int = 0,
    *,
    progress: Progress | None = None,
) -> Report:
    """Return how often our detector, and the rules of four other projects, find a cutoff.

    ``within_5`` and ``within_10`` are percentages of all recordings at all cutoffs; ``found`` is the share in which
    there was an answer, ``found_within_5`` and ``found_within_10`` are percentages of those; ``bias`` is the median
    error in percent. ``false_alarms`` is the percentage of the recordings as they are of which a rule says that they
    end below 15 kHz (68 % of half the sample rate).

    Args:
        clips: full-band recordings; cutoffs above 80 % of half their sample rate are left out.
        cutoffs_hz: to be found.
        filters: of ``FILTERS``; all where none is named.
        seed: of the hiss.
        progress: called with the clips done and their number.

    Raises:
        ParameterError: no clips, no cutoff that they have, or an unknown filter.
    """
    chosen = tuple(filters) or tuple(FILTERS)
    for name in chosen:
        if name not in FILTERS:
            raise unknown_name("filter", name, FILTERS)
    if not clips:
        raise ParameterError("there must be at least one clip to measure, got none")
    if not any(0 < cutoff <= TOP_SHARE * clip.sample_rate / 2 for cutoff in cutoffs_hz for clip in clips):
        raise ParameterError(f"cutoffs_hz must have one within 80 % of a clip's band, got {tuple(cutoffs_hz)}")
    rows: list[Row] = []
    for number, clip in enumerate(clips):
        for method, rule in RULES.items():
            answer = rule(clip.wave, clip.sample_rate)
            alarm = answer is not None and answer < ALARM_SHARE * clip.sample_rate / 2
            rows.append(Row.of(clip, method, "false_alarms", 100.0 * alarm, FULL_BAND))
        for cutoff_hz in cutoffs_hz:
            if cutoff_hz <= TOP_SHARE * clip.sample_rate / 2:
                rng = np.random.default_rng((seed, number, round(cutoff_hz)))
                for name in chosen:
                    rows += _answers(clip, FILTERS[name](clip.wave, clip.sample_rate, cutoff_hz, rng), cutoff_hz, name)
        if progress is not None:
            progress(number + 1, len(clips))
    settings = {"protocol": "cutoffs", "cutoffs_hz": list(cutoffs_hz), "filters": list(chosen), "seed": seed}
    settings["n_clips"] = len(clips)
    notes = (
        "within_5, within_10: % of all; found_within_5, found_within_10: % of those with an answer; bias: median, %",
        f"false_alarms: % of unfiltered recordings that are said to end below {100 * ALARM_SHARE:.0f} % of their band",
    )
    return make_report("Cutoffs found", settings, clips, rows, _figures(rows), notes)


def _answers(clip: Clip, filtered: np.ndarray, cutoff_hz: float, case: str) -> list[Row]:
    rows = []
    for method, rule in RULES.items():
        answer = rule(filtered, clip.sample_rate)
        error = np.nan if answer is None else 100 * (answer / cutoff_hz - 1)
        values = {"found": 100.0 * (answer is not None), "bias": error}
        for percent in (5, 10):
            hit = 100.0 * bool(abs(error) <= percent)
            values[f"within_{percent}"] = hit
            values[f"found_within_{percent}"] = np.nan if answer is None else hit
        rows += [
            Row(f"{clip.name} at {cutoff_hz:g} Hz", clip.kind, clip.origin, method, metric, value, case)
            for metric, value in values.items()
        ]
    return rows


def _figures(rows: Sequence[Row]) -> tuple[Figure, ...]:
    means = ("within_5", "within_10", "found", "found_within_5", "found_within_10", "false_alarms")
    return summarise(rows, means)


def _ours(wave: np.ndarray, sample_rate: int) -> float | None:
    return find_bandwidth(wave[None], sample_rate).cutoff_hz


RULES: Mapping[str, Rule] = {OURS: _ours, **PEER_RULES}


def _brick(wave: np.ndarray, sample_rate: int, cutoff_hz: float, rng: np.random.Generator) -> np.ndarray:
    spectrum = np.fft.rfft(wave.astype(np.float64))
    spectrum[np.fft.rfftfreq(len(wave), 1 / sample_rate) > cutoff_hz] = 0
    return np.fft.irfft(spectrum, len(wave)).astype(np.float32)


def _butterworth(wave: np.ndarray, sample_rate: int, cutoff_hz: float, rng: np.random.Generator) -> np.ndarray:
    return np.asarray(sosfilt(butter(8, cutoff_hz, fs=sample_rate, output="sos"), wave), np.float32)


def _chebyshev(wave: np.ndarray, sample_rate: int, cutoff_hz: float, rng: np.random.Generator) -> np.ndarray:
    return np.asarray(sosfilt(cheby1(8, 0.5, cutoff_hz, fs=sample_rate, output="sos"), wave), np.float32)


def _resampled(wave: np.ndarray, sample_rate: int, cutoff_hz: float, rng: np.random.Generator) -> np.ndarray:
    low = resample(wave, sample_rate, round(2 * cutoff_hz))
    return resample_to(low, round(2 * cutoff_hz), sample_rate, len(wave))


def _integers(wave: np.ndarray, sample_rate: int, cutoff_hz: float, rng: np.random.Generator) -> np.ndarray:
    return (np.rint(_brick(wave, sample_rate, cutoff_hz, rng) * 32768) / 32768).astype(np.float32)


def _hiss(wave: np.ndarray, sample_rate: int, cutoff_hz: float, rng: np.random.Generator) -> np.ndarray:
    noise = rng.normal(0, 10 ** (HISS_DB / 20), len(wave))
    return (_brick(wave, sample_rate, cutoff_hz, rng) + noise).astype(np.float32)


def _mp3(wave: np.ndarray, sample_rate: int, cutoff_hz: float, rng: np.random.Generator) -> np.ndarray:
    return through_mp3(_brick(wave, sample_rate, cutoff_hz, rng), sample_rate)


FILTERS: Mapping[str, Filter] = {
    "brick": _brick,
    "butter-8": _butterworth,
    "cheby-8": _chebyshev,
    "soxr": _resampled,
    "PCM16": _integers,
    "hiss": _hiss,
    "MP3": _mp3,
}
"""What a recording went through, by name: (wave, sample rate, cutoff in Hz, random numbers) -> wave. The last three are
the brick-wall filter and rounding to 16 bits, hiss of -75 dBFS, or MP3 of 160 kbit/s."""
