"""A small classifier of vectors, by which generated clips are judged: multinomial logistic regression."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax

from masktools.errors import ParameterError

__all__ = ["Classifier"]

DECAYS = (0.3, 0.03, 0.003)  # of the squared weights, tried from the strongest on
_HELD_OUT = 5  # every fifth clip of a class chooses between them
_MAX_STEPS = 200


@dataclass(frozen=True, eq=False)
class Classifier:
    """Classes, and the linear map from standardised vectors (n, d) to their logits."""

    classes: tuple[str, ...]
    weights: np.ndarray  # (d, k)
    bias: np.ndarray  # (k,)
    mean: np.ndarray  # (d,)
    scale: np.ndarray  # (d,)

    @classmethod
    def fit(cls, vectors: np.ndarray, labels: Sequence[str], seed: int = 0) -> "Classifier":
        """Return the classifier of labelled vectors; every class weighs the same, however many vectors it has.

        How strongly the weights are held back is chosen on a fifth of the vectors, and all of them are fitted then.

        Args:
            vectors: (n, d).
            labels: the class of each.
            seed: of the choice of that fifth.

        Raises:
            ParameterError: fewer than two classes, not one label a vector, or values that are not finite.
        """
        rows = np.asarray(vectors, np.float64)
        if rows.ndim != 2 or len(rows) != len(labels) or not np.isfinite(rows).all():
            raise ParameterError(f"vectors must be finite and ({len(labels)}, d), one a label, got {rows.shape}")
        classes = tuple(sorted(set(labels)))
        if len(classes) < 2:
            raise ParameterError(f"a classifier needs at least 2 classes, got {len(classes)}")
        numbers = np.array([classes.index(label) for label in labels])
        mean, scale = rows.mean(axis=0), rows.std(axis=0)
        scale[scale < 1e-9 * max(1.0, float(scale.max()))] = 1.0
        rows = (rows - mean) / scale
        held_out = _fifth(numbers, seed)
        decay = DECAYS[0]
        if held_out.any():
            losses = []
            for one in DECAYS:
                fitted = _fit(rows[~held_out], numbers[~held_out], len(classes), one)
                losses.append(_loss(*fitted, rows[held_out], numbers[held_out]))
            decay = DECAYS[int(np.argmin(losses))]
        weights, bias = _fit(rows, numbers, len(classes), decay)
        return cls(classes, weights, bias, mean, scale)

    def probabilities(self, vectors: np.ndarray) -> np.ndarray:
        """Return how likely each of n vectors is of each of k classes, (n, k)."""
        rows = (np.asarray(vectors, np.float64) - self.mean) / self.scale
        return softmax(rows @ self.weights + self.bias, axis=1)


def _fifth(numbers: np.ndarray, seed: int) -> np.ndarray:
    """Return which vectors are held out: a fifth of each class that has so many."""
    rng = np.random.default_rng(seed)
    chosen = np.zeros(len(numbers), bool)
    for number in np.unique(numbers):
        places = rng.permutation(np.flatnonzero(numbers == number))
        chosen[places[: len(places) // _HELD_OUT]] = True
    return chosen


def _shares(numbers: np.ndarray, n_classes: int) -> np.ndarray:
    """Return the weight of each vector: all classes together weigh 1, each the same."""
    counts = np.bincount(numbers, minlength=n_classes)
    return 1.0 / (counts[numbers] * np.count_nonzero(counts))


def _fit(rows: np.ndarray, numbers: np.ndarray, n_classes: int, decay: float) -> tuple[np.ndarray, np.ndarray]:
    d, shares = rows.shape[1], _shares(numbers, n_classes)
    true = np.eye(n_classes)[numbers]

    def objective(flat: np.ndarray) -> tuple[float, np.ndarray]:
        weights, bias = flat[: d * n_classes].reshape(d, n_classes), flat[d * n_classes :]
        log_probability = log_softmax(rows @ weights + bias, axis=1)
        error = shares[:, None] * (np.exp(log_probability) - true)
        loss = -float(shares @ (log_probability * true).sum(axis=1)) + 0.5 * decay * float((weights**2).sum())
        return loss, np.concatenate([(rows.T @ error + decay * weights).ravel(), error.sum(axis=0)])

    start = np.zeros((d + 1) * n_classes)
    found = minimize(objective, start, jac=True, method="L-BFGS-B", options={"maxiter": _MAX_STEPS})
    return found.x[: d * n_classes].reshape(d, n_classes), found.x[d * n_classes :]


def _loss(weights: np.ndarray, bias: np.ndarray, rows: np.ndarray, numbers: np.ndarray) -> float:
    log_probability = log_softmax(rows @ weights + bias, axis=1)
    return -float(_shares(numbers, len(bias)) @ log_probability[np.arange(len(numbers)), numbers])
