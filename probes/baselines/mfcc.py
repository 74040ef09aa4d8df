"""Statistics of mel-frequency cepstral coefficients: the features of two decades before learned ones."""

import importlib.util

import numpy as np

from masktools.core.errors import ParameterError

N_COEFFICIENTS = 20
_N_FFT = 2048


def check_librosa() -> None:
    """Say what to install if there are no MFCC.

    Raises:
        ParameterError: librosa is not installed.
    """
    if importlib.util.find_spec("librosa") is None:
        raise ParameterError("MFCC are computed by librosa: pip install librosa")


def mfcc_statistics(wave: np.ndarray, sample_rate: int) -> np.ndarray:
    """Return means and standard deviations over time of 20 MFCC and of their first and second differences, (120,).

    librosa's defaults: 128 Slaney bands, windows of 2048 samples, a hop of 512. A wave shorter than a window is
    followed by silence.

    Args:
        wave: (t,), full scale 1.
        sample_rate: in Hz.

    Raises:
        ParameterError: librosa is not installed.

    Source: Davis and Mermelstein (1980) for the coefficients, Furui (1986) for their differences over nine frames.
    """
    check_librosa()
    import librosa

    padded = np.pad(np.asarray(wave, np.float32), (0, max(0, _N_FFT - len(wave))))
    # A floor far below any recording: the level of a clip is its own, not relative to its loudest moment.
    power = librosa.feature.melspectrogram(y=padded, sr=sample_rate, n_fft=_N_FFT)
    cepstrum = librosa.feature.mfcc(S=librosa.power_to_db(power, ref=1.0, top_db=None), n_mfcc=N_COEFFICIENTS)
    every = [cepstrum, *(librosa.feature.delta(cepstrum, order=order, mode="nearest") for order in (1, 2))]
    return np.concatenate([part for of in every for part in (of.mean(axis=1), of.std(axis=1))]).astype(np.float32)
