"""Kernel distances between two sets of embeddings: unbiased, so that few vectors suffice."""

from typing import NamedTuple

import numpy as np
from scipy.spatial.distance import cdist, pdist

from masktools.errors import ParameterError
from masktools.metrics.frechet import as_vectors

__all__ = ["KernelDistance", "kernel_audio_distance", "kernel_distance", "multiquadric_distance"]


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
        subset_size: of each; at most as many as there are vectors.
        seed: of the subsets.

    Raises:
        ParameterError: Fewer than two vectors, other dimensions, or values that are not finite.

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


def kernel_audio_distance(reference: np.ndarray, estimate: np.ndarray) -> float:
    """Return the squared maximum mean discrepancy under a Gaussian kernel, times 100 (KAD).

    The width of the kernel is the median distance between vectors of the reference, so that the measure is not
    symmetric. It is unbiased, and may therefore fall a little below zero.

    Raises:
        ParameterError: As ``kernel_distance``; or all vectors of the reference are equal.

    Source: Chung et al., KAD: No More FAD! (arXiv:2502.15602), section 3.
    """
    one, other = _pair(reference, estimate)
    width = float(np.median(pdist(one)))
    if width == 0:
        raise ParameterError("the vectors of the reference must differ, more than half of their pairs are equal")
    kernels = [np.exp(-cdist(a, b, "sqeuclidean") / (2 * width**2)) for a, b in ((one, one), (other, other))]
    cross = float(np.exp(-cdist(one, other, "sqeuclidean") / (2 * width**2)).mean())
    return 100 * (sum(map(_mean_off_diagonal, kernels)) - 2 * cross)


def multiquadric_distance(reference: np.ndarray, estimate: np.ndarray, biased: bool = False) -> float:
    """Return the squared maximum mean discrepancy under the kernel 16 / (16 + |x - y|^2): PKID and IKID on logits.

    It is unbiased, and may therefore fall a little below zero.

    Args:
        reference: vectors (n, d).
        estimate: vectors (m, d).
        biased: whether the diagonal is summed too, and yet divided by n (n - 1): as published figures are, by
            1 / (n - 1) + 1 / (m - 1) too large.

    Raises:
        ParameterError: As ``kernel_distance``.

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
        raise ParameterError(f"a kernel distance needs at least 2 vectors a side, got {len(one)} and {len(other)}")
    return one, other


def _mean_off_diagonal(kernel: np.ndarray) -> float:
    n = len(kernel)
    return float((kernel.sum() - np.trace(kernel)) / (n * (n - 1)))
