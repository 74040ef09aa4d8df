"""Which stretches of a long recording are worth hearing: those around repairs, or where most has changed."""

from collections.abc import Sequence
from typing import NamedTuple

from masktools.review.figures import PROFILE_S
from masktools.review.repairs import Repair

__all__ = ["Excerpt", "choose_excerpts"]

MARGIN_S = 2.5  # before and after a repair
_LEAST_S = 0.5
_N_WITHOUT_REPAIRS = 3


class Excerpt(NamedTuple):
    """A stretch of time."""

    start_s: float
    end_s: float

    @property
    def seconds(self) -> float:
        """Its length."""
        return self.end_s - self.start_s


def choose_excerpts(
    duration_s: float, repairs: Sequence[Repair], profile: Sequence[float], budget_s: float
) -> list[Excerpt]:
    """Return stretches of a recording that last no longer than the budget together, in order of time.

    All of it if that is short enough; else what is around the repairs, the longest first; without repairs where the
    difference is greatest, and where there is none the beginning.

    Args:
        duration_s: of the recording.
        repairs: what was done to it.
        profile: power of the difference in steps of half a second.
        budget_s: what may be shown.
    """
    if duration_s <= budget_s:
        return [Excerpt(0.0, duration_s)]
    chosen: list[Excerpt] = []
    for wanted in _wanted(duration_s, repairs, profile, budget_s):
        left_s = budget_s - sum(excerpt.seconds for excerpt in chosen)
        if left_s < _LEAST_S:
            break
        if wanted.seconds <= left_s or not chosen:
            chosen = _merged([*chosen, Excerpt(wanted.start_s, min(wanted.end_s, wanted.start_s + left_s))])
    return chosen


def _wanted(duration_s: float, repairs: Sequence[Repair], profile: Sequence[float], budget_s: float) -> list[Excerpt]:
    inside = [repair for repair in repairs if repair.start_s < duration_s]
    if inside:
        inside.sort(key=lambda repair: repair.start_s - repair.end_s)
        return [_around(repair.start_s - MARGIN_S, repair.end_s + MARGIN_S, duration_s) for repair in inside]
    length_s = budget_s / _N_WITHOUT_REPAIRS
    steps = sorted(range(len(profile)), key=lambda step: -profile[step])
    places: list[float] = []
    for step in steps:
        middle_s = (step + 0.5) * PROFILE_S
        if profile[step] > 0 and all(abs(middle_s - other) >= length_s for other in places):
            places.append(middle_s)
        if len(places) == _N_WITHOUT_REPAIRS:
            break
    if not places:
        return [Excerpt(0.0, budget_s)]
    return [_around(middle_s - length_s / 2, middle_s + length_s / 2, duration_s) for middle_s in places]


def _around(start_s: float, end_s: float, duration_s: float) -> Excerpt:
    return Excerpt(max(0.0, start_s), min(duration_s, end_s))


def _merged(excerpts: Sequence[Excerpt]) -> list[Excerpt]:
    """Return excerpts in order of time; those that meet become one."""
    merged: list[Excerpt] = []
    for excerpt in sorted(excerpts):
        if merged and excerpt.start_s <= merged[-1].end_s:
            merged[-1] = Excerpt(merged[-1].start_s, max(merged[-1].end_s, excerpt.end_s))
        else:
            merged.append(excerpt)
    return merged
