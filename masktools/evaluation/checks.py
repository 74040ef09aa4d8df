"""Checks of restoration by name, and those of detection: cutoffs and damage, compared with rules of other projects.

The rules of other projects take the frequency below which a fixed share of the magnitude or energy lies, so that a
bass-heavy recording gets a lower cutoff than a bright one with the same filter; and they always return one.
"""

import io as memory
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import soundfile
from scipy.signal import butter, cheby1, sosfilt
from scipy.signal.windows import hann

from masktools.core.arguments import checked_name
from masktools.core.errors import ParameterError
from masktools.detection import Damage, find_bandwidth, find_damage
from masktools.evaluation.bandwidth_checks import measure_composition, measure_joins, measure_quiet
from masktools.evaluation.clips import Clip, Clips, ClipSettings, read_clips, read_native
from masktools.evaluation.common import check_some, make_report
from masktools.evaluation.inpainting import measure_gap_fills
from masktools.evaluation.report import Figure, Report, Row, summarise
from masktools.io import resample, resample_to
from masktools.model import Model
from masktools.pipeline import Progress, watched

_N_FFT, _HOP = 2048, 512  # librosa's, used by three of them


def nvsr(wave: np.ndarray, sample_rate: int, share: float = 0.97) -> float:
    """Return the last frequency with less than 97 % of all magnitude below it.

    Source: Liu et al., Neural Vocoder is All You Need for Speech Super-resolution (arXiv:2203.14941), its evaluation.
    """
    total = np.cumsum(_magnitudes(wave, _N_FFT, _HOP).sum(axis=0))
    below = np.flatnonzero(total < share * total[-1])
    return float(below[-1] if len(below) else 0) * sample_rate / _N_FFT


def audiosr(wave: np.ndarray, sample_rate: int) -> float:
    """Return the last frequency with less than 98.5 % of all magnitude below it.

    Source: Liu et al., AudioSR: Versatile Audio Super-resolution at Scale (arXiv:2309.07314), its inference.
    """
    return nvsr(wave, sample_rate, 0.985)


def clearvoice(wave: np.ndarray, sample_rate: int) -> float:
    """Return the first frequency with 99.96 % of all energy below it, in steps of 256 bins.

    Source: ClearVoice, its bandwidth substitution.
    """
    length = 256
    total = np.cumsum((_magnitudes(wave, length, length // 2) ** 2).sum(axis=0))
    return float(np.argmax(total >= 0.9996 * total[-1])) * sample_rate / length


def a2sb(wave: np.ndarray, sample_rate: int) -> float:
    """Return the mean over time of the frequency with 99 % of a frame's magnitude below it.

    Source: Kong et al., A2SB: Audio-to-Audio Schrodinger Bridges (arXiv:2501.11311), its upsampling.
    """
    total = np.cumsum(_magnitudes(wave, _N_FFT, _HOP), axis=1)
    return float(np.argmax(total >= 0.99 * total[:, -1:], axis=1).mean()) * sample_rate / _N_FFT


PEER_RULES: Mapping[str, Callable[[np.ndarray, int], float]] = {
    "NVSR": nvsr,
    "AudioSR": audiosr,
    "ClearVoice": clearvoice,
    "A2SB": a2sb,
}
"""The rules by project: (wave, sample rate) -> cutoff in Hz."""


def _magnitudes(wave: np.ndarray, length: int, hop: int) -> np.ndarray:
    """Return the magnitudes (frames, bins) of a wave (t,) with a Hann window and zero padding at the ends."""
    padded = np.pad(wave.astype(np.float64), length // 2)
    frames = np.lib.stride_tricks.sliding_window_view(padded, length)[::hop]
    return np.abs(np.fft.rfft(frames * hann(length, sym=False)))


CUTOFFS_HZ = (2000.0, 3000.0, 4000.0, 6000.0, 8000.0, 12_000.0, 16_000.0)
OURS, FULL_BAND = "shelf-drop (ours)", "full band"
HISS_DB = -75.0  # dBFS, root mean square
TOP_SHARE = 0.8  # of half the sample rate: higher cutoffs are not tested
ALARM_SHARE = 15_000 / 22_050  # of half the sample rate: lower cutoffs in full-band recordings are false alarms

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
    """Return how often our detector, and the rules of four other projects, detect a cutoff.

    ``within_5`` and ``within_10`` are percentages of all recordings at all cutoffs; ``found`` is the percentage
    with an answer, ``found_within_5`` and ``found_within_10`` are percentages of those; ``bias`` is the median
    error in percent. ``false_alarms`` is the percentage of unfiltered recordings with a detected cutoff
    below 15 kHz (68 % of half the sample rate).

    Args:
        clips: full-band recordings; cutoffs above 80 % of half their sample rate are left out.
        cutoffs_hz: cutoffs in Hz.
        filters: names in ``FILTERS``; all by default.
        seed: random seed of the hiss.
        progress: called with the clips done and their number.

    Raises:
        ParameterError: no clips, no cutoff within their band, or an unknown filter.
    """
    chosen = tuple(filters) or tuple(FILTERS)
    for name in chosen:
        checked_name("filter", name, FILTERS)
    check_some(clips)
    if not any(0 < cutoff <= TOP_SHARE * clip.sample_rate / 2 for cutoff in cutoffs_hz for clip in clips):
        raise ParameterError(f"cutoffs_hz must have one within 80 % of a clip's band, got {tuple(cutoffs_hz)}")
    rows: list[Row] = []
    for number, clip in enumerate(watched(clips, progress)):
        for method, rule in RULES.items():
            answer = rule(clip.wave, clip.sample_rate)
            alarm = answer is not None and answer < ALARM_SHARE * clip.sample_rate / 2
            rows.append(Row.of(clip, method, "false_alarms", 100.0 * alarm, FULL_BAND))
        for cutoff_hz in cutoffs_hz:
            if cutoff_hz <= TOP_SHARE * clip.sample_rate / 2:
                rng = np.random.default_rng((seed, number, round(cutoff_hz)))
                for name in chosen:
                    rows += _answers(clip, FILTERS[name](clip.wave, clip.sample_rate, cutoff_hz, rng), cutoff_hz, name)
    settings = {"protocol": "cutoffs", "cutoffs_hz": list(cutoffs_hz), "filters": list(chosen), "seed": seed}
    settings["n_clips"] = len(clips)
    notes = (
        "within_5, within_10: % of all; found_within_5, found_within_10: % of those with an answer; bias: median, %",
        f"false_alarms: % of unfiltered recordings that are said to end below {100 * ALARM_SHARE:.0f} % of their band",
    )
    means = ("within_5", "within_10", "found", "found_within_5", "found_within_10", "false_alarms")
    return make_report("Cutoffs found", settings, clips, rows, summarise(rows, means), notes)


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
        rows += Row.each(replace(clip, name=f"{clip.name} at {cutoff_hz:g} Hz"), method, values, case)
    return rows


def _ours(wave: np.ndarray, sample_rate: int) -> float | None:
    return find_bandwidth(wave[None], sample_rate).cutoff_hz


RULES: Mapping[str, Rule] = {OURS: _ours, **PEER_RULES}


def through_mp3(wave: np.ndarray, sample_rate: int) -> np.ndarray:
    """Return a wave (t,) after MP3 coding at constant 160 kbit/s, the most that there is below 32 kHz.

    Args:
        wave: (t,), full scale 1.
        sample_rate: sampling rate in Hz, one that MP3 supports.
    """
    level = 0.5 if sample_rate >= 32_000 else 0.0  # of compression, in libsndfile's scale
    with memory.BytesIO() as file:
        options = {"compression_level": level, "bitrate_mode": "CONSTANT"}
        soundfile.write(file, wave.clip(-1, 1), sample_rate, format="MP3", subtype="MPEG_LAYER_III", **options)
        file.seek(0)
        coded, _ = soundfile.read(file, dtype="float32")
    return np.pad(coded, (0, max(0, len(wave) - len(coded))))[: len(wave)]


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
"""Filters and codecs by name: (wave, sample rate, cutoff in Hz, random numbers) -> wave. The last three are
the brick-wall filter followed by rounding to 16 bits, hiss of -75 dBFS, or MP3 at 160 kbit/s."""


LENGTHS_S = (0.002, 0.005, 0.010, 0.020, 0.050, 0.200)
FLOAT, MP3 = "zeros", "zeros, then MP3 of 160 kbit/s"
MP3_FROM_S = 0.010  # a lossy codec hides shorter ones
EDGE_SAMPLES = 8
SHOULDER_S = 0.010
SHOULDER_DB: Mapping[str, float] = {FLOAT: -60.0, MP3: -45.0}  # dBFS, least root mean square of the shoulders
APART_S, MARGIN_S = 0.08, 0.3
_TRIES = 100


def measure_damage(
    clips: Sequence[Clip],
    seed: int = 0,
    *,
    lengths_s: Sequence[float] = LENGTHS_S,
    n_each: int = 2,
    progress: Progress | None = None,
) -> Report:
    """Return the recall of runs of zeros, the errors of their edges, and the false alarms.

    Zeros of each length are put into every clip, between shoulders that are louder than -60 dBFS. ``recall`` is a
    percentage: detected with both edges within 8 samples; after MP3 (only those of 10 ms and more, between shoulders
    above -45 dBFS), detected over half of its length. ``edge_samples`` is the worse edge of the detected ones;
    ``false_per_min`` counts detections in undamaged clips, after MP3 too.

    Args:
        clips: recordings without damage.
        seed: random seed of the positions.
        lengths_s: lengths of the runs in seconds.
        n_each: number of runs of each length in each clip.
        progress: called with the clips done and their number.

    Raises:
        ParameterError: no clips, or invalid lengths.
    """
    check_some(clips)
    if not lengths_s or not all(0 < length < np.inf for length in lengths_s) or n_each < 1:
        raise ParameterError(f"lengths_s must be above 0 s and n_each at least 1, got {tuple(lengths_s)}, {n_each}")
    rows: list[Row] = []
    false: dict[str, int] = {FLOAT: 0, MP3: 0}
    for number, clip in enumerate(watched(clips, progress)):
        for case, kind in ((FLOAT, "zeros"), (MP3, "dropout")):
            rng = np.random.default_rng((seed, number))
            lengths = [length for length in lengths_s if case == FLOAT or length >= MP3_FROM_S]
            spans = _spans(clip, [length for length in lengths for _ in range(n_each)], SHOULDER_DB[case], rng)
            damaged = clip.wave.copy()
            for start, stop in spans:
                damaged[start:stop] = 0
            found = _found(damaged, clip.sample_rate, kind)
            for span in spans:
                rows += _judged(clip, span, found, case)
            false[case] += len(_found(clip.wave, clip.sample_rate, kind))
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
    return Row.each(replace(clip, name=name), "ours", values, case)


def _spans(
    clip: Clip, lengths_s: Sequence[float], shoulder_db: float, rng: np.random.Generator
) -> list[tuple[int, int]]:
    """Return positions in a clip, apart from each other, where the sound is loud enough on either side."""
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


def _found(wave: np.ndarray, sample_rate: int, kind: str) -> list[Damage]:
    """Return the detected damage for a kind; after MP3, dropouts are searched for."""
    heard = wave if kind == "zeros" else through_mp3(wave, sample_rate)
    return find_damage(heard[None], sample_rate, (kind,))


_LONG_S = 24.0  # length of clips with joins


@dataclass(frozen=True)
class Checking:
    """Recordings and settings of a check."""

    source: str | os.PathLike[str]  # a manifest or a folder
    n: int = 8  # number of recordings, spread over the kinds
    split: str = "test"
    seed: int = 0
    octaves_up: int = 0  # for cutoffs: octaves by which recordings are transposed
    progress: Progress | None = field(default=None, compare=False)

    def native(self, octaves_up: int = 0) -> Clips:
        """Return full-band recordings at their own rates."""
        return read_native(self.source, self.n, self.seed, split=self.split, octaves_up=octaves_up)

    def at_rate(self, model: Model, seconds: float = 10.0) -> Clips:
        """Return recordings at the model's rate, spread over the kinds."""
        wanted = ClipSettings(split=self.split, seconds=seconds, n=self.n, seed=self.seed, min_seconds=seconds)
        return read_clips(self.source, model.sample_rate, wanted)


CHECKS: Mapping[str, Callable[[Checking, Model], Report]] = {
    "cutoffs": lambda on, model: measure_cutoffs(on.native(on.octaves_up), seed=on.seed, progress=on.progress),
    "damage": lambda on, model: measure_damage(on.native(), on.seed, progress=on.progress),
    "gaps": lambda on, model: measure_gap_fills(on.native(), model=model, seed=on.seed, progress=on.progress),
    "composition": lambda on, model: measure_composition(on.at_rate(model), progress=on.progress),
    "joins": lambda on, model: measure_joins(model, on.at_rate(model, _LONG_S), seed=on.seed, progress=on.progress),
    "quiet": lambda on, model: measure_quiet(model, on.at_rate(model), seed=on.seed, progress=on.progress),
}
"""The checks by name: detection and repair, each compared with other rules or methods in the same run."""


def run_check(name: str, checking: Checking, model: Model) -> Report:
    """Run a check.

    Raises:
        ParameterError: an unknown check, or no recordings that are suitable for it.
    """
    checked_name("check", name, CHECKS)
    return CHECKS[name](checking, model)
