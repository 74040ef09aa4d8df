"""Clicks: a few samples that a linear predictor cannot foresee, though it can foresee what is around them.

The onset of a note, the pulses of a voice and the grains of rain surprise a predictor too, but not alone: what
follows, or what is near, surprises it as much.
"""

from itertools import pairwise

import numpy as np
from scipy.signal import lfilter

from masktools.classical import burg
from masktools.detection.damage import Damage
from masktools.detection.windows import Window

__all__ = ["Clicks"]

ORDER = 32
PIECE_SAMPLES = 8192
THRESHOLD = 8.0  # median absolute deviations of the residual
AROUND_S, APART_S = 0.025, 0.0015  # what a click is compared with, on either side, and from how far off
LONGEST_S = 0.002
QUANTILE, ABOVE = 0.99, 4.0  # of the residual around, and how far above it a click is: 12 dB
SMALLEST = 1e-3  # of full scale
CORE = 0.2  # of its peak: what of the residual is the click, and not the predictor's surprise at having heard it


class Clicks:
    """Finds clicks, in each channel.

    Source: the rule of S. J. Godsill and P. J. W. Rayner, Digital Audio Restoration (1998), chapter 5.
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
        """Return what predictors, one for each piece, do not foresee, and where that is more than usual."""
        residual, surprising = np.zeros(len(samples)), np.zeros(len(samples), bool)
        edges = sorted({0, len(samples), *range(-offset % PIECE_SAMPLES, len(samples), PIECE_SAMPLES)})
        for start, stop in pairwise(edges):
            begin = max(0, start - ORDER)
            piece = samples[begin:stop].astype(np.float64)
            if len(piece) <= 4 * ORDER or not piece.any():
                continue
            error = np.abs(lfilter(burg(piece, ORDER), 1.0, piece))
            error[:ORDER] = 0.0  # the predictor is not filled yet
            usual = float(np.median(error[ORDER:]))
            residual[start:stop] = error[start - begin :]
            surprising[start:stop] = residual[start:stop] > max(self._threshold * usual, SMALLEST)
        return residual, surprising

    def _clusters(self, residual: np.ndarray, surprising: np.ndarray) -> list[tuple[int, int]]:
        """Return the cores of clusters of samples that surprise, where they are not too long."""
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
