"""Packets that were played again: stretches that equal, bit for bit, what was heard just before them.

Players and transmissions conceal a lost packet with the last one that arrived. A note of a synthesiser repeats itself
too, but for longer than a few of its periods.
"""

import numpy as np

from masktools.detection.damage import Damage
from masktools.detection.windows import Window

__all__ = ["Repeats"]

SHORTEST_REPEAT_S, LONGEST_LAG_S = 0.004, 0.1
MAX_TURNS = 4  # of the same packet, one after the other
LEVEL_DB = -60.0  # dBFS, root mean square
MIN_VALUES = 32  # different ones in a packet
_KEY = 4  # samples that a place is known by


class Repeats:
    """Finds repeated packets, in each channel."""

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
    """Return for each place how long ago the same few samples were heard; 0 where they were not."""
    if len(samples) < 2 * _KEY:
        return np.zeros(0, np.int64)
    bits = np.ascontiguousarray(samples, np.float32).view(np.uint32).astype(np.uint64)
    keys = np.zeros(len(bits) - _KEY + 1, np.uint64)
    for place in range(_KEY):
        keys = keys * np.uint64(0x9E3779B97F4A7C15) + bits[place : place + len(keys)]  # wraps around, as it shall
    order = np.argsort(keys, kind="stable")
    same = keys[order][1:] == keys[order][:-1]
    lags = np.zeros(len(keys), np.int64)
    lags[order[1:][same]] = (order[1:] - order[:-1])[same]
    return lags
