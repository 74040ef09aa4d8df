"""Onset detection, and the F-measure of the onsets of an estimate."""

import numpy as np
import torch

from masktools.io import resample
from masktools.mel import MelConfig, mel_filterbank

_RATE, _HOP = 22_050, 256
_FRONT_END = MelConfig(_RATE, 2048, _HOP, 2048, 128, 0.0, _RATE / 2)
_RANGE_DB = 80.0  # below the loudest
_BEFORE_S, _AROUND_S = 0.03, 0.1  # in which an onset is the greatest rise, and above the mean rise
_ABOVE_MEAN = 0.07  # of the greatest rise
_TOLERANCE_S = 0.05
_AROUND_SPAN_S = 1.0  # heard on either side of a span


@torch.inference_mode()
def onset_times(wave: np.ndarray, sample_rate: int) -> np.ndarray:
    """Return the times (n,) in seconds at which a wave (t,) of any rate rises in many bands at once.

    Source: Boeck, Krebs and Schedl, Evaluating the online capabilities of onset detection methods (ISMIR 2012), with
        the bands and thresholds that librosa has.
    """
    samples = torch.from_numpy(resample(np.asarray(wave, np.float32), sample_rate, _RATE))
    n_fft = _FRONT_END.n_fft
    window = torch.hann_window(n_fft)
    padded = torch.nn.functional.pad(samples, (n_fft // 2, n_fft // 2))
    spectrum = torch.stft(padded, n_fft, _HOP, window=window, center=False, return_complex=True)
    power = (mel_filterbank(_FRONT_END) @ spectrum.abs().square()).clamp_min(1e-10)
    level = 10 * power.log10()
    level = level.clamp_min(float(level.max()) - _RANGE_DB)
    rise = level.diff(dim=1).clamp_min(0).mean(dim=0).numpy()
    late = 1 + n_fft // (2 * _HOP)  # a frame hears a stroke half its length before it comes
    strength = np.pad(rise, (late, 0))[: level.shape[1]]
    return _peaks(strength) * (_HOP / _RATE)


def _peaks(strength: np.ndarray) -> np.ndarray:
    """Return the frames of the greatest rises that stand out, none within 30 ms of the one before."""
    scaled = strength - strength.min()
    scaled = scaled / (scaled.max() + np.finfo(np.float32).tiny)
    before, around = (int(seconds * _RATE // _HOP) for seconds in (_BEFORE_S, _AROUND_S))
    peaks: list[int] = []
    for frame, value in enumerate(scaled):
        if value == 0 or (peaks and frame - peaks[-1] <= before):
            continue
        near = scaled[max(0, frame - before) : frame + 1]
        mean = scaled[max(0, frame - around) : frame + around + 1].mean()
        if value == near.max() and value >= mean + _ABOVE_MEAN:
            peaks.append(frame)
    return np.array(peaks, int)


def onset_f(
    reference: np.ndarray, estimate: np.ndarray, sample_rate: int, span_s: tuple[float, float] | None = None
) -> float:
    """Return the F-measure of the onsets of an estimate (t,): found within 50 ms, each once; NaN where neither has any.

    A second of what lies on either side of a span is heard, too, so that what begins at its edge is no onset by itself.

    Args:
        reference: the true wave.
        estimate: a wave of the same length.
        sample_rate: in Hz.
        span_s: (start, end) in seconds; all of it where it is None.

    Source: the matching of onsets of MIREX, with a tolerance of 50 ms.
    """
    start, stop = (0.0, len(reference) / sample_rate) if span_s is None else span_s
    first = max(0, round((start - _AROUND_SPAN_S) * sample_rate))
    last = round((stop + _AROUND_SPAN_S) * sample_rate)
    found = []
    for wave in (reference, estimate):
        times = onset_times(wave[first:last], sample_rate) + first / sample_rate
        found.append(times[(times >= start) & (times < stop)])
    n = sum(map(len, found))
    return 2 * _n_matched(*found) / n if n else float("nan")


def _n_matched(one: np.ndarray, other: np.ndarray) -> int:
    """Return how many of two rising series of times can be paired within the tolerance, each once."""
    n = place = 0
    for time in one:
        while place < len(other) and other[place] < time - _TOLERANCE_S:
            place += 1
        if place < len(other) and other[place] <= time + _TOLERANCE_S:
            n, place = n + 1, place + 1
    return n
