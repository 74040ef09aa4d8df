"""What is written into a gap: what was generated, in step and as loud as what is known, with a seam at each end."""

from dataclasses import dataclass
from math import ceil
from typing import Any

import numpy as np

from masktools.classical import extrapolate
from masktools.classical.fades import fade_in
from masktools.classical.linear_prediction import LONG_CONTEXT_S
from masktools.classical.noise import SPECTRUM_S, noise_between
from masktools.classical.seams import join_ends
from masktools.errors import ParameterError
from masktools.metrics import seam_crest_db
from masktools.restoration.band_level import high_pass, high_pass_reach
from masktools.restoration.bridging import bridged
from masktools.restoration.gap_tasks import GapTask
from masktools.restoration.gap_windows import shoulders
from masktools.restoration.splice import (
    SHOULDER_S,
    SILENCE,
    best_lag,
    end_gains,
    seam_length,
    shifted,
)
from masktools.restoration.surroundings import Part
from masktools.segments import Window

__all__ = [
    "FULL_BAND_HZ",
    "Fill",
    "FilledGap",
    "channels_of_fill",
    "edge_report",
    "faded",
    "filled_gap",
    "generated_fill",
    "is_silent",
    "noise_above",
    "noise_core",
    "shoulder_samples",
    "sides_of",
]

ALIKE = 0.5  # correlation of voices that are in phase, or, negative, opposite
MAX_LAG_S = 0.0025  # either way
_LIMITER_SAMPLES = 256  # over which a fill that is too loud for full scale becomes fainter
FULL_BAND_HZ = 32_000  # rate from which on a model's band leaves something to be heard above it


@dataclass(frozen=True, eq=False)
class FilledGap:
    """The samples of one gap, and what was done; they replace [start, start + n) in their channels."""

    start: int  # sample of the recording
    samples: np.ndarray  # (len(channels), n)
    channels: tuple[int, ...]
    report: dict[str, Any]  # what JSON has


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
    """
    sides = [sides_of(part, voice, span) for voice in range(len(waves))]
    lag = _lag(part, waves, sides) if match_lag else 0
    margin = shoulder_samples(part)
    fills, gains_db = [], []
    for voice, wave in enumerate(_in_phase(part, span, shifted(waves, lag), sides)):
        pairs = [(part.samples[voice, a:b], wave[a:b]) for a, b in sides[voice]]
        gains = end_gains(pairs[0], pairs[1], max_db)
        if gains is None:
            fills.append(np.zeros(span.length))
            gains_db.append((0.0, 0.0))
            continue
        ends_db = (float(20 * np.log10(gains[0])), float(20 * np.log10(gains[1])))
        core = np.pad(wave.astype(np.float64), margin)[span.start : span.stop + 2 * margin]
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
                crests_db.append(_crest_db(wave, part.sample_rate, join))
    found = [crest for crest in crests_db if crest is not None]
    return {
        "level_db": round(max(steps_db), 2) if steps_db else None,
        "seam_db": round(max(found), 2) if found else None,
    }


def _crest_db(wave: np.ndarray, sample_rate: int, join: int) -> float | None:
    try:
        return seam_crest_db(wave, sample_rate, join / sample_rate)
    except ParameterError:  # too little around it to tell
        return None
