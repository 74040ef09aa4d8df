"""What an encoder gives for one recording."""

from dataclasses import dataclass

import numpy as np

from masktools.errors import ParameterError

__all__ = ["Embedding"]


@dataclass(frozen=True, eq=False)
class Embedding:
    """What a recording is like. With several layers asked for, vectors have one more axis, the first.

    Attributes:
        clip: (d,) float32, one vector for all of the recording; None where nothing was pooled.
        frames: (m, d) float32, one vector for each moment; (m, rows, d) where nothing was pooled; None where they were
            not asked for.
        times_s: (m,) float64, the middle of each moment.
        tokens: (rows, columns) uint16, row 0 the lowest, a column each 4096 samples at the usual settings; None where
            they were not asked for.
        duration_s: of the recording.
    """

    clip: np.ndarray | None
    frames: np.ndarray | None = None
    times_s: np.ndarray | None = None
    tokens: np.ndarray | None = None
    duration_s: float = 0.0

    def __post_init__(self) -> None:
        """Check that frames and their times belong together."""
        if (self.frames is None) != (self.times_s is None):
            raise ParameterError("frames and times_s must be given together: each frame has its time")
        if self.frames is not None and self.times_s is not None and len(self.times_s) not in self.frames.shape[:2]:
            raise ParameterError(f"there are {len(self.times_s)} times for frames of shape {self.frames.shape}")
