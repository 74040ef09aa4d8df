"""How far the harmony of a recording is off: energies of the twelve pitch classes, whatever the octave."""

import numpy as np
from scipy.signal.windows import hann

from masktools.metrics.signal import Pair, channel_pairs, span_of

__all__ = ["chroma_distance", "chroma_filters"]

_WINDOW_S, _HOP_S = 4096 / 22_050, 1024 / 22_050
_N_CLASSES = 12
_A4_HZ = 440.0
_CENTRE_OCTAVE, _OCTAVE_WIDTH = 5.0, 2.0  # of the weight of octaves; octave 4 begins at 440 Hz
_SILENT = 1e-12  # power


def chroma_distance(reference: np.ndarray, estimate: np.ndarray, sample_rate: int, span_s: Pair | None = None) -> float:
    """Return the mean cosine distance of the chroma vectors of frames: 0 for the same harmony, 1 for none in common.

    Frames are of 0.19 s, every 46 ms, in the span as a whole; NaN where it is shorter than one.

    Args:
        reference: the true wave, (t,) or (channels, t).
        estimate: a wave of the same shape.
        sample_rate: in Hz.
        span_s: (start, end) in seconds; all of it where it is None.

    Raises:
        ParameterError: shapes differ, nothing to measure, or a span outside the recording.

    Source: Ellis, Chroma feature analysis and synthesis (2007); the distance as in Mueller, Fundamentals of Music
        Processing (2015), section 3.1.
    """
    distances = []
    for pair in channel_pairs(reference, estimate):
        true, found = (_chroma(span_of(wave, sample_rate, span_s), sample_rate) for wave in pair)
        distances.append(1 - (true * found).sum(axis=1))
    measured = np.concatenate(distances)
    return float(measured.mean()) if len(measured) else float("nan")


def _chroma(wave: np.ndarray, sample_rate: int) -> np.ndarray:
    """Return unit vectors (frames, 12); those of silence are zero."""
    n_fft, hop = (2 * round(seconds * sample_rate / 2) for seconds in (_WINDOW_S, _HOP_S))
    if len(wave) < n_fft:
        return np.zeros((0, _N_CLASSES))
    frames = np.lib.stride_tricks.sliding_window_view(wave, n_fft)[::hop]
    power = np.abs(np.fft.rfft(frames * hann(n_fft, sym=False))) ** 2
    energies = power @ chroma_filters(sample_rate, n_fft).T
    lengths = np.linalg.norm(energies, axis=1, keepdims=True)
    return np.where(lengths > _SILENT, energies / np.maximum(lengths, _SILENT), 0.0)


def chroma_filters(sample_rate: int, n_fft: int) -> np.ndarray:
    """Return the weights (12, 1 + n_fft // 2) with which the bins of a spectrum count for each pitch class from C on.

    Each bin counts for the classes around its pitch by a Gaussian, as wide as bins are apart or a semitone at least,
    and less the further it is from the octave of 880 Hz.
    """
    hertz = np.arange(1, n_fft) * (sample_rate / n_fft)
    octaves = np.log2(hertz / (_A4_HZ / 16))
    pitches = _N_CLASSES * np.concatenate([[octaves[0] - 1.5], octaves])  # the constant bin lies below all others
    widths = np.append(np.maximum(np.diff(pitches), 1.0), 1.0)
    half = _N_CLASSES / 2
    away = (pitches - np.arange(_N_CLASSES)[:, None] + half) % _N_CLASSES - half  # semitones from each class, A first
    weights = np.exp(-0.5 * (2 * away / widths) ** 2)
    weights /= np.linalg.norm(weights, axis=0)
    weights *= np.exp(-0.5 * ((pitches / _N_CLASSES - _CENTRE_OCTAVE) / _OCTAVE_WIDTH) ** 2)
    return np.roll(weights, -3, axis=0)[:, : 1 + n_fft // 2]
