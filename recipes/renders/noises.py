"""Sounds of surroundings made by rule: weather, water, fire, machines, steps, clocks and birds."""

from collections.abc import Callable

import numpy as np
from scipy.signal import butter, oaconvolve, sosfilt

from masktools.core.errors import unknown_name

Noise = Callable[[int, int, np.random.Generator], np.ndarray]


def noise(name: str, n: int, sample_rate: int, rng: np.random.Generator) -> np.ndarray:
    """Return n samples of a sound, of root mean square 1.

    Args:
        name: Of the sound.
        n: Number of samples.
        sample_rate: In Hz.
        rng: What draws it.

    Raises:
        ParameterError: There is no such sound.
    """
    if name not in NOISES:
        raise unknown_name("noise", name, NOISES)
    sound = NOISES[name](n, sample_rate, rng)
    return sound / (np.sqrt(np.mean(sound**2)) + 1e-12)


def _band(n: int, low_hz: float, high_hz: float, rate: int, rng: np.random.Generator) -> np.ndarray:
    sos = butter(2, (low_hz, min(high_hz, 0.49 * rate)), "bandpass", fs=rate, output="sos")
    sound = np.asarray(sosfilt(sos, rng.standard_normal(n + rate // 10)))[-n:]
    return sound / np.sqrt(np.mean(sound**2))


def _course(n: int, rate: int, every_s: float, low: float, rng: np.random.Generator) -> np.ndarray:
    """Return a smooth course between ``low`` and 1 that turns about every so many seconds."""
    n_points = max(3, int(n / rate / every_s) + 2)
    points = rng.uniform(low, 1.0, n_points)
    at = np.arange(n) / n * (n_points - 1)
    left = np.minimum(at.astype(int), n_points - 2)
    share = (1 - np.cos(np.pi * (at - left))) / 2
    return points[left] * (1 - share) + points[left + 1] * share


def _hits(n: int, rate: int, a_second: float, spread: float, rng: np.random.Generator) -> np.ndarray:
    hits = np.zeros(n)
    n_hits = rng.poisson(a_second * n / rate)
    np.add.at(hits, rng.integers(0, n, n_hits), rng.choice((-1, 1), n_hits) * rng.lognormal(0, spread, n_hits))
    return hits


def _decay(rate: int, seconds: float) -> np.ndarray:
    return 10 ** (-3 * np.arange(max(2, round(seconds * rate))) / rate / seconds)


def _rain(n: int, rate: int, rng: np.random.Generator) -> np.ndarray:
    heavy = rng.uniform(0.1, 1.0)
    sound = heavy * _band(n, rng.uniform(300, 1200), rng.uniform(7000, 10_500), rate, rng)
    for hz in np.geomspace(1200, 9500, 8):
        ring = _decay(rate, 0.02) * np.sin(2 * np.pi * hz * rng.uniform(0.9, 1.1) * np.arange(rate // 50) / rate)
        sound += oaconvolve(_hits(n, rate, rng.uniform(10, 150), 0.9, rng), ring)[:n] * 0.5
    return sound * _course(n, rate, 6.0, 0.6, rng)


def _wind(n: int, rate: int, rng: np.random.Generator) -> np.ndarray:
    low = _course(n, rate, 2.5, 0.1, rng) ** 2 * _band(n, 60, rng.uniform(300, 700), rate, rng)
    high = _course(n, rate, 1.5, 0.0, rng) ** 3 * _band(n, 500, rng.uniform(1500, 4000), rate, rng)
    return low + rng.uniform(0.1, 0.6) * high


def _waves(n: int, rate: int, rng: np.random.Generator) -> np.ndarray:
    phase = 2 * np.pi * np.cumsum(_course(n, rate, 8.0, 0.6, rng)) / rate / rng.uniform(4, 9)
    swell = (0.5 + 0.5 * np.sin(phase)) ** 3
    return 0.3 * _band(n, 80, 600, rate, rng) + swell * _band(n, 300, rng.uniform(4000, 10_000), rate, rng)


def _fire(n: int, rate: int, rng: np.random.Generator) -> np.ndarray:
    snap = _decay(rate, rng.uniform(0.004, 0.02)) * rng.standard_normal(1)
    crackle = oaconvolve(_hits(n, rate, rng.uniform(5, 30), 1.2, rng), snap)[:n]
    return 0.15 * _band(n, 40, 400, rate, rng) + 0.04 * _band(n, 2000, 9000, rate, rng) + crackle


def _engine(n: int, rate: int, rng: np.random.Generator) -> np.ndarray:
    hz = rng.uniform(25, 90) * (0.7 + 0.6 * _course(n, rate, 4.0, 0.2, rng))
    phase = 2 * np.pi * np.cumsum(hz) / rate
    sound = sum(rng.uniform(0.2, 1.0) / k * np.sin(k * phase + rng.uniform(0, 6)) for k in range(1, 40))
    return sound * (1 + 0.3 * np.sin(phase / 2)) + 0.4 * _band(n, 100, rng.uniform(1500, 6000), rate, rng)


def _hum(n: int, rate: int, rng: np.random.Generator) -> np.ndarray:
    time_s, hz = np.arange(n) / rate, float(rng.choice((50, 60, 100, 120)))
    sound = sum(rng.uniform(0, 1) / k * np.sin(2 * np.pi * k * hz * time_s) for k in range(1, 20))
    return sound + rng.uniform(0.1, 0.6) * _band(n, 50, rng.uniform(2000, 10_000), rate, rng)


def _hiss(n: int, rate: int, rng: np.random.Generator) -> np.ndarray:
    return _band(n, rng.uniform(40, 400), rng.uniform(4000, 10_700), rate, rng)


def _clock(n: int, rate: int, rng: np.random.Generator) -> np.ndarray:
    hits = np.zeros(n)
    period = round(rate * float(rng.choice((0.25, 0.5, 1.0))) * rng.uniform(0.97, 1.03))
    hits[::period], hits[period // 2 :: period] = 1.0, rng.uniform(0.4, 0.9)
    tick = _decay(rate, 0.03)
    ring = sum(np.sin(2 * np.pi * rng.uniform(1500, 8000) * np.arange(len(tick)) / rate) for _ in range(4))
    return oaconvolve(hits, tick * ring)[:n] + 0.004 * rng.standard_normal(n)


def _steps(n: int, rate: int, rng: np.random.Generator) -> np.ndarray:
    sound, at, pace = 0.003 * rng.standard_normal(n), 0, rate * rng.uniform(0.4, 0.7)
    top = rng.uniform(1500, 9000)
    while at < n - rate // 2:
        thud = np.exp(-np.arange(rate // 6) / rate * rng.uniform(30, 60)) * _band(rate // 6, 70, top, rate, rng)
        sound[at : at + len(thud)] += rng.uniform(0.6, 1.2) * thud
        at += int(pace * rng.uniform(0.92, 1.08))
    return sound


def _birds(n: int, rate: int, rng: np.random.Generator) -> np.ndarray:
    sound = 0.01 * _band(n, 200, 6000, rate, rng)
    calls = [(rng.uniform(2200, 6500), rng.uniform(-0.4, 0.4), rng.uniform(0.04, 0.2)) for _ in range(3)]
    at = 0.0
    while at < n / rate - 3:
        hz, bend, seconds = calls[rng.integers(3)]
        for _ in range(int(rng.integers(1, 7))):
            time_s = np.arange(round(seconds * rate)) / rate
            chirp = np.sin(2 * np.pi * hz * (time_s + bend * time_s**2 / seconds / 2)) * np.sin(
                np.pi * time_s / seconds
            )
            start = round(at * rate)
            part = sound[start : start + len(chirp)]
            part += rng.uniform(0.3, 1.0) * chirp[: len(part)]
            at += seconds * rng.uniform(1.2, 1.8)
        at += rng.exponential(0.8)
    return sound


NOISES: dict[str, Noise] = {
    "rain": _rain,
    "wind": _wind,
    "sea_waves": _waves,
    "crackling_fire": _fire,
    "engine": _engine,
    "hum": _hum,
    "noise": _hiss,
    "clock_tick": _clock,
    "footsteps": _steps,
    "birds": _birds,
}
"""All sounds, by their labels."""
