"""Gaps in a recording: the stretches of time, in seconds, that are to be filled."""

import math
import re
from collections.abc import Iterable
from itertools import pairwise

from masktools.errors import ParameterError

__all__ = ["Gap", "check_gaps", "parse_gaps"]

Gap = tuple[float, float]
"""Start and end in seconds."""

_NUMBER = r"([+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+))"
_GAP = re.compile(rf"\s*{_NUMBER}\s*[-\u2013]\s*{_NUMBER}\s*")
_ROUNDING_S = 1e-6  # times were computed from samples, or typed with six digits


def parse_gaps(text: str) -> list[Gap]:
    """Return the gaps that a text such as ``1.20-1.55,3-3.2`` lists, in seconds, in order of time.

    >>> parse_gaps("3-3.2, 1.20-1.55")
    [(1.2, 1.55), (3.0, 3.2)]

    Raises:
        ParameterError: text of another form, or gaps that ``check_gaps`` refuses.
    """
    gaps = []
    for item in text.split(","):
        match = _GAP.fullmatch(item)
        if match is None:
            raise ParameterError(
                f"gaps must be written start-end in seconds and separated by commas, "
                f"as in 1.20-1.55,3-3.2; got {item.strip()!r}"
            )
        gaps.append((float(match[1]), float(match[2])))
    return check_gaps(gaps)


def check_gaps(gaps: Iterable[Gap], duration_s: float | None = None) -> list[Gap]:
    """Return the gaps in order of time, if they are gaps of a recording of that duration.

    Args:
        gaps: (start, end) in seconds; they may touch, but not overlap.
        duration_s: of the recording; None leaves out what depends on it.

    Raises:
        ParameterError: no gap at all, a time that is negative or not finite, an end that is not after its start,
            two gaps that overlap, a gap that is outside the recording, or gaps that leave nothing of it.
    """
    ordered = sorted((float(start), float(end)) for start, end in gaps)
    if not ordered:
        raise ParameterError("there must be at least one gap, got none")
    for gap in ordered:
        if not all(map(math.isfinite, gap)):
            raise ParameterError(f"the times of a gap must be finite, got {_shown(gap)}")
        if gap[0] < 0:
            raise ParameterError(f"the times of a gap must not be negative, got {_shown(gap)}")
        if gap[1] <= gap[0]:
            raise ParameterError(f"a gap must end after its start, got {_shown(gap)}")
    for gap, after in pairwise(ordered):
        if after[0] < gap[1] - _ROUNDING_S:
            raise ParameterError(f"gaps must not overlap, got {_shown(gap)} and {_shown(after)}: write them as one")
    if duration_s is not None:
        _check_inside(ordered, duration_s)
    return ordered


def _check_inside(gaps: list[Gap], duration_s: float) -> None:
    for gap in gaps:
        if gap[1] > duration_s + _ROUNDING_S:
            limit = math.floor(duration_s * 1e6) / 1e6  # rounded down, so that the number can be typed back
            raise ParameterError(f"a gap must lie within the recording, 0-{limit:.10g} s, got {_shown(gap)}")
    known_s = duration_s - sum(end - start for start, end in gaps)
    if known_s <= _ROUNDING_S * len(gaps):
        raise ParameterError(
            f"the gaps cover the whole recording of {duration_s:.6g} s: something must remain to fill them from"
        )


def _shown(gap: Gap) -> str:
    return f"{gap[0]:.10g}-{gap[1]:.10g} s"
