"""What becomes of one recording: its vectors, or the reason why there are none."""

from dataclasses import dataclass

import numpy as np

__all__ = ["Row"]


@dataclass(frozen=True, eq=False)
class Row:
    """The vectors of one recording. With several layers, clip and frames have them as the axis before the last."""

    key: str
    clip: np.ndarray | None = None  # (d,) or (layers, d)
    frames: np.ndarray | None = None  # (m, d) or (m, layers, d)
    times_s: np.ndarray | None = None  # (m,) float64: the middle of each moment
    tokens: np.ndarray | None = None  # (columns, rows) uint16: the lowest band first
    duration_s: float = 0.0
    error: str | None = None  # why there is nothing else
