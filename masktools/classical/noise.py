"""Noise with a given short-time spectrum, and time-varying equalisation by bands."""

from collections.abc import Sequence

import numpy as np
from scipy.ndimage import uniform_filter1d
from scipy.signal import ShortTimeFFT
from scipy.signal.windows import hann

SPECTRUM_S = 0.1  # on either side of a gap, for the spectrum of the noise
FRAME_S = 0.046  # frame length of that noise
_RELATED_BINS = 5  # over which the coherence of channels is averaged
_DEPENDENT = 1e-6  # least share of a channel's power for a source of its own
_OFFSET_S = 0.045  # least length of a side for an estimate of its DC offset
_FAINT = 1e-12  # power; floor of powers

OVERLAP = 4  # frames that cover a sample


def frame_length(sample_rate: int, seconds: float) -> int:
    """Return the power of two, at least 64, that is nearest to a duration in samples."""
    return max(64, 2 ** round(np.log2(seconds * sample_rate)))


def mean_power(samples: np.ndarray, n_fft: int) -> np.ndarray:
    """Return the mean power spectrum (channels, n_fft // 2 + 1) of samples (channels, t), in Hann frames of n_fft.

    Samples shorter than a frame get a shorter window, with equal level. A DC offset is ignored.
    """
    return np.mean(np.abs(_spectra(samples, n_fft)) ** 2, axis=1)


def _spectra(samples: np.ndarray, n_fft: int) -> np.ndarray:
    """Return the spectra (channels, frames, bins) of samples (channels, t), without their DC offset."""
    samples = samples - samples.mean(axis=-1, keepdims=True)
    length = min(n_fft, samples.shape[-1])
    window = hann(length + 2)[1:-1]  # without the zeros at its ends
    frames = np.lib.stride_tricks.sliding_window_view(samples, length, axis=-1)[:, :: max(1, length // OVERLAP)]
    return np.fft.rfft(frames * window, n_fft) * np.sqrt(_energy(n_fft) / np.sum(window**2))


def channel_relation(sides: Sequence[np.ndarray], n_fft: int) -> np.ndarray:
    """Return the mixing matrix of channels in samples (channels, t), as weights (bins, channels, sources).

    Independent sources of unit power, mixed with these weights, have the coherence and the phase
    between channels of the samples at each frequency, averaged over the sides. The first channel is the first
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
    power = np.maximum(np.einsum("bcc->bc", smooth).real, 0.0)  # a running sum may be slightly negative
    scale = np.sqrt(power[:, :, None] * power[:, None, :])
    channels = np.arange(len(samples))
    coherence = np.divide(smooth, scale, out=np.zeros_like(smooth), where=scale > 0)
    coherence[:, channels, channels] = 1.0
    return coherence


def random_phases(
    power: np.ndarray, n_samples: int, rng: np.random.Generator, relation: np.ndarray | None = None
) -> np.ndarray:
    """Return noise (channels, n_samples), float64, with a given short-time power; equal powers give equal loudness.

    Args:
        power: (channels, bins, frames), of Hann frames of an even n_fft = 2 * (bins - 1) samples; the centre of frame
            m is sample m * n_fft / 4; the first and last frame are repeated outside.
        n_samples: number of samples, at most (frames - 1) * n_fft / 4 + 1.
        rng: random generator of the phases.
        relation: (bins, channels, sources) from ``channel_relation``; without it all channels have the same phases.
    """
    power = np.pad(power, ((0, 0), (0, 0), (OVERLAP // 2, OVERLAP // 2)), mode="edge")
    n_channels, n_bins, n_frames = power.shape
    n_fft = 2 * (n_bins - 1)
    hop = n_fft // OVERLAP
    relation = np.ones((n_bins, n_channels, 1)) if relation is None else relation
    turns = np.exp(2j * np.pi * rng.random((relation.shape[2], n_frames, n_bins)))
    turns[:, :, 0] = 0.0  # no DC
    turns = np.einsum("bcs,sfb->cfb", relation, turns)
    frames = np.fft.irfft(np.sqrt(power).transpose(0, 2, 1) * turns, n_fft) * hann(n_fft, sym=False)
    summed = np.zeros((n_channels, (n_frames + OVERLAP - 1) * hop))
    for part in range(OVERLAP):
        quarter = frames[:, :, part * hop : (part + 1) * hop].reshape(n_channels, n_frames * hop)
        summed[:, part * hop : (part + n_frames) * hop] += quarter
    # Powers of independent frames add up: n_fft / energy undoes the analysis, energy / hop the overlap.
    return summed[:, n_fft : n_fft + n_samples] * np.sqrt(n_fft * hop) / _energy(n_fft)


def noise_between(
    before: np.ndarray,
    after: np.ndarray,
    length: int,
    sample_rate: int,
    rng: np.random.Generator,
    margin: int = 0,
    frame_s: float = FRAME_S,
) -> np.ndarray:
    """Return noise (channels, length + 2 * margin) with the spectrum interpolated, in decibels, between the sides.

    Args:
        before: (channels, t) known samples that end where the gap starts; 100 ms are enough.
        after: (channels, t) known samples that start where it ends; one side may have none.
        length: length of the gap in samples, at least 1.
        sample_rate: sampling rate in Hz.
        rng: random generator of the phases.
        margin: samples of each side's own spectrum before and after the gap.
        frame_s: frame length in seconds; long frames resolve the partials of the sides, as steady tones.
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
    """Return the DC offset (channels, length + 2 * margin), linear from one side's to the other's.

    Sides too short to distinguish an offset from a low tone have none of their own.

    Args:
        before: (channels, t) known samples that end where the gap starts.
        after: (channels, t) known samples that start where it ends.
        length: length of the gap in samples.
        sample_rate: sampling rate in Hz.
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
    """Return samples (t,), float64, with gains that are interpolated in dB between bands and times.

    Args:
        samples: (t,) samples.
        sample_rate: sampling rate in Hz.
        gains_db: (bands, times) gains in dB.
        centres_hz: (bands,) rising; the outermost gains hold beyond.
        times_s: (times,) rising, from the first sample on.
        window_s: length of the frames in seconds.
    """
    n_fft = 2 * round(window_s * sample_rate / 2)
    stft = ShortTimeFFT(hann(n_fft, sym=False), max(1, n_fft // _HOPS_A_WINDOW), sample_rate)
    padded = np.pad(samples.astype(np.float64), (0, max(0, n_fft - len(samples))))
    spectrum = stft.stft(padded)
    own_s = stft.t(len(padded))
    in_time = np.stack([np.interp(own_s, times_s, band) for band in gains_db])
    in_both = np.stack([np.interp(stft.f, centres_hz, moment) for moment in in_time.T], axis=1)
    return stft.istft(spectrum * 10 ** (in_both / 20), k1=len(padded))[: len(samples)]
