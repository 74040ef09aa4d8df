"""What one can do without a model: the rows beside masktools' own in the demonstration's tables."""

import numpy as np
from scipy.signal import ShortTimeFFT, correlate
from scipy.signal.windows import hann

__all__ = ["copied", "copied_up"]

_SHOULDER_S, _FADE_S = 0.15, 0.01
_N_FFT, _HOP_LENGTH, _GRID = 2048, 512, 4  # a shift by a multiple of 4 bins turns no phase between frames


def copied(samples: np.ndarray, sample_rate: int, gaps: tuple[tuple[float, float], ...]) -> np.ndarray:
    """Return samples (channels, t) whose gaps hold what the recording has elsewhere.

    Of all stretches of the gap's length outside every gap, the one whose 150 ms on either side correlate best with
    the gap's own, faded over 10 ms. A gap for which there is none stays empty.
    """
    filled = samples.copy()
    n = samples.shape[1]
    shoulder, fade = round(_SHOULDER_S * sample_rate), round(_FADE_S * sample_rate)
    edges = [(round(start_s * sample_rate), round(end_s * sample_rate)) for start_s, end_s in gaps]
    missing = np.zeros(n)
    for start, stop in edges:
        missing[start:stop] = 1.0
    for start, stop in edges:
        source = _alike(samples.mean(axis=0), missing, start, stop, shoulder)
        if source is None:
            continue
        left, right = min(fade, start), min(fade, n - stop)
        weight = np.ones(stop - start + left + right)
        weight[:left] = np.linspace(0, 1, left + 2)[1:-1]
        weight[len(weight) - right :] = np.linspace(1, 0, right + 2)[1:-1]
        piece = samples[:, source - left : source - left + len(weight)]
        filled[:, start - left : stop + right] = (1 - weight) * samples[:, start - left : stop + right] + weight * piece
    return filled.astype(np.float32)


def _alike(mono: np.ndarray, missing: np.ndarray, start: int, stop: int, shoulder: int) -> int | None:
    """Return where the stretch begins whose surroundings are most like the gap's; None if there is none."""
    length = stop - start
    left, right = max(0, start - shoulder), min(len(mono), stop + shoulder)
    template = np.concatenate([mono[left:start], np.zeros(length), mono[stop:right]])
    heard = np.concatenate([np.ones(start - left), np.zeros(length), np.ones(right - stop)])
    likeness = correlate(mono, template, "valid", "fft")
    energy = correlate(mono**2, heard, "valid", "fft").clip(1e-9)
    broken = correlate(missing, np.ones(len(template)), "valid", "fft") > 0.5
    score = np.where(broken, -np.inf, likeness / np.sqrt(energy))
    best = int(np.argmax(score))
    return best + start - left if np.isfinite(score[best]) else None


def copied_up(samples: np.ndarray, sample_rate: int, cutoff_hz: float, top_hz: float) -> np.ndarray:
    """Return low-passed samples (channels, t) with the upper half of their band copied above the cutoff.

    The copies follow the slope in dB per octave that the recording's mean spectrum has below the cutoff. It is
    what spectral band replication does without its side information.
    """
    stft = ShortTimeFFT(hann(_N_FFT, sym=False), _HOP_LENGTH, sample_rate)
    spectrum = stft.stft(samples.astype(np.float64))
    hz = np.fft.rfftfreq(_N_FFT, 1 / sample_rate)
    level_db = 10 * np.log10(np.mean(np.abs(spectrum) ** 2, axis=(0, 2)) + 1e-12)
    seen = (hz > cutoff_hz / 4) & (hz < 0.95 * cutoff_hz)
    slope = min(0.0, float(np.polyfit(np.log2(hz[seen]), level_db[seen], 1)[0]))  # dB per octave
    edge = int(0.95 * cutoff_hz * _N_FFT / sample_rate)
    shift = max(_GRID, edge // 2 // _GRID * _GRID)
    added = np.zeros_like(spectrum)
    for target in range(edge + 1, int(top_hz * _N_FFT / sample_rate) + 1):
        source = target - shift * -(-(target - edge) // shift)
        added[:, target] = spectrum[:, source] * 10 ** (slope * np.log2(hz[target] / hz[source]) / 20)
    return (samples + stft.istft(added, k1=samples.shape[1])).astype(np.float32)
