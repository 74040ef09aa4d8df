"""Recordings made on the spot: noise that is lively everywhere, and tones."""

import numpy as np

RATE = 22_050


def noise(seconds=2.0, sample_rate=RATE, n_channels=1, level=0.1, seed=0):
    """Return white noise (channels, t)."""
    n = round(seconds * sample_rate)
    return np.random.default_rng(seed).normal(0, level, (n_channels, n)).astype(np.float32)


def low_passed(wave, sample_rate, cutoff_hz):
    """Return a wave with nothing above a cutoff."""
    spectrum = np.fft.rfft(wave.astype(np.float64), axis=1)
    spectrum[:, np.fft.rfftfreq(wave.shape[1], 1 / sample_rate) > cutoff_hz] = 0
    return np.fft.irfft(spectrum, wave.shape[1], axis=1).astype(np.float32)


def tones(seconds=2.0, sample_rate=RATE, hz=(220.0, 331.0, 497.0), level=0.2):
    """Return a chord (1, t)."""
    time_s = np.arange(round(seconds * sample_rate)) / sample_rate
    return np.sum([level * np.sin(2 * np.pi * one * time_s) for one in hz], axis=0)[None].astype(np.float32)


def celesta(seconds=3.0, sample_rate=44_100, seed=3):
    """Return plucked notes of a few high partials over a faint hiss (1, t): nothing was filtered."""
    rng = np.random.default_rng(seed)
    time_s = np.arange(round(seconds * sample_rate)) / sample_rate
    wave = rng.normal(0, 1e-5, len(time_s))
    for start_s in np.arange(0, seconds - 0.1, 0.21):
        age_s = np.maximum(time_s - start_s, 0)
        pitch_hz = 523.25 * 2 ** (rng.integers(0, 24) / 12)
        for partial, loud in ((1, 0.3), (4, 0.05), (9.2, 0.01)):
            ring = loud * np.exp(-age_s * 4 * partial) * np.sin(2 * np.pi * pitch_hz * partial * age_s)
            wave += np.where(time_s >= start_s, ring, 0)
    return wave[None].astype(np.float32)
