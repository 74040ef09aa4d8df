"""The same measurement with several seeds: its mean, and how well the mean is known."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from masktools.evaluation.report import Figure

__all__ = ["over_repeats"]


def over_repeats(repeats: Sequence[Sequence[Figure]]) -> tuple[Figure, ...]:
    """Return the figures of one measurement, or the means over several, with the 95 % intervals of these means.

    The interval is Student's, of the seeds: the clips are the same each time, so that it is what the comparison of two
    settings on these clips can tell apart. Figures that not all measurements have are left out.
    """
    if len(repeats) == 1:
        return tuple(repeats[0])
    known = [{_key(figure): figure for figure in figures} for figures in repeats]
    means = []
    for key, figure in known[0].items():
        if all(key in one for one in known):
            values = np.array([one[key].value for one in known], np.float64)
            half = _quantile(len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
            mean = float(values.mean())
            means.append(replace(figure, value=mean, low=mean - float(half), high=mean + float(half)))
    return tuple(means)


def _key(figure: Figure) -> tuple[str | None, ...]:
    return figure.group, figure.method, figure.metric, figure.embedder, figure.case


def _quantile(degrees: int) -> float:
    """Return the 97.5 % quantile of Student's distribution."""
    from scipy.stats import t

    return float(t.ppf(0.975, degrees))
