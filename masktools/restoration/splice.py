"""How what was generated meets what is known beside a gap: in time, in level, and at the seams inside it.

Plain functions of samples (t,): they know neither a model nor a file. Known samples are never changed; every seam
lies on the generated side.
"""

from collections.abc import Sequence

import numpy as np
from scipy.signal import correlate

__all__ = ["SHOULDER_S", "SILENCE", "best_lag", "end_gains", "seam_length", "shifted"]

Pair = tuple[np.ndarray, np.ndarray]

SHOULDER_S = 0.1  # of known audio beside a gap, whose level is matched
MAX_GAIN_DB = 6.0  # either way
SILENCE = 1e-5  # RMS; -100 dB of full scale
SEAM_S = 0.015  # at most, at each side of a gap


def seam_length(gap_samples: int, sample_rate: int) -> int:
    """Return how many samples of a gap each of its two seams takes."""
    return max(1, min(round(SEAM_S * sample_rate), gap_samples // 2))


def best_lag(pairs: Sequence[Pair], max_lag: int) -> int:
    """Return by how many samples the generated has to be moved later to be most like the known beside it.

    The correlations of all pairs are added up, each weighed by its energy; without any likeness it is 0.

    Args:
        pairs: known samples (n,), and what was generated in their place with ``max_lag`` samples more at each side.
        max_lag: in samples, either way.
    """
    score = np.zeros(2 * max_lag + 1)
    for known, generated in pairs:
        if not known.any() or not generated.any():
            continue
        along = correlate(generated.astype(np.float64), known.astype(np.float64), "valid", "fft")
        energy = correlate(np.square(generated, dtype=np.float64), np.ones(len(known)), "valid", "fft")
        score += along * np.linalg.norm(known) / np.sqrt(energy.clip(len(known) * SILENCE**2))
    best = int(np.argmax(score))
    return max_lag - best if score[best] > 0 else 0


def shifted(samples: np.ndarray, lag: int) -> np.ndarray:
    """Return samples (..., t) moved later by a lag, or earlier by a negative one; silence comes in at the end.

    >>> shifted(np.array([1, 2, 3]), 1), shifted(np.array([1, 2, 3]), -1)
    (array([0, 1, 2]), array([2, 3, 0]))
    """
    moved = np.zeros_like(samples)
    n = samples.shape[-1]
    moved[..., max(0, lag) : n + min(0, lag)] = samples[..., max(0, -lag) : n + min(0, -lag)]
    return moved


def end_gains(left: Pair, right: Pair, max_db: float = MAX_GAIN_DB) -> tuple[float, float] | None:
    """Return the gains, at both ends of a gap, that make the generated as loud as the known beside it.

    Each is that of its own side, within limits; where nothing is known at one side, or nothing was generated, it is
    that of the other.

    Args:
        left: known samples before the gap, none at the start of a recording, and what was generated in their place.
        right: the same after the gap.
        max_db: either way.

    Returns:
        The gains, or None where the known samples are silent: then the gap shall be silent too.
    """
    limit = 10 ** (max_db / 20)
    levels = [(_rms(known), _rms(generated)) for known, generated in (left, right)]
    if all(known < SILENCE for known, _ in levels):
        return None
    ratios = [
        float(np.clip(known / generated, 1 / limit, limit)) if min(known, generated) >= SILENCE else None
        for known, generated in levels
    ]
    first, last = ratios[0] or ratios[1] or 1.0, ratios[1] or ratios[0] or 1.0
    return first, last


def _rms(samples: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(samples, dtype=np.float64)))) if samples.size else 0.0
