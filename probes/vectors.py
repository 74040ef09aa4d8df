"""The vectors of a data set's clips by one model: what probes read, one layer at a time."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from masktools.core.errors import ParameterError


@dataclass(frozen=True)
class LeftOut:
    """A clip without vectors, and why."""

    key: str
    reason: str


@dataclass(frozen=True, eq=False)
class Vectors:
    """The vectors of clips, one for each clip or several, from one or more layers of one model."""

    name: str  # of what made them, as tables show it
    keys: tuple[str, ...]  # of the clips
    starts: np.ndarray  # (n + 1,) int: the vectors of clip i are rows starts[i] to starts[i + 1]
    n_layers: int
    read: Callable[[int], np.ndarray]  # layer -> (rows, d) float32
    about: dict[str, Any] = field(default_factory=dict)  # how they were made, as JSON has it
    left_out: tuple[LeftOut, ...] = ()

    def __post_init__(self) -> None:
        if len(self.starts) != len(self.keys) + 1 or (np.diff(self.starts) < 1).any():
            raise ParameterError(f"each of {len(self.keys)} clips must have vectors of its own")
        if self.n_layers < 1:
            raise ParameterError(f"vectors must have at least one layer, got {self.n_layers}")

    @classmethod
    def from_array(cls, name: str, keys: Sequence[str], array: np.ndarray, **about: Any) -> "Vectors":
        """Return vectors that are at hand, one for each clip: (n, d), or (n, layers, d).

        Raises:
            ParameterError: another shape, or another number of them than of keys.
        """
        if array.ndim not in (2, 3) or len(array) != len(keys):
            raise ParameterError(
                f"vectors must have the shape (clips, d) or (clips, layers, d) for {len(keys)} clips, got {array.shape}"
            )
        layered = array if array.ndim == 3 else array[:, None]
        starts = np.arange(len(keys) + 1)
        return cls(name, tuple(keys), starts, layered.shape[1], lambda layer: layered[:, layer], about)

    def rows_of(self, clips: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the rows of some clips, one clip after the other, and for each row the place of its clip in ``clips``.

        Args:
            clips: places in ``keys``.
        """
        counts = self.starts[clips + 1] - self.starts[clips]
        clip_of = np.repeat(np.arange(len(clips)), counts)
        within = np.arange(len(clip_of)) - np.repeat(np.cumsum(counts) - counts, counts)
        return self.starts[clips][clip_of] + within, clip_of
