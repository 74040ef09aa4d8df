"""Quality measures: of waves, in decibels, and of sets of embeddings; numpy and scipy only."""

from masktools.metrics.fills import chroma_distance, envelope_error_db, flatness_error_db
from masktools.metrics.sets import (
    InceptionScore,
    Interval,
    KernelDistance,
    Ndb,
    bootstrap,
    frechet_distance,
    inception_score,
    kernel_distance,
    kl_divergence,
    multiquadric_distance,
    ndb,
    principal_axes,
    ranks,
)
from masktools.metrics.signal import (
    EnvelopeError,
    SpectralDistance,
    StftDistance,
    band_level_db,
    level_db,
    level_error_db,
    lsd_db,
    lsd_split_db,
    quiet_excess_db,
    seam_crest_db,
    si_sdr_db,
    stft_distance,
    third_octave_error_db,
)

__all__ = [
    "EnvelopeError", "InceptionScore", "Interval", "KernelDistance", "Ndb", "SpectralDistance", "StftDistance",
    "band_level_db", "bootstrap", "chroma_distance", "envelope_error_db", "flatness_error_db", "frechet_distance",
    "inception_score", "kernel_distance", "kl_divergence", "level_db", "level_error_db", "lsd_db", "lsd_split_db",
    "multiquadric_distance", "ndb", "principal_axes", "quiet_excess_db", "ranks", "seam_crest_db", "si_sdr_db",
    "stft_distance", "third_octave_error_db",
]  # fmt: skip
