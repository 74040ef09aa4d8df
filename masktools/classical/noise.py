"""Noise with a given short-time spectrum: the power of each frame, with phases of chance."""

import numpy as np
from scipy.signal.windows import hann

__all__ = ["OVERLAP", "SPECTRUM_S", "frame_length", "mean_power", "noise_between", "random_phases"]

SPECTRUM_S = 0.1  # on either side of a gap, whose spectrum the noise takes
FRAME_S = 0.046  # of that noise
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
    samples = samples - samples.mean(axis=-1, keepdims=True)
    length = min(n_fft, samples.shape[-1])
    window = hann(length + 2)[1:-1]  # without the zeros at its ends
    frames = np.lib.stride_tricks.sliding_window_view(samples, length, axis=-1)[:, :: max(1, length // OVERLAP)]
    power = np.mean(np.abs(np.fft.rfft(frames * window, n_fft)) ** 2, axis=1)
    return power * (_energy(n_fft) / np.sum(window**2))


def random_phases(power: np.ndarray, n_samples: int, rng: np.random.Generator) -> np.ndarray:
    """Return noise (channels, n_samples), float64, whose frames have a given power; equal powers give equal loudness.

    All channels have the same phases, so that what is equal in them stays equal.

    Args:
        power: (channels, bins, frames), of Hann frames of an even n_fft = 2 * (bins - 1) samples; the middle of frame
            m is sample m * n_fft / 4; what lies outside the first and the last has their power.
        n_samples: at most (frames - 1) * n_fft / 4 + 1.
        rng: where the phases come from.
    """
    power = np.pad(power, ((0, 0), (0, 0), (OVERLAP // 2, OVERLAP // 2)), mode="edge")
    n_channels, n_bins, n_frames = power.shape
    n_fft = 2 * (n_bins - 1)
    hop = n_fft // OVERLAP
    turns = np.exp(2j * np.pi * rng.random((n_frames, n_bins)))
    turns[:, 0] = 0.0  # a constant is no noise
    frames = np.fft.irfft(np.sqrt(power).transpose(0, 2, 1) * turns, n_fft) * hann(n_fft, sym=False)
    summed = np.zeros((n_channels, (n_frames + OVERLAP - 1) * hop))
    for part in range(OVERLAP):
        quarter = frames[:, :, part * hop : (part + 1) * hop].reshape(n_channels, n_frames * hop)
        summed[:, part * hop : (part + n_frames) * hop] += quarter
    # Independent frames add up by their powers: n_fft / energy undoes the analysis, energy / hop the overlap.
    return summed[:, n_fft : n_fft + n_samples] * np.sqrt(n_fft * hop) / _energy(n_fft)


def noise_between(
    before: np.ndarray, after: np.ndarray, length: int, sample_rate: int, rng: np.random.Generator, margin: int = 0
) -> np.ndarray:
    """Return noise (channels, length + 2 * margin) whose spectrum goes, in decibels, from one side's to the other's.

    Args:
        before: (channels, t) known samples that end where the gap starts; 100 ms are good.
        after: (channels, t) known samples that start where it ends; one side may have none.
        length: of the gap, at least 1.
        sample_rate: in Hz.
        rng: where the phases come from.
        margin: samples of each side's own colour before and after the gap.
    """
    n_fft = frame_length(sample_rate, FRAME_S)
    enough = min(n_fft // 16, max(before.shape[1], after.shape[1]))
    spectra = [mean_power(side, n_fft) for side in (before, after) if side.shape[1] >= enough]
    hop = n_fft // OVERLAP
    share = np.clip((np.arange((length + 2 * margin) // hop + 2) * hop - margin) / length, 0.0, 1.0)
    first, last = (np.log(spectrum.clip(_FAINT))[..., None] for spectrum in (spectra[0], spectra[-1]))
    silent = (spectra[0] <= _FAINT) & (spectra[-1] <= _FAINT)
    power = np.where(silent[..., None], 0.0, np.exp((1 - share) * first + share * last))
    return random_phases(power, length + 2 * margin, rng)


def _energy(n_fft: int) -> float:
    return float(np.sum(hann(n_fft, sym=False) ** 2))
