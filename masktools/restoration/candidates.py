"""How well something generated fits what is known beside a gap: the measures by which fills are ranked.

Both tell how a generator renders the shoulders, the 100 ms before and after a gap, where the truth is known.
"""

from collections.abc import Sequence

import numpy as np
from scipy.signal.windows import hann

from masktools.mel import MelConfig

__all__ = ["mel_fit_db", "shoulder_lsd_db"]

FLOOR_DB = -80.0  # dBFS


def mel_fit_db(made: np.ndarray, known: np.ndarray, frames: Sequence[int], config: MelConfig) -> float:
    """Return the distance of a generated mel spectrogram from the known one in some frames, in dB; 0 is best.

    It is the root mean square over the frames and bands, and besides it by how much the whole is too loud or too
    faint, which a distance of single bands hides.

    Args:
        made: mel (f, m) in [-1, 1], as the tokens say.
        known: mel (f, m) of the recording.
        frames: that are known; none makes the distance 0.
        config: of both.
    """
    if not len(frames):
        return 0.0
    per_unit = (config.db_max - config.db_min) / 2.0
    true, found = ((mel[:, list(frames)].astype(np.float64) + 1.0) * per_unit + config.db_min for mel in (known, made))
    levels = [10 * np.log10(np.mean(10 ** (mel_db / 10))) for mel_db in (true, found)]
    return float(np.sqrt(np.mean((found - true) ** 2)) + abs(levels[1] - levels[0]))


def shoulder_lsd_db(pairs: Sequence[tuple[np.ndarray, np.ndarray]], sample_rate: int) -> float:
    """Return the log-spectral distance in dB of what was generated from the known, averaged over pairs of them.

    The root mean square over frequency of the difference of levels, averaged over frames of 23 ms.

    Args:
        pairs: known samples (n,), and what was generated in their place; those too short for a frame are left out.
        sample_rate: in Hz.
    """
    n_fft = 2 ** round(np.log2(FRAME_S * sample_rate))
    distances = [
        np.sqrt(np.mean((_spectra_db(made, n_fft) - _spectra_db(known, n_fft)) ** 2, axis=1))
        for known, made in pairs
        if len(known) >= n_fft
    ]
    return float(np.mean(np.concatenate(distances))) if distances else 0.0


def _spectra_db(wave: np.ndarray, n_fft: int) -> np.ndarray:
    window = hann(n_fft, sym=False)
    frames = np.lib.stride_tricks.sliding_window_view(wave, n_fft)[:: n_fft // _HOPS_A_FRAME]
    power = np.abs(np.fft.rfft(frames * window) * (2 / window.sum())) ** 2
    return 10 * np.log10(np.maximum(power, 10 ** (FLOOR_DB / 10)))
