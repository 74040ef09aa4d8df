"""Linear prediction: audio continued into a gap from its edges, and short gaps interpolated by an autoregressive model.

The continuation is accurate for a few milliseconds, and plausible for some more: long
enough to hide a seam, and to keep the silence of a gap out of computations on its surroundings.
"""

import numpy as np
from scipy.linalg import cho_factor, cho_solve, solve_toeplitz
from scipy.signal import lfilter, lfiltic, oaconvolve

from masktools.core.errors import ParameterError

CONTEXT_S = 0.1  # of known audio
MAX_ORDER = 256
LONG_CONTEXT_S = 0.2  # for a whole gap
LONG_ORDER = 1000
_RIDGE = 1e-12  # share of the power, which keeps the prediction of pure tones stable


def burg(samples: np.ndarray, order: int) -> np.ndarray:
    """Return the prediction-error filter (1, a_1, ..., a_p) of samples (t,), float64, by Burg's method.

    All its poles lie within the unit circle: continuations do not grow.

    Source: J. P. Burg, Maximum entropy spectral analysis (1967).
    """
    forward = samples[1:].astype(np.float64)
    backward = samples[:-1].astype(np.float64)
    taps = np.zeros(order + 1)
    taps[0] = 1.0
    floor = _RIDGE * float(np.dot(samples, samples)) + 1e-30
    for p in range(1, order + 1):
        power = np.dot(forward, forward) + np.dot(backward, backward) + floor
        reflection = -2.0 * np.dot(forward, backward) / power
        taps[: p + 1] += reflection * taps[: p + 1][::-1]
        forward, backward = (forward + reflection * backward)[1:], (backward + reflection * forward)[:-1]
    return taps


def extrapolate(known: np.ndarray, n_samples: int, max_order: int = MAX_ORDER) -> np.ndarray:
    """Return n_samples float64 that continue known samples (t,) after their end.

    The order of the prediction is a third of the known samples, ``max_order`` at most.
    """
    order = min(max_order, len(known) // 3)
    if order < 1 or not known.any():
        return np.zeros(n_samples)
    taps = burg(known, order)
    state = lfiltic([1.0], taps, y=known[::-1][:order].astype(np.float64))
    return lfilter([1.0], taps, np.zeros(n_samples), zi=state)[0]


def bridge(before: np.ndarray, after: np.ndarray, length: int, max_order: int = LONG_ORDER) -> np.ndarray:
    """Return a whole gap of ``length`` samples, float64, cross-faded from one side's continuation to the other's.

    The cross-fade keeps power if the two differ, amplitude if they are alike: a gap of noise is not too quiet in
    its middle, and one in a tone not too loud. With one side only, its continuation fades out.

    Args:
        before: known samples (t,) that end where the gap starts; 200 ms are enough.
        after: known samples (t,) that start where the gap ends.
        length: length of the gap in samples.
        max_order: greatest order of the predictors, which is a third of the known samples.
    """
    turn = 0.5 * np.pi * (np.arange(length) + 0.5) / length
    ahead = extrapolate(before, length, max_order)
    back = extrapolate(after[::-1], length, max_order)[::-1]
    energy = np.dot(ahead, ahead) * np.dot(back, back)
    likeness = max(0.0, float(np.dot(ahead, back) / np.sqrt(energy))) if energy else 0.0
    return (np.cos(turn) * ahead + np.sin(turn) * back) / np.sqrt(1 + likeness * np.sin(2 * turn))


MAX_GAP_S = 0.1  # longer gaps hold no trace of the original
MAX_ITERATIONS = 20  # two are nearly as good
_DENSE = 500  # samples of a gap, up to which a shoulder may be shorter than the order
_TOLERANCE = 1e-2  # of the gap's energy, as amplitudes: 40 dB below the fill


def interpolate(
    before: np.ndarray,
    after: np.ndarray,
    length: int,
    max_order: int = LONG_ORDER,
    max_iterations: int = MAX_ITERATIONS,
) -> np.ndarray:
    """Return a gap of ``length`` samples, float64, between the known samples before and after it.

    In alternation, a predictor is fitted to the samples with the current fill, and the fill is set to minimise
    the error of that predictor, until it changes by less than 1 %: after three to five iterations for most gaps.
    Where one side is missing, the other is continued.

    Args:
        before: (t,) known samples that end where the gap starts; 200 ms are enough.
        after: (t,) known samples that start where it ends.
        length: length of the gap in samples, at least 1.
        max_order: greatest order of the predictor, at least 1. High orders reproduce their own guesses in the gap.
        max_iterations: greatest number of iterations, at least 1.

    Raises:
        ParameterError: a length, an order or a number of iterations below 1.

    Source: Janssen, Veldhuis and Vries, Adaptive interpolation of discrete-time signals that can be modeled as
        autoregressive processes (1986), sections II and III.
    Differs: the order is min(3 * length + 2, a third of the samples, max_order), the predictor is Burg's, and the
        first iteration starts from continuations of both sides.
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
    """Return the change of the gap that minimises the predictor's error over the stretch.

    The change is computed, not the samples, so that the ridge keeps the current fill where the equations are
    ill-conditioned, as for pure tones. Where the gap is at least the order away from both ends, the equations have a
    Toeplitz matrix. Nearer to an end only errors within the stretch count, forward and backward ones: forward
    errors say little about samples near the start.
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
        rows = np.arange(max(first, order), min(first + length + order, n))  # errors that depend on the gap
        error = oaconvolve(one_way[rows[0] - order : rows[-1] + 1], taps, mode="valid")
        lags = rows[:, None] - np.arange(first, first + length)
        weights = np.where((lags >= 0) & (lags <= order), taps[lags.clip(0, order)], 0.0)
        square += (weights.T @ weights)[::turn, ::turn]
        pull += (weights.T @ error)[::turn]
    return -cho_solve(cho_factor(square), pull)
