"""Short-time spectra around a region, and the only way by which they change a recording: what is added to it."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np
from scipy.signal.windows import hann

from masktools.classical.noise import OVERLAP, frame_length
from masktools.restoration.regions import Region

__all__ = ["GUARD_BINS", "Block", "Frames", "Source", "add_difference", "is_damaged", "masked_power", "overlap_added"]

FRAME_S = 0.046  # of the spectra, unless the region is shorter or narrower than that can see
SHORTEST_FRAME_S, LONGEST_FRAME_S = 0.006, 0.8
BINS_ACROSS = 8  # that a region shall be high at least
LEAST_BINS = 6.0  # as many are changed if it is lower: no frame sees less
SLOPE_BINS = 2.0  # in which the change sets in, inside the region
GUARD_BINS = 2  # beside a region, where what is in it still shows
RAMP_S = 0.005  # in which it sets in at the start and ends at the end
_BLOCK_CELLS = 1 << 22  # of spectra that are held at once
_SYNTHESIS = 1.5  # what the squares of the windows that cover a sample add up to


@dataclass(frozen=True)
class Frames:
    """A region in a stretch of audio, and the frames that reach into it; positions are samples of the stretch."""

    region: Region
    start: int
    stop: int
    origin: int  # sample of the recording at which the stretch starts
    sample_rate: int  # Hz
    n_fft: int

    @classmethod
    def of(cls, region: Region, start: int, stop: int, origin: int, sample_rate: int) -> "Frames":
        """Return the frames whose length suits a region."""
        length_s = (stop - start) / sample_rate
        wanted_s = max(FRAME_S, min(BINS_ACROSS / (region.high_hz - region.low_hz), LONGEST_FRAME_S))
        seconds = max(SHORTEST_FRAME_S, min(wanted_s, length_s / 4))
        return cls(region, start, stop, origin, sample_rate, frame_length(sample_rate, seconds))

    @property
    def hop(self) -> int:
        """Samples from one frame to the next."""
        return self.n_fft // OVERLAP

    @property
    def hertz(self) -> np.ndarray:
        """The frequencies (bins,)."""
        return np.fft.rfftfreq(self.n_fft, 1 / self.sample_rate)

    @property
    def window(self) -> np.ndarray:
        """The window (n_fft,) of analysis and of synthesis."""
        return hann(self.n_fft, sym=False)

    @property
    def n_frames(self) -> int:
        """How many frames reach into the region."""
        return ceil((self.stop - self.start) / self.hop) + OVERLAP - 1

    def centres(self, first: int, last: int) -> np.ndarray:
        """Return the samples in the middle of frames [first, last); the second frame's is where the region starts."""
        return self.start + self.hop * (np.arange(first, last) - (OVERLAP // 2 - 1))

    def time_s(self, centre: int | np.integer) -> float:
        """Return when in the recording a sample is."""
        return (self.origin + centre) / self.sample_rate

    def blocks(self, n_voices: int) -> Iterator[tuple[int, int]]:
        """Yield frames [first, last) in order, so many at once as fit into memory."""
        step = max(OVERLAP, _BLOCK_CELLS // (self.n_fft * n_voices))
        for first in range(0, self.n_frames, step):
            yield first, min(first + step, self.n_frames)

    def spectra(self, waves: np.ndarray, centres: np.ndarray) -> np.ndarray:
        """Return the spectra (voices, frames, bins) of waves (voices, t) around samples; beyond them is silence."""
        first, last = int(centres[0]) - self.n_fft // 2, int(centres[-1]) + self.n_fft // 2
        part = waves[:, max(0, first) : max(0, last)]
        part = np.pad(part, ((0, 0), (max(0, -first), max(0, last - max(0, first) - part.shape[1]))))
        rows = np.lib.stride_tricks.sliding_window_view(part, self.n_fft, axis=1)
        return np.fft.rfft(rows[:, centres - centres[0]] * self.window)

    def mask(self, centres: np.ndarray) -> np.ndarray:
        """Return how far each cell (frames, bins) is to be changed, 0 to 1, with slopes inside the region."""
        bin_hz, top_hz = self.sample_rate / self.n_fft, self.sample_rate / 2
        slope_hz, least_hz = SLOPE_BINS * bin_hz, LEAST_BINS * bin_hz
        mask = np.zeros((len(centres), self.n_fft // 2 + 1))
        for row, centre in zip(mask, centres, strict=True):
            for low_hz, high_hz in self.region.bands(self.time_s(centre)):
                lacking_hz = max(0.0, least_hz - (high_hz - low_hz)) / 2
                above = np.inf if low_hz <= bin_hz else (self.hertz - low_hz + lacking_hz) / slope_hz
                below = np.inf if high_hz >= top_hz - bin_hz else (high_hz + lacking_hz - self.hertz) / slope_hz
                np.maximum(row, np.clip(np.minimum(above, below), 0.0, 1.0), out=row)
        return mask


@dataclass(frozen=True, eq=False)
class Block:
    """Consecutive frames of a region."""

    centres: np.ndarray  # (frames,) samples
    known: np.ndarray  # (voices, frames, bins) spectra of what is there


Source = Callable[[Block], np.ndarray]
"""Gives the spectra (voices, frames, bins) of what shall be there instead; it is asked in order of time."""


def add_difference(waves: np.ndarray, frames: Frames, source: Source) -> None:
    """Change waves (voices, t), float64, inside a region: what is there goes over into what the source gives.

    Only samples [start, stop) of the region are changed, and what is added to them has hardly any energy outside its
    band.
    """
    ramp_samples = max(1, min(round(RAMP_S * frames.sample_rate), (frames.stop - frames.start) // 8))
    rise = np.sin(0.5 * np.pi * (np.arange(ramp_samples) + 0.5) / ramp_samples) ** 2
    n_samples = waves.shape[1]

    def difference(centres: np.ndarray) -> np.ndarray:
        known = frames.spectra(waves, centres)
        return (source(Block(centres, known)) - known) * frames.mask(centres)

    for start, added in overlap_added(frames, difference, len(waves)):
        first, last = max(start, frames.start), min(start + added.shape[1], frames.stop)
        if first >= last:
            continue
        part = added[:, first - start : last - start]
        for at, slope in ((frames.start, rise), (frames.stop - ramp_samples, rise[::-1])):
            if at > 0 and at + ramp_samples < n_samples:  # at the ends of the recording nothing is joined
                one, other = max(first, at), min(last, at + ramp_samples)
                if one < other:
                    part[:, one - first : other - first] *= slope[one - at : other - at]
        waves[:, first:last] += part


def masked_power(waves: np.ndarray, frames: Frames) -> float:
    """Return the mean power of what a region holds of waves (voices, t), each sample's and each voice's alike."""
    power = 0.0
    for first, last in frames.blocks(len(waves)):
        centres = frames.centres(first, last)
        cells = (np.abs(frames.spectra(waves, centres)) ** 2).mean(axis=0) * frames.mask(centres)
        power += 2 * float(cells.sum())
    length = frames.hop * frames.n_frames
    return power / (length / frames.hop * frames.n_fft * float(np.sum(frames.window**2)))


def overlap_added(
    frames: Frames, spectra_of: Callable[[np.ndarray], np.ndarray], n_voices: int
) -> Iterator[tuple[int, np.ndarray]]:
    """Yield the wave of spectra, consecutive pieces (start, (voices, n)), from before the region to behind it.

    The spectra of a block of frames are asked for when all samples before its first frame have been given out.

    Args:
        frames: of the region.
        spectra_of: (voices, frames, bins) for the middles of consecutive frames.
        n_voices: how many waves.
    """
    hop, n_fft = frames.hop, frames.n_fft
    tail = np.zeros((n_voices, n_fft - hop))
    for first, last in frames.blocks(n_voices):
        centres = frames.centres(first, last)
        rows = np.fft.irfft(spectra_of(centres), n_fft) * (frames.window / _SYNTHESIS)
        n = len(centres)
        wave = np.zeros((n_voices, (n + OVERLAP - 1) * hop))
        wave[:, : n_fft - hop] = tail
        for part in range(OVERLAP):
            quarter = rows[:, :, part * hop : (part + 1) * hop].reshape(n_voices, n * hop)
            wave[:, part * hop : (part + n) * hop] += quarter
        tail = wave[:, n * hop :]
        yield int(centres[0]) - n_fft // 2, wave[:, : n * hop]


def is_damaged(frames: Frames, damaged: Sequence[Region], centres: np.ndarray) -> np.ndarray:
    """Return which cells (frames, bins) a region reaches into."""
    hertz, half_s = frames.hertz, frames.n_fft / 2 / frames.sample_rate
    guard_hz = GUARD_BINS * frames.sample_rate / frames.n_fft
    cells = np.zeros((len(centres), len(hertz)), bool)
    for row, centre in zip(cells, centres, strict=True):
        time_s = frames.time_s(centre)
        for region in damaged:
            if region.start_s < time_s + half_s and region.end_s > time_s - half_s:
                for low_hz, high_hz in region.bands(time_s):
                    row |= (hertz > low_hz - guard_hz) & (hertz < high_hz + guard_hz)
    return cells
