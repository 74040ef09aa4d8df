"""Measures of what a model made: of waves in decibels, and of sets of embeddings; numpy and scipy only."""

from masktools.metrics.bootstrap import Interval, bootstrap
from masktools.metrics.chroma import chroma_distance
from masktools.metrics.envelope import envelope_error_db, flatness_error_db
from masktools.metrics.frechet import FrechetLimit, Moments, frechet_distance, frechet_infinity, principal_axes
from masktools.metrics.inception import InceptionScore, inception_score, kl_divergence
from masktools.metrics.kernel import KernelDistance, kernel_audio_distance, kernel_distance, multiquadric_distance
from masktools.metrics.ndb import Ndb, ndb
from masktools.metrics.pauses import quiet_excess_db
from masktools.metrics.retrieval import mean_reciprocal_rank, nearest_distances, ranks, recall_at
from masktools.metrics.signal import (
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
from masktools.metrics.stft import StftDistance, stft_distance

__all__ = [
    "EnvelopeError",
    "FrechetLimit",
    "InceptionScore",
    "Interval",
    "KernelDistance",
    "Moments",
    "Ndb",
    "SpectralDistance",
    "StftDistance",
    "band_level_db",
    "bootstrap",
    "chroma_distance",
    "envelope_error_db",
    "flatness_error_db",
    "frechet_distance",
    "frechet_infinity",
    "inception_score",
    "kernel_audio_distance",
    "kernel_distance",
    "kl_divergence",
    "level_db",
    "level_error_db",
    "lsd_db",
    "lsd_split_db",
    "mean_reciprocal_rank",
    "multiquadric_distance",
    "ndb",
    "nearest_distances",
    "principal_axes",
    "quiet_excess_db",
    "ranks",
    "recall_at",
    "seam_crest_db",
    "si_sdr_db",
    "stft_distance",
    "third_octave_error_db",
]
