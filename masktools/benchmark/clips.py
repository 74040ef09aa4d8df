"""Sound to measure with, where no recording is given: made on the spot, the same everywhere."""

import numpy as np

__all__ = ["synthetic_clip"]

_NOTES_HZ = (220.0, 277.2, 329.6, 440.0, 329.6, 277.2)
_NOTE_S = 0.4


def synthetic_clip(seconds: float, sample_rate: int, n_channels: int = 1, seed: int = 0) -> np.ndarray:
    """Return plucked notes with overtones over soft bursts of noise, (n_channels, t) float32, peaks near 0.5.

    Args:
        seconds: length.
        sample_rate: in Hz.
        n_channels: each with noise of its own.
        seed: of the noise.
    """
    rng = np.random.default_rng(seed)
    time_s = np.arange(round(seconds * sample_rate)) / sample_rate
    number = (time_s // _NOTE_S).astype(int)
    since_s = time_s - number * _NOTE_S
    pitch_hz = np.asarray(_NOTES_HZ)[number % len(_NOTES_HZ)]
    overtones = np.arange(1, 13)
    audible = overtones[:, None] * pitch_hz < sample_rate / 2
    partials = np.sin(2 * np.pi * overtones[:, None] * pitch_hz * since_s) * audible
    fading = np.exp(-since_s * (3.0 + overtones[:, None])) / overtones[:, None]
    notes = (partials * fading).sum(axis=0) * np.minimum(1.0, since_s / 0.005)
    bursts = np.exp(-(time_s % 0.8) * 20.0) * rng.standard_normal((n_channels, len(time_s)))
    mixed = 0.25 * notes + 0.05 * bursts
    return (0.5 * mixed / max(1e-9, float(np.abs(mixed).max()))).astype(np.float32)
