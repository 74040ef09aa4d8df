"""Ranks of several right answers among candidates, and what blind guessing would reach."""

from math import comb
from typing import NamedTuple

import numpy as np

from masktools.errors import ParameterError

__all__ = ["RankScores", "blind_scores", "rank_scores"]

RECALLS = (1, 5, 10)


class RankScores(NamedTuple):
    """Scores of each query (n,), shares in [0, 1]."""

    average_precision: np.ndarray
    r1: np.ndarray  # a right answer is the first
    r5: np.ndarray  # or among the first five
    r10: np.ndarray


def rank_scores(similarity: np.ndarray, relevant: np.ndarray) -> RankScores:
    """Return how well each query finds its answers; of equally similar candidates the wrong ones come first.

    Args:
        similarity: (n, m), of n queries to m candidates.
        relevant: (n, m) bool, the right answers.

    Raises:
        ParameterError: shapes that differ, values that are not finite, or a query without a right answer.

    Source: average precision as in Manning et al., Introduction to Information Retrieval (2008), section 8.4.
    """
    table = _checked(similarity, relevant)
    order = np.lexsort((relevant, -table), axis=-1)
    found = np.take_along_axis(relevant, order, axis=1)
    precision = found.cumsum(axis=1) / np.arange(1, found.shape[1] + 1)
    average = (precision * found).sum(axis=1) / found.sum(axis=1)
    return RankScores(average, *(found[:, :k].max(axis=1) * 1.0 for k in RECALLS))


def blind_scores(relevant: np.ndarray) -> RankScores:
    """Return what candidates in random order would score on average.

    Args:
        relevant: (n, m) bool, the right answers of n queries.

    Raises:
        ParameterError: a query without a right answer.
    """
    _checked(np.zeros(relevant.shape), relevant)
    m, counts = relevant.shape[1], relevant.sum(axis=1)
    places = np.arange(1, m + 1)
    # A right answer stands at place i, and (i - 1) (r - 1) / (m - 1) others before it on average.
    before = (counts[:, None] - 1) * (places - 1) / max(1, m - 1)
    average = ((1 + before) / places).mean(axis=1)
    recalls = [[1 - comb(m - int(r), min(k, m)) / comb(m, min(k, m)) for r in counts] for k in RECALLS]
    return RankScores(average, *(np.array(one) for one in recalls))


def _checked(similarity: np.ndarray, relevant: np.ndarray) -> np.ndarray:
    table = np.asarray(similarity, np.float64)
    if table.ndim != 2 or table.shape != relevant.shape or not table.size or not np.isfinite(table).all():
        raise ParameterError(
            f"similarities must be finite and of the truth's shape (n, m), got {table.shape} and {relevant.shape}"
        )
    if relevant.dtype != bool or not relevant.any(axis=1).all():
        raise ParameterError("each query must have a right answer among the candidates, and the truth must be bool")
    return table
