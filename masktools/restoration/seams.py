"""How a fill meets what is known beside a gap: in time, level and phase, with a seam at each end; how well it fits.

Plain functions of samples (t,): they know neither a model nor a file. Known samples are never changed; every seam
lies on the generated side.

What continues the known audio is in step with it but fades, band after band, within a tenth of a second or two. What
was generated is not in step but as loud as it should be. Of the latter only so much is added, in each band and at each
moment, as the former lacks.

Both tell how a generator renders the shoulders, the 100 ms before and after a gap, where the truth is known.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any

import numpy as np
from scipy.ndimage import gaussian_filter
from scipy.signal import ShortTimeFFT, correlate
from scipy.signal.windows import hann

from masktools.classical import bridge, extrapolate
from masktools.classical.fills import high_pass, high_pass_reach
from masktools.classical.search import Levels
from masktools.classical.spans import (
    CONTEXT_S,
    LONG_CONTEXT_S,
    LONG_ORDER,
    MAX_ORDER,
    SPECTRUM_S,
    fade_in,
    frame_length,
    join_ends,
    noise_between,
)
from masktools.core.errors import ParameterError
from masktools.core.shapes import Window
from masktools.mel import MelConfig
from masktools.metrics import seam_crest_db
from masktools.restoration.gap_plan import GapTask, Part, shoulders
from masktools.restoration.recordings import FilledGap

Pair = tuple[np.ndarray, np.ndarray]

SHOULDER_S = 0.1  # of known audio beside a gap, whose level is matched
MAX_GAIN_DB = 6.0  # either way
SILENCE = 1e-5  # RMS; -100 dB of full scale
SEAM_S = 0.015  # at most, at each side of a gap


def seam_length(gap_samples: int, sample_rate: int) -> int:
    """Return how many samples of a gap each of its two seams takes."""
    return max(1, min(round(SEAM_S * sample_rate), gap_samples // 2))


def best_lag(pairs: Sequence[Pair], max_lag: int) -> int:
    """Return by how many samples the generated has to be moved later to be most like the known beside it.

    The correlations of all pairs are added up, each weighed by its energy; without any likeness it is 0.

    Args:
        pairs: known samples (n,), and what was generated in their place with ``max_lag`` samples more at each side.
        max_lag: in samples, either way.
    """
    score = np.zeros(2 * max_lag + 1)
    for known, generated in pairs:
        if not known.any() or not generated.any():
            continue
        along = correlate(generated.astype(np.float64), known.astype(np.float64), "valid", "fft")
        energy = correlate(np.square(generated, dtype=np.float64), np.ones(len(known)), "valid", "fft")
        score += along * np.linalg.norm(known) / np.sqrt(energy.clip(len(known) * SILENCE**2))
    best = int(np.argmax(score))
    return max_lag - best if score[best] > 0 else 0


def shifted(samples: np.ndarray, lag: int) -> np.ndarray:
    """Return samples (..., t) moved later by a lag, or earlier by a negative one; silence comes in at the end.

    >>> shifted(np.array([1, 2, 3]), 1), shifted(np.array([1, 2, 3]), -1)
    (array([0, 1, 2]), array([2, 3, 0]))
    """
    moved = np.zeros_like(samples)
    n = samples.shape[-1]
    moved[..., max(0, lag) : n + min(0, lag)] = samples[..., max(0, -lag) : n + min(0, -lag)]
    return moved


def end_gains(left: Pair, right: Pair, max_db: float = MAX_GAIN_DB) -> tuple[float, float] | None:
    """Return the gains, at both ends of a gap, that make the generated as loud as the known beside it.

    Each is that of its own side, within limits; where nothing is known at one side, or nothing was generated, it is
    that of the other.

    Args:
        left: known samples before the gap, none at the start of a recording, and what was generated in their place.
        right: the same after the gap.
        max_db: either way.

    Returns:
        The gains, or None where the known samples are silent: then the gap shall be silent too.
    """
    limit = 10 ** (max_db / 20)
    levels = [(_rms(known), _rms(generated)) for known, generated in (left, right)]
    if all(known < SILENCE for known, _ in levels):
        return None
    ratios = [
        float(np.clip(known / generated, 1 / limit, limit)) if min(known, generated) >= SILENCE else None
        for known, generated in levels
    ]
    first, last = ratios[0] or ratios[1] or 1.0, ratios[1] or ratios[0] or 1.0
    return first, last


def _rms(samples: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(samples, dtype=np.float64)))) if samples.size else 0.0


REACH_S = 0.186  # how far into a gap its edges are continued at most
FRAME_S = 0.023  # of the spectra in which the levels are compared
SMOOTHING = (3.0, 1.0)  # standard deviations, in bins and in frames
RISE_S = 0.005  # in which what is added sets in at an edge
_HOPS_A_FRAME = 4
_FAINT = 1e-20  # power


def continued(
    before: np.ndarray, after: np.ndarray, length: int, sample_rate: int, max_order: int = LONG_ORDER
) -> np.ndarray:
    """Return a gap of ``length`` samples, float64, continued from both sides; the middle of a long one is silent.

    Args:
        before: (t,) known samples that end where the gap starts; 200 ms are good, none is possible.
        after: (t,) known samples that start where it ends.
        length: of the gap.
        sample_rate: in Hz.
        max_order: of the predictors.
    """
    reach = round(REACH_S * sample_rate)
    if length <= reach:
        return bridge(before, after, length, max_order)
    fade = fade_in(reach)[::-1]
    gap = np.zeros(length)
    gap[:reach] += fade * extrapolate(before, reach, max_order)
    gap[length - reach :] += (fade * extrapolate(after[::-1], reach, max_order))[::-1]
    return gap


def bridged(
    before: np.ndarray,
    after: np.ndarray,
    core: np.ndarray,
    margin: int,
    sample_rate: int,
    max_order: int = LONG_ORDER,
) -> np.ndarray:
    """Return the samples of a gap, float64: its edges continued, and of the core what they lack.

    Args:
        before: (t,) known samples that end where the gap starts.
        after: (t,) known samples that start where it ends.
        core: (n + 2 * margin) what was generated for the gap and for the margins beside it.
        margin: in samples; what is not known of it counts as silent.
        sample_rate: in Hz.
        max_order: of the predictors.
    """
    length = len(core) - 2 * margin
    edges = continued(before, after, length, sample_rate, max_order)
    left, right = before[max(0, len(before) - margin) :], after[:margin]
    present = np.zeros(len(core))
    present[margin - len(left) : margin], present[margin : margin + length] = left, edges
    present[margin + length : margin + length + len(right)] = right
    n_fft = min(frame_length(sample_rate, FRAME_S), len(core) // 2 * 2)
    stft = ShortTimeFFT(hann(n_fft, sym=False), max(1, n_fft // _HOPS_A_FRAME), sample_rate)
    spectrum = stft.stft(core)
    wanted, there = (gaussian_filter(np.abs(part) ** 2, SMOOTHING) for part in (spectrum, stft.stft(present)))
    lacking = np.sqrt(np.clip(1.0 - there / (wanted + _FAINT), 0.0, 1.0))
    added = stft.istft(spectrum * lacking, k1=len(core))[margin : margin + length]
    ramp = max(1, min(round(RISE_S * sample_rate), length // 4))
    rise = fade_in(ramp)
    added[:ramp] *= rise
    added[length - ramp :] *= rise[::-1]
    return edges + added


FLOOR_DB = -80.0  # dBFS


def prefilled(wave: np.ndarray, hidden: Sequence[Window], sample_rate: int) -> np.ndarray:
    """Return a wave (t,) in float32 whose gaps hold what is around them, continued, and noise of their spectrum.

    Tokens are not local: silence in a gap would be heard in those beside it, and be taken for a part of what they say.
    """
    part = wave.astype(np.float32)
    margin, context = ceil(SPECTRUM_S * sample_rate), ceil(CONTEXT_S * sample_rate)
    for span in hidden:
        left, right = shoulders(span, hidden, len(part), context)
        before, after = (part[a:b].astype(np.float64) for a, b in (left, right))
        near = before[None, -margin:], after[None, :margin]
        noise = noise_between(*near, span.length, sample_rate, np.random.default_rng(0), margin)[0]
        part[span.start : span.stop] = bridged(before, after, noise, margin, sample_rate, MAX_ORDER)
    return part


def mel_fit_db(made: np.ndarray, known: np.ndarray, frames: Sequence[int], config: MelConfig) -> float:
    """Return the distance of a generated mel spectrogram from the known one in some frames, in dB; 0 is best.

    It is the root mean square over the frames and bands, and besides it by how much the whole is too loud or too
    faint, which a distance of single bands hides.

    Args:
        made: mel (f, m) in [-1, 1], as the tokens say.
        known: mel (f, m) of the recording.
        frames: that are known; none makes the distance 0.
        config: of both.
    """
    if not len(frames):
        return 0.0
    per_unit = (config.db_max - config.db_min) / 2.0
    true, found = ((mel[:, list(frames)].astype(np.float64) + 1.0) * per_unit + config.db_min for mel in (known, made))
    levels = [10 * np.log10(np.mean(10 ** (mel_db / 10))) for mel_db in (true, found)]
    return float(np.sqrt(np.mean((found - true) ** 2)) + abs(levels[1] - levels[0]))


def shoulder_lsd_db(pairs: Sequence[tuple[np.ndarray, np.ndarray]], sample_rate: int) -> float:
    """Return the log-spectral distance in dB of what was generated from the known, averaged over pairs of them.

    The root mean square over frequency of the difference of levels, averaged over frames of 23 ms.

    Args:
        pairs: known samples (n,), and what was generated in their place; those too short for a frame are left out.
        sample_rate: in Hz.
    """
    n_fft = 2 ** round(np.log2(FRAME_S * sample_rate))
    distances = [
        np.sqrt(np.mean((_spectra_db(made, n_fft) - _spectra_db(known, n_fft)) ** 2, axis=1))
        for known, made in pairs
        if len(known) >= n_fft
    ]
    return float(np.mean(np.concatenate(distances))) if distances else 0.0


def _spectra_db(wave: np.ndarray, n_fft: int) -> np.ndarray:
    window = hann(n_fft, sym=False)
    frames = np.lib.stride_tricks.sliding_window_view(wave, n_fft)[:: n_fft // _HOPS_A_FRAME]
    power = np.abs(np.fft.rfft(frames * window) * (2 / window.sum())) ** 2
    return 10 * np.log10(np.maximum(power, 10 ** (FLOOR_DB / 10)))


ALIKE = 0.5  # correlation of voices that are in phase, or, negative, opposite
MAX_LAG_S = 0.0025  # either way
_LIMITER_SAMPLES = 256  # over which a fill that is too loud for full scale becomes fainter
FULL_BAND_HZ = 32_000  # rate from which on a model's band leaves something to be heard above it


@dataclass(frozen=True, eq=False)
class Fill:
    """What fills a gap, and how what was generated had to be changed to fit."""

    voices: np.ndarray  # (voices, n) float64
    gains_db: tuple[tuple[float, float], ...]  # for each voice: at both ends
    lag: int  # samples by which it was moved later


def sides_of(part: Part, voice: int, span: Window, seconds: float = SHOULDER_S) -> tuple[Window, Window]:
    """Return the known samples of a voice before and after a gap."""
    reach = ceil(seconds * part.sample_rate)
    return shoulders(span, part.hidden[voice], part.samples.shape[1], reach)


def noise_core(part: Part, span: Window, margin: int, seeds: tuple[int, ...]) -> np.ndarray:
    """Return noise (voices, n + 2 * margin) as the voices sound together on both sides of a gap, without seams."""
    sides = [sides_of(part, voice, span, SPECTRUM_S) for voice in range(len(part.samples))]
    start, stop = max(left.start for left, _ in sides), min(right.stop for _, right in sides)
    before = part.samples[:, start : span.start].astype(np.float64)
    after = part.samples[:, span.stop : stop].astype(np.float64)
    return noise_between(before, after, span.length, part.sample_rate, np.random.default_rng(seeds), margin)


def better_noise(part: Part, span: Window, waves: np.ndarray, seeds: tuple[int, ...]) -> np.ndarray | None:
    """Return noise (voices, t) for a gap, if it renders what is beside it better than the model's waves; else None."""
    margin = shoulder_samples(part)
    noise, start = np.zeros_like(part.samples, np.float64), span.start - margin
    made = noise_core(part, span, margin, seeds)
    first, last = max(0, start), min(part.samples.shape[1], span.stop + margin)
    noise[:, first:last] = made[:, first - start : last - start]
    sides = [(voice, a, b) for voice in range(len(waves)) for a, b in sides_of(part, voice, span)]
    by_noise, by_model = (
        shoulder_lsd_db([(part.samples[voice, a:b], made[voice, a:b]) for voice, a, b in sides], part.sample_rate)
        for made in (noise, waves)
    )
    return noise if by_noise < by_model else None


def noise_above(part: Part, span: Window, margin: int, cutoff_hz: float, seeds: tuple[int, ...]) -> np.ndarray:
    """Return noise (voices, n + 2 * margin) as the voices have it above a cutoff on both sides of a gap."""
    reach = high_pass_reach(part.sample_rate)
    noise = noise_core(part, span, margin + reach, seeds)
    return np.stack([high_pass(voice, part.sample_rate, cutoff_hz)[reach:-reach] for voice in noise])


def generated_fill(
    part: Part,
    span: Window,
    waves: np.ndarray,
    max_db: float,
    *,
    match_lag: bool,
    bridge: bool,
    above: np.ndarray | None = None,
    levels: Levels | None = None,
) -> Fill:
    """Return what fills a gap, made of generated waves (voices, t) of the whole part.

    All voices are moved by the same lag, within 2.5 ms, so that they stay in step with each other.

    Args:
        part: what is known; what is in its gaps is not read.
        span: the gap, in samples of the part.
        waves: what was generated.
        max_db: by which a wave is made louder or fainter at most.
        match_lag: whether the waves are moved in time to be like what is known beside the gap.
        bridge: whether linear prediction goes as far into the gap as it sounds; otherwise it makes the seams only.
        above: (voices, n + 2 * margin) what lies above the generated band, of the right level as it is.
        levels: that the fill shall have; without them it goes from the level of one side to that of the other.
    """
    sides = [sides_of(part, voice, span) for voice in range(len(waves))]
    lag = _lag(part, waves, sides) if match_lag else 0
    margin = shoulder_samples(part)
    fills, gains_db = [], []
    moved = _in_phase(part, span, shifted(waves, lag), sides)
    cores = np.pad(moved.astype(np.float64), ((0, 0), (margin, margin)))[:, span.start : span.stop + 2 * margin]
    if levels is not None:
        cores, max_db = levels.given_to(cores, margin), 0.0
    for voice, (wave, core) in enumerate(zip(moved, cores, strict=True)):
        pairs = [(part.samples[voice, a:b], wave[a:b]) for a, b in sides[voice]]
        gains = end_gains(pairs[0], pairs[1], max_db)
        if gains is None:
            fills.append(np.zeros(span.length))
            gains_db.append((0.0, 0.0))
            continue
        ends_db = (float(20 * np.log10(gains[0])), float(20 * np.log10(gains[1])))
        core *= 10 ** (np.pad(np.linspace(*ends_db, span.length), margin, mode="edge") / 20)
        if above is not None:
            core += above[voice]
        known = [part.samples[voice, a:b].astype(np.float64) for a, b in sides_of(part, voice, span, LONG_CONTEXT_S)]
        if bridge:
            fill = bridged(known[0], known[1], core, margin, part.sample_rate)
            fill = faded(fill, part, span)
        else:
            seam = seam_length(span.length, part.sample_rate)
            left, right = (side.astype(np.float64) for side, _ in pairs)
            ends = extrapolate(left, seam), extrapolate(right[::-1], seam)[::-1]
            fill = join_ends(core[margin : margin + span.length], *ends)
        fills.append(fill)
        gains_db.append(ends_db)
    return Fill(np.stack(fills), tuple(gains_db), lag)


def _in_phase(part: Part, span: Window, waves: np.ndarray, sides: list[tuple[Window, Window]]) -> np.ndarray:
    """Return waves turned over where they are opposite to the loudest voice and the voices are not, or the reverse."""
    beside = [np.concatenate([wave[a:b] for a, b in sides[0]]) for wave in part.samples]
    made = waves[:, span.start : span.stop]
    loudest = int(np.argmax([_rms(wave) for wave in beside]))
    known, generated = ([_correlation(wave, waves_of[loudest]) for wave in waves_of] for waves_of in (beside, made))
    opposite = [abs(one) > ALIKE and one * other < 0 for one, other in zip(known, generated, strict=True)]
    return np.where(np.array(opposite)[:, None], -waves, waves)


def _correlation(one: np.ndarray, other: np.ndarray) -> float:
    energy = float(np.linalg.norm(one.astype(np.float64)) * np.linalg.norm(other.astype(np.float64)))
    return float(np.dot(one.astype(np.float64), other)) / energy if energy else 0.0


def shoulder_samples(part: Part) -> int:
    """Return how many samples of the shoulders are compared."""
    return ceil(SHOULDER_S * part.sample_rate)


def _lag(part: Part, waves: np.ndarray, sides: list[tuple[Window, Window]]) -> int:
    reach = round(MAX_LAG_S * part.sample_rate)
    pairs = [
        (part.samples[voice, a:b], wave[a - reach : b + reach])
        for voice, wave in enumerate(waves)
        for a, b in sides[voice]
        if b - a > 2 * reach and a >= reach and b + reach <= len(wave)
    ]
    return best_lag(pairs, reach)


def faded(fill: np.ndarray, part: Part, span: Window) -> np.ndarray:
    """Return a fill (..., n) that fades to nothing where it begins or ends with the recording."""
    seam = seam_length(span.length, part.sample_rate)
    rise = fade_in(seam)
    made = fill.copy()
    if span.start == 0:
        made[..., :seam] *= rise
    if span.stop == part.samples.shape[1]:
        made[..., -seam:] *= rise[::-1]
    return made


def channels_of_fill(part: Part, voices: np.ndarray) -> np.ndarray:
    """Return what fills a gap in each channel, (channels, n), within full scale unless the recording itself is not.

    A channel that would overshoot is made fainter, but for its first and its last samples.
    """
    channels, known = np.array(part.channels(voices)), np.abs(part.channels(part.samples)).max(axis=1)
    for fill, limit in zip(channels, np.maximum(known, 1.0), strict=True):
        peak = float(np.abs(fill).max())
        if peak > limit:
            slope = min(_LIMITER_SAMPLES, len(fill) // 2)
            gain = np.full(len(fill), limit / peak)
            gain[:slope] = np.linspace(1.0, limit / peak, slope)
            gain[len(fill) - slope :] = np.linspace(limit / peak, 1.0, slope)
            fill[:] = np.clip(fill * gain, -limit, limit)
    return channels


def filled_gap(part: Part, task: GapTask, voices: np.ndarray, **told: Any) -> FilledGap:
    """Return the gap of a task with what fills it (voices, n), and a report with what else is to be told."""
    rate, span = part.sample_rate, part.local(task.span)
    channels = channels_of_fill(part, voices)
    report = {
        "start_s": task.span.start / rate,
        "end_s": task.span.stop / rate,
        "channels": list(task.channels),
        **edge_report(part, span, channels),
        **told,
    }
    return FilledGap(task.span.start, channels.astype(part.samples.dtype), task.channels, report)


def is_silent(part: Part, span: Window) -> bool:
    """Return whether a gap lies between silences, in all voices."""
    known = [part.samples[voice, a:b] for voice in range(len(part.samples)) for a, b in sides_of(part, voice, span)]
    return not any(side.size and _rms(side) >= SILENCE for side in known)


def edge_report(part: Part, span: Window, fill: np.ndarray) -> dict[str, float | None]:
    """Return how a fill (channels, n) meets what is known, in dB; None where there is nothing to compare.

    ``level_db`` is by how much the 100 ms inside an edge and the 100 ms outside it differ in level, ``seam_db`` the
    crest of a seam: the worst of all channels and both edges.
    """
    channels = part.channels(part.samples.astype(np.float64))
    channels[:, span.start : span.stop] = fill
    reach = ceil(SHOULDER_S * part.sample_rate)
    steps_db, crests_db = [], []
    for number, wave in enumerate(channels):
        left, right = sides_of(part, number, span)
        inner = (
            Window(span.start, min(span.stop, span.start + reach)),
            Window(max(span.start, span.stop - reach), span.stop),
        )
        for outside, inside, join in ((left, inner[0], span.start), (right, inner[1], span.stop)):
            levels = [_rms(wave[a:b]) for a, b in (outside, inside)]
            if outside.length and min(levels) >= SILENCE:
                steps_db.append(abs(float(20 * np.log10(levels[1] / levels[0]))))
            if outside.length:
                crests_db.append(crest_db(wave, part.sample_rate, join))
    found = [crest for crest in crests_db if crest is not None]
    return {
        "level_db": round(max(steps_db), 2) if steps_db else None,
        "seam_db": round(max(found), 2) if found else None,
    }


def crest_db(wave: np.ndarray, sample_rate: int, join: float) -> float | None:
    """Return the crest in dB of a join at a sample of a wave (..., t); None where there is too little around it."""
    try:
        return seam_crest_db(wave, sample_rate, join / sample_rate)
    except ParameterError:  # too little around it to tell
        return None
