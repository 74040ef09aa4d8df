"""Which gaps of a recording are filled: those that are given, or those that are found."""

from collections.abc import Iterable

import numpy as np

from masktools.arguments import plain, shown
from masktools.detection import find_damage
from masktools.errors import ParameterError
from masktools.gaps import Gap, GapLike, as_gap, parse_gaps

__all__ = ["which_gaps"]


def which_gaps(samples: np.ndarray, sample_rate: int, gaps: Iterable[GapLike] | str, max_gap_s: float) -> list[GapLike]:
    """Return gaps that were given or written down or, with "auto", that are found.

    Args:
        samples: (channels, t).
        sample_rate: in Hz.
        gaps: gaps in seconds, a text such as "1.20-1.55,3-3.2", or "auto".
        max_gap_s: longer ones are not found.

    Raises:
        ParameterError: what is no gap, or a text that tells none.
    """
    gaps = plain(gaps)
    if not isinstance(gaps, str):
        if not isinstance(gaps, Iterable):
            raise ParameterError(f"gaps must be auto, a text or a list of (start, end) in seconds, got {shown(gaps)}")
        return [as_gap(gap) for gap in gaps]
    if gaps != "auto":
        return list(parse_gaps(gaps))
    found = find_damage(samples, sample_rate, max_gap_s=max_gap_s)
    return [Gap(one.start / sample_rate, one.stop / sample_rate, one.channels) for one in found]
