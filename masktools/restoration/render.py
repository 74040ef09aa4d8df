"""Rendering: what the model makes of windows, by its vocoder or as a classical method's wave shaped by its mel.

The model says how loud each band is at each moment. What fills it in detail, harmonics and grain, is made from the
recording by a method of ``classical``, and then made louder and quieter band by band: a vocoder cannot know a
recording's own grain, and a classical method cannot know what was there. Where both have an estimate of the level,
half way between them in dB is nearer to the truth than either, as long as their errors have little in common.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
import torch
from scipy.ndimage import gaussian_filter

from masktools.classical import BAND_FILLS
from masktools.classical.noise import shaped
from masktools.mel import MelConfig, mel_edges_hz
from masktools.pipeline import Pipeline
from masktools.restoration.recordings import Stretch

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


class Part(NamedTuple):
    """A window of a recording."""

    known: Stretch  # (channels, n) at the model's rate
    sources: np.ndarray  # (sources, n): the waves that are extended, the channels or their middle
    places: tuple[int, ...]  # of each source the one that is computed for it: equal ones are computed once
    grain: np.ndarray | None = None  # (sources, n) what a classical method makes of them


def with_grain(
    parts: Iterable[Part], texture: Texture | None, sample_rate: int, cutoff_hz: float, top_hz: float, seed: int
) -> Iterator[Part]:
    """Yield windows with what a classical method makes of them, or as they are where there is no texture.

    The method judges each window by itself; over all that neighbours share, the one's result becomes the other's.
    """
    held: Part | None = None
    for part in parts:
        if texture is None:
            yield part
            continue
        fill = BAND_FILLS[texture.band]
        own = {
            place: fill(part.sources[place][None].astype(np.float32), sample_rate, cutoff_hz, top_hz, seed)[0]
            for place in set(part.places)
        }
        grain = np.stack([own[place] for place in part.places])
        if held is not None and held.grain is not None:
            n_shared = held.known.stop - part.known.start
            rise = ((np.arange(n_shared) + 0.5) / n_shared).astype(np.float32)
            tail = held.grain[:, held.grain.shape[1] - n_shared :]
            tail += rise * (grain[:, :n_shared] - tail)
            grain[:, :n_shared] = tail
            yield held
        held = part._replace(grain=grain)
    if held is not None:
        yield held


def shaped_by_mel(pipeline: Pipeline, grain: np.ndarray, mel: np.ndarray, share: float) -> np.ndarray:
    """Return a classical method's wave (t,), brought a share of the way towards the model's mel (f, m)."""
    present = pipeline.to_mel(torch.from_numpy(np.ascontiguousarray(grain))[None])[0].cpu().numpy()
    n_frames = min(present.shape[1], mel.shape[1])
    gains_db = band_gains_db(mel[:, :n_frames], present[:, :n_frames], pipeline.mel, share)
    return shape(grain, pipeline.sample_rate, gains_db, pipeline.mel)
