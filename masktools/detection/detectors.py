"""Detectors of damage: constant runs, repeated packets, dropouts, clicks, and samples that are not finite.

A run is damage where the sound around it is loud and lively, so that it cannot have come to rest by itself: the end
of a note, the digital silence between takes, the flat top of a clipped wave and the steps of a pulse wave are none.

Players and transmissions conceal a lost packet by repeating the last one. A note of a synthesiser repeats itself
too, but for longer than a few of its periods.

No sound that fades naturally falls so far so fast, and few come back the way they went.

The onset of a note, the pulses of a voice and the grains of rain are prediction errors too, but not isolated ones:
those that follow, or are near, are as large.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy.signal import lfilter

from masktools.classical import burg
from masktools.detection.damage import Damage, Window, decibels

SHOULDER_S = 0.010
SHOULDER_DB = -60.0  # dBFS, root mean square of the louder side; next to a held value, of the AC part
FAINT_DB = -76.0  # of the fainter side: a recording with a noise floor never rests there
MAX_STILL_SHARE = 0.5  # greatest share of a shoulder's samples that equal their predecessor
MIN_TRAVEL_STEPS = 16.0  # steps of the recording's resolution that the sound would have moved meanwhile
FULL_SCALE = 0.98  # held values from here on are clipping
_LANDING_STEPS = 2.0  # a run that both sides reach within so many steps of the resolution is a sound that came to rest
_JUMP = 4.0  # in mean steps: least jump out of a held value that is the peak of its surroundings


@dataclass(frozen=True)
class _Shoulder:
    """The samples next to a run, on one side."""

    level: float
    travel: float  # mean distance from sample to sample
    step: float  # least distance from sample to sample
    still_share: float
    low: float
    high: float
    first_jump: float  # difference between the run's value and the sample next to it


@dataclass(frozen=True)
class _Run:
    start: int
    value: float
    before: _Shoulder | None


class ConstantRuns:
    """Detects runs of zeros and held values, in each channel."""

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
        breaks = np.flatnonzero(core != np.concatenate([[before], core[:-1]]))  # NaN ends every run
        starts = np.concatenate([[-1], breaks])  # -1: the run that began before the core
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
        """Return the run that starts at an index of the window; None where it cannot be damage."""
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
    """Return statistics of the samples next to a run, given nearest first; None where there are none."""
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
    """Tell whether a held value is the flat top of a clipped wave: an extremum, left without a jump."""
    extreme = all(value >= one.high for one in both) or all(value <= one.low for one in both)
    return extreme and all(one.first_jump <= _JUMP * one.travel for one in both)


SHORTEST_REPEAT_S, LONGEST_LAG_S = 0.004, 0.1
MAX_TURNS = 4  # greatest number of repeats of one packet in a row
LEVEL_DB = -60.0  # dBFS, root mean square
MIN_VALUES = 32  # least number of different values in a packet
_KEY = 4  # samples that identify a position


class Repeats:
    """Detects repeated packets, in each channel."""

    def __init__(self, sample_rate: int, max_gap_s: float) -> None:
        self._shortest = max(MIN_VALUES, round(SHORTEST_REPEAT_S * sample_rate))
        self._lag = round(LONGEST_LAG_S * sample_rate)
        self._longest = round(max_gap_s * sample_rate)

    def feed(self, window: Window) -> list[Damage]:
        """Return the repeats that start in the core of a window."""
        found = []
        for channel, samples in enumerate(window.samples):
            for start, stop in self._runs(samples):
                begins = window.core_start <= window.start + start < window.core_stop
                if begins and stop - start <= self._longest:
                    found.append(Damage(window.start + start, window.start + stop, "repeat", (channel,)))
        return found

    def _runs(self, samples: np.ndarray) -> list[tuple[int, int]]:
        lags = _last_seen(samples)
        lags[lags > self._lag] = 0
        edges = np.flatnonzero(np.diff(lags)) + 1
        starts, stops = np.concatenate([[0], edges]), np.append(edges, len(lags))
        found = []
        for start, stop in zip(starts.tolist(), stops.tolist(), strict=True):
            lag, length = int(lags[start]) if start < len(lags) else 0, stop - start + _KEY - 1
            long_enough = length >= self._shortest and self._shortest <= lag
            if long_enough and length <= MAX_TURNS * lag and self._is_sound(samples[start : start + length]):
                found.append((start, start + length))
        return found

    def _is_sound(self, packet: np.ndarray) -> bool:
        loud = np.sqrt(np.mean(packet.astype(np.float64) ** 2)) > 10 ** (LEVEL_DB / 20)
        return bool(loud and len(np.unique(packet)) >= MIN_VALUES)


def _last_seen(samples: np.ndarray) -> np.ndarray:
    """Return for each position how many samples ago the same few samples occurred; 0 where they did not."""
    if len(samples) < 2 * _KEY:
        return np.zeros(0, np.int64)
    bits = np.ascontiguousarray(samples, np.float32).view(np.uint32).astype(np.uint64)
    keys = np.zeros(len(bits) - _KEY + 1, np.uint64)
    for place in range(_KEY):
        keys = keys * np.uint64(0x9E3779B97F4A7C15) + bits[place : place + len(keys)]  # overflow is intended
    order = np.argsort(keys, kind="stable")
    same = keys[order][1:] == keys[order][:-1]
    lags = np.zeros(len(keys), np.int64)
    lags[order[1:][same]] = (order[1:] - order[:-1])[same]
    return lags


HOP_S = 0.001
DROP_DB, WITHIN_HOPS = 30.0, 5
SHOULDER_HOPS, DROPOUT_SHOULDER_DB = 10, -50.0  # dBFS, root mean square
STAY_DB = 20.0  # below the shoulders, for the whole length
EDGE_DB = 10.0  # below the shoulders: edge of the damage
SHORTEST_DROPOUT_S = 0.005  # shorter falls occur in low notes
MEAN_DROP_DB = 18.0  # mean level below the sound before
ALIKE_DB = 25.0  # greatest difference of the shoulders of a dropout
SLOPE_DROP_DB = 10.0  # fall of the wave's slope: it is steepest where a low note crosses zero
LASTS_HOPS, LASTS_SHARE = 20, 0.95  # how long the sound goes on at either side, unlike ticking or gated sounds
_APART_HOPS = 2  # distance of those from the dropout
_REACH = WITHIN_HOPS + max(SHOULDER_HOPS, _APART_HOPS + LASTS_HOPS)


class Dropouts:
    """Detects dropouts: short falls of the level with steep flanks, in each channel."""

    def __init__(self, sample_rate: int, n_channels: int, min_gap_s: float, max_gap_s: float) -> None:
        self._hop = max(1, round(HOP_S * sample_rate))
        self._shortest = round(max(min_gap_s, SHORTEST_DROPOUT_S) * sample_rate / self._hop)
        self._longest = round(max_gap_s * sample_rate / self._hop)
        self._rest = np.zeros((2, n_channels, 0))
        self._last = np.zeros((n_channels, 1))
        self._powers = [np.zeros((2, 0)) for _ in range(n_channels)]  # of the hops that are not yet finished
        self._first = [0] * n_channels  # index of the first of these hops
        self._todo = [0] * n_channels  # index of the first hop that was not examined

    def feed(self, window: Window) -> list[Damage]:
        """Return the dropouts that end with this window."""
        core = np.nan_to_num(window.core).astype(np.float64)
        both = np.stack([core, np.diff(core, prepend=self._last)])
        power = np.concatenate([self._rest, both**2], axis=2)
        n_hops = power.shape[2] // self._hop
        hops = power[..., : n_hops * self._hop].reshape(2, len(core), n_hops, self._hop).mean(axis=3)
        self._rest, self._last = power[..., n_hops * self._hop :].copy(), core[:, -1:].copy()
        found = []
        for channel in range(len(core)):
            self._powers[channel] = np.concatenate([self._powers[channel], hops[:, channel]], axis=1)
            found += self._searched(channel, window.is_last)
        return found

    def _searched(self, channel: int, is_last: bool) -> list[Damage]:
        """Return the dropouts among the hops of a channel, and drop the hops that are finished."""
        (powers, slopes), first = self._powers[channel], self._first[channel]
        level_db = decibels(powers)
        before, after = _shoulders(powers)
        falls = np.flatnonzero((before > DROPOUT_SHOULDER_DB) & (level_db <= before - DROP_DB))
        found: list[Damage] = []
        todo = self._todo[channel] - first
        for fall in falls.tolist():
            if fall < todo:
                continue
            loud = np.flatnonzero(level_db[fall:] > before[fall] - STAY_DB)
            stop = fall + int(loud[0]) if len(loud) else len(powers)
            if stop - fall <= self._longest and stop + _REACH > len(powers) and not is_last:
                todo = fall  # continued with the next window
                break
            todo = stop
            rises = (after[fall:stop] > DROPOUT_SHOULDER_DB) & (level_db[fall:stop] <= after[fall:stop] - DROP_DB)
            if rises.any():
                last = fall + int(np.flatnonzero(rises)[-1])
                start, end = _widened(level_db, fall, last, before[fall], after[last])
                alike = abs(before[fall] - after[last]) <= ALIKE_DB and _gone(slopes, fall, last)
                gone = decibels(np.mean(powers[start:end])) <= before[fall] - MEAN_DROP_DB
                lasts = _lasts(level_db[:start][::-1], before[fall]) and _lasts(level_db[end:], after[last])
                if alike and gone and lasts and self._shortest <= end - start <= self._longest:
                    span = (first + start) * self._hop, (first + end) * self._hop
                    found.append(Damage(*span, "dropout", (channel,)))
        else:
            todo = max(todo, len(powers))
        self._todo[channel] = first + todo
        kept = max(0, min(todo, len(powers)) - 2 * _REACH)
        self._powers[channel], self._first[channel] = self._powers[channel][:, kept:], first + kept
        return found


def _shoulders(powers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return for each hop the levels in dB of the 10 ms that end 5 ms before it, and that start 5 ms after it."""
    total = np.concatenate([[0.0], np.cumsum(powers)])
    places = np.arange(len(powers))
    levels = []
    far = WITHIN_HOPS + SHOULDER_HOPS
    for low, high in ((places - far, places - WITHIN_HOPS), (places + WITHIN_HOPS + 1, places + far + 1)):
        inside = (low >= 0) & (high <= len(powers))
        low, high = low.clip(0, len(powers)), high.clip(0, len(powers))
        levels.append(np.where(inside, decibels((total[high] - total[low]) / SHOULDER_HOPS), -np.inf))
    return levels[0], levels[1]


def _gone(slopes: np.ndarray, fall: int, last: int) -> bool:
    """Tell whether the slope falls too, relative to either side."""
    before, after = _shoulders(slopes)
    inside = decibels(np.mean(slopes[fall : last + 1]))
    return bool(inside <= min(before[fall], after[last]) - SLOPE_DROP_DB)


def _lasts(level_db: np.ndarray, shoulder: float) -> bool:
    """Tell whether the sound beside a dropout stays near the level of its shoulder."""
    near = level_db[_APART_HOPS : _APART_HOPS + LASTS_HOPS] > shoulder - STAY_DB
    return bool(near.mean() >= LASTS_SHARE) if len(near) else False


def _widened(level_db: np.ndarray, fall: int, last: int, before: float, after: float) -> tuple[int, int]:
    """Return the hops [start, end) that are 10 dB below their shoulder, around those that are 30 dB below it."""
    start, end = fall, last + 1
    while start > 0 and fall - start < WITHIN_HOPS and level_db[start - 1] < before - EDGE_DB:
        start -= 1
    while end < len(level_db) and end - last <= WITHIN_HOPS and level_db[end] < after - EDGE_DB:
        end += 1
    return start, end


ORDER = 32
PIECE_SAMPLES = 8192
THRESHOLD = 8.0  # median absolute deviations of the residual
AROUND_S, APART_S = 0.025, 0.0015  # neighbourhood that a click is compared with, on either side, and its distance
LONGEST_S = 0.002
QUANTILE, ABOVE = 0.99, 4.0  # quantile of the residual around, and least ratio of a click to it: 12 dB
SMALLEST = 1e-3  # of full scale
CORE = 0.2  # share of the peak of the residual: samples above are the click, the rest is the predictor's response to it


class Clicks:
    """Detects clicks, in each channel.

    Source: the detector of S. J. Godsill and P. J. W. Rayner, Digital Audio Restoration (1998), chapter 5.
    """

    def __init__(self, sample_rate: int, threshold: float = THRESHOLD) -> None:
        self._threshold = threshold
        self._around = max(ORDER, round(AROUND_S * sample_rate))
        self._apart = max(2, round(APART_S * sample_rate))
        self._longest = max(4, round(LONGEST_S * sample_rate))

    def feed(self, window: Window) -> list[Damage]:
        """Return the clicks that start in the core of a window."""
        found = []
        for channel, samples in enumerate(np.nan_to_num(window.samples)):
            residual, surprising = self._residual(samples, window.start)
            for start, stop in self._clusters(residual, surprising):
                in_core = window.core_start <= window.start + start < window.core_stop
                if in_core and self._stands_out(residual, start, stop):
                    found.append(Damage(window.start + start, window.start + stop, "clicks", (channel,)))
        return found

    def _residual(self, samples: np.ndarray, offset: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the residual of linear prediction, piece by piece, and where it is larger than usual."""
        residual, surprising = np.zeros(len(samples)), np.zeros(len(samples), bool)
        edges = sorted({0, len(samples), *range(-offset % PIECE_SAMPLES, len(samples), PIECE_SAMPLES)})
        for start, stop in pairwise(edges):
            begin = max(0, start - ORDER)
            piece = samples[begin:stop].astype(np.float64)
            if len(piece) <= 4 * ORDER or not piece.any():
                continue
            error = np.abs(lfilter(burg(piece, ORDER), 1.0, piece))
            error[:ORDER] = 0.0  # the predictor has no full history yet
            usual = float(np.median(error[ORDER:]))
            residual[start:stop] = error[start - begin :]
            surprising[start:stop] = residual[start:stop] > max(self._threshold * usual, SMALLEST)
        return residual, surprising

    def _clusters(self, residual: np.ndarray, surprising: np.ndarray) -> list[tuple[int, int]]:
        """Return the cores of clusters of large residuals that are not too long."""
        places = np.flatnonzero(surprising)
        if not len(places):
            return []
        found = []
        for cluster in np.split(places, np.flatnonzero(np.diff(places) > self._apart) + 1):
            core = cluster[residual[cluster] >= CORE * residual[cluster].max()]
            if core[-1] - core[0] < self._longest:
                found.append((int(core[0]), int(core[-1]) + 1))
        return found

    def _stands_out(self, residual: np.ndarray, start: int, stop: int) -> bool:
        peak = residual[start:stop].max()
        for near in (
            residual[max(0, start - self._apart - self._around) : max(0, start - self._apart)],
            residual[stop + self._apart : stop + self._apart + self._around],
        ):
            if len(near) < self._around or peak < ABOVE * np.quantile(near, QUANTILE):
                return False
        return True


NEAR_SAMPLES = 8  # samples between two such runs are lost too, up to this many


class NonFinite:
    """Detects samples that are not finite, in each channel."""

    def __init__(self, n_channels: int) -> None:
        self._open: list[tuple[int, int] | None] = [None] * n_channels

    def feed(self, window: Window) -> list[Damage]:
        """Return the runs that end with this window."""
        found = []
        for channel, core in enumerate(window.core):
            going_on = self._open[channel]
            for start, stop in _runs(~np.isfinite(core), window.core_start):
                if going_on is not None and start - going_on[1] <= NEAR_SAMPLES:
                    going_on = (going_on[0], stop)
                    continue
                if going_on is not None:
                    found.append(Damage(*going_on, "non_finite", (channel,)))
                going_on = (start, stop)
            if going_on is not None and (window.is_last or going_on[1] + NEAR_SAMPLES < window.core_stop):
                found.append(Damage(*going_on, "non_finite", (channel,)))
                going_on = None
            self._open[channel] = going_on
        return found


def _runs(flags: np.ndarray, offset: int) -> list[tuple[int, int]]:
    if not flags.any():
        return []
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flags.astype(np.int8), [0]])))
    return [(offset + int(start), offset + int(stop)) for start, stop in zip(edges[::2], edges[1::2], strict=True)]
