"""Short-time spectra around a region, their interpolation from its surroundings, and how they change a recording."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from math import ceil, floor

import numpy as np
import torch
from jaxtyping import Bool
from scipy.ndimage import uniform_filter1d
from scipy.signal.windows import hann
from torch import Tensor

from masktools.classical.spans import LONG_CONTEXT_S, OVERLAP, SPECTRUM_S, frame_length
from masktools.mel import MelConfig, mel_edges_hz
from masktools.restoration.regions import Region
from masktools.restoration.seams import bridged

FRAME_S = 0.046  # of the spectra, unless the region is shorter or narrower than that can see
SHORTEST_FRAME_S, LONGEST_FRAME_S = 0.006, 0.8
BINS_ACROSS = 8  # that a region shall be high at least
LEAST_BINS = 6.0  # as many are changed if it is lower: no frame sees less
SLOPE_BINS = 2.0  # in which the change sets in, inside the region
GUARD_BINS = 2  # beside a region, where what is in it still shows
RAMP_S = 0.005  # in which it sets in at the start and ends at the end
_BLOCK_CELLS = 1 << 22  # of spectra that are held at once
_SYNTHESIS = 1.5  # what the squares of the windows that cover a sample add up to
_TIMES = 5  # in a frame, at which the bands of a region are looked at
_LOBE_BINS = 2  # by which a tone shows beside its own frequency, in bins of the model's spectra


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


CONTINUED_S = 0.4  # up to which length a region is continued from both sides by linear prediction
NEAR_BINS, NEAR_SHARE = 8, 0.2  # of the bands below and above a region: at least so high, in bins and of its edge
FADING_OCTAVES = 1.0  # at which distance a band's rise or fall is shared by half
FADING_S = 1.0  # from the sides, after which their level tells little
MAX_CHANGE = 4.6  # natural logarithm of the power by which the bands may change what the sides say: 20 dB
FAINT = 1e-12  # power of a sample; what is fainter is silence
SMOOTH_FRAMES = 3
_LOOKED_AT = 64  # moments of a region at which bands beside it are looked for


def interpolated(
    waves: np.ndarray, frames: Frames, damaged: Sequence[Region], rng: Sequence[np.random.Generator]
) -> Source:
    """Return what fills a region: noise, as loud in each cell as its surroundings say.

    The spectrum goes, in decibels, from that of the 100 ms before the region to that after it, and rises and falls
    with the bands below and above. A short region is begun and ended by linear prediction.

    Args:
        waves: (voices, t) float64; what is in the region is not used.
        frames: of the region.
        damaged: regions of the recording: what is in them is not used either.
        rng: for each voice, where the noise comes from.
    """
    levels = _Levels.around(waves, frames, damaged)
    noise = _Noise(levels, rng)
    length = frames.stop - frames.start
    if length > CONTINUED_S * frames.sample_rate:
        return noise.spectra
    margin = frames.n_fft // 2
    wide = replace(frames, start=frames.start - margin, stop=frames.stop + margin)
    core = np.zeros((len(waves), length + 2 * margin))

    def made(centres: np.ndarray) -> np.ndarray:
        return noise.spectra(Block(centres, frames.spectra(waves, centres)))

    for start, piece in overlap_added(wide, made, len(waves)):
        first, last = max(start, wide.start), min(start + piece.shape[1], wide.stop)
        if first < last:
            core[:, first - wide.start : last - wide.start] = piece[:, first - start : last - start]
    reach = ceil(LONG_CONTEXT_S * frames.sample_rate)
    filled = waves.copy()
    for wave, own, target in zip(waves, core, filled, strict=True):
        before, after = wave[max(0, frames.start - reach) : frames.start], wave[frames.stop : frames.stop + reach]
        target[frames.start : frames.stop] = bridged(before, after, own, margin, frames.sample_rate)
    return lambda block: frames.spectra(filled, block.centres)


@dataclass(frozen=True, eq=False)
class _Levels:
    """The logarithms of powers that the surroundings of a region say."""

    frames: Frames
    damaged: Sequence[Region]
    sides: np.ndarray  # (2, voices, bins) mean before and after the region
    has_sides: bool

    @classmethod
    def around(cls, waves: np.ndarray, frames: Frames, damaged: Sequence[Region]) -> "_Levels":
        """Return the levels at both sides; where one of them is not known, it is as the other."""
        half = frames.n_fft // 2
        sums, weights = [], []
        for inside in _sides(frames, waves.shape[1]):
            if not len(inside):
                sums.append(np.zeros((len(waves), half + 1)))
                weights.append(np.zeros(half + 1))
                continue
            known = ~is_damaged(frames, damaged, inside)
            sums.append((np.abs(frames.spectra(waves, inside)) ** 2 * known).sum(axis=1))
            weights.append(known.sum(axis=0).astype(np.float64))
        total, weight = np.stack(sums), np.stack(weights)[:, None]
        faint = FAINT * np.sum(frames.window**2)
        means = np.log(total / np.maximum(weight, 1.0) + faint)
        means = np.where(weight > 0, means, means[::-1])
        known = np.flatnonzero((weight > 0).any(axis=(0, 1)))
        if len(known):
            for voice in means.reshape(-1, half + 1):
                voice[:] = np.interp(np.arange(half + 1), known, voice[known])
        return cls(frames, damaged, means, len(known) > 0)

    def powers(self, block: Block) -> np.ndarray:
        """Return the expected power (voices, frames, bins) of each cell; that of silence is none."""
        frames = self.frames
        length = frames.stop - frames.start
        share = np.clip((block.centres - frames.start) / length, 0.0, 1.0)[:, None]
        expected = (1 - share) * self.sides[0][:, None] + share * self.sides[1][:, None]
        seconds = np.minimum(block.centres - frames.start, frames.stop - block.centres).clip(0) / frames.sample_rate
        change = self._change(block, expected, seconds)
        power = np.exp(expected + change)
        return np.where(power <= 2 * FAINT * np.sum(frames.window**2), 0.0, power)

    def _change(self, block: Block, expected: np.ndarray, seconds: np.ndarray) -> np.ndarray:
        """Return by how much the bands below and above are louder than the sides say, carried into the region."""
        frames, hertz = self.frames, self.frames.hertz
        bin_hz = frames.sample_rate / frames.n_fft
        octave = np.log2(np.maximum(hertz, bin_hz))
        present, foreseen = np.abs(block.known) ** 2, np.exp(expected)
        known = ~is_damaged(frames, self.damaged, block.centres)
        n_frames = len(block.centres)
        edges = np.zeros((2, n_frames))
        changes = np.zeros((2, len(present), n_frames))
        heard = np.zeros((2, n_frames), bool)
        for number, centre in enumerate(block.centres):
            for side, (bins, edge_hz) in enumerate(_beside(frames, centre)):
                chosen = bins & known[number]
                edges[side, number] = np.log2(max(edge_hz, bin_hz))
                if chosen.sum() >= GUARD_BINS:
                    heard[side, number] = True
                    got, awaited = (power[:, number, chosen].sum(axis=1) for power in (present, foreseen))
                    changes[side, :, number] = np.log(got + FAINT) - np.log(awaited + FAINT)
        if not self.has_sides:
            _carry_over(changes, edges, heard)
        changes = uniform_filter1d(changes, min(SMOOTH_FRAMES, n_frames), axis=-1, mode="nearest")
        distances = np.abs(octave - edges[..., None])  # (2, frames, bins)
        weights = heard[..., None] / (distances + 1e-3)
        total = weights.sum(axis=0)
        carried = np.einsum("svt,stf->vtf", changes, weights) / np.maximum(total, 1e-12)
        if not self.has_sides:
            return carried
        nearest = np.where(heard[..., None], distances, np.inf).min(axis=0)
        shared = 0.5 ** (nearest / FADING_OCTAVES)
        far = 1 - np.exp(-seconds / FADING_S)[:, None]
        return np.clip(carried * (shared + (1 - shared) * far), -MAX_CHANGE, MAX_CHANGE)


def _sides(frames: Frames, n_samples: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the middles of the frames before a region and of those after it that lie within a recording."""
    half, hop = frames.n_fft // 2, frames.hop
    steps = hop * np.arange(max(1, ceil(SPECTRUM_S * frames.sample_rate / hop)))
    before, after = (frames.start - half - steps)[::-1], frames.stop + half + steps
    return before[before >= half], after[after + half <= n_samples]


def _beside(frames: Frames, centre: int | np.integer) -> list[tuple[np.ndarray, float]]:
    """Return the bins (bins,) just below a region and just above it at a time, each with the region's edge in Hz."""
    bands, hertz = frames.region.bands(frames.time_s(centre)), frames.hertz
    if not bands:
        return []
    bin_hz = frames.sample_rate / frames.n_fft
    low_hz, high_hz = bands[0][0], bands[-1][1]
    guard_hz = GUARD_BINS * bin_hz
    below, above = (max(NEAR_BINS * bin_hz, NEAR_SHARE * edge_hz) for edge_hz in (low_hz, high_hz))
    return [
        ((hertz > max(bin_hz, low_hz - guard_hz - below)) & (hertz < low_hz - guard_hz), low_hz),
        ((hertz > high_hz + guard_hz) & (hertz < high_hz + guard_hz + above), high_hz),
    ]


def has_surroundings(frames: Frames, damaged: Sequence[Region], n_samples: int) -> bool:
    """Return whether a recording holds anything that tells what was in a region.

    That is a frame before it or after it, or a band below or above it during some of its time.

    Args:
        frames: of the region, in samples of the recording.
        damaged: regions of the recording: what is in them tells nothing.
        n_samples: of the recording.
    """
    for centres in _sides(frames, n_samples):
        if len(centres) and not is_damaged(frames, damaged, centres).all():
            return True
    centres = np.unique(np.linspace(frames.start, frames.stop - 1, _LOOKED_AT).astype(np.int64))
    for centre, hidden in zip(centres, is_damaged(frames, damaged, centres), strict=True):
        if any((bins & ~hidden).sum() >= GUARD_BINS for bins, _ in _beside(frames, centre)):
            return True
    return False


def _carry_over(changes: np.ndarray, edges: np.ndarray, heard: np.ndarray) -> None:
    """Give frames that have no known band below or above them what the nearest frame in time has there."""
    for change, edge, known in zip(changes, edges, heard, strict=True):
        if known.any():
            places = np.flatnonzero(known)
            nearest = places[np.abs(np.arange(len(known))[:, None] - places).argmin(axis=1)]
            change[:], edge[:], known[:] = change[:, nearest], edge[nearest], True


class _Noise:
    """Noise with given levels; equal voices that share their random numbers have equal noise."""

    def __init__(self, levels: _Levels, rng: Sequence[np.random.Generator]) -> None:
        self._levels, self._rng = levels, rng
        self._drawn = np.zeros((len(rng), 0))

    def spectra(self, block: Block) -> np.ndarray:
        """Return the spectra of the next frames."""
        frames, n = self._levels.frames, len(block.centres)
        lacking = (n + OVERLAP - 1) * frames.hop - self._drawn.shape[1]
        white = np.concatenate([self._drawn, [one.standard_normal(lacking) for one in self._rng]], axis=1)
        self._drawn = white[:, n * frames.hop :]
        flat = frames.spectra(white, frames.n_fft // 2 + frames.hop * np.arange(n))
        return flat * np.sqrt(self._levels.powers(block) / np.sum(frames.window**2))


SHOULDER_S = 0.15  # of known audio before and after a region
MAX_GAIN_DB = 6.0  # either way
BAND_SHARE, LEAST_BAND_BINS = 0.23, 6  # of a frequency, a third of an octave; bins
_FAINT = 1e-12  # power of a sample


def level_gains_db(
    generated: np.ndarray, known: np.ndarray, frames: Frames, damaged: Sequence[Region]
) -> tuple[np.ndarray, np.ndarray]:
    """Return the gains in dB at the start and at the end of a region, (voices, bins) each.

    Levels are compared in thirds of octaves before and after the region; where one side is not known, by the other.
    Where no side is known, what is below and above the region during its time is compared as a whole.

    Args:
        generated: (voices, t) what was generated, known audio too.
        known: (voices, t) in the same place.
        frames: of the region.
        damaged: regions of the recording, in which nothing is compared.
    """
    half = frames.n_fft // 2
    steps = frames.hop * np.arange(max(1, ceil(SHOULDER_S * frames.sample_rate / frames.hop)))
    sides = []
    for centres in ((frames.start - half - steps)[::-1], frames.stop + half + steps):
        inside = centres[(centres >= half) & (centres + half <= known.shape[1])]
        sides.append(_gains_db(generated, known, frames, damaged, inside, smooth=True))
    found = [gains_db for gains_db in sides if gains_db is not None]
    if not found:
        during = frames.centres(0, frames.n_frames)
        middle = _gains_db(generated, known, frames, damaged, during, smooth=False)
        found = [np.zeros((len(known), half + 1)) if middle is None else middle]
    return found[0], found[-1]


def _gains_db(
    generated: np.ndarray,
    known: np.ndarray,
    frames: Frames,
    damaged: Sequence[Region],
    centres: np.ndarray,
    smooth: bool,
) -> np.ndarray | None:
    """Return the gains (voices, bins) that some frames ask for; None where they hold nothing to compare."""
    if not len(centres):
        return None
    cells = ~is_damaged(frames, damaged, centres)
    if not cells.any():
        return None
    made, there = ((np.abs(frames.spectra(waves, centres)) ** 2 * cells).sum(axis=1) for waves in (generated, known))
    made, there = (_in_bands(power) if smooth else power.sum(axis=1, keepdims=True) for power in (made, there))
    faint = _FAINT * np.sum(frames.window**2)
    gains_db = 10 * np.log10((there + faint) / (made + faint))
    return np.broadcast_to(np.clip(gains_db, -MAX_GAIN_DB, MAX_GAIN_DB), (len(known), len(frames.hertz)))


def _in_bands(power: np.ndarray) -> np.ndarray:
    """Return powers (voices, bins) summed over a third of an octave around each bin."""
    n_bins = power.shape[1]
    total = np.concatenate([np.zeros((len(power), 1)), np.cumsum(power, axis=1)], axis=1)
    reach = np.maximum(LEAST_BAND_BINS, BAND_SHARE * np.arange(n_bins)) / 2
    low = np.clip(np.arange(n_bins) - np.round(reach), 0, n_bins).astype(int)
    high = np.clip(np.arange(n_bins) + np.round(reach) + 1, 0, n_bins).astype(int)
    return total[:, high] - total[:, low]


def unknown_cells(
    regions: Sequence[Region], config: MelConfig, n_frames: int, start_s: float = 0.0
) -> Bool[Tensor, "f m"]:
    """Return the mel cells of a window that hear anything of the regions.

    Args:
        regions: of the recording.
        config: of the mel spectrogram.
        n_frames: of the window.
        start_s: of the window in the recording.
    """
    edges_hz = mel_edges_hz(config)
    lobe_hz = _LOBE_BINS * config.sample_rate / config.n_fft
    cells = np.zeros((config.n_mels, n_frames), bool)
    for region in regions:
        # Frame m hears samples [m * hop - margin, m * hop - margin + n_fft).
        begin, end = ((edge_s - start_s) * config.sample_rate for edge_s in (region.start_s, region.end_s))
        first = max(0, floor((begin + config.margin - config.n_fft) / config.hop_length))
        last = min(n_frames, ceil((end + config.margin) / config.hop_length) + 1)
        for frame in range(first, last):
            start = frame * config.hop_length - config.margin
            heard_from, heard_to = max(start, begin), min(start + config.n_fft, end)
            if heard_from >= heard_to:
                continue
            for sample in np.linspace(heard_from, heard_to, _TIMES):
                for low_hz, high_hz in region.bands(start_s + float(sample) / config.sample_rate):
                    cells[:, frame] |= (edges_hz[:-2] < high_hz + lobe_hz) & (edges_hz[2:] > low_hz - lobe_hz)
    return torch.from_numpy(cells)
