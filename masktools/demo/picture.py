"""Spectrograms of the demonstration's recordings: all that are compared on one scale, up to where the model reaches."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from masktools.demo.measure import RATE
from masktools.errors import ParameterError
from masktools.review import panels as drawn
from masktools.review.spectra import Rows, mean_levels, spectrogram, top_level_db

__all__ = ["Panel", "draw"]

_ROWS = Rows(RATE / 2, 150)
_RANGE_DB = 70.0


@dataclass(frozen=True)
class Panel:
    """One spectrogram of a picture, and what is marked in it."""

    title: str
    samples: np.ndarray  # (channels, t)
    sample_rate: int  # Hz
    gaps: tuple[tuple[float, float], ...] = ()  # start and end in seconds
    cutoff_hz: float | None = None


def draw(panels: Sequence[Panel], *, n_cols: int = 900) -> bytes:
    """Return a PNG of spectrograms one below the other, each beside its colour bar.

    Gaps are bracketed by lines at their edges, a cutoff by a line across.

    Args:
        panels: What is drawn, from top to bottom.
        n_cols: Width of the spectrograms in pixels.

    Raises:
        ParameterError: No panel.
    """
    if not panels:
        raise ParameterError("a picture needs at least one panel, got none")
    longest_s = max(panel.samples.shape[1] / panel.sample_rate for panel in panels)
    levels = [_levels(panel, longest_s, n_cols) for panel in panels]
    high_db = top_level_db(levels)
    scale = drawn.Scale(high_db - _RANGE_DB, high_db)
    images = [
        drawn.Panel(
            panel.title,
            scale.show(level),
            marks=tuple(drawn.Mark(*gap) for gap in panel.gaps),
            cutoff_hz=panel.cutoff_hz,
        )
        for panel, level in zip(panels, levels, strict=True)
    ]
    return drawn.draw_panels(images, _ROWS, scale, 0.0, longest_s)


def _levels(panel: Panel, seconds: float, n_cols: int) -> np.ndarray:
    """Return levels (rows, columns) in dBFS; a shorter recording is silent at its end."""
    n_samples = max(panel.samples.shape[1], round(seconds * panel.sample_rate))
    samples = np.pad(panel.samples, ((0, 0), (0, n_samples - panel.samples.shape[1])))
    return mean_levels(
        spectrogram(lambda start, stop: samples[:, start:stop], n_samples, panel.sample_rate, _ROWS, n_cols)
    )
