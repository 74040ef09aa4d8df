"""How high a recording reaches, measured from its sound, where nobody said so."""

import numpy as np
from scipy.signal import ShortTimeFFT
from scipy.signal.windows import blackmanharris

from masktools.errors import ParameterError

__all__ = ["occupied_hz"]

_N_FFT = 2048
_BAND_HZ = 250.0
_QUANTILE = 0.95  # of the frames: what is heard now and then counts, a click does not
_FLOOR_DB, _DEPTH_DB = -90.0, 75.0  # dBFS in a band, and below the loudest band


def occupied_hz(wave: np.ndarray, sample_rate: int) -> float:
    """Return the frequency in Hz above which a wave (t,) holds nothing to be heard, in steps of 250 Hz.

    A band holds something where its level, in the louder moments, exceeds -90 dB of full scale and lies less than
    75 dB below the loudest band. 0 for silence.

    Raises:
        ParameterError: a wave of another shape, or an empty one.
    """
    if wave.ndim != 1 or not wave.size:
        raise ParameterError(f"a wave must be of shape (t,) and not empty, got {wave.shape}")
    padded = np.pad(wave.astype(np.float64), (0, max(0, _N_FFT - len(wave))))
    window = blackmanharris(_N_FFT, sym=False)
    stft = ShortTimeFFT(window, _N_FFT // 2, sample_rate)
    power = 4 * np.abs(stft.stft(padded)) ** 2 / (np.sum(window**2) * _N_FFT)  # a sine of full scale at 1
    edges = np.arange(0.0, sample_rate / 2, _BAND_HZ)
    levels = np.quantile(np.add.reduceat(power, np.searchsorted(stft.f, edges), axis=0), _QUANTILE, axis=1)
    levels_db = 10 * np.log10(levels + 1e-30)
    heard = np.flatnonzero((levels_db > _FLOOR_DB) & (levels_db > levels_db.max() - _DEPTH_DB))
    return float(min(edges[heard[-1]] + _BAND_HZ, sample_rate / 2)) if len(heard) else 0.0
