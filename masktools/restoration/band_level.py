"""How an added band meets the recording below it: the filter between them, and how loud it must be.

Plain functions of samples (t,): they know neither a model nor a file.
"""

import numpy as np
from scipy.ndimage import uniform_filter1d
from scipy.signal import kaiser_beta, oaconvolve

__all__ = [
    "HOP",
    "MATCHED_BAND",
    "MAX_GAIN_DB",
    "SILENCE",
    "SMOOTHING_S",
    "at_samples",
    "band_gain",
    "band_powers",
    "high_pass",
    "high_pass_reach",
    "loudness_gate",
]

HOP = 512  # samples between the frames in which levels are measured
MATCHED_BAND = (0.7, 0.97)  # of the cutoff: where original and generated must be equally loud
MAX_GAIN_DB = 6.0  # either way
SILENCE = 1e-5  # RMS; -100 dB of full scale
SMOOTHING_S = 1.0
TRANSITION_HZ = 200.0
STOP_BAND_DB = 110.0
_FRAME = 2048  # samples
_BLOCK = 1024  # frames
_MAX_GAIN = 10 ** (MAX_GAIN_DB / 20)


def high_pass(samples: np.ndarray, sample_rate: int, cutoff_hz: float) -> np.ndarray:
    """Return what lies above a cutoff, without delay: linear phase, half the amplitude at the cutoff itself.

    Nothing is left 100 Hz below the cutoff, and everything 100 Hz above it. What a recording still has at its edge,
    half of what it once had, and what is added there make up a whole.

    Source: J. F. Kaiser's formula for the length of a windowed FIR filter (1974).
    """
    half = high_pass_reach(sample_rate)
    middle = 2 * cutoff_hz / sample_rate  # of the transition, in Nyquist frequencies
    low_pass = np.sinc(middle * np.arange(-half, half + 1)) * np.kaiser(2 * half + 1, kaiser_beta(STOP_BAND_DB))
    taps = -low_pass / low_pass.sum()
    taps[half] += 1.0
    return oaconvolve(np.pad(samples.astype(np.float64), half), taps, mode="valid")


def high_pass_reach(sample_rate: int) -> int:
    """Return how many samples to either side ``high_pass`` reads."""
    n_taps = int(np.ceil((STOP_BAND_DB - 7.95) / (2.285 * 2 * np.pi * TRANSITION_HZ / sample_rate))) | 1
    return n_taps // 2


def band_gain(known: np.ndarray, generated: np.ndarray, sample_rate: int, cutoff_hz: float) -> np.ndarray:
    """Return the gain (t,) that makes the generated as loud as the known just below a cutoff.

    Powers are compared between 0.7 and 0.97 of the cutoff, averaged over a second; the gain stays within 6 dB, and is
    1 where there is nothing to compare.
    """
    band = [(MATCHED_BAND[0] * cutoff_hz, MATCHED_BAND[1] * cutoff_hz)]
    n_frames = max(1, round(SMOOTHING_S * sample_rate / HOP))
    wanted, got = (
        uniform_filter1d(band_powers(x, sample_rate, band)[:, 0], n_frames, mode="nearest") for x in (known, generated)
    )
    quiet = SILENCE**2
    ratio = np.sqrt(np.maximum(wanted, quiet) / np.maximum(got, quiet))
    return at_samples(np.clip(ratio, 1 / _MAX_GAIN, _MAX_GAIN), len(known))


def loudness_gate(known: np.ndarray) -> np.ndarray:
    """Return 0 where the known samples are digital silence and 1 where they are not, (t,), with short slopes."""
    padded = np.pad(known, (0, -len(known) % HOP)).reshape(-1, HOP)
    power = uniform_filter1d(np.square(padded, dtype=np.float64).mean(axis=1), 3, mode="nearest")
    return at_samples((power > SILENCE**2).astype(np.float64), len(known))


def band_powers(samples: np.ndarray, sample_rate: int, bands_hz: list[tuple[float, float]]) -> np.ndarray:
    """Return the power of each band, (frames, bands) float64: mean squares, a frame each 512 samples around it."""
    n_frames = -(-len(samples) // HOP)
    half = _FRAME // 2
    padded = np.pad(samples.astype(np.float32), (half, half + n_frames * HOP - len(samples)))
    frames = np.lib.stride_tricks.sliding_window_view(padded, _FRAME)[::HOP][:n_frames]
    window = np.hanning(_FRAME).astype(np.float32)
    hertz = np.fft.rfftfreq(_FRAME, 1 / sample_rate)
    inside = np.stack([(hertz >= low) & (hertz <= high) for low, high in bands_hz], axis=1).astype(np.float32)
    scale = 2.0 / (_FRAME * float(np.sum(np.square(window, dtype=np.float64))))
    return scale * np.concatenate(
        [
            (np.abs(np.fft.rfft(frames[start : start + _BLOCK] * window)) ** 2 @ inside).astype(np.float64)
            for start in range(0, n_frames, _BLOCK)
        ]
    )


def at_samples(values: np.ndarray, n_samples: int) -> np.ndarray:
    """Return values that are 512 samples apart at every sample, by lines between them."""
    return np.interp(np.arange(n_samples), np.arange(len(values)) * HOP, values)
