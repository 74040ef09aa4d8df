"""A gap begun and ended by linear prediction, and completed by something generated where that dies away.

What continues the known audio is in step with it but fades, band after band, within a tenth of a second or two. What
was generated is not in step but as loud as it should be. Of the latter only so much is added, in each band and at each
moment, as the former lacks.
"""

import numpy as np
from scipy.ndimage import gaussian_filter
from scipy.signal import ShortTimeFFT
from scipy.signal.windows import hann

from masktools.classical import bridge, extrapolate
from masktools.classical.fades import fade_in
from masktools.classical.linear_prediction import LONG_ORDER
from masktools.classical.noise import frame_length

__all__ = ["REACH_S", "bridged", "continued"]

REACH_S = 0.186  # how far into a gap its edges are continued at most
FRAME_S = 0.023  # of the spectra in which the levels are compared
SMOOTHING = (3.0, 1.0)  # standard deviations, in bins and in frames
RISE_S = 0.005  # in which what is added sets in at an edge
_HOPS_A_FRAME = 4
_FAINT = 1e-20  # power


def continued(
    before: np.ndarray, after: np.ndarray, length: int, sample_rate: int, max_order: int = LONG_ORDER
) -> np.ndarray:
    """Return a gap of ``length`` samples, float64, continued from both sides; the middle of a long one is silent.

    Args:
        before: (t,) known samples that end where the gap starts; 200 ms are good, none is possible.
        after: (t,) known samples that start where it ends.
        length: of the gap.
        sample_rate: in Hz.
        max_order: of the predictors.
    """
    reach = round(REACH_S * sample_rate)
    if length <= reach:
        return bridge(before, after, length, max_order)
    fade = fade_in(reach)[::-1]
    gap = np.zeros(length)
    gap[:reach] += fade * extrapolate(before, reach, max_order)
    gap[length - reach :] += (fade * extrapolate(after[::-1], reach, max_order))[::-1]
    return gap


def bridged(
    before: np.ndarray,
    after: np.ndarray,
    core: np.ndarray,
    margin: int,
    sample_rate: int,
    max_order: int = LONG_ORDER,
) -> np.ndarray:
    """Return the samples of a gap, float64: its edges continued, and of the core what they lack.

    Args:
        before: (t,) known samples that end where the gap starts.
        after: (t,) known samples that start where it ends.
        core: (n + 2 * margin) what was generated for the gap and for the margins beside it.
        margin: in samples; what is not known of it counts as silent.
        sample_rate: in Hz.
        max_order: of the predictors.
    """
    length = len(core) - 2 * margin
    edges = continued(before, after, length, sample_rate, max_order)
    left, right = before[max(0, len(before) - margin) :], after[:margin]
    present = np.zeros(len(core))
    present[margin - len(left) : margin], present[margin : margin + length] = left, edges
    present[margin + length : margin + length + len(right)] = right
    n_fft = min(frame_length(sample_rate, FRAME_S), len(core) // 2 * 2)
    stft = ShortTimeFFT(hann(n_fft, sym=False), max(1, n_fft // _HOPS_A_FRAME), sample_rate)
    spectrum = stft.stft(core)
    wanted, there = (gaussian_filter(np.abs(part) ** 2, SMOOTHING) for part in (spectrum, stft.stft(present)))
    lacking = np.sqrt(np.clip(1.0 - there / (wanted + _FAINT), 0.0, 1.0))
    added = stft.istft(spectrum * lacking, k1=len(core))[margin : margin + length]
    ramp = max(1, min(round(RISE_S * sample_rate), length // 4))
    rise = fade_in(ramp)
    added[:ramp] *= rise
    added[length - ramp :] *= rise[::-1]
    return edges + added
