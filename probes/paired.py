"""Two results on the same clips, compared clip by clip: by how much one is ahead, and how sure that is."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from masktools.core.errors import ParameterError
from probes.intervals import HeldOut, Interval, percentiles, resampled_scores, scores_of


@dataclass(frozen=True)
class Difference:
    """One score of one result minus that of another."""

    mean: float  # over rounds and seeds
    interval: Interval
    ahead: float  # share of resamples in which the first is the higher one, in [0, 1]


def differences(
    first: Sequence[HeldOut],
    second: Sequence[HeldOut],
    n_resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
    *,
    by_group: bool = False,
) -> dict[str, Difference]:
    """Return by how much the first result is above the second, for each score.

    Both are tested on the same resampled clips: what makes a resample hard for one makes it hard for the other, and
    drops out of the difference.

    Args:
        first: the tests of one result.
        second: those of the other, of the same clips in the same order.
        n_resamples: how often clips are drawn with replacement.
        level: share of resamples inside the interval, in (0, 1).
        seed: of the draws.
        by_group: draw groups with all their clips, not clips.

    Raises:
        ParameterError: results on other clips, settings out of their range, or groups that are not known.

    Source: Efron and Tibshirani, An Introduction to the Bootstrap (1993), section 13.3.
    """
    if not 0 < level < 1:
        raise ParameterError(f"level must lie in (0, 1), got {level:g}")
    if len(first) != len(second) or any(
        not np.array_equal(one.targets, other.targets) for one, other in zip(first, second, strict=False)
    ):
        raise ParameterError("two results must have been tested on the same clips to be compared clip by clip")
    whole = [scores_of(rounds) for rounds in (first, second)]
    drawn = [resampled_scores(rounds, n_resamples, seed, by_group=by_group) for rounds in (first, second)]
    found = {}
    for name, values in drawn[0].items():
        gaps = values - drawn[1][name]
        found[name] = Difference(
            whole[0][name] - whole[1][name], percentiles(gaps, level), float(np.mean((gaps > 0) + (gaps == 0) / 2))
        )
    return found
