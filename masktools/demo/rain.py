"""Rain on leaves in a wind that comes and goes, with drips into a puddle: the demonstration's environment."""

import numpy as np
from scipy.signal import butter, oaconvolve, sosfiltfilt

from masktools.demo.synth import add_at, band_noise, finish, with_room

__all__ = ["DRIPS_S", "SAMPLE_RATE", "play"]

SAMPLE_RATE = 44_100
DRIPS_S = (0.7, 1.45, 2.75, 3.3, 4.15, 4.8, 5.9, 6.35, 7.3)
_SECONDS, _DROPS_PER_S, _LEAVES = 8.0, 900, 24


def play() -> tuple[np.ndarray, int]:
    """Return the scene, (1, t) float32 of 8 s, and its sample rate."""
    rng = np.random.default_rng(1735)
    n = round(_SECONDS * SAMPLE_RATE)
    mix = _patter(n, rng) + 0.35 * band_noise(n, 900, 9000, SAMPLE_RATE, rng)
    mix += 1.1 * _gusts(n, rng) * band_noise(n, 90, 550, SAMPLE_RATE, rng)
    for at_s in DRIPS_S:
        add_at(mix, _drip(rng), at_s, SAMPLE_RATE)
    return finish(with_room(mix[None], SAMPLE_RATE, 0.5, 0.15, rng), SAMPLE_RATE), SAMPLE_RATE


def _patter(n: int, rng: np.random.Generator) -> np.ndarray:
    """Return drops on leaves: short rings of many pitches at random times, their levels log-normal."""
    mix = np.zeros(n)
    time_s = np.arange(round(0.012 * SAMPLE_RATE)) / SAMPLE_RATE
    for hz in np.geomspace(1100, 10_000, _LEAVES):
        hits = np.zeros(n)
        n_drops = rng.poisson(_DROPS_PER_S * _SECONDS / _LEAVES)
        np.add.at(hits, rng.integers(0, n, n_drops), rng.choice([-1, 1], n_drops) * rng.lognormal(0, 0.9, n_drops))
        ring = np.exp(-(150 + 0.15 * hz) * time_s) * np.sin(2 * np.pi * hz * rng.uniform(0.9, 1.1) * time_s)
        mix += oaconvolve(hits, ring)[:n]
    return mix


def _gusts(n: int, rng: np.random.Generator) -> np.ndarray:
    """Return the slow course of the wind's strength, between 0.2 and 1."""
    slow = sosfiltfilt(butter(2, 0.4, fs=100, output="sos"), rng.standard_normal(n * 100 // SAMPLE_RATE + 1))
    slow = (slow - slow.min()) / (slow.max() - slow.min())
    return 0.2 + 0.8 * np.interp(np.arange(n) / SAMPLE_RATE, np.arange(len(slow)) / 100, slow) ** 2


def _drip(rng: np.random.Generator) -> np.ndarray:
    """Return a drop into water: the splash, and the bubble that rings a little higher as it shrinks."""
    time_s = np.arange(round(0.18 * SAMPLE_RATE)) / SAMPLE_RATE
    hz = rng.uniform(700, 1700)
    phase = 2 * np.pi * hz * (time_s + 1.2 * time_s**2)
    bubble = np.sin(phase) * np.exp(-32 * time_s) * np.minimum(1, time_s / 0.003)
    splash = band_noise(len(time_s), 2500, 12_000, SAMPLE_RATE, rng) * np.exp(-260 * time_s)
    return rng.uniform(6.0, 9.0) * bubble + 2.0 * splash
