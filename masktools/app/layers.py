"""Overview of a recording on the disk: least and greatest samples, and levels on two scales.

A layer is filled column by column, in any order; which columns are true is remembered.
"""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from masktools.review.panels import FLOOR_DB, Rows, as_levels, column_powers, row_weights

BLOCK, COLUMN = 256, 4096  # samples of one pair of peaks, and of one column of a spectrogram
N_ROWS = 256
SCALES = ("mel", "linear")
_STEPS = 2  # in a decibel
_AT_ONCE = 64  # columns

Read = Callable[[int, int], np.ndarray]
"""Gives samples (channels, stop - start), for start and stop inside the recording."""


def rows_of(scale: str, sample_rate: int) -> Rows:
    """Return the rows of a scale."""
    return Rows(sample_rate / 2, N_ROWS, scale == "linear")


def as_peaks(samples: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """Return the least and the greatest sample (channels, n, 2) int16 of stretches that follow each other."""
    finite = np.nan_to_num(samples, nan=0.0, posinf=1.0, neginf=-1.0)
    low, high = np.minimum.reduceat(finite, starts, axis=1), np.maximum.reduceat(finite, starts, axis=1)
    return np.rint(np.stack([low, high], axis=2).clip(-1.0, 1.0) * 32_767).astype("<i2")


class Layer:
    """The overview of one side of a recording."""

    def __init__(self, folder: Path, name: str, n_samples: int, n_channels: int, sample_rate: int) -> None:
        """Open the arrays of a name in a folder, or make them.

        Args:
            folder: folder of the layers.
            name: name of the side (original or a version).
            n_samples: samples in each channel.
            n_channels: channels of the recording.
            sample_rate: sampling rate in Hz.
        """
        self.n_samples, self.sample_rate = n_samples, sample_rate
        self.n_cols = -(-n_samples // COLUMN)
        n_blocks = self.n_cols * (COLUMN // BLOCK)
        self.peaks = _array(folder / f"{name}-peaks.npy", (n_channels, n_blocks, 2), "<i2")
        self.codes = {
            scale: _array(folder / f"{name}-{scale}.npy", (n_channels, self.n_cols, N_ROWS), "u1") for scale in SCALES
        }
        self.fresh = _array(folder / f"{name}-fresh.npy", (self.n_cols,), "?")

    def like(self, other: "Layer") -> None:
        """Take what another layer has."""
        self.peaks[:] = other.peaks
        for scale in SCALES:
            self.codes[scale][:] = other.codes[scale]
        self.fresh[:] = other.fresh

    def fill(self, read: Read, first: int, stop: int) -> np.ndarray:
        """Fill columns, and return the samples that lie in them."""
        start, end = first * COLUMN, min(stop * COLUMN, self.n_samples)
        margin = self.sample_rate // 10
        left, right = max(0, start - margin), min(self.n_samples, end + margin)
        held = read(left, right)
        samples = held[:, start - left : end - left]
        n = end - start
        blocks = as_peaks(samples, np.arange(0, n, BLOCK))
        self.peaks[:, start // BLOCK : start // BLOCK + blocks.shape[1]] = blocks

        def near(begin: int, stop: int) -> np.ndarray:
            return np.pad(held[:, begin - left : stop - left], ((0, 0), (0, max(0, stop - max(begin, right)))))

        padded = max(stop * COLUMN, self.n_samples)  # the last column is as long as the others
        power = column_powers(near, padded, self.sample_rate, stop - first, (start, stop * COLUMN))
        for scale, codes in self.codes.items():
            levels = as_levels(power @ row_weights(rows_of(scale, self.sample_rate), self.sample_rate))
            codes[:, first:stop] = as_codes(levels).transpose(0, 2, 1)
        self.fresh[first:stop] = True
        return samples

    def fill_stale(self, read: Read) -> Iterator[tuple[int, np.ndarray]]:
        """Fill every column that is not true, in order, and yield where each stretch ends, and its samples."""
        first = 0
        while first < self.n_cols:
            if self.fresh[first]:
                first += 1
                continue
            ahead = self.fresh[first : first + _AT_ONCE]
            stop = first + (int(np.argmax(ahead)) if ahead.any() else len(ahead))
            yield stop, self.fill(read, first, stop)
            first = stop

    def spoil(self, start: int, stop: int) -> None:
        """Note that samples [start, stop) are other ones now."""
        margin = self.sample_rate // 20
        self.fresh[max(0, start - margin) // COLUMN : -(-(stop + margin) // COLUMN)] = False

    def mean_levels(self, scale: str, channel: int, edges: np.ndarray) -> np.ndarray:
        """Return levels (rows, n) in dBFS of the mean power between column edges (n + 1,)."""
        power = _POWERS[self.codes[scale][channel, edges[0] : edges[-1]]]
        sums = np.add.reduceat(power, edges[:-1] - edges[0], axis=0)
        return 10 * np.log10(sums / np.diff(edges)[:, None]).T


def as_codes(levels: np.ndarray) -> np.ndarray:
    """Return levels in dBFS as bytes, in steps of half a decibel."""
    return np.rint((levels - FLOOR_DB) * _STEPS).clip(0, 255).astype(np.uint8)


_POWERS = (10 ** ((np.arange(256) / _STEPS + FLOOR_DB) / 10)).astype(np.float32)


def _array(path: Path, shape: tuple[int, ...], kind: str) -> np.ndarray:
    if path.is_file():
        try:
            there = np.load(path, mmap_mode="r+", allow_pickle=False)
            if there.shape == shape and there.dtype == np.dtype(kind):
                return there
        except (ValueError, OSError):  # it was cut off
            pass
    path.parent.mkdir(exist_ok=True)
    return new_array(path, shape, kind)


def new_array(path: Path, shape: tuple[int, ...], kind: str) -> np.memmap:
    """Return a new array on the disk, which has all its room from the beginning.

    Raises:
        OSError: there is too little room; later, what writes into it would be ended by SIGBUS.
    """
    made = np.lib.format.open_memmap(path, "w+", np.dtype(kind), shape)
    if hasattr(os, "posix_fallocate"):
        try:
            with path.open("r+b") as file:
                os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
        except OSError:
            path.unlink()
            raise
    return made
