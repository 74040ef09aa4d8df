"""Where a spectrum drops off a shelf: the edge that a low-pass filter left, and how deep the fall is.

A recording that was band-limited goes on evenly up to the edge, falls within a narrow band, and has nothing but a
steady floor above. One that merely gets quieter towards the top, or whose notes have no higher partials, falls over
a wide band, or is alive above: what is there comes and goes with the sound.
"""

from bisect import insort
from typing import NamedTuple

import numpy as np
from scipy.ndimage import median_filter

from masktools.detection.spectra import LongSpectrum

__all__ = ["Shelf", "find_shelves"]

BELOW_HZ = 400.0  # before the fall
GAP_HZ, GAP_SHARE = 150.0, 0.03  # that a fall may take, and as a share of its frequency
LOWEST_HZ, TOP_HZ = 1000.0, 450.0  # of a fall: the frequency, and below the top of the spectrum
QUANTILE, MARGIN_DB = 0.995, 3.0  # of what lies above
PLATEAU = (0.80, 0.95)  # of the edge
EDGE_DB = 6.0  # below the plateau
SMOOTH_HZ = 100.0
SHOULDER, FOOT = (0.95, 0.99), (1.06, 1.10)  # of the edge: between them lies the fall
FLOOR_FROM, FLOOR_TO, FLOOR_HZ = 1.12, 0.98, 600.0  # of the edge, of the top, and the least that is looked at
APART = 1.2  # ratio of the frequencies of two falls
MAX_FALLS = 4
_STEPS = 4


class Shelf(NamedTuple):
    """A fall of a spectrum."""

    edge_hz: float  # the last frequency within 6 dB of the plateau below
    drop_db: float
    steepness_db: float  # fallen from just below the edge to 8 % above it
    liveliness_db: float  # of what lies above: its 90 % quantile over time less its median; steady noise has 5


def find_shelves(spectrum: LongSpectrum) -> list[Shelf]:
    """Return the deepest falls of a spectrum, however shallow, the deepest first; none where the spectrum is too short.

    The fall at a frequency is the median of the 400 Hz below less the 99.5 % quantile of all that lies above, plus
    3 dB; or less the median of all that lies above, where that is the lesser.
    """
    hz, level = spectrum.hz, spectrum.loud_db
    step = hz[1]
    n_below, n_smooth = max(1, round(BELOW_HZ / step)), max(1, round(SMOOTH_HZ / step)) | 1
    places = np.arange(max(n_below, round(LOWEST_HZ / step)), len(hz) - round(TOP_HZ / step))
    if not len(places):
        return []
    n_gap = np.maximum(GAP_HZ / step, GAP_SHARE * places).round().astype(int)
    after = np.minimum(places + n_gap, len(hz) - round((TOP_HZ - GAP_HZ) / step))
    windows = np.lib.stride_tricks.sliding_window_view(level, n_below)
    below = np.median(windows, axis=1)[places - n_below]
    highest, middle = (_quantiles_above(level, share)[after] for share in (QUANTILE, 0.5))
    drops = np.minimum(below - highest + MARGIN_DB, below - middle)
    smooth = median_filter(level, n_smooth)
    shelves: list[Shelf] = []
    left = np.ones(len(drops), bool)
    while len(shelves) < MAX_FALLS and left.any():
        deepest = int(np.argmax(np.where(left, drops, -np.inf)))
        place = int(places[deepest])
        edge = _edge(level, smooth, place, int(after[deepest]))
        shelves.append(_shelf(spectrum, edge, float(drops[deepest])))
        left &= (places < place / APART) | (places > place * APART)
    return shelves


def _shelf(spectrum: LongSpectrum, edge: int, drop_db: float) -> Shelf:
    hz, level = spectrum.hz, spectrum.loud_db
    steepness = _level(level, edge, SHOULDER) - _level(level, edge, FOOT)
    floor = slice(int(min(FLOOR_FROM * edge, len(hz) - FLOOR_HZ / hz[1])), int(FLOOR_TO * len(hz)))
    liveliness = float(np.median(level[floor] - spectrum.median_db[floor]))
    return Shelf(float(hz[edge]), drop_db, steepness, liveliness)


def _level(level: np.ndarray, edge: int, band: tuple[float, float]) -> float:
    """Return the median level of a band, which is given as shares of the edge."""
    low = min(int(band[0] * edge), len(level) - 3)
    return float(np.median(level[low : max(int(band[1] * edge), low + 3)]))


def _edge(level: np.ndarray, smooth: np.ndarray, place: int, after: int) -> int:
    """Return the last bin within 6 dB of the plateau; the plateau follows the edge until both agree."""
    edge = place
    for _ in range(_STEPS):
        low, high = int(PLATEAU[0] * edge), max(int(PLATEAU[1] * edge), int(PLATEAU[0] * edge) + 1)
        near = np.flatnonzero(smooth[low:after] >= np.median(level[low:high]) - EDGE_DB)
        found = low + int(near[-1]) if len(near) else edge
        if abs(found - edge) <= 1:
            return found
        edge = found
    return edge


def _quantiles_above(values: np.ndarray, share: float) -> np.ndarray:
    """Return for each place the quantile of the values from there to the end."""
    ordered: list[float] = []
    found = np.empty(len(values))
    for place in range(len(values) - 1, -1, -1):
        insort(ordered, float(values[place]))
        position = share * (len(ordered) - 1)
        lower = int(position)
        upper = min(lower + 1, len(ordered) - 1)
        found[place] = ordered[lower] + (position - lower) * (ordered[upper] - ordered[lower])
    return found
