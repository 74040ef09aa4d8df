"""A region filled without a model: how loud it is follows from what is around it in time and in frequency."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil

import numpy as np
from scipy.ndimage import uniform_filter1d

from masktools.classical.linear_prediction import LONG_CONTEXT_S
from masktools.classical.noise import OVERLAP, SPECTRUM_S
from masktools.restoration.bridging import bridged
from masktools.restoration.regions import Region
from masktools.restoration.repair_frames import GUARD_BINS, Block, Frames, Source, is_damaged, overlap_added

__all__ = ["has_surroundings", "interpolated"]

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
