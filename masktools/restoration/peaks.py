"""What is added to a recording, made quieter for a moment where the sum would leave full scale."""

from collections.abc import Iterable, Iterator

import numpy as np
from scipy.ndimage import minimum_filter1d

__all__ = ["LOOK_AHEAD_S", "limited", "peak_gain"]

LOOK_AHEAD_S = 0.005


def limited(
    pairs: Iterable[tuple[np.ndarray, np.ndarray]], sample_rate: int
) -> Iterator[tuple[np.ndarray, np.ndarray, int]]:
    """Yield recordings and what is added to them, the latter attenuated where their sum would clip.

    Args:
        pairs: (original, added) of consecutive stretches, (channels, n) each.
        sample_rate: in Hz.

    Yields:
        original, added and the number of samples that were attenuated, of stretches that follow each other but are
        not those that came in.
    """
    reach = 2 * _reach(sample_rate)  # what the gain of a sample depends on, either way
    original = added = None
    n_before = 0
    for one, other in pairs:
        original = one if original is None else np.concatenate([original, one], axis=1)
        added = other if added is None else np.concatenate([added, other], axis=1)
        stop = original.shape[1] - reach
        if stop <= n_before:
            continue
        yield _attenuated(original, added, sample_rate, n_before, stop)
        kept = max(0, stop - reach)
        original, added, n_before = original[:, kept:], added[:, kept:], stop - kept
    if original is not None and added is not None and n_before < original.shape[1]:
        yield _attenuated(original, added, sample_rate, n_before, original.shape[1])


def _attenuated(
    original: np.ndarray, added: np.ndarray, sample_rate: int, start: int, stop: int
) -> tuple[np.ndarray, np.ndarray, int]:
    part = slice(start, stop)
    if np.abs(original + added).max(initial=0.0) <= 1.0:
        return original[:, part], added[:, part], 0
    gain = peak_gain(original, added, sample_rate)[part]
    return original[:, part], (added[:, part] * gain).astype(added.dtype), int(np.count_nonzero(gain < 1.0))


def peak_gain(original: np.ndarray, added: np.ndarray, sample_rate: int) -> np.ndarray:
    """Return the gain (t,) in [0, 1] of what is added to an original, so that no sample of the sum leaves full scale.

    A sample of the original that lies beyond full scale by itself is not made larger. The gain is that of all
    channels together, 1 more than 10 ms away from a peak, and without corners.

    Args:
        original: (channels, t); it is never changed.
        added: (channels, t).
        sample_rate: in Hz.
    """
    room = np.maximum(1.0, np.abs(original)).astype(np.float64) * (1.0 - 1e-6) - original * np.sign(added)
    needed = np.where(np.abs(original + added) > 1.0, room.clip(0.0) / np.maximum(np.abs(added), 1e-30), 1.0)
    lowest = needed.clip(0.0, 1.0).min(axis=0)
    reach = _reach(sample_rate)
    held = minimum_filter1d(np.pad(lowest, reach, constant_values=1.0), 2 * reach + 1, mode="constant", cval=1.0)
    weights = np.hanning(2 * reach + 3)[1:-1]
    return 1.0 - np.convolve(1.0 - held, weights / weights.sum(), mode="valid")


def _reach(sample_rate: int) -> int:
    return max(1, round(LOOK_AHEAD_S * sample_rate))
