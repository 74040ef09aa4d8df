"""What an estimate adds where the reference is quiet: hiss over pauses."""

import numpy as np

from masktools.errors import ParameterError
from masktools.metrics.signal import FLOOR_DB

__all__ = ["quiet_excess_db"]

_FRAME, _HOP = 2048, 512  # samples
QUIET_SHARE = 0.1  # of the frames


def quiet_excess_db(reference: np.ndarray, estimate: np.ndarray, floor_db: float = FLOOR_DB) -> float:
    """Return by how many dB the estimate is louder in the quietest tenth of the reference's frames, their median.

    Levels below the floor count as the floor: silence that stays below it has no excess.

    Args:
        reference: The true wave, (t,) or (channels, t), full scale 1; channels are averaged.
        estimate: A wave of the same shape.
        floor_db: In dBFS, a full-scale sine at 0.

    Raises:
        ParameterError: Shapes differ, or there are no samples.
    """
    true, found = (np.atleast_2d(np.asarray(wave, np.float64)) for wave in (reference, estimate))
    if true.shape != found.shape:
        raise ParameterError(f"the estimate must have the reference's shape {true.shape}, got {found.shape}")
    if true.ndim != 2 or not true.size:
        raise ParameterError(f"a wave must be of shape (t,) or (channels, t) and not empty, got {true.shape}")
    levels = [_levels_db(wave, floor_db) for wave in (true, found)]
    n_quiet = max(1, round(QUIET_SHARE * len(levels[0])))
    quiet = np.argsort(levels[0], kind="stable")[:n_quiet]
    return float(np.median(levels[1][quiet] - levels[0][quiet]))


def _levels_db(wave: np.ndarray, floor_db: float) -> np.ndarray:
    """Return the level of each frame; the last is padded where the wave is shorter than one."""
    power = np.mean(np.square(wave), axis=0)
    padded = np.pad(power, (0, max(0, _FRAME - len(power))))
    frames = np.lib.stride_tricks.sliding_window_view(padded, _FRAME)[::_HOP].mean(axis=1)
    return 10 * np.log10(np.maximum(2 * frames, 10 ** (floor_db / 10)))
