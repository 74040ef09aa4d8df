"""How loud a gap is to be: levels in third octaves, moment by moment, as all places that are alike agree on them."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy.ndimage import gaussian_filter
from scipy.signal.windows import hann

from masktools.classical.shaping import shaped
from masktools.classical.similarity import EDGES_HZ, WINDOW_S, Known, Place, bands_db, window_length
from masktools.classical.spans import Span

__all__ = ["MAX_GAIN_DB", "Envelopes"]

HOP_S = 0.0232
SIDE_S = 0.5  # on either side of a gap, by which the level of a place is compared
EDGE_S = 0.15  # on either side, between which the levels of noise go
LEVEL_SHARE = 0.6  # of the difference at the sides that is made good
MAX_LEVEL_DB = 6.0
DECAY = 0.065  # of costs: how fast places lose weight
NOISE_COST, NOISE_WEIGHT = 0.5, 2.0  # of going straight from one side's levels to the other's
MAX_GAIN_DB = 12.0  # either way
_SMOOTHING = (0.5, 1.0)  # standard deviations, in bands and in moments
_LEAST_WEIGHT = 1e-3
_FLAT_BINS = 6
_REACH = 0.4  # of a window, either way from its middle, that must be known
_CENTRES_HZ = np.sqrt(EDGES_HZ[:-1] * EDGES_HZ[1:])


@dataclass(frozen=True)
class Envelopes:
    """Third-octave levels of stretches of a recording, every 23 ms, in windows of 93 ms."""

    known: Known
    sample_rate: int
    floor_db: float  # what is fainter is silence

    @property
    def hop(self) -> int:
        """Samples between levels."""
        return max(1, round(HOP_S * self.sample_rate))

    def n_moments(self, n_samples: int) -> int:
        """Return how many levels a stretch has."""
        return -(-n_samples // self.hop)

    def levels_db(self, start: int, n: int) -> tuple[np.ndarray, np.ndarray]:
        """Return levels (channels, bands, n) from a sample on, and at which moments all that is heard is known."""
        length = self._length
        first = start + self.hop // 2
        samples = self.known(first - length, first + n * self.hop + length)
        known = np.isfinite(samples).all(axis=0)
        lost = np.concatenate([[0], np.cumsum(~known)])
        middles, near = length + np.arange(n) * self.hop, round(_REACH * length)
        return self._of(np.where(known, samples, 0.0), n), lost[middles + near] == lost[middles - near]

    def levels_of(self, samples: np.ndarray, margin: int, n: int) -> np.ndarray:
        """Return levels (channels, bands, n) of samples (channels, t) from ``margin`` on; silence is around them."""
        padded = np.pad(samples, ((0, 0), (self._length, 2 * self._length + self.hop)))
        return self._of(padded[:, margin + self.hop // 2 :], n)

    @property
    def _length(self) -> int:
        return window_length(WINDOW_S, self.sample_rate)

    def _of(self, samples: np.ndarray, n: int) -> np.ndarray:
        """Return levels of samples whose first moment lies a window after their start."""
        length = self._length
        hertz = np.arange(length // 2 + 1) * (self.sample_rate / length)
        window = (hann(length, sym=False) * (4 / length)).astype(np.float32)
        waves = samples.astype(np.float32)
        frames = np.lib.stride_tricks.sliding_window_view(waves, length, axis=1)[:, length - length // 2 :: self.hop]
        spectrum = np.fft.rfft(frames[:, :n] * window, axis=2)
        power = spectrum.real**2 + spectrum.imag**2
        n_bands = int(np.sum(self.sample_rate / 2 >= EDGES_HZ)) - 1
        levels = bands_db(power, hertz, EDGES_HZ[: max(2, n_bands + 1)])
        return np.maximum(levels.transpose(0, 2, 1), self.floor_db)

    def expected(self, span: Span, places: Sequence[Place]) -> np.ndarray | None:
        """Return the levels (channels, bands, moments) that a gap should have; None if too little is known around it.

        The mean, in dB, of what there is at every place, made as loud as the gap's own surroundings, and of the
        straight way between these; each with the weight of its cost.
        """
        n, side = self.n_moments(span.length), round(SIDE_S / HOP_S)
        along = (np.arange(n) + 0.5) / n
        own, known = self.levels_db(span.start - side * self.hop, n + 2 * side)
        left, right = slice(0, side), slice(side + n, None)
        edge = round(EDGE_S / HOP_S)
        ends = []
        for part in (slice(side - edge, side), slice(side + n, side + n + edge)):
            heard = own[:, :, part][:, :, known[part]]
            ends.append(10 * np.log10((10 ** (heard / 10)).mean(axis=2)) if heard.shape[2] else None)
        between = _between(ends[0], ends[1], along)
        if between is None:
            return None
        least = min([NOISE_COST, *(place.cost for place in places[:1])])
        total = NOISE_WEIGHT * np.exp(-(NOISE_COST - least) / DECAY)
        mean = total * between
        for place in places:
            weight = np.exp(-(place.cost - least) / DECAY)
            if weight < _LEAST_WEIGHT:
                break
            there, also = self.levels_db(span.start + place.lag - side * self.hop, n + 2 * side)
            apart = []
            for part in (left, right):
                both = known[part] & also[part]
                apart.append((own - there)[:, :, part][:, :, both].mean(axis=2) if both.sum() > side // 5 else None)
            difference = _between(apart[0], apart[1], along)
            levels = there[:, :, side : side + n]
            if difference is not None:
                levels = levels + LEVEL_SHARE * np.clip(difference, -MAX_LEVEL_DB, MAX_LEVEL_DB)
            mean, total = mean + weight * levels, total + weight
        return np.maximum(mean / total, self.floor_db)

    def flatness_db(self, samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return how flat the spectrum is within each band, and its level, in dB, (channels, moments, bands) each.

        Geometric over arithmetic mean of power, in bands of six bins at least and frames that half overlap; both are
        empty where samples (channels, t) are shorter than two frames.
        """
        length = self._length
        hertz = np.arange(length // 2 + 1) * (self.sample_rate / length)
        if samples.shape[1] < 2 * length:
            return np.zeros(0), np.zeros(0)
        frames = np.lib.stride_tricks.sliding_window_view(samples, length, axis=1)[:, :: length // 2]
        power = np.abs(np.fft.rfft(frames * (hann(length, sym=False) * (4 / length)), axis=2)) ** 2 + 1e-13
        flat_db, level_db = [], []
        for low, high in pairwise(EDGES_HZ[:24]):
            inside = (hertz >= low) & (hertz < high)
            if inside.sum() >= _FLAT_BINS and high < self.sample_rate / 2:
                band = power[:, :, inside]
                flat_db.append(10 * (np.log10(band).mean(axis=2) - np.log10(band.mean(axis=2))))
                level_db.append(10 * np.log10(band.sum(axis=2)))
        return np.array(flat_db), np.array(level_db)

    def brought_to(
        self, wanted: np.ndarray, grain: np.ndarray, present: np.ndarray, margin: int, share: float
    ) -> np.ndarray:
        """Return a grain (channels, t), float64, whose levels go towards the wanted ones.

        Args:
            wanted: (channels, bands, moments).
            grain: (channels, margin + n + margin) with the gap in its middle.
            present: (channels, bands, moments) its own levels; where they are silent nothing is changed.
            margin: in samples.
            share: how far, from 0 (as it is) to 1.
        """
        gains_db = np.where(present <= self.floor_db + 1.0, 0.0, np.clip(wanted - present, -MAX_GAIN_DB, MAX_GAIN_DB))
        times_s = (margin + (np.arange(wanted.shape[2]) + 0.5) * self.hop) / self.sample_rate
        centres_hz = _CENTRES_HZ[: wanted.shape[1]]
        made = []
        for wave, own in zip(grain, gains_db, strict=True):
            offset = float(np.mean(wave))  # is no sound
            own_db = share * gaussian_filter(own, _SMOOTHING, mode="nearest")
            made.append(shaped(wave - offset, self.sample_rate, own_db, centres_hz, times_s) + offset)
        return np.stack(made)


def _between(left: np.ndarray | None, right: np.ndarray | None, along: np.ndarray) -> np.ndarray | None:
    """Return the straight way (..., n) from one side to the other; with one side only, that side."""
    first, last = right if left is None else left, left if right is None else right
    if first is None or last is None:
        return None
    return first[..., None] * (1 - along) + last[..., None] * along
