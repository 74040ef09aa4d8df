"""Spectrograms for people: mel-spaced rows, columns of even length, levels in dBFS, from readers of any length."""

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil, log1p

import numpy as np
from scipy.fft import rfft
from scipy.signal.windows import hann

from masktools.errors import ParameterError

__all__ = ["FLOOR_DB", "Reader", "Rows", "mean_levels", "show_levels", "spectrogram", "top_level_db"]

FLOOR_DB = -120.0
_WINDOW_S = 0.046  # 1014 samples at 22.05 kHz
_NOISE_BINS = 1.5  # in which a Hann window shows a sine
_BREAK_HZ = 700.0  # the rows are even in frequency below, in pitch above
_N_FRAMES = 256  # transformed at once

Reader = Callable[[int, int], np.ndarray]
"""Gives samples (channels, stop - start) of a recording, for start and stop inside it."""


@dataclass(frozen=True)
class Rows:
    """The rows of a spectrogram: bands from 0 Hz up, spaced as the ear hears them."""

    top_hz: float
    n: int = 128

    def __post_init__(self) -> None:
        """Check the ranges."""
        if not self.top_hz > 0 or self.n < 1:
            raise ParameterError(f"rows must reach above 0 Hz and be at least 1, got {self.n} up to {self.top_hz:g} Hz")

    @property
    def edges_hz(self) -> np.ndarray:
        """Edges (n + 1,) of the bands."""
        return _BREAK_HZ * np.expm1(np.linspace(0.0, log1p(self.top_hz / _BREAK_HZ), self.n + 1))

    def height(self, hz: float) -> float:
        """Return where a frequency lies between bottom, 0, and top, 1."""
        return log1p(min(max(hz, 0.0), self.top_hz) / _BREAK_HZ) / log1p(self.top_hz / _BREAK_HZ)

    def ticks_hz(self) -> list[float]:
        """Return the frequencies that are worth a label, far enough from each other."""
        ticks, last = [], 0.0
        for hz in (100, 200, 500, 1000, 2000, 4000, 8000, 16_000, 32_000):
            if hz < 0.97 * self.top_hz and self.height(hz) - last > 0.1:
                ticks.append(float(hz))
                last = self.height(hz)
        return ticks


def spectrogram(
    read: Reader, n_samples: int, sample_rate: int, rows: Rows, n_cols: int, span: tuple[int, int] | None = None
) -> np.ndarray:
    """Return levels (channels, rows, columns) in dBFS of what lies in each row: a full-scale sine inside it is at 0.

    Rows narrower than the 33 Hz that a tone fills hold but a part of it. A column is the mean power of all that lies in
    it; what lies above half the sample rate is at the floor. Samples that are not finite count as zero. Memory does not
    grow with the recording.

    Args:
        read: gives the samples.
        n_samples: length of the recording.
        sample_rate: in Hz.
        rows: the bands.
        n_cols: columns, at least 1.
        span: first sample that is shown, and the one after the last; all of the recording if left out.

    Raises:
        ParameterError: a span outside the recording, or no column.
    """
    start, stop = (0, n_samples) if span is None else span
    if not 0 <= start < stop <= n_samples or n_cols < 1:
        raise ParameterError(
            f"the span must lie in 0-{n_samples}, with a column at least, got {start}-{stop}, {n_cols}"
        )
    length = max(16, 2 * round(_WINDOW_S * sample_rate / 2))
    window = hann(length, sym=False).astype(np.float32)
    weights = _weights(rows, length, sample_rate)
    per_column = max(1, ceil((stop - start) / n_cols / (length / 2)))
    n_frames = n_cols * per_column
    centres = start + np.floor((np.arange(n_frames) + 0.5) * ((stop - start) / n_frames)).astype(np.int64)
    sums = np.zeros((len(read(start, start + 1)), n_cols, rows.n), np.float32)
    for first in range(0, n_frames, _N_FRAMES):
        chosen = centres[first : first + _N_FRAMES] - length // 2
        frames = _frames(read, n_samples, chosen, length)
        spectrum = np.asarray(rfft(frames * window)) * (2 / float(window.sum()))
        power = (spectrum.real**2 + spectrum.imag**2) @ weights
        columns = np.arange(first, first + len(chosen)) // per_column
        starts = np.flatnonzero(np.diff(columns, prepend=-1))
        sums[:, columns[starts]] += np.add.reduceat(power, starts, axis=1)
    return 10 * np.log10(sums.transpose(0, 2, 1) / per_column + 10 ** (FLOOR_DB / 10))


def mean_levels(levels: np.ndarray) -> np.ndarray:
    """Return the levels (rows, columns) of the mean power of all channels (channels, rows, columns)."""
    return 10 * np.log10(np.mean(10 ** (levels / 10), axis=0))


def top_level_db(levels: list[np.ndarray]) -> float:
    """Return the upper end of a colour scale that fits several spectrograms, a multiple of 5 dB."""
    return 5 * ceil(max(float(np.quantile(level, 0.998)) for level in levels) / 5)


def show_levels(levels: np.ndarray, low: float, high: float, n_colours: int) -> np.ndarray:
    """Return levels (rows, columns) as colour numbers uint8, the highest row first, as pictures have it."""
    share = (levels[::-1] - low) / (high - low)
    return np.rint(share.clip(0, 1) * (n_colours - 1)).astype(np.uint8)


def _weights(rows: Rows, length: int, sample_rate: int) -> np.ndarray:
    """Return what each bin (bins, rows) gives to the power in a row: the share of it that lies there."""
    width = sample_rate / length
    centres = np.arange(length // 2 + 1) * width
    low, high = rows.edges_hz[:-1], rows.edges_hz[1:]
    shared = np.minimum(centres[:, None] + width / 2, high) - np.maximum(centres[:, None] - width / 2, low)
    return (shared.clip(0.0) / (width * _NOISE_BINS)).astype(np.float32)


def _frames(read: Reader, n_samples: int, starts: np.ndarray, length: int) -> np.ndarray:
    """Return frames (channels, frames, length); zeros stand for what lies outside the recording."""
    first, last = int(starts[0]), int(starts[-1]) + length
    inside = read(max(0, first), min(n_samples, last))
    inside = np.nan_to_num(inside, nan=0.0, posinf=0.0, neginf=0.0)
    padded = np.pad(inside, ((0, 0), (max(0, -first), max(0, last - n_samples))))
    return np.stack([padded[:, start - first : start - first + length] for start in starts], axis=1)
