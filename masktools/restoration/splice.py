"""How what was generated meets what is known: levels and seams inside a gap, and the band above a cutoff.

Plain functions of samples (t,): they know neither a model nor a file. Known samples are never changed; every seam
lies on the generated side.
"""

import numpy as np
from scipy.ndimage import uniform_filter1d
from scipy.signal import kaiser_beta, oaconvolve

__all__ = ["band_gain", "end_gains", "fill_gap", "high_pass", "loudness_gate", "seam_length"]

Pair = tuple[np.ndarray, np.ndarray]

SHOULDER_S = 0.1  # of known audio beside a gap, whose level is matched
MAX_GAIN_DB = 6.0  # either way
MAX_GAIN = 10 ** (MAX_GAIN_DB / 20)
SILENCE = 1e-5  # RMS; -100 dB of full scale
SEAM_S = 0.015  # at most, at each side of a gap
TRANSITION_HZ = 200.0
STOP_BAND_DB = 110.0
MATCHED_BAND = (0.7, 0.97)  # of the cutoff: where original and generated must be equally loud
SMOOTHING_S = 1.0
_FRAME, _HOP = 2048, 512  # samples
_BLOCK = 1024  # frames


def seam_length(gap_samples: int, sample_rate: int) -> int:
    """Return how many samples of a gap each of its two seams takes."""
    return max(1, min(round(SEAM_S * sample_rate), gap_samples // 2))


def end_gains(left: Pair, right: Pair) -> tuple[float, float] | None:
    """Return the gains, at both ends of a gap, that make the generated as loud as the known beside it.

    Each is that of its own side, within 6 dB; where nothing is known at one side, or nothing was generated, it is
    that of the other.

    Args:
        left: known samples before the gap, none at the start of a recording, and what was generated in their place.
        right: the same after the gap.

    Returns:
        The gains, or None where the known samples are silent: then the gap shall be silent too.
    """
    levels = [(_rms(known), _rms(generated)) for known, generated in (left, right)]
    if all(known < SILENCE for known, _ in levels):
        return None
    ratios = [
        float(np.clip(known / generated, 1 / MAX_GAIN, MAX_GAIN)) if min(known, generated) >= SILENCE else None
        for known, generated in levels
    ]
    first, last = ratios[0] or ratios[1] or 1.0, ratios[1] or ratios[0] or 1.0
    return first, last


def _rms(samples: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(samples, dtype=np.float64)))) if samples.size else 0.0


def fill_gap(
    generated: np.ndarray,
    from_left: np.ndarray,
    from_right: np.ndarray,
    gains: tuple[float, float],
) -> np.ndarray:
    """Return the samples of a gap, float64: generated ones, levelled, with a seam inside each end.

    At a seam the continuation of the known audio gives way to what was generated, at equal power, as the two are
    not in phase.

    Args:
        generated: (n,) what the model put there.
        from_left: the continuation of what comes before, as long as the seam; zeros make it a fade-in.
        from_right: that of what comes after, in the order of time.
        gains: at the left and at the right end; between them the gain is linear in decibels.
    """
    n = len(generated)
    left_db, right_db = 20 * np.log10(gains)
    filled = generated * 10 ** (np.linspace(left_db, right_db, n) / 20)
    rise = np.sin(0.5 * np.pi * (np.arange(len(from_left)) + 0.5) / len(from_left))
    fall = np.cos(0.5 * np.pi * (np.arange(len(from_left)) + 0.5) / len(from_left))
    seam = len(rise)
    filled[:seam] = filled[:seam] * rise + from_left * fall
    filled[n - seam :] = filled[n - seam :] * rise[::-1] + from_right * fall[::-1]
    return filled


def high_pass(samples: np.ndarray, sample_rate: int, cutoff_hz: float) -> np.ndarray:
    """Return what lies above a cutoff, without delay: linear phase, and nothing left 200 Hz below the cutoff.

    The pass band starts at the cutoff.

    Source: J. F. Kaiser's formula for the length of a windowed FIR filter (1974).
    """
    n_taps = int(np.ceil((STOP_BAND_DB - 7.95) / (2.285 * 2 * np.pi * TRANSITION_HZ / sample_rate))) | 1
    middle = 2 * (cutoff_hz - TRANSITION_HZ / 2) / sample_rate  # of the transition, in Nyquist frequencies
    low_pass = np.sinc(middle * (np.arange(n_taps) - n_taps // 2)) * np.kaiser(n_taps, kaiser_beta(STOP_BAND_DB))
    taps = -low_pass / low_pass.sum()
    taps[n_taps // 2] += 1.0
    return oaconvolve(samples.astype(np.float64), taps, mode="same")


def band_gain(known: np.ndarray, generated: np.ndarray, sample_rate: int, cutoff_hz: float) -> np.ndarray:
    """Return the gain (t,) that makes the generated as loud as the known just below a cutoff.

    Powers are compared between 0.7 and 0.97 of the cutoff, averaged over a second; the gain stays within 6 dB, and is
    1 where there is nothing to compare.
    """
    low_hz, high_hz = (share * cutoff_hz for share in MATCHED_BAND)
    wanted, got = (_band_power(x, sample_rate, low_hz, high_hz) for x in (known, generated))
    quiet = SILENCE**2
    ratio = np.sqrt(np.maximum(wanted, quiet) / np.maximum(got, quiet))
    return _at_samples(np.clip(ratio, 1 / MAX_GAIN, MAX_GAIN), len(known))


def loudness_gate(known: np.ndarray) -> np.ndarray:
    """Return 0 where the known samples are digital silence and 1 where they are not, (t,), with short slopes."""
    padded = np.pad(known, (0, -len(known) % _HOP)).reshape(-1, _HOP)
    power = uniform_filter1d(np.square(padded, dtype=np.float64).mean(axis=1), 3, mode="nearest")
    return _at_samples((power > SILENCE**2).astype(np.float64), len(known))


def _band_power(samples: np.ndarray, sample_rate: int, low_hz: float, high_hz: float) -> np.ndarray:
    """Return the power of a band, a value each 512 samples, averaged over a second around it."""
    n_frames = -(-len(samples) // _HOP)
    half = _FRAME // 2
    padded = np.pad(samples.astype(np.float32), (half, half + n_frames * _HOP - len(samples)))
    frames = np.lib.stride_tricks.sliding_window_view(padded, _FRAME)[::_HOP][:n_frames]
    window = np.hanning(_FRAME).astype(np.float32) * np.float32(2 / _FRAME)
    hertz = np.fft.rfftfreq(_FRAME, 1 / sample_rate)
    band = (hertz >= low_hz) & (hertz <= high_hz)
    power = np.concatenate(
        [
            np.square(np.abs(np.fft.rfft(frames[start : start + _BLOCK] * window)[:, band])).sum(axis=1)
            for start in range(0, n_frames, _BLOCK)
        ]
    )
    return uniform_filter1d(power.astype(np.float64), max(1, round(SMOOTHING_S * sample_rate / _HOP)), mode="nearest")


def _at_samples(values: np.ndarray, n_samples: int) -> np.ndarray:
    """Return values that are 512 samples apart at every sample, by lines between them."""
    return np.interp(np.arange(n_samples), np.arange(len(values)) * _HOP, values)
