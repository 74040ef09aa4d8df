"""How much louder what was generated must be, band by band, to fit what is known beside a region."""

from collections.abc import Sequence
from math import ceil

import numpy as np

from masktools.restoration.regions import Region
from masktools.restoration.repair_frames import Frames, is_damaged

__all__ = ["level_gains_db"]

SHOULDER_S = 0.15  # of known audio before and after a region
MAX_GAIN_DB = 6.0  # either way
BAND_SHARE, LEAST_BAND_BINS = 0.23, 6  # of a frequency, a third of an octave; bins
_FAINT = 1e-12  # power of a sample


def level_gains_db(
    generated: np.ndarray, known: np.ndarray, frames: Frames, damaged: Sequence[Region]
) -> tuple[np.ndarray, np.ndarray]:
    """Return the gains in dB at the start and at the end of a region, (voices, bins) each.

    Levels are compared in thirds of octaves before and after the region; where one side is not known, by the other.
    Where no side is known, what is below and above the region during its time is compared as a whole.

    Args:
        generated: (voices, t) what was generated, known audio too.
        known: (voices, t) in the same place.
        frames: of the region.
        damaged: regions of the recording, in which nothing is compared.
    """
    half = frames.n_fft // 2
    steps = frames.hop * np.arange(max(1, ceil(SHOULDER_S * frames.sample_rate / frames.hop)))
    sides = []
    for centres in ((frames.start - half - steps)[::-1], frames.stop + half + steps):
        inside = centres[(centres >= half) & (centres + half <= known.shape[1])]
        sides.append(_gains_db(generated, known, frames, damaged, inside, smooth=True))
    found = [gains_db for gains_db in sides if gains_db is not None]
    if not found:
        during = frames.centres(0, frames.n_frames)
        middle = _gains_db(generated, known, frames, damaged, during, smooth=False)
        found = [np.zeros((len(known), half + 1)) if middle is None else middle]
    return found[0], found[-1]


def _gains_db(
    generated: np.ndarray,
    known: np.ndarray,
    frames: Frames,
    damaged: Sequence[Region],
    centres: np.ndarray,
    smooth: bool,
) -> np.ndarray | None:
    """Return the gains (voices, bins) that some frames ask for; None where they hold nothing to compare."""
    if not len(centres):
        return None
    cells = ~is_damaged(frames, damaged, centres)
    if not cells.any():
        return None
    made, there = ((np.abs(frames.spectra(waves, centres)) ** 2 * cells).sum(axis=1) for waves in (generated, known))
    made, there = (_in_bands(power) if smooth else power.sum(axis=1, keepdims=True) for power in (made, there))
    faint = _FAINT * np.sum(frames.window**2)
    gains_db = 10 * np.log10((there + faint) / (made + faint))
    return np.broadcast_to(np.clip(gains_db, -MAX_GAIN_DB, MAX_GAIN_DB), (len(known), len(frames.hertz)))


def _in_bands(power: np.ndarray) -> np.ndarray:
    """Return powers (voices, bins) summed over a third of an octave around each bin."""
    n_bins = power.shape[1]
    total = np.concatenate([np.zeros((len(power), 1)), np.cumsum(power, axis=1)], axis=1)
    reach = np.maximum(LEAST_BAND_BINS, BAND_SHARE * np.arange(n_bins)) / 2
    low = np.clip(np.arange(n_bins) - np.round(reach), 0, n_bins).astype(int)
    high = np.clip(np.arange(n_bins) + np.round(reach) + 1, 0, n_bins).astype(int)
    return total[:, high] - total[:, low]
