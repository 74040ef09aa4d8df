"""The sound gone for a moment: how lost samples look after a lossy codec, which fills zeros with its own noise.

No sound that fades by itself falls so far so fast, and few come back as they went.
"""

import numpy as np

from masktools.detection.damage import Damage
from masktools.detection.windows import Window

__all__ = ["Dropouts"]

HOP_S = 0.001
DROP_DB, WITHIN_HOPS = 30.0, 5
SHOULDER_HOPS, DROPOUT_SHOULDER_DB = 10, -50.0  # dBFS, root mean square
STAY_DB = 20.0  # below the shoulders, all the while
EDGE_DB = 10.0  # below them: from here on it is damage
SHORTEST_DROPOUT_S = 0.005  # a low note falls as far for less than that
MEAN_DROP_DB = 18.0  # below what came before, on the average over all of it
ALIKE_DB = 25.0  # the shoulders of a dropout belong to the same sound
SLOPE_DROP_DB = 10.0  # of the wave's slope meanwhile: where a low note crosses zero, it is the steepest
_FLOOR = 1e-14
_REACH = WITHIN_HOPS + SHOULDER_HOPS


class Dropouts:
    """Finds short falls of the level that come and go at once, in each channel."""

    def __init__(self, sample_rate: int, n_channels: int, min_gap_s: float, max_gap_s: float) -> None:
        self._hop = max(1, round(HOP_S * sample_rate))
        self._shortest = round(max(min_gap_s, SHORTEST_DROPOUT_S) * sample_rate / self._hop)
        self._longest = round(max_gap_s * sample_rate / self._hop)
        self._rest = np.zeros((2, n_channels, 0))
        self._last = np.zeros((n_channels, 1))
        self._powers = [np.zeros((2, 0)) for _ in range(n_channels)]  # of the hops that are still looked at
        self._first = [0] * n_channels  # of them
        self._todo = [0] * n_channels  # the first hop that was not looked at

    def feed(self, window: Window) -> list[Damage]:
        """Return the dropouts that are over with this window."""
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
        """Return the dropouts among the hops of a channel, and forget the hops that are done with."""
        (powers, slopes), first = self._powers[channel], self._first[channel]
        level_db = _decibels(powers)
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
                todo = fall  # to be continued with the next window
                break
            todo = stop
            rises = (after[fall:stop] > DROPOUT_SHOULDER_DB) & (level_db[fall:stop] <= after[fall:stop] - DROP_DB)
            if rises.any():
                last = fall + int(np.flatnonzero(rises)[-1])
                start, end = _widened(level_db, fall, last, before[fall], after[last])
                alike = abs(before[fall] - after[last]) <= ALIKE_DB and _gone(slopes, fall, last)
                gone = _decibels(np.mean(powers[start:end])) <= before[fall] - MEAN_DROP_DB
                if alike and gone and self._shortest <= end - start <= self._longest:
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
    for low, high in ((places - _REACH, places - WITHIN_HOPS), (places + WITHIN_HOPS + 1, places + _REACH + 1)):
        inside = (low >= 0) & (high <= len(powers))
        low, high = low.clip(0, len(powers)), high.clip(0, len(powers))
        levels.append(np.where(inside, _decibels((total[high] - total[low]) / SHOULDER_HOPS), -np.inf))
    return levels[0], levels[1]


def _gone(slopes: np.ndarray, fall: int, last: int) -> bool:
    """Tell whether the slope fell too, from either side."""
    before, after = _shoulders(slopes)
    inside = _decibels(np.mean(slopes[fall : last + 1]))
    return bool(inside <= min(before[fall], after[last]) - SLOPE_DROP_DB)


def _widened(level_db: np.ndarray, fall: int, last: int, before: float, after: float) -> tuple[int, int]:
    """Return the hops [start, end) that are 10 dB below their shoulder, around those that are 30 dB below it."""
    start, end = fall, last + 1
    while start > 0 and fall - start < WITHIN_HOPS and level_db[start - 1] < before - EDGE_DB:
        start -= 1
    while end < len(level_db) and end - last <= WITHIN_HOPS and level_db[end] < after - EDGE_DB:
        end += 1
    return start, end


def _decibels(power: np.ndarray | np.floating) -> np.ndarray:
    return np.asarray(10 * np.log10(np.maximum(power, _FLOOR)))
