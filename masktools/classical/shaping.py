"""A wave made louder and quieter band by band and moment by moment."""

import numpy as np
from scipy.signal import ShortTimeFFT
from scipy.signal.windows import hann

__all__ = ["shaped"]

_HOPS_A_WINDOW = 4


def shaped(
    samples: np.ndarray,
    sample_rate: int,
    gains_db: np.ndarray,
    centres_hz: np.ndarray,
    times_s: np.ndarray,
    window_s: float = 0.0464,
) -> np.ndarray:
    """Return samples (t,), float64, with gains that are interpolated in dB between bands and moments.

    Args:
        samples: (t,).
        sample_rate: in Hz.
        gains_db: (bands, moments).
        centres_hz: (bands,) rising; below the first and above the last their own gains hold.
        times_s: (moments,) rising, counted from the first sample.
        window_s: length of the frames.
    """
    n_fft = 2 * round(window_s * sample_rate / 2)
    stft = ShortTimeFFT(hann(n_fft, sym=False), max(1, n_fft // _HOPS_A_WINDOW), sample_rate)
    padded = np.pad(samples.astype(np.float64), (0, max(0, n_fft - len(samples))))
    spectrum = stft.stft(padded)
    own_s = stft.t(len(padded))
    in_time = np.stack([np.interp(own_s, times_s, band) for band in gains_db])
    in_both = np.stack([np.interp(stft.f, centres_hz, moment) for moment in in_time.T], axis=1)
    return stft.istft(spectrum * 10 ** (in_both / 20), k1=len(padded))[: len(samples)]
