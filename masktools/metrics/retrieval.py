"""Is the right one found, and how far is the nearest? Ranks in a table of similarities."""

import numpy as np
from scipy.spatial.distance import cdist

from masktools.errors import ParameterError
from masktools.metrics.frechet import as_vectors

__all__ = ["mean_reciprocal_rank", "nearest_distances", "ranks", "recall_at"]


def ranks(similarity: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Return the rank (n,) from 1 of the target of each row of similarities (n, m); ties count against it.

    Args:
        similarity: how well each of m candidates fits each of n queries.
        targets: (n,) the right candidate of each query.

    Raises:
        ParameterError: Shapes that do not fit, values that are not finite, or targets that do not exist.
    """
    table, wanted = as_vectors(similarity), np.asarray(targets)
    if wanted.shape != (len(table),):
        raise ParameterError(f"targets must be of shape ({len(table)},), got {wanted.shape}")
    if wanted.min() < 0 or wanted.max() >= table.shape[1]:
        raise ParameterError(f"targets must lie in 0..{table.shape[1] - 1}, got {wanted.min()}..{wanted.max()}")
    own = table[np.arange(len(table)), wanted]
    return (table >= own[:, None]).sum(axis=1)


def recall_at(similarity: np.ndarray, targets: np.ndarray, k: int) -> float:
    """Return the share of queries whose target is among the k most similar.

    Raises:
        ParameterError: As ``ranks``; or k below 1.
    """
    if k < 1:
        raise ParameterError(f"k must be at least 1, got {k}")
    return float((ranks(similarity, targets) <= k).mean())


def mean_reciprocal_rank(similarity: np.ndarray, targets: np.ndarray) -> float:
    """Return the mean of one over the rank of each target; with one target a query it is the mean average precision.

    Raises:
        ParameterError: As ``ranks``.
    """
    return float((1.0 / ranks(similarity, targets)).mean())


def nearest_distances(vectors: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return the Euclidean distance (n,) of each of ``vectors`` (n, d) to the nearest of ``others`` (m, d).

    Raises:
        ParameterError: Other dimensions, or values that are not finite.
    """
    one, other = as_vectors(vectors), as_vectors(others)
    if one.shape[1] != other.shape[1]:
        raise ParameterError(f"both sets must be of one dimension, got {one.shape[1]} and {other.shape[1]}")
    return np.concatenate([cdist(part, other).min(axis=1) for part in np.array_split(one, -(-len(one) // 1024))])
