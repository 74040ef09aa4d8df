"""Measures of sets of embeddings: Frechet and kernel distances, NDB, inception score, ranks; and the bootstrap.

A Frechet distance (FD, with embeddings of audio FAD) depends on the embedder and on the number of vectors: it is large
for few vectors even where both sets are of one distribution, so compare only sets of equal size. Kernel distances are
unbiased, so that few vectors suffice.
"""

import warnings
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy.cluster.vq import kmeans2
from scipy.spatial.distance import cdist
from scipy.special import rel_entr
from scipy.stats import norm

from masktools.core.arguments import check_least, check_within
from masktools.core.errors import ParameterError


def frechet_distance(reference: np.ndarray, estimate: np.ndarray) -> float:
    """Return the squared Frechet distance of two sets of vectors (n, d) and (m, d).

    Computed in float64 with symmetric eigenproblems and singular values: never complex, and 0 for equal sets.

    Raises:
        ParameterError: fewer than two vectors, other dimensions, or values that are not finite.

    Source: Dowson and Landau (1982), Eq. 4; Kilgour et al., Frechet Audio Distance (arXiv:1812.08466), section 3.
    """
    one, other = _pair(reference, estimate)
    gap = one.mean(axis=0) - other.mean(axis=0)
    first, second = (rows - rows.mean(axis=0) for rows in (one, other))
    covariances = [rows.T @ rows / (len(rows) - 1) for rows in (first, second)]
    if max(len(one), len(other)) > one.shape[1]:
        # The trace of the root of S1 S2 as the nuclear norm of the product of their roots: the roots of the eigenvalues
        # of the product are the same numbers, but turn a rounding of 1e-16 into 1e-8 where there is no variance.
        root = float(np.linalg.norm(_root(covariances[0]) @ _root(covariances[1]), "nuc"))
    else:  # as the nuclear norm of the product of the centred data
        root = float(np.linalg.norm(first @ second.T, "nuc")) / float(np.sqrt((len(one) - 1) * (len(other) - 1)))
    traces = np.trace(covariances[0]) + np.trace(covariances[1])
    return max(0.0, float(gap @ gap + traces - 2 * root))


def principal_axes(vectors: np.ndarray, n: int) -> np.ndarray:
    """Return the first k principal directions (d, k) of vectors (m, d), k at most n; vectors @ axes are components.

    With few vectors of many dimensions a Frechet distance depends mostly on their number: on components it does not.

    Raises:
        ParameterError: fewer than two vectors, values that are not finite, or n below 1.
    """
    rows = as_vectors(vectors)
    if n < 1 or len(rows) < 2:
        raise ParameterError(f"principal axes need n of at least 1 and 2 vectors, got {n} and {len(rows)}")
    _, _, axes = np.linalg.svd(rows - rows.mean(axis=0), full_matrices=False)
    return axes[: min(n, len(rows) - 1)].T


def as_vectors(vectors: np.ndarray) -> np.ndarray:
    """Return vectors (n, d) in float64.

    Raises:
        ParameterError: another shape, no vectors, or values that are not finite.
    """
    rows = np.asarray(vectors, np.float64)
    if rows.ndim != 2 or not rows.size:
        raise ParameterError(f"vectors must be of shape (n, d) and not empty, got {rows.shape}")
    if not np.isfinite(rows).all():
        raise ParameterError("vectors must be finite, got NaN or infinity")
    return rows


def _root(covariance: np.ndarray) -> np.ndarray:
    """Return the square root of a covariance (d, d); eigenvalues within rounding error count as 0."""
    values, axes = np.linalg.eigh(covariance)
    rounding = values[-1] * len(values) * np.finfo(np.float64).eps
    return (axes * np.sqrt(np.where(values > rounding, values, 0.0))) @ axes.T


class KernelDistance(NamedTuple):
    """Mean and standard deviation over random subsets."""

    mean: float
    std: float


def kernel_distance(
    reference: np.ndarray, estimate: np.ndarray, n_subsets: int = 100, subset_size: int = 100, seed: int = 0
) -> KernelDistance:
    """Return the squared maximum mean discrepancy under a cubic kernel (KID): 0 on average for equal distributions.

    Args:
        reference: vectors (n, d).
        estimate: vectors (m, d).
        n_subsets: random pairs of subsets.
        subset_size: vectors in each subset, at most as many as there are.
        seed: random seed of the subsets.

    Raises:
        ParameterError: fewer than two vectors, other dimensions, or values that are not finite.

    Source: Binkowski et al., Demystifying MMD GANs (arXiv:1801.01401), section 4, kernel (x.y / d + 1)^3.
    """
    one, other = _pair(reference, estimate)
    size = min(subset_size, len(one), len(other))
    if size < 2 or n_subsets < 1:
        raise ParameterError(f"subsets must hold at least 2 vectors, got {size} in {n_subsets} subsets")
    rng, dim = np.random.default_rng(seed), one.shape[1]
    found = []
    for _ in range(n_subsets):
        first, second = (rows[rng.permutation(len(rows))[:size]] for rows in (one, other))
        within = [_mean_off_diagonal((x @ x.T / dim + 1) ** 3) for x in (first, second)]
        found.append(sum(within) - 2 * float(((first @ second.T / dim + 1) ** 3).mean()))
    return KernelDistance(float(np.mean(found)), float(np.std(found)))


def multiquadric_distance(reference: np.ndarray, estimate: np.ndarray, biased: bool = False) -> float:
    """Return the squared maximum mean discrepancy under the kernel 16 / (16 + |x - y|^2): PKID and IKID on logits.

    It is unbiased, and may therefore fall a little below zero.

    Args:
        reference: vectors (n, d).
        estimate: vectors (m, d).
        biased: whether to sum the diagonal too, yet divide by n (n - 1), as in published figures, which are too large
            by
            1 / (n - 1) + 1 / (m - 1).

    Raises:
        ParameterError: see ``kernel_distance``.

    Source: Nistal et al., Comparing Representations for Audio Synthesis (arXiv:2006.09266), section 4.3.
    """
    one, other = _pair(reference, estimate)
    kernels = [16 / (16 + cdist(a, b, "sqeuclidean")) for a, b in ((one, one), (other, other), (one, other))]
    within = sum(map(_mean_off_diagonal, kernels[:2]))
    if biased:
        within += 1 / (len(one) - 1) + 1 / (len(other) - 1)
    return within - 2 * float(kernels[2].mean())


def _pair(reference: np.ndarray, estimate: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    one, other = as_vectors(reference), as_vectors(estimate)
    if one.shape[1] != other.shape[1]:
        raise ParameterError(f"both sets must be of one dimension, got {one.shape[1]} and {other.shape[1]}")
    if min(len(one), len(other)) < 2:
        raise ParameterError(f"a distance needs at least 2 vectors a side, got {len(one)} and {len(other)}")
    return one, other


def _mean_off_diagonal(kernel: np.ndarray) -> float:
    n = len(kernel)
    return float((kernel.sum() - np.trace(kernel)) / (n * (n - 1)))


class Ndb(NamedTuple):
    """Number of the k bins with significantly different shares, that number over k, and the divergence in nats."""

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
        k: number of bins.
        seed: random seed of the k-means.
        alpha: significance level of the two-sided test of two proportions.
        split: whether bins are made from a random half of the reference and counted in the other half:
            in many dimensions, vectors fit bins that were made from themselves too well.

    Raises:
        ParameterError: fewer different vectors than bins, other dimensions, or values that are not finite.

    Source: Richardson and Weiss, On GANs and GMMs (arXiv:1805.12462), section 3.1.
    """
    one, other = _pair(reference, estimate)
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
        warnings.simplefilter("ignore", UserWarning)  # of an empty cluster: its centre stays
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


class InceptionScore(NamedTuple):
    """Mean and standard deviation over splits; from 1 (the same prediction for all) to the number of classes."""

    mean: float
    std: float


def inception_score(probabilities: np.ndarray, n_splits: int = 10, seed: int = 0) -> InceptionScore:
    """Return the inception score of class probabilities (n, k), with the clips in random order.

    Raises:
        ParameterError: rows that are no probabilities, or more splits than clips.

    Source: Salimans et al., Improved Techniques for Training GANs (arXiv:1606.03498), section 4.
    """
    rows = _checked(probabilities)
    if not 1 <= n_splits <= len(rows):
        raise ParameterError(f"n_splits must lie in 1..{len(rows)}, got {n_splits}")
    order = np.random.default_rng(seed).permutation(len(rows))
    scores = []
    for part in np.array_split(rows[order], n_splits):
        scores.append(np.exp(rel_entr(part, part.mean(axis=0, keepdims=True)).sum(axis=1).mean()))
    return InceptionScore(float(np.mean(scores)), float(np.std(scores, ddof=1)) if n_splits > 1 else 0.0)


def kl_divergence(reference: np.ndarray, estimate: np.ndarray, floor: float = 1e-6) -> float:
    """Return the mean Kullback-Leibler divergence in nats of class probabilities (n, k), pair by pair.

    Raises:
        ParameterError: rows that are no probabilities, or other shapes.

    Source: Kreuk et al., AudioGen (arXiv:2209.15352), section 4.2.
    """
    one, other = _checked(reference), _checked(estimate)
    if one.shape != other.shape:
        raise ParameterError(f"both must be of one shape, got {one.shape} and {other.shape}")
    one, other = (np.maximum(x, floor) for x in (one, other))
    one, other = (x / x.sum(axis=1, keepdims=True) for x in (one, other))
    return float(rel_entr(one, other).sum(axis=1).mean())


def _checked(probabilities: np.ndarray) -> np.ndarray:
    rows = np.asarray(probabilities, np.float64)
    if rows.ndim != 2 or not rows.size:
        raise ParameterError(f"probabilities must be of shape (n, k) and not empty, got {rows.shape}")
    if not np.isfinite(rows).all() or rows.min() < 0 or not np.allclose(rows.sum(axis=1), 1, atol=1e-4):
        raise ParameterError("the rows of probabilities must not be negative and sum to 1")
    return rows


def ranks(similarity: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Return the rank (n,) from 1 of the target of each row of similarities (n, m); ties count against it.

    Args:
        similarity: similarity of each of n queries to each of m candidates.
        targets: (n,) index of the right candidate of each query.

    Raises:
        ParameterError: shapes that do not fit, values that are not finite, or targets that do not exist.
    """
    table, wanted = as_vectors(similarity), np.asarray(targets)
    if wanted.shape != (len(table),):
        raise ParameterError(f"targets must be of shape ({len(table)},), got {wanted.shape}")
    if wanted.min() < 0 or wanted.max() >= table.shape[1]:
        raise ParameterError(f"targets must lie in 0..{table.shape[1] - 1}, got {wanted.min()}..{wanted.max()}")
    own = table[np.arange(len(table)), wanted]
    return (table >= own[:, None]).sum(axis=1)


class Interval(NamedTuple):
    """A statistic of all clips, and its confidence interval."""

    value: float
    low: float
    high: float


_DRAWN = 1_000_000  # values drawn at once


def bootstrap(
    values: np.ndarray,
    statistic: Callable[..., float | np.ndarray] = np.median,
    n_resamples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> Interval:
    """Return a statistic of values (n, ...) with its percentile bootstrap interval over the first axis.

    Args:
        values: one row for each clip.
        statistic: function of an array like ``values`` to a number; mean and median are computed for many draws at
            once.
        n_resamples: number of resamples, each of n rows with replacement.
        seed: random seed of the resampling.
        level: share of resamples inside the interval, in (0, 1).

    Raises:
        ParameterError: no values, values that are not finite, or settings out of their range.

    Source: Efron and Tibshirani, An Introduction to the Bootstrap (1993), section 13.3.
    """
    rows = np.asarray(values, np.float64)
    if rows.ndim < 1 or len(rows) == 0:
        raise ParameterError("a bootstrap needs at least one value, got none")
    if not np.isfinite(rows).all():
        raise ParameterError("the values of a bootstrap must be finite, got NaN or infinity")
    check_within("(0, 1)", level=level)
    check_least(1, n_resamples=n_resamples)
    rng = np.random.default_rng(seed)
    if rows.ndim == 1 and statistic in (np.mean, np.median):
        most = max(1, _DRAWN // len(rows))
        sizes = [min(most, n_resamples - start) for start in range(0, n_resamples, most)]
        draws = np.concatenate([statistic(rows[rng.integers(len(rows), size=(n, len(rows)))], axis=1) for n in sizes])
    else:
        draws = [float(statistic(rows[rng.integers(len(rows), size=len(rows))])) for _ in range(n_resamples)]
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(statistic(rows)), float(low), float(high))
