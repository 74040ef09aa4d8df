"""Confidence intervals of scores, by resampling the clips of the test, or the groups that they come in.

A model that was tested on other clips would have scored differently; so would one that was trained with another
seed. The intervals tell of the first, the standard deviation over seeds of the second.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from masktools.core.errors import ParameterError
from probes.scores import LabelRanking, as_indicators

METRICS = ("roc_auc", "average_precision", "accuracy")
_BLOCK = 100  # resamples at once


class HeldOut(NamedTuple):
    """The test of one round: what was to be predicted, and what each seed's probe predicted."""

    targets: np.ndarray  # bool (n, k), or int (n,)
    predicted: Sequence[np.ndarray]  # (n, k) for each seed
    groups: np.ndarray | None  # (n,) or None where they are not known


class Interval(NamedTuple):
    """The range that holds a score with the level asked for."""

    low: float
    high: float


def bootstrap_scores(
    rounds: Sequence[HeldOut], n_resamples: int = 1000, level: float = 0.95, seed: int = 0, *, by_group: bool = False
) -> dict[str, Interval]:
    """Return the percentile interval of each score's mean over rounds and seeds.

    Args:
        rounds: the tests.
        n_resamples: how often clips are drawn with replacement.
        level: share of resamples inside the interval, in (0, 1).
        seed: of the draws.
        by_group: draw groups with all their clips, not clips.

    Raises:
        ParameterError: settings out of their range, or groups that are not known.

    Source: Efron and Tibshirani, An Introduction to the Bootstrap (1993), section 13.3.
    """
    if not 0 < level < 1:
        raise ParameterError(f"level must lie in (0, 1), got {level:g}")
    drawn = resampled_scores(rounds, n_resamples, seed, by_group=by_group)
    return {name: percentiles(values, level) for name, values in drawn.items()}


def percentiles(drawn: np.ndarray, level: float = 0.95) -> Interval:
    """Return the interval that holds a share of resampled values, half of the rest below it; NaN does not count.

    Raises:
        ParameterError: there is nothing but NaN.
    """
    known = drawn[np.isfinite(drawn)]
    if not len(known):
        raise ParameterError(f"none of {len(drawn)} resamples of the test has a label that can be scored: ask for more")
    low, high = np.quantile(known, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high))


def resampled_scores(
    rounds: Sequence[HeldOut], n_resamples: int = 1000, seed: int = 0, *, by_group: bool = False
) -> dict[str, np.ndarray]:
    """Return each score's mean over rounds and seeds in each resample, (n_resamples,).

    The probes of all seeds are tested on the same resampled clips, and so are those of other vectors for the same
    clips and the same ``seed``. A label that a resample lacks does not count in that resample. Accuracy is there where
    each clip has one label.

    Args:
        rounds: the tests.
        n_resamples: how often clips are drawn with replacement.
        seed: of the draws.
        by_group: draw groups with all their clips, not clips.

    Raises:
        ParameterError: fewer than one resample, or groups that are not known.
    """
    if n_resamples < 1:
        raise ParameterError(f"n_resamples must be at least 1, got {n_resamples}")
    rng = np.random.default_rng(seed)
    samplers = [_sampler(one, by_group) for one in rounds]
    rankings = [_rankings(one) for one in rounds]
    blocks = []
    for start in range(0, n_resamples, _BLOCK):
        n = min(_BLOCK, n_resamples - start)
        parts = [
            _scores(one, ranking, draw(rng, n)) for one, ranking, draw in zip(rounds, rankings, samplers, strict=True)
        ]
        blocks.append(_mean(np.array(parts)))
    return dict(zip(METRICS, np.concatenate(blocks, axis=1), strict=False))


def scores_of(rounds: Sequence[HeldOut]) -> dict[str, float]:
    """Return each score's mean over rounds and seeds, of all clips."""
    parts = [_scores(one, _rankings(one), np.ones((1, len(one.targets)))) for one in rounds]
    return {name: float(values[0]) for name, values in zip(METRICS, _mean(np.array(parts)), strict=False)}


def _sampler(tested: HeldOut, by_group: bool):
    """Return the function (rng, r) -> how often each clip is drawn in each of r resamples, (r, n)."""
    n_clips = len(tested.targets)
    if not by_group:
        groups = np.arange(n_clips)
    elif tested.groups is None:
        raise ParameterError("the groups of clips must be known to draw them, got none")
    else:
        groups = np.unique(tested.groups, return_inverse=True)[1]
    n_groups = int(groups.max()) + 1
    shares = np.full(n_groups, 1 / n_groups)
    return lambda rng, n: rng.multinomial(n_groups, shares, size=n)[:, groups].astype(np.float64)


def _rankings(tested: HeldOut) -> list[list[LabelRanking]]:
    """Return the ranking of each label by each seed's probe."""
    wanted = as_indicators(tested.targets, tested.predicted[0].shape[1])
    return [[LabelRanking(wanted[:, k], given[:, k]) for k in range(wanted.shape[1])] for given in tested.predicted]


def _scores(tested: HeldOut, rankings: list[list[LabelRanking]], weights: np.ndarray) -> np.ndarray:
    """Return each score's mean over seeds for each resample, (scores, r)."""
    by_seed = []
    for ranking, given in zip(rankings, tested.predicted, strict=True):
        means = _mean(np.array([label.scores(weights) for label in ranking]))  # of (labels, 2, r)
        if tested.targets.ndim == 1:
            right = weights @ (given.argmax(axis=1) == tested.targets) / weights.sum(axis=1)
            means = np.concatenate([means, right[None]])
        by_seed.append(means)
    return np.mean(by_seed, axis=0)


def _mean(values: np.ndarray) -> np.ndarray:
    """Return the mean over the first axis of what is not NaN; NaN where all is."""
    known = np.isfinite(values)
    with np.errstate(invalid="ignore"):
        return np.where(known, values, 0).sum(axis=0) / known.sum(axis=0)
