"""What an added band is made of in detail: a classical method's band, brought towards the model's shape."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
import torch

from masktools.classical import BAND_FILLS
from masktools.pipeline import Pipeline
from masktools.restoration.band_streams import Stretch
from masktools.restoration.texture import Texture, band_gains_db, shape

__all__ = ["Part", "shaped", "with_grain"]


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


def shaped(pipeline: Pipeline, grain: np.ndarray, mel: np.ndarray, share: float) -> np.ndarray:
    """Return a classical method's wave (t,), brought a share of the way towards the model's mel (f, m)."""
    present = pipeline.to_mel(torch.from_numpy(np.ascontiguousarray(grain))[None])[0].cpu().numpy()
    n_frames = min(present.shape[1], mel.shape[1])
    gains_db = band_gains_db(mel[:, :n_frames], present[:, :n_frames], pipeline.mel, share)
    return shape(grain, pipeline.sample_rate, gains_db, pipeline.mel)
