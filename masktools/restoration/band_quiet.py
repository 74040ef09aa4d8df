"""The quiet guard: no hiss over pauses.

The noise floor of a recording is what it holds in its quietest moments, below its cutoff; continued above the cutoff
with its slope, it tells how loud the missing band was at least allowed to be there. Where a recording is close to its
floor, what is added to it is kept close to that continuation.
"""

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter1d

from masktools.restoration.band_level import SILENCE, at_samples, band_powers

__all__ = ["Floor", "floor_bands", "floor_of", "quiet_gain"]

QUIET_SHARE = 0.1  # of the frames that are not digital silence
NEAR_DB = 6.0  # above its floor, a recording is quiet
DYNAMICS_DB = 12.0  # by which the loud moments exceed the floor at least: steady sounds have no pauses
_LOUD_SHARE = 0.9
_RELEASE = 4.0  # dB by which the limit rises for each dB beyond NEAR_DB
_N_BANDS = 6  # over the two octaves below the cutoff, of which the floor's slope is taken
_CLEAN = 0.95  # of the cutoff, up to which a low-pass filter leaves the band as it was
_SMOOTH_FRAMES = 1.5  # standard deviation


@dataclass(frozen=True)
class Floor:
    """The noise floor of a channel; powers are mean squares of full scale 1."""

    below: float  # power in the octave below the cutoff
    above: float  # power from the cutoff to the top, by extrapolation
    cutoff_hz: float
    top_hz: float

    @property
    def octave_hz(self) -> tuple[float, float]:
        """The band in which a recording is compared with its floor."""
        return 0.5 * self.cutoff_hz, _CLEAN * self.cutoff_hz


def floor_bands(cutoff_hz: float) -> list[tuple[float, float]]:
    """Return the bands whose powers ``floor_of`` needs."""
    edges = np.geomspace(cutoff_hz / 4, _CLEAN * cutoff_hz, _N_BANDS + 1)
    return list(zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True))


def floor_of(powers: np.ndarray, cutoff_hz: float, top_hz: float) -> Floor | None:
    """Return the noise floor of a channel; None if it is silent, or has no pauses.

    Args:
        powers: (frames, bands) of the whole channel in ``floor_bands``.
        cutoff_hz: where its band ends.
        top_hz: where the band ends that is to be added.
    """
    bands = floor_bands(cutoff_hz)
    upper = np.array([low >= 0.45 * cutoff_hz for low, _ in bands])
    octave = powers[:, upper].sum(axis=1)
    heard = np.flatnonzero(octave > SILENCE**2)
    if not len(heard):
        return None
    ranked = heard[np.argsort(octave[heard], kind="stable")]
    quiet = ranked[: max(1, round(QUIET_SHARE * len(ranked)))]
    below = float(octave[quiet[-1]])
    loud = float(octave[ranked[int(_LOUD_SHARE * (len(ranked) - 1))]])
    if loud < below * 10 ** (DYNAMICS_DB / 10):
        return None
    widths, centres = (np.array([f(low, high) for low, high in bands]) for f in (_width, _centre))
    density_db = 10 * np.log10(powers[quiet].mean(axis=0) / widths + SILENCE**4)
    slope_db = min(0.0, float(np.polyfit(np.log2(centres), density_db, 1)[0]))
    level_db = float(np.mean(density_db[upper] - slope_db * np.log2(centres[upper] / cutoff_hz)))
    hertz = np.linspace(cutoff_hz, top_hz, 65)
    line = 10 ** ((level_db + slope_db * np.log2(hertz / cutoff_hz)) / 10)
    return Floor(below, float(np.trapezoid(line, hertz)), cutoff_hz, top_hz)


def _width(low: float, high: float) -> float:
    return high - low


def _centre(low: float, high: float) -> float:
    return float(np.sqrt(low * high))


def quiet_gain(
    known: np.ndarray, generated: np.ndarray, sample_rate: int, floor: Floor, guard_db: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return the gain (t,), at most 1, that keeps what is generated near the floor where the known is.

    Within 6 dB of its floor, what is added may exceed the floor's continuation by ``guard_db``; beyond, the limit rises
    fast, and soon is none.

    Args:
        known: (t,) the channel.
        generated: (t,) of which the band above the cutoff is to be added.
        sample_rate: in Hz.
        floor: of the channel.
        guard_db: in dB.

    Returns:
        The gain at each sample, and which frames, 512 samples apart, it makes quieter by more than 0.5 dB.
    """
    own = 10 * np.log10(band_powers(known, sample_rate, [floor.octave_hz])[:, 0] / floor.below + 1e-12)
    added = band_powers(generated, sample_rate, [(floor.cutoff_hz, floor.top_hz)])[:, 0]
    limit_db = 10 * np.log10(floor.above + 1e-30) + guard_db + _RELEASE * np.maximum(0.0, own - NEAR_DB)
    excess_db = np.maximum(0.0, 10 * np.log10(added + 1e-30) - limit_db)
    gain_db = -gaussian_filter1d(excess_db, _SMOOTH_FRAMES, mode="nearest")
    return at_samples(10 ** (gain_db / 20), len(known)), gain_db < -0.5
