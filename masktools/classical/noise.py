"""Noise with a given short-time spectrum, and waves made louder and quieter band by band."""

from collections.abc import Sequence

import numpy as np
from scipy.ndimage import uniform_filter1d
from scipy.signal import ShortTimeFFT
from scipy.signal.windows import hann

SPECTRUM_S = 0.1  # on either side of a gap, whose spectrum the noise takes
NOISE_FRAME_S = 0.046  # of that noise
_RELATED_BINS = 5  # over which the relation of channels is averaged
_DEPENDENT = 1e-6  # share of a channel's power that counts as a source of its own
_OFFSET_S = 0.045  # from which on a side tells its offset
_FAINT = 1e-12  # power; what is fainter counts as that

OVERLAP = 4  # frames that cover a sample


def frame_length(sample_rate: int, seconds: float) -> int:
    """Return the power of two of samples, 64 at least, that is nearest to a duration."""
    return max(64, 2 ** round(np.log2(seconds * sample_rate)))


def mean_power(samples: np.ndarray, n_fft: int) -> np.ndarray:
    """Return the mean power spectrum (channels, n_fft // 2 + 1) of samples (channels, t), in Hann frames of n_fft.

    What is shorter than a frame is seen through a shorter window, and reads as loud as if it went on. A constant
    offset counts as none.
    """
    return np.mean(np.abs(_spectra(samples, n_fft)) ** 2, axis=1)


def _spectra(samples: np.ndarray, n_fft: int) -> np.ndarray:
    """Return the spectra (channels, frames, bins) of samples (channels, t), without their constant offset."""
    samples = samples - samples.mean(axis=-1, keepdims=True)
    length = min(n_fft, samples.shape[-1])
    window = hann(length + 2)[1:-1]  # without the zeros at its ends
    frames = np.lib.stride_tricks.sliding_window_view(samples, length, axis=-1)[:, :: max(1, length // OVERLAP)]
    return np.fft.rfft(frames * window, n_fft) * np.sqrt(_energy(n_fft) / np.sum(window**2))


def channel_relation(sides: Sequence[np.ndarray], n_fft: int) -> np.ndarray:
    """Return how channels go together in samples (channels, t), as weights (bins, channels, sources).

    Unit sources, each out of step with the others, added up with these weights have the coherence and the phase
    between channels that the samples have at each frequency, averaged over the sides. The first channel is the first
    source; channels that are equal, or opposite, share their sources.
    """
    coherence = np.mean([_coherence(side, n_fft) for side in sides], axis=0)
    weights = np.zeros_like(coherence)  # Cholesky's factor; singular where channels depend on each other
    for source in range(coherence.shape[1]):
        left = coherence[:, source:, source] - np.einsum(
            "bck,bk->bc", weights[:, source:, :source], weights[:, source, :source].conj()
        )
        pivot = left[:, 0].real
        own = pivot > _DEPENDENT
        weights[own, source:, source] = left[own] / np.sqrt(pivot[own])[:, None]
    return weights


def _coherence(samples: np.ndarray, n_fft: int) -> np.ndarray:
    """Return the normalised cross spectra (bins, channels, channels), smoothed over bins."""
    spectra = _spectra(samples, n_fft)
    cross = np.einsum("cfb,dfb->bcd", spectra, spectra.conj())
    smooth = uniform_filter1d(cross.real, _RELATED_BINS, axis=0) + 1j * uniform_filter1d(
        cross.imag, _RELATED_BINS, axis=0
    )
    power = np.maximum(np.einsum("bcc->bc", smooth).real, 0.0)  # a running sum may end a little below nothing
    scale = np.sqrt(power[:, :, None] * power[:, None, :])
    channels = np.arange(len(samples))
    coherence = np.divide(smooth, scale, out=np.zeros_like(smooth), where=scale > 0)
    coherence[:, channels, channels] = 1.0
    return coherence


def random_phases(
    power: np.ndarray, n_samples: int, rng: np.random.Generator, relation: np.ndarray | None = None
) -> np.ndarray:
    """Return noise (channels, n_samples), float64, whose frames have a given power; equal powers give equal loudness.

    Args:
        power: (channels, bins, frames), of Hann frames of an even n_fft = 2 * (bins - 1) samples; the middle of frame
            m is sample m * n_fft / 4; what lies outside the first and the last has their power.
        n_samples: at most (frames - 1) * n_fft / 4 + 1.
        rng: where the phases come from.
        relation: (bins, channels, sources) of ``channel_relation``; without it all channels have the same phases.
    """
    power = np.pad(power, ((0, 0), (0, 0), (OVERLAP // 2, OVERLAP // 2)), mode="edge")
    n_channels, n_bins, n_frames = power.shape
    n_fft = 2 * (n_bins - 1)
    hop = n_fft // OVERLAP
    relation = np.ones((n_bins, n_channels, 1)) if relation is None else relation
    turns = np.exp(2j * np.pi * rng.random((relation.shape[2], n_frames, n_bins)))
    turns[:, :, 0] = 0.0  # a constant is no noise
    turns = np.einsum("bcs,sfb->cfb", relation, turns)
    frames = np.fft.irfft(np.sqrt(power).transpose(0, 2, 1) * turns, n_fft) * hann(n_fft, sym=False)
    summed = np.zeros((n_channels, (n_frames + OVERLAP - 1) * hop))
    for part in range(OVERLAP):
        quarter = frames[:, :, part * hop : (part + 1) * hop].reshape(n_channels, n_frames * hop)
        summed[:, part * hop : (part + n_frames) * hop] += quarter
    # Independent frames add up by their powers: n_fft / energy undoes the analysis, energy / hop the overlap.
    return summed[:, n_fft : n_fft + n_samples] * np.sqrt(n_fft * hop) / _energy(n_fft)


def noise_between(
    before: np.ndarray,
    after: np.ndarray,
    length: int,
    sample_rate: int,
    rng: np.random.Generator,
    margin: int = 0,
    frame_s: float = NOISE_FRAME_S,
) -> np.ndarray:
    """Return noise (channels, length + 2 * margin) whose spectrum goes, in decibels, from one side's to the other's.

    Args:
        before: (channels, t) known samples that end where the gap starts; 100 ms are good.
        after: (channels, t) known samples that start where it ends; one side may have none.
        length: of the gap, at least 1.
        sample_rate: in Hz.
        rng: where the phases come from.
        margin: samples of each side's own colour before and after the gap.
        frame_s: long frames hold the partials of the sides, as tones that do not change, and no moment of them.
    """
    n_fft = frame_length(sample_rate, frame_s)
    offset = offset_between(before, after, length, sample_rate, margin)
    enough = min(n_fft // 16, max(before.shape[1], after.shape[1]))
    sides = [side for side in (before, after) if side.shape[1] >= enough]
    spectra = [mean_power(side, n_fft) for side in sides]
    hop = n_fft // OVERLAP
    share = np.clip((np.arange((length + 2 * margin) // hop + 2) * hop - margin) / length, 0.0, 1.0)
    first, last = (np.log(spectrum.clip(_FAINT))[..., None] for spectrum in (spectra[0], spectra[-1]))
    silent = (spectra[0] <= _FAINT) & (spectra[-1] <= _FAINT)
    power = np.where(silent[..., None], 0.0, np.exp((1 - share) * first + share * last))
    relation = channel_relation(sides, n_fft) if len(before) > 1 else None
    return random_phases(power, length + 2 * margin, rng, relation) + offset


def offset_between(before: np.ndarray, after: np.ndarray, length: int, sample_rate: int, margin: int) -> np.ndarray:
    """Return the constant offset (channels, length + 2 * margin), straight from one side's to the other's.

    Sides too short to tell an offset from a low tone have none of their own.

    Args:
        before: (channels, t) known samples that end where the gap starts.
        after: (channels, t) known samples that start where it ends.
        length: of the gap.
        sample_rate: in Hz.
        margin: samples before and after the gap.
    """
    ends = []
    for side in (before, after):
        enough = side.shape[1] >= _OFFSET_S * sample_rate
        ends.append(np.average(side, axis=1, weights=hann(side.shape[1] + 2)[1:-1]) if enough else None)
    first, last = ends[1] if ends[0] is None else ends[0], ends[0] if ends[1] is None else ends[1]
    if first is None or last is None:
        return np.zeros((len(before), length + 2 * margin))
    share = np.clip((np.arange(length + 2 * margin) - margin) / length, 0.0, 1.0)
    return (1 - share) * first[:, None] + share * last[:, None]


def _energy(n_fft: int) -> float:
    return float(np.sum(hann(n_fft, sym=False) ** 2))


_HOPS_A_WINDOW = 4


def shaped(
    samples: np.ndarray,
    sample_rate: int,
    gains_db: np.ndarray,
    centres_hz: np.ndarray,
    times_s: np.ndarray,
    window_s: float = 0.0464,
) -> np.ndarray:
    """Return samples (t,), float64, with gains that are interpolated in dB between bands and moments.

    Args:
        samples: (t,).
        sample_rate: in Hz.
        gains_db: (bands, moments).
        centres_hz: (bands,) rising; below the first and above the last their own gains hold.
        times_s: (moments,) rising, counted from the first sample.
        window_s: length of the frames.
    """
    n_fft = 2 * round(window_s * sample_rate / 2)
    stft = ShortTimeFFT(hann(n_fft, sym=False), max(1, n_fft // _HOPS_A_WINDOW), sample_rate)
    padded = np.pad(samples.astype(np.float64), (0, max(0, n_fft - len(samples))))
    spectrum = stft.stft(padded)
    own_s = stft.t(len(padded))
    in_time = np.stack([np.interp(own_s, times_s, band) for band in gains_db])
    in_both = np.stack([np.interp(stft.f, centres_hz, moment) for moment in in_time.T], axis=1)
    return stft.istft(spectrum * 10 ** (in_both / 20), k1=len(padded))[: len(samples)]
