"""Measures of what a restorer or a generator made, in decibels, with numpy and scipy only."""

from masktools.evaluation.signal import (
    EnvelopeError,
    SpectralDistance,
    band_level_db,
    level_db,
    level_error_db,
    lsd_db,
    lsd_split_db,
    seam_crest_db,
    si_sdr_db,
    third_octave_error_db,
)

__all__ = [
    "EnvelopeError",
    "SpectralDistance",
    "band_level_db",
    "level_db",
    "level_error_db",
    "lsd_db",
    "lsd_split_db",
    "seam_crest_db",
    "si_sdr_db",
    "third_octave_error_db",
]
