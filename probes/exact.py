"""The linear probe solved exactly: logistic regression with an L2 penalty, whose one minimum no seed changes."""

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit, log_softmax

_MAX_STEPS = 500
_RANK = 1e-10  # of the largest square; what is below is rounding


def solve(vectors: np.ndarray, targets: np.ndarray, decay: float) -> tuple[np.ndarray, np.ndarray, int]:
    """Return the weights (k, d), the biases (k,) and the steps that it took to find them.

    What is minimised is the mean over vectors of the cross-entropy (binary, summed over labels, where a vector may have
    several) plus half of ``decay`` times the squared weights; biases go free. A label that no vector has, or that
    all have, has no weights, and a bias that says so.

    Args:
        vectors: (n, d), standardised.
        targets: bool (n, k) where a vector may have several labels, int (n,) where it has one.
        decay: more than 0.

    Source: Hastie, Tibshirani and Friedman, The Elements of Statistical Learning (2009), section 4.4; the minimum
    lies in the space that the vectors span (section 18.3.5), so that it is looked for there if they are few.
    """
    rows = np.asarray(vectors, np.float64)
    basis = None
    if rows.shape[1] > len(rows):
        squares, axes = np.linalg.eigh(rows @ rows.T)
        kept = squares > _RANK * squares[-1]
        strengths = np.sqrt(squares[kept])
        basis = (axes[:, kept] / strengths).T @ rows
        rows = axes[:, kept] * strengths
    wanted = targets.astype(np.float64) if targets.ndim == 2 else np.eye(int(targets.max()) + 1)[targets]
    n_labels, width = wanted.shape[1], rows.shape[1]
    learned = np.ones(n_labels, bool)
    biases = np.zeros(n_labels)
    if targets.ndim == 2:
        shares = (wanted.sum(axis=0) + 0.5) / (len(wanted) + 1)
        biases = np.log(shares / (1 - shares))
        learned = (wanted.min(axis=0) < 1) & (wanted.max(axis=0) > 0)
    weights = np.zeros((n_labels, width))
    asked = wanted[:, learned]

    def loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
        own, bias = flat[: -asked.shape[1]].reshape(asked.shape[1], width), flat[-asked.shape[1] :]
        outputs = rows @ own.T + bias
        if targets.ndim == 2:
            entropy = np.logaddexp(0, outputs).sum() - (outputs * asked).sum()
            errors = expit(outputs) - asked
        else:
            log_shares = log_softmax(outputs, axis=1)
            entropy = -(log_shares * asked).sum()
            errors = np.exp(log_shares) - asked
        errors /= len(rows)
        slope = errors.T @ rows + decay * own
        value = entropy / len(rows) + decay / 2 * np.square(own).sum()
        return float(value), np.concatenate([slope.ravel(), errors.sum(axis=0)])

    n_steps = 0
    if learned.any():
        start = np.concatenate([np.zeros(asked.shape[1] * width), biases[learned]])
        found = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": _MAX_STEPS, "gtol": 1e-6})
        weights[learned] = found.x[: -asked.shape[1]].reshape(-1, width)
        biases[learned] = found.x[-asked.shape[1] :]
        n_steps = int(found.nit)
    return (weights if basis is None else weights @ basis), biases, n_steps
