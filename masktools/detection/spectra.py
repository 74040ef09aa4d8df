"""The spectra of a recording of any length in bounded memory: frames spread evenly over all of it."""

from typing import NamedTuple

import numpy as np
from scipy.signal.windows import blackmanharris

__all__ = ["LongSpectrum", "SpectrumSurvey", "window_length"]

WINDOW_S = 4096 / 44_100
MAX_FRAMES = 2048  # kept; twice as few at the least
FRAMES_PER_WINDOW = 4
LOUDEST_SHARE = 0.7
FLOOR_DB = -140.0  # of full scale in a bin: what lies below is the rounding of samples
HELD_S = 0.001  # a run of equal samples that makes a frame one with damage
MIN_CLEAN_SHARE = 0.1  # of the loud frames, or else all of them count
_SILENCE = 1e-14  # power of a frame
_BATCH = 64  # frames transformed at once


class LongSpectrum(NamedTuple):
    """What the loud frames of a recording hold in each bin, in dB of a full-scale sine."""

    hz: np.ndarray  # (bins,)
    median_db: np.ndarray  # (bins,)
    loud_db: np.ndarray  # (bins,): the 90 % quantile
    n_frames: int  # that were counted


def window_length(sample_rate: int) -> int:
    """Return the samples of a window, the power of two that is nearest to 93 ms.

    >>> window_length(44_100), window_length(16_000), window_length(96_000)
    (4096, 2048, 8192)
    """
    return max(64, 2 ** round(np.log2(WINDOW_S * sample_rate)))


class SpectrumSurvey:
    """Power spectra of frames spread over a recording, averaged over its channels.

    Every frame counts until ``MAX_FRAMES`` are held; then every second one is dropped, and from there on only every
    second one is taken. What comes out depends on the samples alone, not on the blocks in which they come.
    """

    def __init__(self, sample_rate: int, n_channels: int) -> None:
        self.n_fft = window_length(sample_rate)
        self.hop = self.n_fft // FRAMES_PER_WINDOW
        self._rate = sample_rate
        self._window = blackmanharris(self.n_fft, sym=False).astype(np.float32)
        self._scale = 2.0 / float(self._window.sum())
        self._held = max(4, round(HELD_S * sample_rate))
        self._rest = np.zeros((n_channels, 0), np.float32)
        self._start = 0  # of the rest, in samples
        self._next = 0  # frame
        self._stride = 1  # frames
        self._powers: list[np.ndarray] = []
        self._damaged: list[bool] = []

    def feed(self, block: np.ndarray) -> None:
        """Take the next samples (channels, n), all finite."""
        samples = np.concatenate([self._rest, block], axis=1)
        stop = self._start + samples.shape[1]
        while places := self._places(stop):
            frames = np.stack([samples[:, place - self._start :][:, : self.n_fft] for place in places])
            self._take(frames)
        kept = min(self._next * self.hop, stop)
        self._rest, self._start = samples[:, kept - self._start :].copy(), kept

    def _places(self, stop: int) -> list[int]:
        """Return where the next frames start that are complete: no more than can be kept."""
        room = min(_BATCH, MAX_FRAMES - len(self._powers))
        starts = [(self._next + number * self._stride) * self.hop for number in range(room)]
        return [start for start in starts if start + self.n_fft <= stop]

    def _take(self, frames: np.ndarray) -> None:
        spectra = np.fft.rfft(frames * self._window, axis=-1)
        power = np.mean((np.abs(spectra) * self._scale) ** 2, axis=1).astype(np.float32)
        self._powers += list(power)
        self._damaged += list(_holds(frames, self._held))
        self._next += len(frames) * self._stride
        if len(self._powers) >= MAX_FRAMES:
            self._powers, self._damaged = self._powers[::2], self._damaged[::2]
            self._stride *= 2

    def finish(self) -> LongSpectrum:
        """Return the spectrum of the loudest 70 % of the frames; frames with damage count where there are no others."""
        hz = np.fft.rfftfreq(self.n_fft, 1 / self._rate)
        powers = np.array(self._powers, np.float32).reshape(-1, len(hz))
        totals = powers.sum(axis=1)
        heard = totals > _SILENCE
        loud = heard & (totals >= np.quantile(totals[heard], 1 - LOUDEST_SHARE)) if heard.any() else heard
        clean = loud & ~np.array(self._damaged, bool)
        chosen = clean if clean.sum() >= max(1, MIN_CLEAN_SHARE * loud.sum()) else loud
        if not chosen.any():
            floor = np.full(len(hz), FLOOR_DB)
            return LongSpectrum(hz, floor, floor, 0)
        median, loudest = np.quantile(powers[chosen], (0.5, 0.9), axis=0)
        return LongSpectrum(hz, _decibels(median), _decibels(loudest), int(chosen.sum()))


def _holds(frames: np.ndarray, length: int) -> np.ndarray:
    """Return for each frame (n, channels, t) whether a channel stays at one value for ``length`` samples."""
    same = np.cumsum(frames[..., 1:] == frames[..., :-1], axis=-1, dtype=np.int32)
    return np.any(same[..., length:] - same[..., :-length] >= length, axis=(1, 2))


def _decibels(power: np.ndarray) -> np.ndarray:
    return 10 * np.log10(np.maximum(power.astype(np.float64), 10 ** (FLOOR_DB / 10)))
