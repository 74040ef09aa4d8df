"""Recordings while they are worked on: their samples, and how their versions are shown."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from masktools.demo.page import Scene
from masktools.demo.picture import Panel, draw
from masktools.demo.recordings import Recording
from masktools.demo.stage import Stage
from masktools.review.html import Player

__all__ = ["Take", "inside", "scene"]


class Take(NamedTuple):
    """One recording."""

    samples: np.ndarray  # (channels, t)
    sample_rate: int  # Hz

    @property
    def seconds(self) -> float:
        """Its length."""
        return self.samples.shape[1] / self.sample_rate


def inside(samples: np.ndarray) -> np.ndarray:
    """Return samples (t,) or (t, channels), as the Python face gives them, as (channels, t)."""
    array = np.asarray(samples, np.float32)
    return np.ascontiguousarray(array.T) if array.ndim == 2 else array[None]


def scene(
    stage: Stage,
    recording: Recording,
    versions: Mapping[str, np.ndarray],
    captions: Sequence[str],
    rate: int,
    gaps: tuple[tuple[float, float], ...] = (),
    cutoff_hz: float | None = None,
) -> Scene:
    """Return the players and the picture of all versions of a recording; the first is the original, the last ours."""
    clips, panels = [], []
    for caption, (kind, samples) in zip(captions, versions.items(), strict=True):
        file = stage.keep(f"{recording.name}-{kind}", samples, rate)
        clips.append(Player(caption, file, ours=kind == list(versions)[-1]))
        panels.append(Panel(caption, samples, rate, gaps, cutoff_hz))
    shown = [panel for panel, kind in zip(panels, versions, strict=True) if not kind.startswith("copied")]
    text = f"Spectrograms of {recording.title}: {', '.join(panel.title.lower() for panel in shown)}"
    return Scene(recording.title, tuple(clips), draw(shown), text)
