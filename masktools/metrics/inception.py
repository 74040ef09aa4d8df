"""The inception score: are clips clearly of a class each, and of many classes together?"""

from typing import NamedTuple

import numpy as np
from scipy.special import rel_entr

from masktools.errors import ParameterError

__all__ = ["InceptionScore", "inception_score", "kl_divergence"]


class InceptionScore(NamedTuple):
    """Mean and standard deviation over splits; 1 (the same guess for all) to the number of classes."""

    mean: float
    std: float


def inception_score(probabilities: np.ndarray, n_splits: int = 10, seed: int = 0) -> InceptionScore:
    """Return the inception score of class probabilities (n, k), the clips in random order.

    Raises:
        ParameterError: Rows that are no probabilities, or more splits than clips.

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
    """Return the mean divergence in nats of class probabilities (n, k), pair by pair, the estimate from the reference.

    Raises:
        ParameterError: Rows that are no probabilities, or other shapes.

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
