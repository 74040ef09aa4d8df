"""Measures of a filled gap: third-octave levels over time, spectral flatness, and chroma.

Frames of 93 ms, half overlapped, that lie entirely in the span. Levels are clipped to a floor. Two noises with the
same spectral envelope are about 3 dB apart here, where a log-spectral distance at full resolution gives 7.7 dB, and a
smooth grey wash would be nearer to either than they are to each other.
"""

from itertools import pairwise

import numpy as np
from scipy.signal.windows import hann

from masktools.metrics.signal import Pair, channel_pairs, span_of

TOP_HZ = 10_200.0
"""Default upper edge of the highest third octave: that from 8 kHz on."""

_FRAME_S = 2048 / 22_050
_LOWEST_HZ = 50.0
_FLOOR_DB = -75.0  # dBFS
_HEARD_DB = -60.0  # least level of a band whose flatness counts
_MIN_BINS = 6  # least bins of a band whose flatness counts
_FAINT = 1e-13


def envelope_error_db(
    reference: np.ndarray,
    estimate: np.ndarray,
    sample_rate: int,
    span_s: Pair | None = None,
    band_hz: Pair = (_LOWEST_HZ, TOP_HZ),
) -> float:
    """Return the root mean square difference in dB of third-octave levels in frames of 93 ms: 0 for equal waves.

    Args:
        reference: the true wave, (t,) or (channels, t).
        estimate: a wave of the same shape.
        sample_rate: sampling rate in Hz.
        span_s: (start, end) in seconds; all of it where it is None.
        band_hz: (low, high) that the bands lie within; they begin at 50 Hz, each a third octave wide. From 50 Hz to
            10.2 kHz by default, or to half the sample rate where that is lower.

    Raises:
        ParameterError: shapes differ, nothing to measure, or a span outside the recording.

    Source: band edges of a third octave, base two, from 50 Hz on.
    """
    errors = []
    for pair in channel_pairs(reference, estimate):
        true, found = (_levels(*_bands(span_of(wave, sample_rate, span_s), sample_rate, band_hz)) for wave in pair)
        errors.append(found - true)
    return float(np.sqrt(np.mean(np.square(errors))))


def flatness_error_db(
    reference: np.ndarray, estimate: np.ndarray, sample_rate: int, span_s: Pair | None = None
) -> float:
    """Return the mean difference in dB of the spectral flatness of third octaves; NaN where all of them are too quiet.

    The flatness of white noise is -2.5 dB, that of a tone far below: this shows noise in place of tones, which levels
    do not. Bands of at least 6 bins count, in the frames in which they are above -60 dBFS in the reference.

    Args:
        reference: the true wave, (t,) or (channels, t).
        estimate: a wave of the same shape.
        sample_rate: sampling rate in Hz.
        span_s: (start, end) in seconds; all of it where it is None.

    Raises:
        ParameterError: see ``envelope_error_db``.

    Source: Gray and Markel, A spectral-flatness measure for studying the autocorrelation method (1974), by bands.
    """
    differences = []
    for pair in channel_pairs(reference, estimate):
        parts = [_bands(span_of(wave, sample_rate, span_s), sample_rate, (_LOWEST_HZ, TOP_HZ)) for wave in pair]
        (true, of_bands), (found, _) = parts
        wide = of_bands.sum(axis=1) >= _MIN_BINS
        heard = _levels(true, of_bands)[:, wide] > _HEARD_DB
        difference = np.abs(_flatness(found, of_bands[wide]) - _flatness(true, of_bands[wide]))
        differences.append(difference[heard])
    measured = np.concatenate(differences)
    return float(measured.mean()) if len(measured) else float("nan")


def _bands(wave: np.ndarray, sample_rate: int, band_hz: Pair) -> tuple[np.ndarray, np.ndarray]:
    """Return the power spectra (frames, bins), a full-scale sine at 1, and the mask of bins of each band."""
    n_fft = 2 * round(_FRAME_S * sample_rate / 2)
    padded = np.pad(wave, (0, max(0, n_fft - len(wave))))
    frames = np.lib.stride_tricks.sliding_window_view(padded, n_fft)[:: n_fft // 2]
    window = hann(n_fft, sym=False)
    power = np.abs(np.fft.rfft(frames * window) * (2 / window.sum())) ** 2
    edges = _LOWEST_HZ * 2 ** (np.arange(28) / 3)  # to 25.6 kHz
    low, high = band_hz
    hz = np.fft.rfftfreq(n_fft, 1 / sample_rate)
    pairs = [(below, above) for below, above in pairwise(edges) if low <= below and above <= min(high, sample_rate / 2)]
    of_bands = np.array([(hz >= below) & (hz < above) for below, above in pairs]).reshape(len(pairs), len(hz))
    return power, of_bands[of_bands.any(axis=1)]


def _levels(power: np.ndarray, of_bands: np.ndarray) -> np.ndarray:
    """Return the levels (frames, bands) in dBFS."""
    return np.maximum(10 * np.log10(power @ of_bands.T.astype(np.float64) + 1e-12), _FLOOR_DB)


def _flatness(power: np.ndarray, of_bands: np.ndarray) -> np.ndarray:
    """Return the ratio of geometric and arithmetic mean of each band, (frames, bands), in dB."""
    counts = of_bands.sum(axis=1)
    shares = of_bands.T / counts
    return 10 * (np.log10(power + _FAINT) @ shares - np.log10(power @ shares + _FAINT))


_WINDOW_S, _HOP_S = 4096 / 22_050, 1024 / 22_050
_N_CLASSES = 12
_A4_HZ = 440.0
_CENTRE_OCTAVE, _OCTAVE_WIDTH = 5.0, 2.0  # Gaussian weight of the octaves; octave 4 begins at 440 Hz
_SILENT = 1e-12  # power


def chroma_distance(reference: np.ndarray, estimate: np.ndarray, sample_rate: int, span_s: Pair | None = None) -> float:
    """Return the mean cosine distance of the chroma vectors of frames: 0 for the same harmony, 1 for none in common.

    Frames of 0.19 s, every 46 ms, that lie entirely in the span; NaN where it is shorter than one.

    Args:
        reference: the true wave, (t,) or (channels, t).
        estimate: a wave of the same shape.
        sample_rate: sampling rate in Hz.
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
    """Return the weights (12, 1 + n_fft // 2) of the bins of a spectrum for each pitch class from C on.

    Each bin counts for the classes around its pitch by a Gaussian, as wide as the spacing of bins, at least a semitone,
    and less the further it is from the octave of 880 Hz.
    """
    hertz = np.arange(1, n_fft) * (sample_rate / n_fft)
    octaves = np.log2(hertz / (_A4_HZ / 16))
    pitches = _N_CLASSES * np.concatenate([[octaves[0] - 1.5], octaves])  # the DC bin lies below all others
    widths = np.append(np.maximum(np.diff(pitches), 1.0), 1.0)
    half = _N_CLASSES / 2
    away = (pitches - np.arange(_N_CLASSES)[:, None] + half) % _N_CLASSES - half  # semitones from each class, A first
    weights = np.exp(-0.5 * (2 * away / widths) ** 2)
    weights /= np.linalg.norm(weights, axis=0)
    weights *= np.exp(-0.5 * ((pitches / _N_CLASSES - _CENTRE_OCTAVE) / _OCTAVE_WIDTH) ** 2)
    return np.roll(weights, -3, axis=0)[:, : 1 + n_fft // 2]
