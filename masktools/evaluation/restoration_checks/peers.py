"""How four other projects find the cutoff of a recording, written anew from what their code does.

All of them ask where a fixed share of the magnitude or energy lies, so that a bass-heavy recording gets a lower cutoff
than a bright one with the same filter; and all of them always find one.
"""

from collections.abc import Callable, Mapping

import numpy as np
from scipy.signal.windows import hann

__all__ = ["PEER_RULES", "a2sb", "audiosr", "clearvoice", "nvsr"]

_N_FFT, _HOP = 2048, 512  # librosa's, that three of them use


def nvsr(wave: np.ndarray, sample_rate: int, share: float = 0.97) -> float:
    """Return the last frequency below which less than 97 % of all magnitude lies.

    Source: Liu et al., Neural Vocoder is All You Need for Speech Super-resolution (arXiv:2203.14941), its evaluation.
    """
    total = np.cumsum(_magnitudes(wave, _N_FFT, _HOP).sum(axis=0))
    below = np.flatnonzero(total < share * total[-1])
    return float(below[-1] if len(below) else 0) * sample_rate / _N_FFT


def audiosr(wave: np.ndarray, sample_rate: int) -> float:
    """Return the last frequency below which less than 98.5 % of all magnitude lies.

    Source: Liu et al., AudioSR: Versatile Audio Super-resolution at Scale (arXiv:2309.07314), its inference.
    """
    return nvsr(wave, sample_rate, 0.985)


def clearvoice(wave: np.ndarray, sample_rate: int) -> float:
    """Return the first frequency up to which 99.96 % of all energy lies, in steps of 256 bins.

    Source: ClearVoice, its bandwidth substitution.
    """
    length = 256
    total = np.cumsum((_magnitudes(wave, length, length // 2) ** 2).sum(axis=0))
    return float(np.argmax(total >= 0.9996 * total[-1])) * sample_rate / length


def a2sb(wave: np.ndarray, sample_rate: int) -> float:
    """Return the mean over time of the frequency up to which 99 % of a frame's magnitude lies.

    Source: Kong et al., A2SB: Audio-to-Audio Schrodinger Bridges (arXiv:2501.11311), its upsampling.
    """
    total = np.cumsum(_magnitudes(wave, _N_FFT, _HOP), axis=1)
    return float(np.argmax(total >= 0.99 * total[:, -1:], axis=1).mean()) * sample_rate / _N_FFT


PEER_RULES: Mapping[str, Callable[[np.ndarray, int], float]] = {
    "NVSR": nvsr,
    "AudioSR": audiosr,
    "ClearVoice": clearvoice,
    "A2SB": a2sb,
}
"""The rules by the project that uses them: (wave, sample rate) -> cutoff in Hz."""


def _magnitudes(wave: np.ndarray, length: int, hop: int) -> np.ndarray:
    """Return the magnitudes (frames, bins) of a wave (t,) under a Hann window, its ends padded with zeros."""
    padded = np.pad(wave.astype(np.float64), length // 2)
    frames = np.lib.stride_tricks.sliding_window_view(padded, length)[::hop]
    return np.abs(np.fft.rfft(frames * hann(length, sym=False)))
