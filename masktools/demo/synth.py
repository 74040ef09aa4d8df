"""What the instruments of the demonstration share: filtered noise, rooms, and a common loudness."""

import numpy as np
from scipy.signal import butter, oaconvolve, sosfilt

__all__ = ["add_at", "band_noise", "finish", "with_room"]


def band_noise(n: int, low_hz: float, high_hz: float, sample_rate: int, rng: np.random.Generator) -> np.ndarray:
    """Return n samples of noise between two frequencies, of root mean square 1."""
    sos = butter(2, (low_hz, min(high_hz, 0.499 * sample_rate)), "bandpass", fs=sample_rate, output="sos")
    noise = np.asarray(sosfilt(sos, rng.standard_normal(n + sample_rate // 20)))[-n:]  # the filter has settled
    return noise / np.sqrt(np.mean(noise**2))


def add_at(mix: np.ndarray, sound: np.ndarray, at_s: float, sample_rate: int) -> None:
    """Add a sound (..., t) to a mix in place; what lies beyond the mix's end is lost."""
    start = round(at_s * sample_rate)
    n = max(0, min(sound.shape[-1], mix.shape[-1] - start))
    mix[..., start : start + n] += sound[..., :n]


def with_room(dry: np.ndarray, sample_rate: int, decay_s: float, share: float, rng: np.random.Generator) -> np.ndarray:
    """Return sound (channels, t) in a room: each channel with its own echo of exponentially decaying noise.

    Args:
        dry: The sound without a room.
        sample_rate: In Hz.
        decay_s: Time in which the echo falls by 60 dB.
        share: Level of the echo beside the sound, from 0.
        rng: Where the echo's noise comes from.
    """
    n, time_s = dry.shape[-1], np.arange(round(decay_s * sample_rate)) / sample_rate
    echo = rng.standard_normal((len(dry), len(time_s))) * 10 ** (-3 * time_s / decay_s)
    echo[:, : sample_rate // 100] = 0.0  # the first wall is 3 m away
    echo /= np.sqrt(np.sum(echo**2, axis=1, keepdims=True))
    return dry + share * oaconvolve(dry, echo, axes=-1)[:, :n]


def finish(mix: np.ndarray, sample_rate: int, peak: float = 0.7) -> np.ndarray:
    """Return a mix (channels, t) as float32 without offset, of a common peak, with ends faded over 20 ms."""
    mix = mix - mix.mean(axis=-1, keepdims=True)
    ramp = np.linspace(0.0, 1.0, sample_rate // 50)
    mix[..., : len(ramp)] *= ramp
    mix[..., -len(ramp) :] *= ramp[::-1]
    return (peak * mix / np.abs(mix).max()).astype(np.float32)
