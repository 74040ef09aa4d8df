"""What is missing, made of what a classical method finds in the recording, in the shape that the model gives it.

The model says how loud each band is at each moment. What fills it in detail, harmonics and grain, is made from the
recording by a method of ``classical``, and then made louder and quieter band by band: a vocoder cannot know a
recording's own grain, and a classical method cannot know what was there. Where both have an estimate of the level,
half way between them in dB is nearer to the truth than either, as long as their errors have little in common.
"""

from typing import NamedTuple

import numpy as np
from scipy.ndimage import gaussian_filter

from masktools.classical.shaping import shaped
from masktools.mel import MelConfig, mel_edges_hz

__all__ = ["MAX_SHAPING_DB", "TEXTURES", "Texture", "band_gains_db", "shape"]

MAX_SHAPING_DB = 12.0  # either way
SMOOTHING = (1.0, 3.0)  # standard deviations, in bands and in frames


class Texture(NamedTuple):
    """Which classical methods make the detail, and how far its level goes from theirs to the model's, 0 to 1."""

    gap: str  # of classical.GAP_FILLS
    band: str  # of classical.BAND_FILLS
    share: float


TEXTURES: dict[str, Texture | None] = {
    "blend": Texture("spectral_noise", "replication", 0.5),
    "recording": Texture("copy", "replication", 1.0),
    "model": None,
}
"""What the detail of a restored part is made of; None is the vocoder throughout, as in the paper."""


def band_gains_db(wanted: np.ndarray, present: np.ndarray, config: MelConfig, share: float = 1.0) -> np.ndarray:
    """Return the gains in dB, (f, m), that bring a mel spectrogram towards the shape of another, smooth and bounded.

    Args:
        wanted: mel (f, m) in [-1, 1], of the shape to reach.
        present: mel (f, m) of what is to be shaped.
        config: of both.
        share: how far, from 0 (as it is) to 1.
    """
    per_unit = (config.db_max - config.db_min) / 2.0
    difference = (wanted.astype(np.float64) - present.astype(np.float64)) * per_unit
    return share * gaussian_filter(np.clip(difference, -MAX_SHAPING_DB, MAX_SHAPING_DB), SMOOTHING)


def shape(samples: np.ndarray, sample_rate: int, gains_db: np.ndarray, config: MelConfig) -> np.ndarray:
    """Return samples (t,), float64, made louder and quieter as ``gains_db`` (f, m) says, at any sample rate.

    Frame m of the gains belongs to the middle of what the mel front end reads for it; between bands and frames the
    gains are interpolated in dB. What lies above the highest band is shaped as that band is.
    """
    centres_hz = mel_edges_hz(config)[1:-1]
    frames_s = (np.arange(gains_db.shape[1]) + 0.5) * config.hop_length / config.sample_rate
    return shaped(samples, sample_rate, gains_db, centres_hz, frames_s, config.n_fft / config.sample_rate)
