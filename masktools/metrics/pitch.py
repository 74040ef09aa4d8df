"""The pitch of a single note, by a method that nothing was trained for."""

import numpy as np

from masktools.core.errors import ParameterError

_THRESHOLD = 0.15  # of the difference over its running mean, below which a period is taken


def pitch_of_note(wave: np.ndarray, sample_rate: int, lowest_hz: float = 40.0, highest_hz: float = 4500.0) -> float:
    """Return the pitch of a note as a MIDI number with its fraction, NaN where no frame is periodic.

    It is the median over frames that are no more than 30 dB below the loudest.

    Args:
        wave: (t,) of one note.
        sample_rate: of it, in Hz.
        lowest_hz: of the pitches that are looked for.
        highest_hz: of the pitches that are looked for.

    Raises:
        ParameterError: not one channel, or limits that are not in order.

    Source: YIN (de Cheveigne and Kawahara, JASA 111, 2002), steps 2 to 5.
    """
    if np.ndim(wave) != 1 or not 0 < lowest_hz < highest_hz <= sample_rate / 2:
        raise ParameterError(
            f"a note must be (t,) and 0 < lowest_hz < highest_hz <= {sample_rate / 2:g} must hold, got "
            f"{np.shape(wave)}, {lowest_hz:g} and {highest_hz:g}"
        )
    longest, shortest = int(np.ceil(sample_rate / lowest_hz)), max(2, int(sample_rate / highest_hz))
    size = 2 * longest
    samples = np.pad(np.asarray(wave, np.float64), (0, max(0, size - len(wave))))
    frames = np.lib.stride_tricks.sliding_window_view(samples, size)[:: max(1, longest // 2)]
    power = np.square(frames).mean(axis=1)
    frames = frames[power > max(power.max() * 1e-3, 1e-12)]
    if not len(frames):
        return float("nan")
    difference = _differences(frames, longest)
    mean = np.cumsum(difference[:, 1:], axis=1) / np.arange(1, difference.shape[1])
    share = np.ones_like(difference)
    share[:, 1:] = difference[:, 1:] / np.maximum(mean, 1e-12)
    periods = [_period(row, shortest) for row in share]
    found = [period for period in periods if period is not None]
    if not found:
        return float("nan")
    return float(69 + 12 * np.log2(np.median(sample_rate / np.array(found)) / 440.0))


def _differences(frames: np.ndarray, longest: int) -> np.ndarray:
    """Return the squared difference (n, longest + 1) of the first half of frames and themselves so much later."""
    size = frames.shape[1]
    n_fft = 1 << (size + longest).bit_length()
    head = frames[:, :longest]
    spectra = np.fft.rfft(frames, n_fft) * np.conj(np.fft.rfft(head, n_fft))
    product = np.fft.irfft(spectra, n_fft)[:, : longest + 1]
    energy = np.cumsum(np.pad(np.square(frames), ((0, 0), (1, 0))), axis=1)
    later = energy[:, longest : 2 * longest + 1] - energy[:, : longest + 1]
    return np.maximum(later[:, :1] + later - 2 * product, 0.0)


def _period(share: np.ndarray, shortest: int) -> float | None:
    """Return the period in samples, its fraction found on a parabola; None for a frame that has none."""
    below = np.flatnonzero(share[shortest:-1] < _THRESHOLD)
    if not len(below):
        return None
    lag = shortest + int(below[0])
    while lag + 1 < len(share) - 1 and share[lag + 1] < share[lag]:
        lag += 1
    left, middle, right = share[lag - 1 : lag + 2]
    bend = left - 2 * middle + right
    return lag + (0.5 * (left - right) / bend if bend > 0 else 0.0)
