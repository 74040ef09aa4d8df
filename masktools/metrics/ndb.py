"""Do two sets of vectors fill the same regions? The number of statistically different bins."""

import warnings
from typing import NamedTuple

import numpy as np
from scipy.cluster.vq import kmeans2
from scipy.spatial.distance import cdist
from scipy.special import rel_entr
from scipy.stats import norm

from masktools.errors import ParameterError
from masktools.metrics.frechet import as_vectors

__all__ = ["Ndb", "ndb"]


class Ndb(NamedTuple):
    """How many of k bins hold significantly more or fewer vectors, their share, and the divergence in nats."""

    n_different: int
    share: float
    jensen_shannon: float


def ndb(
    reference: np.ndarray, estimate: np.ndarray, k: int = 100, seed: int = 0, alpha: float = 0.05, split: bool = False
) -> Ndb:
    """Return how differently two sets of vectors fill the k-means bins of the first; about alpha for equal ones.

    Args:
        reference: vectors (n, d), from which the bins are made; scaled by their standard deviation.
        estimate: vectors (m, d).
        k: bins.
        seed: of the k-means.
        alpha: level of the two-sided test of two proportions.
        split: whether bins are made from one half of the reference, drawn by the seed, and counted in the other:
            vectors of many dimensions otherwise lie too well in bins that were made from themselves.

    Raises:
        ParameterError: Fewer different vectors than bins, other dimensions, or values that are not finite.

    Source: Richardson and Weiss, On GANs and GMMs (arXiv:1805.12462), section 3.1.
    """
    one, other = as_vectors(reference), as_vectors(estimate)
    if one.shape[1] != other.shape[1]:
        raise ParameterError(f"both sets must be of one dimension, got {one.shape[1]} and {other.shape[1]}")
    fitted = one
    if split:
        order = np.random.default_rng([seed, 1]).permutation(len(one))
        fitted, one = one[order[: len(one) // 2]], one[order[len(one) // 2 :]]
    if not 2 <= k <= len(fitted):
        raise ParameterError(f"k must lie in 2..{len(fitted)}, the number of reference vectors, got {k}")
    scale = fitted.std(axis=0)
    scale[scale == 0] = 1.0
    first, second = fitted / scale, other / scale
    start = _spread_out(first, k, np.random.default_rng(seed))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of a bin that comes to hold nothing: it stays where it was
        centres, labels = kmeans2(first, start, minit="matrix")
    if split:
        labels = cdist(one / scale, centres).argmin(axis=1)
    counts = [np.bincount(x, minlength=k) for x in (labels, cdist(second, centres).argmin(axis=1))]
    sizes = np.array([len(one), len(other)])
    shares = np.stack(counts) / sizes[:, None]
    pooled = np.sum(counts, axis=0) / sizes.sum()
    error = np.sqrt(pooled * (1 - pooled) * (1 / sizes).sum())
    with np.errstate(invalid="ignore", divide="ignore"):
        score = np.where(error > 0, np.abs(shares[0] - shares[1]) / error, 0.0)
    different = int((2 * norm.sf(score) < alpha).sum())
    middle = shares.mean(axis=0)
    divergence = 0.5 * sum(float(rel_entr(share, middle).sum()) for share in shares)
    return Ndb(different, different / k, divergence)


def _spread_out(vectors: np.ndarray, k: int, rng: np.random.Generator) -> np.ndarray:
    """Return k of the vectors (n, d), each drawn by its squared distance from those before it (k-means++)."""
    chosen = [int(rng.integers(len(vectors)))]
    squared = np.full(len(vectors), np.inf)
    while len(chosen) < k:
        squared = np.minimum(squared, cdist(vectors, vectors[chosen[-1:]], "sqeuclidean")[:, 0])
        if not squared.any():
            raise ParameterError(f"{k} bins need as many vectors that differ, the reference has {len(chosen)}")
        chosen.append(int(rng.choice(len(vectors), p=squared / squared.sum())))
    return vectors[chosen]
