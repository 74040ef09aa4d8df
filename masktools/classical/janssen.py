"""Short gaps by the samples that an autoregressive model of the whole stretch expects there."""

import numpy as np
from scipy.linalg import cho_factor, cho_solve, solve_toeplitz
from scipy.signal import oaconvolve

from masktools.classical.linear_prediction import _RIDGE, LONG_ORDER, bridge, burg
from masktools.errors import ParameterError

__all__ = ["MAX_GAP_S", "interpolate"]

MAX_GAP_S = 0.1  # what is longer holds no trace of what was there
MAX_ITERATIONS = 20  # two are nearly as good
_DENSE = 500  # samples of a gap, up to which a shoulder may be shorter than the order
_TOLERANCE = 1e-2  # of the gap's energy, as amplitudes: 40 dB below what is filled in


def interpolate(
    before: np.ndarray,
    after: np.ndarray,
    length: int,
    max_order: int = LONG_ORDER,
    max_iterations: int = MAX_ITERATIONS,
) -> np.ndarray:
    """Return a gap of ``length`` samples, float64, between what is known before and after it.

    In turns, a predictor is fitted to the stretch with what fills the gap now, and the gap is filled with what makes
    the error of that predictor least, until it changes by less than 1 %: after three to five turns for most gaps.
    Where one side is missing there is nothing to interpolate between, and the other is continued.

    Args:
        before: (t,) known samples that end where the gap starts; 200 ms are good.
        after: (t,) known samples that start where it ends.
        length: of the gap, at least 1.
        max_order: of the predictor, at least 1. High orders find their own guesses in the gap again.
        max_iterations: turns, at least 1.

    Raises:
        ParameterError: a length, an order or a number of turns below 1.

    Source: Janssen, Veldhuis and Vries, Adaptive interpolation of discrete-time signals that can be modeled as
        autoregressive processes (1986), sections II and III.
    Differs: the order is min(3 * length + 2, a third of the stretch, max_order), the predictor is Burg's, and the
        first turn starts from continuations of both sides.
    """
    for name, value in (("length", length), ("max_order", max_order), ("max_iterations", max_iterations)):
        if value < 1:
            raise ParameterError(f"{name} must be at least 1, got {value}")
    stretch = np.concatenate([before, bridge(before, after, length, max_order), after]).astype(np.float64)
    gap = slice(len(before), len(before) + length)
    order = min(3 * length + 2, len(stretch) // 3, max_order)
    if length > _DENSE:
        order = min(order, len(before), len(after))
    if order < 1 or not (len(before) and len(after) and stretch.any()):
        return stretch[gap]
    for _ in range(max_iterations):
        change = _towards_least_error(stretch, gap.start, length, burg(stretch, order))
        stretch[gap] += change
        if np.linalg.norm(change) <= _TOLERANCE * np.linalg.norm(stretch[gap]):
            break
    return stretch[gap]


def _towards_least_error(stretch: np.ndarray, start: int, length: int, taps: np.ndarray) -> np.ndarray:
    """Return by what the gap has to change for the predictor's error over the stretch to be least.

    It is solved for the change, not for the samples, so that the ridge keeps to what stands there where the equations
    say next to nothing: the error of a pure tone is. Where the gap is at least the order away from both ends, the
    equations are those of a Toeplitz matrix. Nearer to an end only the errors count whose samples all lie in the
    stretch, but those of the prediction backwards as well: those forwards say little of what is near the start.
    """
    order, stop, n = len(taps) - 1, start + length, len(stretch)
    if start >= order and stop + order <= n:
        error = oaconvolve(stretch[start - order : stop + order], taps, mode="valid")
        power = oaconvolve(taps, taps[::-1])[order:]
        column = np.zeros(length)
        column[: order + 1] = power[:length]
        column[0] *= 1 + _RIDGE
        return -solve_toeplitz(column, oaconvolve(error, taps[::-1], mode="valid"), check_finite=False)
    square = np.diag(np.full(length, _RIDGE * np.dot(taps, taps)))
    pull = np.zeros(length)
    for first, one_way, turn in ((start, stretch, 1), (n - stop, stretch[::-1], -1)):
        rows = np.arange(max(first, order), min(first + length + order, n))  # errors that the gap touches
        error = oaconvolve(one_way[rows[0] - order : rows[-1] + 1], taps, mode="valid")
        lags = rows[:, None] - np.arange(first, first + length)
        weights = np.where((lags >= 0) & (lags <= order), taps[lags.clip(0, order)], 0.0)
        square += (weights.T @ weights)[::turn, ::turn]
        pull += (weights.T @ error)[::turn]
    return -cho_solve(cho_factor(square), pull)
