"""Confidence intervals by resampling clips."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from masktools.errors import ParameterError

__all__ = ["Interval", "bootstrap"]


class Interval(NamedTuple):
    """A statistic of all clips, and the interval that holds it with the level asked for."""

    value: float
    low: float
    high: float


def bootstrap(
    values: np.ndarray,
    statistic: Callable[[np.ndarray], float] = np.median,
    n_resamples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> Interval:
    """Return a statistic of values (n, ...) with its percentile bootstrap interval over the first axis.

    Args:
        values: one row for each clip.
        statistic: of an array like ``values``.
        n_resamples: how often n rows are drawn with replacement.
        seed: of the draws.
        level: share of resamples inside the interval, in (0, 1).

    Raises:
        ParameterError: No values, values that are not finite, or settings out of their range.

    Source: Efron and Tibshirani, An Introduction to the Bootstrap (1993), section 13.3.
    """
    rows = np.asarray(values, np.float64)
    if rows.ndim < 1 or len(rows) == 0:
        raise ParameterError("a bootstrap needs at least one value, got none")
    if not np.isfinite(rows).all():
        raise ParameterError("the values of a bootstrap must be finite, got NaN or infinity")
    if not 0 < level < 1:
        raise ParameterError(f"level must lie in (0, 1), got {level:g}")
    if n_resamples < 1:
        raise ParameterError(f"n_resamples must be at least 1, got {n_resamples}")
    rng = np.random.default_rng(seed)
    draws = [float(statistic(rows[rng.integers(len(rows), size=len(rows))])) for _ in range(n_resamples)]
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(statistic(rows)), float(low), float(high))
