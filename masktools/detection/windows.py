"""A recording cut into windows that do not depend on the blocks in which it arrives."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

__all__ = ["CORE_SAMPLES", "Window", "Windows", "context_length"]

CORE_SAMPLES = 1 << 16
CONTEXT_S = 0.25


@dataclass(frozen=True, eq=False)
class Window:
    """A stretch of a recording, its core, and what comes before and after it.

    The cores of all windows are the recording, each sample once.
    """

    samples: np.ndarray  # (channels, n) float32: context, core, context; what is not finite is NaN
    start: int  # of the samples, in the recording
    core_start: int
    core_stop: int
    is_last: bool

    @property
    def core(self) -> np.ndarray:
        """The samples of the core, (channels, n)."""
        return self.samples[:, self.core_start - self.start : self.core_stop - self.start]

    @property
    def stop(self) -> int:
        """End of the samples, in the recording."""
        return self.start + self.samples.shape[1]


def context_length(sample_rate: int) -> int:
    """Return the samples before and after each core."""
    return round(CONTEXT_S * sample_rate)


class Windows:
    """The windows of a recording that arrives in blocks of any size."""

    def __init__(self, sample_rate: int, n_channels: int) -> None:
        self._context = context_length(sample_rate)
        self._parts: list[np.ndarray] = [np.zeros((n_channels, 0), np.float32)]
        self._start = 0  # of the parts
        self._stop = 0
        self._core = 0  # where the next one starts

    @property
    def n_samples(self) -> int:
        """Samples that have arrived."""
        return self._stop

    def feed(self, block: np.ndarray) -> Iterator[Window]:
        """Take the next samples (channels, n) float32, and yield every window that is complete with them."""
        self._parts.append(np.where(np.isfinite(block), block, np.float32(np.nan)))
        self._stop += block.shape[1]
        # One more sample must have come, or else the window might be the last one.
        while self._stop > self._core + CORE_SAMPLES + self._context:
            yield self._next(is_last=False)

    def finish(self) -> Iterator[Window]:
        """Yield the windows that are left."""
        while self._stop > self._core:
            yield self._next(is_last=self._stop <= self._core + CORE_SAMPLES)

    def _next(self, is_last: bool) -> Window:
        held = np.concatenate(self._parts, axis=1)
        core_stop = min(self._core + CORE_SAMPLES, self._stop)
        stop = min(core_stop + self._context, self._stop)
        window = Window(held[:, : stop - self._start], self._start, self._core, core_stop, is_last)
        kept = max(self._start, core_stop - self._context)
        self._parts = [held[:, kept - self._start :]]
        self._start, self._core = kept, core_stop
        return window
