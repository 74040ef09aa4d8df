"""How high a recording reaches: the cutoff of the low-pass filter that it went through, if it went through one."""

from dataclasses import dataclass

import numpy as np

from masktools.detection.shelf import Shelf, find_shelves
from masktools.detection.spectra import LongSpectrum, SpectrumSurvey
from masktools.detection.waves import checked_wave
from masktools.errors import ParameterError

__all__ = ["MIN_DROP_DB", "Bandwidth", "find_bandwidth", "judge"]

MIN_DROP_DB = 15.0
CLEAR_DROP_DB = 30.0  # from here on whatever is left above does not matter
MAX_LIVELINESS_DB, MIN_STEEPNESS_DB = 6.0, 8.0  # of a fall less deep than that
ENOUGH_FRAMES = 16
_SCALE_DB = 8.0


@dataclass(frozen=True)
class Bandwidth:
    """The cutoff of a recording, and how sure it is."""

    cutoff_hz: float | None  # None where the recording is full-band, or falls too gently to say where
    drop_db: float  # of the deepest fall of its spectrum, whether it counts as a cutoff or not
    confidence: float  # in [0, 1], of the answer that was given, be it a cutoff or none

    def __post_init__(self) -> None:
        """Check every range."""
        if self.cutoff_hz is not None and not self.cutoff_hz > 0:
            raise ParameterError(f"cutoff_hz must be above 0 Hz, got {self.cutoff_hz:g} Hz")
        if not 0 <= self.confidence <= 1:
            raise ParameterError(f"confidence must lie in [0, 1], got {self.confidence:g}")


def find_bandwidth(samples: np.ndarray, sample_rate: int, min_drop_db: float = MIN_DROP_DB) -> Bandwidth:
    """Return the cutoff above which a recording holds nothing but a floor.

    The powers of all channels are averaged: a recording reaches as high as its best channel. None is found in one
    that is silent or shorter than about 0.1 s, and none where the filter fell gently (a Butterworth of order 8, say).

    Args:
        samples: (channels, t), full scale 1; what is not finite counts as silence.
        sample_rate: in Hz.
        min_drop_db: the least depth of a fall that counts.

    Raises:
        ParameterError: samples of another shape or kind, a sample rate that is none, or a depth that is not positive.
    """
    wave = checked_wave(samples, sample_rate)
    survey = SpectrumSurvey(sample_rate, wave.shape[0])
    survey.feed(np.nan_to_num(wave, nan=0.0, posinf=0.0, neginf=0.0))
    return judge(survey.finish(), min_drop_db)


def judge(spectrum: LongSpectrum, min_drop_db: float = MIN_DROP_DB) -> Bandwidth:
    """Return the cutoff of the recording that has such a spectrum.

    Raises:
        ParameterError: a depth that is not positive.
    """
    if not min_drop_db > 0:
        raise ParameterError(f"min_drop_db must be above 0 dB, got {min_drop_db:g} dB")
    shelves = find_shelves(spectrum) if spectrum.n_frames else []
    if not shelves:
        return Bandwidth(None, 0.0, 0.0)
    enough = min(1.0, spectrum.n_frames / ENOUGH_FRAMES)
    deepest_db = shelves[0].drop_db
    shelf = next((one for one in shelves if one.drop_db >= min_drop_db and _is_cutoff(one)), None)
    if shelf is not None:
        return Bandwidth(shelf.edge_hz, shelf.drop_db, enough * _sure(shelf.drop_db - min_drop_db))
    in_doubt = deepest_db >= min_drop_db  # it falls far, but not as a filter makes it fall
    return Bandwidth(None, deepest_db, enough * (0.5 if in_doubt else _sure(min_drop_db - deepest_db)))


def _sure(distance_db: float) -> float:
    """Return the confidence in an answer that is so far from another one."""
    return float(1 - 0.5 * np.exp(-distance_db / _SCALE_DB))


def _is_cutoff(shelf: Shelf) -> bool:
    """Tell a filter's edge from a recording that is merely quiet above: by its depth, or by its shape and its floor."""
    steep_to_a_floor = shelf.liveliness_db <= MAX_LIVELINESS_DB and shelf.steepness_db >= MIN_STEEPNESS_DB
    return shelf.drop_db >= CLEAR_DROP_DB or steep_to_a_floor
