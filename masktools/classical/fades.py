"""Slopes from nothing to all, without a kink at either end: what is multiplied by one keeps to its own band."""

import numpy as np

__all__ = ["fade_in"]


def fade_in(n_samples: int) -> np.ndarray:
    """Return a slope (n_samples,) from 0 to 1; its square and that of the slope the other way round add up to 1.

    >>> rise = fade_in(5)
    >>> bool(np.allclose(rise**2 + rise[::-1] ** 2, 1))
    True

    Source: the window of the Vorbis I specification, section 1.3.2.
    """
    turn = 0.5 * np.pi * (np.arange(n_samples) + 0.5) / max(1, n_samples)
    return np.sin(0.5 * np.pi * np.sin(turn) ** 2)
