"""Samples lost and replaced: runs of exact zeros, and of one value that is held.

A run is damage where the sound around it is loud and lively, so that it cannot have come to rest by itself: the end
of a note, the digital silence between takes, the flat top of a clipped wave and the steps of a pulse wave are none.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from masktools.detection.damage import Damage
from masktools.detection.windows import Window

__all__ = ["ConstantRuns"]

SHOULDER_S = 0.010
SHOULDER_DB = -60.0  # dBFS, root mean square, of the louder side; next to a held value, of what moves
FAINT_DB = -76.0  # of the fainter side: a recording that is never at rest there
MAX_STILL_SHARE = 0.5  # of a shoulder's samples that equal the one before
MIN_TRAVEL_STEPS = 16.0  # steps of the recording's resolution that the sound would have gone meanwhile
FULL_SCALE = 0.98  # held from here on, it is clipping
_LANDING_STEPS = 2.0  # a run that both sides reach in so many steps of the resolution is where the sound came to rest
_JUMP = 4.0  # mean steps, out of a held value that is the peak of its surroundings


@dataclass(frozen=True)
class _Shoulder:
    """What is next to a run, on one side."""

    level: float
    travel: float  # mean distance from sample to sample
    step: float  # least distance from sample to sample
    still_share: float
    low: float
    high: float
    first_jump: float  # from the run's value to the sample next to it


@dataclass(frozen=True)
class _Run:
    start: int
    value: float
    before: _Shoulder | None


class ConstantRuns:
    """Finds zeros and held values, in each channel."""

    def __init__(
        self, sample_rate: int, n_channels: int, kinds: Sequence[str], min_gap_s: float, max_gap_s: float
    ) -> None:
        self._kinds = frozenset(kinds)
        self._shoulder = max(8, round(SHOULDER_S * sample_rate))
        self._shortest = max(2, round(min_gap_s * sample_rate))
        self._longest = round(max_gap_s * sample_rate)
        self._open: list[_Run | None] = [None] * n_channels

    def feed(self, window: Window) -> list[Damage]:
        """Return the runs that end in the core of a window."""
        found = []
        for channel in range(len(window.samples)):
            found += self._in_channel(window, channel)
        return found

    def _in_channel(self, window: Window, channel: int) -> list[Damage]:
        samples, core_start = window.samples[channel], window.core_start - window.start
        core = samples[core_start : window.core_stop - window.start]
        before = samples[core_start - 1] if core_start else np.float32(np.nan)
        breaks = np.flatnonzero(core != np.concatenate([[before], core[:-1]]))  # NaN breaks everything
        starts = np.concatenate([[-1], breaks])  # -1: the run that was going on
        stops = np.append(breaks, len(core))
        long = np.flatnonzero(stops - starts >= self._shortest)
        places = sorted({0, len(starts) - 1, *long.tolist()})
        found: list[Damage] = []
        for place in places:
            run = self._open[channel] if place == 0 else self._begun(window, channel, core_start + int(starts[place]))
            if place == len(starts) - 1:
                self._open[channel] = run
            elif run is not None:
                found += self._judged(window, channel, run, core_start + int(stops[place]))
        return found

    def _begun(self, window: Window, channel: int, place: int) -> _Run | None:
        """Return the run that starts at a place of the window; None where it cannot be damage."""
        samples = window.samples[channel]
        value = float(samples[place])
        kind = "zeros" if value == 0 else "hold"
        if kind not in self._kinds or not np.isfinite(value) or (kind == "hold" and abs(value) >= FULL_SCALE):
            return None
        before = samples[max(0, place - self._shoulder) : place][::-1]
        return _Run(window.start + place, value, _measured(before, value))

    def _judged(self, window: Window, channel: int, run: _Run, place: int) -> list[Damage]:
        length = window.start + place - run.start
        if not self._shortest <= length <= self._longest:
            return []
        after = _measured(window.samples[channel, place : place + self._shoulder], run.value)
        if run.before is None or after is None or not _is_cut(run, run.before, after, length):
            return []
        return [Damage(run.start, run.start + length, "zeros" if run.value == 0 else "hold", (channel,))]


def _measured(near: np.ndarray, value: float) -> _Shoulder | None:
    """Return what the samples next to a run are like, the nearest first; None where there are none."""
    finite = near[np.isfinite(near)].astype(np.float64)
    if len(finite) < 2:
        return None
    steps = np.abs(np.diff(finite))
    moving = steps[steps > 0]
    if not len(moving):
        return None
    heard = finite[1:] != 0  # further zeros are more of the same damage
    still = steps[heard] == 0
    level = float(np.std(finite)) if value else float(np.sqrt(np.mean(finite**2)))
    return _Shoulder(
        level,
        float(moving.mean()),
        float(moving.min()),
        float(still.mean()) if len(still) else 1.0,
        float(finite.min()),
        float(finite.max()),
        abs(float(finite[0]) - value),
    )


def _is_cut(run: _Run, before: _Shoulder, after: _Shoulder, length: int) -> bool:
    both = (before, after)
    faint, loud = sorted(one.level for one in both)
    quiet = loud <= 10 ** (SHOULDER_DB / 20) or faint <= 10 ** (FAINT_DB / 20)
    still = max(one.still_share for one in both) > MAX_STILL_SHARE
    step = min(one.step for one in both)
    slow = min(one.travel for one in both) * length < MIN_TRAVEL_STEPS * step
    at_rest = all(one.first_jump <= _LANDING_STEPS * step for one in both)
    return not (
        quiet or still or slow or (run.value == 0 and at_rest) or (run.value != 0 and _is_peak(run.value, both))
    )


def _is_peak(value: float, both: Sequence[_Shoulder]) -> bool:
    """Tell whether a held value is the flat top of a wave: the highest or lowest around, and left without a jump."""
    extreme = all(value >= one.high for one in both) or all(value <= one.low for one in both)
    return extreme and all(one.first_jump <= _JUMP * one.travel for one in both)
