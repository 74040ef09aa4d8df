"""What must be known of a whole recording before its first window is extended."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from masktools.restoration.band_level import HOP, SILENCE, TRANSITION_HZ, band_powers
from masktools.restoration.band_quiet import Floor, floor_bands, floor_of

__all__ = ["Survey", "survey"]

BLOCK_SAMPLES = 256 * HOP
_EDGE_FRAMES = 2  # at each end of a block, which see what is not there


@dataclass(frozen=True)
class Survey:
    """A recording as a whole."""

    floors: tuple[Floor | None, ...]  # of each wave; None of one without pauses
    above_db: float  # how loud it is above its cutoff, beside what it has below


def survey(blocks: Iterable[np.ndarray], sample_rate: int, cutoff_hz: float, top_hz: float) -> Survey:
    """Return what there is to know of a recording.

    Args:
        blocks: of the recording, (waves, n), each ``BLOCK_SAMPLES`` long but the last.
        sample_rate: in Hz.
        cutoff_hz: where its band ends.
        top_hz: where the band ends that is to be added.
    """
    bands = [*floor_bands(cutoff_hz), (0.0, cutoff_hz), (min(cutoff_hz + TRANSITION_HZ, top_hz), sample_rate / 2)]
    powers: list[list[np.ndarray]] = []
    for block in blocks:
        powers = powers or [[] for _ in block]
        for seen, wave in zip(powers, block, strict=True):
            found = band_powers(wave, sample_rate, bands)
            whole = found[_EDGE_FRAMES:-_EDGE_FRAMES] if len(found) > 4 * _EDGE_FRAMES else found
            seen.append(whole.astype(np.float32))
    each = [np.concatenate(seen).astype(np.float64) for seen in powers]
    below, above = (sum(float(found[:, column].sum()) for found in each) for column in (-2, -1))
    floors = tuple(floor_of(found[:, :-2], cutoff_hz, top_hz) for found in each)
    return Survey(floors, float(10 * np.log10((above + SILENCE**4) / (below + SILENCE**4))))
