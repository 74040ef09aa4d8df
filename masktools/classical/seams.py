"""Where a fill meets what is known: seams inside the gap, so that no known sample changes."""

import numpy as np

from masktools.classical.fades import fade_in
from masktools.classical.linear_prediction import extrapolate

__all__ = ["join_ends", "with_residuals"]


def join_ends(generated: np.ndarray, from_left: np.ndarray, from_right: np.ndarray) -> np.ndarray:
    """Return the samples of a gap, float64: generated ones, with a seam inside each end.

    At a seam the continuation of the known audio gives way to what was generated, at equal power, as the two are
    not in phase.

    Args:
        generated: (n,) what fills the gap.
        from_left: the continuation of what comes before, as long as the seam; zeros make it a fade-in.
        from_right: that of what comes after, in the order of time.
    """
    n, seam = len(generated), len(from_left)
    filled = generated.astype(np.float64)
    rise = fade_in(seam)
    fall = rise[::-1]
    filled[:seam] = filled[:seam] * rise + from_left * fall
    filled[n - seam :] = filled[n - seam :] * rise[::-1] + from_right * fall[::-1]
    return filled


def with_residuals(copied: np.ndarray, before: np.ndarray, after: np.ndarray, seam: int) -> np.ndarray:
    """Return a copied stretch (n,), float64, made to begin and end with what is known.

    What the stretch lacks to the known audio on either side is continued into it and fades out: the true stretch
    lacks nothing, and stays as it is.

    Args:
        copied: (n,) what fills the gap.
        before: (t,) the known samples before the gap less those before the stretch.
        after: (t,) the same after them.
        seam: samples over which the residual fades.
    """
    filled, n = copied.astype(np.float64), len(copied)
    fall = fade_in(seam)[::-1] ** 2
    filled[:seam] += fall * extrapolate(before, seam)
    filled[n - seam :] += (fall * extrapolate(after[::-1], seam))[::-1]
    return filled
