"""Audio continued into a gap from its edges, by linear prediction.

The continuation is right for a few milliseconds, and goes on sounding like what came before for some more: long
enough to hide a seam, and to keep the silence of a gap out of what is computed around it.
"""

import numpy as np
from scipy.signal import lfilter, lfiltic

__all__ = ["bridge", "burg", "extrapolate", "fill_between"]

CONTEXT_S = 0.1  # of known audio that is listened to
MAX_ORDER = 256
LONG_CONTEXT_S = 0.2  # for a whole gap
LONG_ORDER = 1000
_RIDGE = 1e-12  # share of the power, that keeps the prediction of pure tones stable


def burg(samples: np.ndarray, order: int) -> np.ndarray:
    """Return the prediction-error filter (1, a_1, ..., a_p) of samples (t,), float64, by Burg's method.

    All its poles lie within the unit circle: what it continues does not grow.

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

    The order of the prediction is a third of what is known, ``max_order`` at most.
    """
    order = min(max_order, len(known) // 3)
    if order < 1 or not known.any():
        return np.zeros(n_samples)
    taps = burg(known, order)
    state = lfiltic([1.0], taps, y=known[::-1][:order].astype(np.float64))
    return lfilter([1.0], taps, np.zeros(n_samples), zi=state)[0]


def fill_between(before: np.ndarray, after: np.ndarray, length: int, reach: int) -> np.ndarray:
    """Return a gap of ``length`` samples, float64, continued from both sides, each fading out over ``reach``.

    A gap shorter than ``reach`` is cross-faded from one side to the other; the middle of a long one is silent.

    Args:
        before: known samples that end where the gap starts; none where nothing comes before it.
        after: known samples that start where the gap ends; none where nothing comes after it.
        length: of the gap.
        reach: of each continuation.
    """
    n = min(length, reach)
    fade = np.cos(0.5 * np.pi * (np.arange(n) + 0.5) / n)
    gap = np.zeros(length)
    gap[:n] += extrapolate(before, n) * fade
    gap[length - n :] += (extrapolate(after[::-1], n) * fade)[::-1]
    return gap


def bridge(before: np.ndarray, after: np.ndarray, length: int, max_order: int = LONG_ORDER) -> np.ndarray:
    """Return a whole gap of ``length`` samples, float64, cross-faded from one side's continuation to the other's.

    Powers add up where the two are unlike, amplitudes where they are alike: neither is a gap of noise too quiet in
    its middle, nor one in a tone too loud. With one side only, its continuation fades out.

    Args:
        before: known samples (t,) that end where the gap starts; 200 ms are good.
        after: known samples (t,) that start where the gap ends.
        length: of the gap.
        max_order: of the predictors; a third of what is known, at most.
    """
    turn = 0.5 * np.pi * (np.arange(length) + 0.5) / length
    ahead = extrapolate(before, length, max_order)
    back = extrapolate(after[::-1], length, max_order)[::-1]
    energy = np.dot(ahead, ahead) * np.dot(back, back)
    likeness = max(0.0, float(np.dot(ahead, back) / np.sqrt(energy))) if energy else 0.0
    return (np.cos(turn) * ahead + np.sin(turn) * back) / np.sqrt(1 + likeness * np.sin(2 * turn))
