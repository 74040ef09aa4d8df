"""NaN and infinity: what a failed conversion leaves behind."""

import numpy as np

from masktools.detection.damage import Damage
from masktools.detection.windows import Window

__all__ = ["NonFinite"]

NEAR_SAMPLES = 8  # what is left between two such places is lost too


class NonFinite:
    """Finds samples that are no numbers, in each channel."""

    def __init__(self, n_channels: int) -> None:
        self._open: list[tuple[int, int] | None] = [None] * n_channels

    def feed(self, window: Window) -> list[Damage]:
        """Return the places that are over with this window."""
        found = []
        for channel, core in enumerate(window.core):
            going_on = self._open[channel]
            for start, stop in _runs(~np.isfinite(core), window.core_start):
                if going_on is not None and start - going_on[1] <= NEAR_SAMPLES:
                    going_on = (going_on[0], stop)
                    continue
                if going_on is not None:
                    found.append(Damage(*going_on, "non_finite", (channel,)))
                going_on = (start, stop)
            if going_on is not None and (window.is_last or going_on[1] + NEAR_SAMPLES < window.core_stop):
                found.append(Damage(*going_on, "non_finite", (channel,)))
                going_on = None
            self._open[channel] = going_on
        return found


def _runs(flags: np.ndarray, offset: int) -> list[tuple[int, int]]:
    if not flags.any():
        return []
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flags.astype(np.int8), [0]])))
    return [(offset + int(start), offset + int(stop)) for start, stop in zip(edges[::2], edges[1::2], strict=True)]
