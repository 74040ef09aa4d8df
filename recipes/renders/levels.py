"""What the renders have in common with recordings: levels, ends, and how far their spectra reach."""

import numpy as np
from scipy.ndimage import maximum_filter1d, uniform_filter1d
from scipy.signal import oaconvolve, stft

# Share of the training music that lies below each level: the renders are given the same spread.
_SHARES, _LEVELS_DB = (
    (0.0, 0.05, 0.25, 0.5, 0.75, 0.9, 0.97, 1.0),
    (-34.0, -27.6, -22.1, -18.6, -15.6, -12.5, -10.5, -9.5),
)
_PEAK = 0.97
_FLOOR_DB = 85.0  # below the loudest band, as in the manifest of the recordings


def typical_level_db(rng: np.random.Generator) -> float:
    """Return a root mean square level, in dB of full scale, as often as the training music has it."""
    return float(np.interp(rng.random(), _SHARES, _LEVELS_DB))


def rms_db(wave: np.ndarray) -> float:
    """Return the root mean square level of samples (t,), in dB of full scale."""
    return float(10 * np.log10(np.mean(np.square(wave, dtype=np.float64)) + 1e-20))


def scaled(wave: np.ndarray, level_db: float, sample_rate: int) -> np.ndarray:
    """Return samples (t,) at a level, as float32, with peaks beyond full scale held down for some milliseconds.

    Silence stays silence; what is so peaky that limiting costs level comes out softer than asked for.
    """
    level = rms_db(wave)
    if level < -120:
        return wave.astype(np.float32)
    loud = wave * 10 ** ((level_db - level) / 20)
    reach = max(1, sample_rate // 200)
    around = maximum_filter1d(np.abs(loud), 2 * reach + 1)
    gain = uniform_filter1d(np.minimum(1.0, _PEAK / np.maximum(around, 1e-9)), reach)
    return np.clip(loud * gain, -_PEAK, _PEAK).astype(np.float32)


def faded(wave: np.ndarray, sample_rate: int, in_s: float = 0.01, out_s: float = 0.05) -> np.ndarray:
    """Return samples (t,) whose ends rise from silence and fall to it."""
    n_in, n_out = (min(len(wave), max(1, round(s * sample_rate))) for s in (in_s, out_s))
    wave = wave.copy()
    wave[:n_in] *= np.linspace(0, 1, n_in)
    wave[-n_out:] *= np.linspace(1, 0, n_out)
    return wave


def room(wave: np.ndarray, sample_rate: int, decay_s: float, share: float, rng: np.random.Generator) -> np.ndarray:
    """Return samples (t,) in a room: with an echo of noise that falls by 60 dB in ``decay_s``.

    Args:
        wave: The samples.
        sample_rate: In Hz.
        decay_s: In seconds, above 0.
        share: Level of the echo beside the sound, from 0.
        rng: Where the echo's noise comes from.
    """
    time_s = np.arange(max(2, round(decay_s * sample_rate))) / sample_rate
    noise = uniform_filter1d(rng.standard_normal(len(time_s)), int(rng.integers(1, 5)))  # walls swallow the treble
    echo = noise * 10 ** (-3 * time_s / decay_s)
    echo[: sample_rate // 250] = 0.0
    echo /= np.sqrt(np.sum(echo**2)) + 1e-12
    return wave + share * oaconvolve(wave, echo)[: len(wave)]


def _mean_spectrum(wave: np.ndarray, sample_rate: int) -> tuple[np.ndarray, np.ndarray]:
    n = min(1024, len(wave))
    frequencies, _, bins = stft(wave, sample_rate, nperseg=n)
    return frequencies, np.abs(bins)


def bandwidth_hz(wave: np.ndarray, sample_rate: int) -> int:
    """Return the highest frequency at which samples (t,) come within 85 dB of their loudest, in Hz."""
    frequencies, magnitude = _mean_spectrum(wave, sample_rate)
    power = (magnitude**2).mean(axis=1)
    reached = np.flatnonzero(power > power.max() * 10 ** (-_FLOOR_DB / 10))
    return int(frequencies[reached[-1]]) if power.max() > 0 else 0


def centroid_hz(wave: np.ndarray, sample_rate: int) -> float:
    """Return the frequency about which the mean magnitude spectrum of samples (t,) is balanced, in Hz."""
    frequencies, magnitude = _mean_spectrum(wave, sample_rate)
    mean = magnitude.mean(axis=1)
    return float((frequencies * mean).sum() / (mean.sum() + 1e-12))
