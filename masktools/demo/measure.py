"""Measurements of the demonstration: every way of repairing a recording, and no repair, in rows of one form.

All of them at 22.05 kHz, so that distances of different recordings are comparable.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy.signal import resample_poly

from masktools.metrics import (
    band_level_db,
    envelope_error_db,
    level_db,
    level_error_db,
    lsd_db,
    lsd_split_db,
    seam_crest_db,
    third_octave_error_db,
)

RATE = 22_050  # Hz
TOP_HZ = 10_500.0  # above it the resampler's transition band begins
_MARGIN_HZ = 300.0  # between the cutoff and the band that is certainly missing

Row = dict[str, Any]


def at_rate(samples: np.ndarray, sample_rate: int) -> np.ndarray:
    """Return samples (channels, t) at the rate of the measurements."""
    if sample_rate == RATE:
        return samples
    divisor = np.gcd(sample_rate, RATE)
    return resample_poly(samples, RATE // divisor, sample_rate // divisor, axis=-1)


def gap_rows(
    recording: str,
    original: np.ndarray,
    fills: Mapping[str, np.ndarray],
    sample_rate: int,
    gaps: tuple[tuple[float, float], ...],
) -> list[Row]:
    """Return one row for each gap and each way of filling it.

    ``envelope_db``, ``lsd_db`` and ``level_error_db`` are those of the gap, ``seam_db`` is the worse of its two joins,
    and ``n_changed`` counts samples outside all gaps that are not the original's.
    """
    outside = np.ones(original.shape[1], bool)
    for start_s, end_s in gaps:
        outside[round(start_s * sample_rate) : round(end_s * sample_rate)] = False
    true = at_rate(original, sample_rate)
    found = {method: at_rate(filled, sample_rate) for method, filled in fills.items()}
    return [
        {
            "recording": recording,
            "start_s": span_s[0],
            "end_s": span_s[1],
            "method": method,
            "envelope_db": envelope_error_db(true, found[method], RATE, span_s),
            "lsd_db": lsd_db(true, found[method], RATE, (0.0, TOP_HZ), span_s),
            "level_error_db": level_error_db(true, found[method], RATE, span_s),
            "seam_db": max(seam_crest_db(filled, sample_rate, join_s) for join_s in span_s),
            "n_changed": int(np.any(filled[:, outside] != original[:, outside], axis=0).sum()),
        }
        for span_s in gaps
        for method, filled in fills.items()
    ]


def band_rows(
    recording: str, original: np.ndarray, extensions: Mapping[str, np.ndarray], sample_rate: int, cutoff_hz: float
) -> list[Row]:
    """Return one row for each way of extending the band: the distances below and above the cutoff."""
    true = at_rate(original, sample_rate)
    upper = (cutoff_hz + _MARGIN_HZ, TOP_HZ)
    rows = []
    for method, extended in extensions.items():
        found = at_rate(extended, sample_rate)
        envelope = third_octave_error_db(true, found, RATE, upper)
        rows.append(
            {
                "recording": recording,
                "cutoff_hz": cutoff_hz,
                "method": method,
                "lsd_low_db": lsd_split_db(true, found, RATE, cutoff_hz - _MARGIN_HZ).lo,
                "lsd_high_db": lsd_db(true, found, RATE, upper),
                "envelope_rms_db": envelope.rms,
                "envelope_bias_db": envelope.bias,
                "high_level_db": band_level_db(found, RATE, upper),
                "high_level_true_db": band_level_db(true, RATE, upper),
            }
        )
    return rows


def sound_row(name: str, samples: np.ndarray, sample_rate: int) -> Row:
    """Return descriptors of a sound without a model: level, brightness, noisiness, unsteadiness."""
    mono = at_rate(samples, sample_rate).mean(axis=0)
    frames = np.lib.stride_tricks.sliding_window_view(mono, 1024)[::256] * np.hanning(1024)
    power = np.abs(np.fft.rfft(frames)) ** 2 + 1e-12
    hz = np.fft.rfftfreq(1024, 1 / RATE)
    share = power / power.sum(axis=1, keepdims=True)
    loudness_db = 10 * np.log10(power.sum(axis=1))
    heard = loudness_db > loudness_db.max() - 50
    flatness = np.exp(np.log(power).mean(axis=1)) / power.mean(axis=1)
    return {
        "name": name,
        "level_db": level_db(mono, RATE),
        "centroid_hz": float((share @ hz)[heard].mean()),
        "flatness": float(flatness[heard].mean()),
        "unsteadiness_db": float(loudness_db[heard].std()),
    }


def likeness(vectors: np.ndarray) -> np.ndarray:
    """Return the cosines between vectors (n, d), after subtraction of their mean: 1 alike, 0 unrelated, -1 opposite."""
    centred = vectors - vectors.mean(axis=0)
    lengths = np.linalg.norm(centred, axis=1, keepdims=True).clip(1e-12)
    return (centred / lengths) @ (centred / lengths).T
