"""Classical gap filling and bandwidth extension, by name: from doing nothing to the best methods.

Gap filling takes samples (channels, t), the sample rate in Hz, gaps (start, end) in seconds, and a seed, and returns
the samples with the gaps filled, in the same type. Samples in a gap are never read; samples outside all gaps are
unchanged, bit for bit, so that every seam is inside a gap.

Bandwidth extension takes low-passed samples (channels, t), the sample rate in Hz, the cutoff, the highest wanted
frequency and a seed, and returns samples of the same shape and type. The new band is filtered and added: more than
200 Hz below the cutoff the recording is unchanged, to -100 dB.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
from scipy.signal import ShortTimeFFT, kaiser_beta, oaconvolve
from scipy.signal.windows import hann

from masktools.classical.search import fills_from_elsewhere
from masktools.classical.similarity import Similarity
from masktools.classical.spans import (
    LONG_CONTEXT_S,
    MAX_GAP_S,
    OVERLAP,
    SPECTRUM_S,
    Damaged,
    Span,
    bridge,
    check_recording,
    extrapolate,
    frame_length,
    interpolate,
    join_ends,
    noise_between,
    random_phases,
)
from masktools.core.errors import ParameterError

SEAM_S = 0.01  # at most, at each end of a gap


@runtime_checkable
class GapFill(Protocol):
    """A gap-filling method."""

    def __call__(
        self, samples: np.ndarray, sample_rate: int, gaps_s: Iterable[Sequence[Any]], seed: int = 0
    ) -> np.ndarray:
        """Return samples (channels, t) with their gaps filled.

        Args:
            samples: (channels, t), float32 or float64; samples in a gap may be anything.
            sample_rate: sampling rate in Hz.
            gaps_s: (start, end) in seconds; they may touch, but not overlap.
            seed: random seed.

        Raises:
            ParameterError: samples that are no recording, a known sample that is not finite, or gaps that do not fit
                this recording or cover all of it.
        """
        ...


SpanFill = Callable[[Damaged, Span, np.random.Generator], np.ndarray]
"""Function that fills one gap, (channels, length) in float64."""


def _each_gap(fill: SpanFill) -> GapFill:
    """Return the gap-filling method that fills each gap independently."""

    def filled(samples: np.ndarray, sample_rate: int, gaps_s: Iterable[Sequence[Any]], seed: int = 0) -> np.ndarray:
        damaged = Damaged.of(samples, sample_rate, gaps_s)
        result = damaged.samples.copy()
        for number, span in enumerate(damaged.spans):
            result[:, span.start : span.stop] = fill(damaged, span, np.random.default_rng((seed, number)))
        return result

    return filled


def _from_elsewhere(method: str) -> GapFill:
    """Return the gap-filling method that copies from other positions of the recording."""

    def filled(samples: np.ndarray, sample_rate: int, gaps_s: Iterable[Sequence[Any]], seed: int = 0) -> np.ndarray:
        damaged = Damaged.of(samples, sample_rate, gaps_s)
        similarity = Similarity(damaged.known, samples.shape[1], sample_rate)
        result = damaged.samples.copy()
        for number, span in enumerate(damaged.spans):
            found = similarity.find(span)
            fills = fills_from_elsewhere(method, similarity, damaged.known, span, found, (seed, number))
            result[:, span.start : span.stop] = fills[0].samples
        return result

    return filled


def _zero(damaged: Damaged, span: Span, rng: np.random.Generator) -> np.ndarray:
    """Return silence."""
    return np.zeros((len(damaged.samples), span.length))


def _linear(damaged: Damaged, span: Span, rng: np.random.Generator) -> np.ndarray:
    """Return a straight line from the last known sample to the next; at an end of the recording, a constant."""
    n = damaged.samples.shape[1]
    ends = [end for end in (span.start - 1, span.stop) if 0 <= end < n]
    inside = np.arange(span.start, span.stop)
    return np.stack([np.interp(inside, ends, channel[ends]) for channel in damaged.samples])


def _burg(damaged: Damaged, span: Span, rng: np.random.Generator) -> np.ndarray:
    """Return the linear prediction from 200 ms on either side; it decays in a long gap."""
    before, after = damaged.shoulders(span, LONG_CONTEXT_S)
    return np.stack([bridge(left, right, span.length) for left, right in zip(before, after, strict=True)])


def _janssen(damaged: Damaged, span: Span, rng: np.random.Generator) -> np.ndarray:
    """Return the estimate of an autoregressive model of the gap and 200 ms on either side; over 100 ms, Burg's fill."""
    if span.length > MAX_GAP_S * damaged.sample_rate:
        return _burg(damaged, span, rng)
    before, after = damaged.shoulders(span, LONG_CONTEXT_S)
    return np.stack([interpolate(left, right, span.length) for left, right in zip(before, after, strict=True)])


def _spectral_noise(damaged: Damaged, span: Span, rng: np.random.Generator) -> np.ndarray:
    """Return noise whose spectrum is interpolated, in decibels, between the 100 ms before the gap and those after it.

    At both ends the known audio is continued and cross-faded with it. The continuation of white noise is fainter than
    the noise itself: a gap of 20 to 50 ms in it is filled 1 dB too faint.
    """
    before, after = damaged.shoulders(span, SPECTRUM_S)
    fill = noise_between(before, after, span.length, damaged.sample_rate, rng)
    seam = min(round(SEAM_S * damaged.sample_rate), span.length // 4)
    made = [
        join_ends(wave, extrapolate(left, seam), extrapolate(right[::-1], seam)[::-1])
        for wave, left, right in zip(fill, before, after, strict=True)
    ]
    return np.stack(made)


SPAN_FILLS: dict[str, SpanFill] = {
    "zero": _zero,
    "linear": _linear,
    "burg": _burg,
    "janssen": _janssen,
    "spectral_noise": _spectral_noise,
}
"""The methods that use only the audio beside a gap, so that a part of a recording is enough."""

CONTEXT_S: dict[str, float] = {
    "zero": 0.001,
    "linear": 0.001,
    "burg": LONG_CONTEXT_S,
    "janssen": LONG_CONTEXT_S,
    "spectral_noise": SPECTRUM_S,
}
"""Context of each method on either side of a gap in seconds: anything beyond does not matter."""

SEARCHES = ("copy", "search")
"""The methods that search the whole recording."""

GAP_FILLS: dict[str, GapFill] = {
    **{name: _each_gap(fill) for name, fill in SPAN_FILLS.items()},
    **{name: _from_elsewhere(name) for name in SEARCHES},
}


MIN_CUTOFF_HZ = 500.0  # lowest cutoff
FRAME_S = 0.093
TRANSITION_HZ = 200.0  # of the filter, below the cutoff and above the top
STOP_BAND_DB = 110.0
_CLEAN = 0.95  # share of the cutoff up to which a low-pass filter leaves the band unchanged
_FAINT = 1e-12  # power; anything fainter is silence


@runtime_checkable
class BandFill(Protocol):
    """A method of bandwidth extension."""

    def __call__(
        self, samples: np.ndarray, sample_rate: int, cutoff_hz: float, top_hz: float, seed: int = 0
    ) -> np.ndarray:
        """Return samples (channels, t) with their band extended from the cutoff to the top.

        Args:
            samples: (channels, t), float32 or float64, with nothing of value above the cutoff; it is not filtered.
            sample_rate: sampling rate in Hz.
            cutoff_hz: cutoff in Hz, from 500 Hz to the top.
            top_hz: upper limit of the new band in Hz, at most half the sample rate.
            seed: random seed.

        Raises:
            ParameterError: samples that are no recording or not finite, or a cutoff or a top out of its range.
        """
        ...


def _unprocessed(samples: np.ndarray, sample_rate: int, cutoff_hz: float, top_hz: float, seed: int = 0) -> np.ndarray:
    """Return the samples unchanged."""
    _check(samples, sample_rate, cutoff_hz, top_hz)
    return samples.copy()


def _noise(samples: np.ndarray, sample_rate: int, cutoff_hz: float, top_hz: float, seed: int = 0) -> np.ndarray:
    """Return the samples with noise above the cutoff.

    The spectrum continues with the slope, in dB per octave, of the mean spectrum over the two octaves below the
    cutoff, never upwards; its level follows the upper of these octaves from frame to frame.
    """
    _check(samples, sample_rate, cutoff_hz, top_hz)
    frames = _frames(sample_rate)
    power = np.abs(frames.stft(_long_enough(samples, frames), p0=0)) ** 2
    hertz = frames.f
    slope_db = _slope_db(power, hertz, cutoff_hz)
    line = 10 ** (slope_db * np.log2(hertz.clip(hertz[1]) / cutoff_hz) / 10)[:, None]
    upper = (hertz > cutoff_hz / 2) & (hertz < _CLEAN * cutoff_hz)
    loudness = np.mean(power[:, upper] / line[upper], axis=1, keepdims=True)
    wanted = line * loudness * (hertz > cutoff_hz / 2)[:, None]
    noise = random_phases(wanted, samples.shape[1], np.random.default_rng(seed))
    return _added(samples, noise, sample_rate, cutoff_hz, top_hz)


def _replication(samples: np.ndarray, sample_rate: int, cutoff_hz: float, top_hz: float, seed: int = 0) -> np.ndarray:
    """Return the samples with the upper half of their band copied above the cutoff repeatedly.

    The copies follow the slope, in dB per octave, of the mean spectrum over the two octaves below the cutoff, never
    upwards.

    Source: Dietz et al., Spectral band replication, a novel approach in audio coding (AES 112, 2002).
    Differs: there is no side information; the level of each band is estimated from the slope.
    """
    _check(samples, sample_rate, cutoff_hz, top_hz)
    frames = _frames(sample_rate)
    spectrum = frames.stft(_long_enough(samples, frames))
    hertz = frames.f
    slope_db = _slope_db(np.abs(spectrum) ** 2, hertz, cutoff_hz)
    edge = int(_CLEAN * cutoff_hz / frames.delta_f)
    shift = max(OVERLAP, edge // 2 // OVERLAP * OVERLAP)  # multiples of OVERLAP keep the phases between frames
    targets = np.arange(edge + 1, len(hertz))
    sources = targets - shift * -(-(targets - edge) // shift)
    gains = 10 ** (slope_db * np.log2(hertz[targets] / hertz[sources]) / 20)
    spectrum[:, targets] = spectrum[:, sources] * gains[:, None]
    spectrum[:, : edge + 1] = 0.0
    copies = frames.istft(spectrum, k1=max(samples.shape[1], frames.m_num))[:, : samples.shape[1]]
    return _added(samples, copies, sample_rate, cutoff_hz, top_hz)


def _check(samples: np.ndarray, sample_rate: int, cutoff_hz: float, top_hz: float) -> None:
    check_recording(samples, sample_rate)
    nyquist = sample_rate / 2
    if not MIN_CUTOFF_HZ < top_hz <= nyquist:
        raise ParameterError(
            f"top_hz must lie in ({MIN_CUTOFF_HZ:g}, {nyquist:g}] Hz at a sample rate of {sample_rate} Hz, "
            f"got {top_hz:g} Hz: resample to a higher rate first, or ask for less"
        )
    if not MIN_CUTOFF_HZ <= cutoff_hz < top_hz:
        raise ParameterError(
            f"cutoff_hz must lie in [{MIN_CUTOFF_HZ:g}, {top_hz:g}) Hz, got {cutoff_hz:g} Hz: "
            f"give the highest frequency that the recording still holds, below top_hz"
        )


def _frames(sample_rate: int) -> ShortTimeFFT:
    n_fft = frame_length(sample_rate, FRAME_S)
    return ShortTimeFFT(hann(n_fft, sym=False), n_fft // OVERLAP, sample_rate)


def _long_enough(samples: np.ndarray, frames: ShortTimeFFT) -> np.ndarray:
    """Return the samples in float64, padded with silence to at least a frame."""
    return np.pad(samples.astype(np.float64), ((0, 0), (0, max(0, frames.m_num - samples.shape[1]))))


def _slope_db(power: np.ndarray, hertz: np.ndarray, cutoff_hz: float) -> float:
    """Return the slope in dB per octave of the mean of power (channels, bins, frames); at most 0."""
    seen = (hertz > cutoff_hz / 4) & (hertz < _CLEAN * cutoff_hz)
    level_db = 10 * np.log10(np.mean(power, axis=(0, 2))[seen] + _FAINT)
    return min(0.0, float(np.polyfit(np.log2(hertz[seen]), level_db, 1)[0]))


def _added(samples: np.ndarray, added: np.ndarray, sample_rate: int, cutoff_hz: float, top_hz: float) -> np.ndarray:
    """Return the sum of samples and the part of ``added`` between cutoff and top, without delay.

    Source: J. F. Kaiser's formula for the length of a windowed FIR filter (1974).
    """
    half = int(np.ceil((STOP_BAND_DB - 7.95) / (2.285 * 4 * np.pi * TRANSITION_HZ / sample_rate)))
    taps = -_low_pass(cutoff_hz - TRANSITION_HZ / 2, sample_rate, half)
    if top_hz + TRANSITION_HZ < sample_rate / 2:
        taps += _low_pass(top_hz + TRANSITION_HZ / 2, sample_rate, half)
    else:
        taps[half] += 1.0
    return (samples + oaconvolve(added, taps[None], mode="same", axes=-1)).astype(samples.dtype)


def _low_pass(edge_hz: float, sample_rate: int, half: int) -> np.ndarray:
    """Return the 2 * half + 1 taps of a linear-phase low-pass filter of gain 1."""
    share = 2 * edge_hz / sample_rate
    taps = np.sinc(share * np.arange(-half, half + 1)) * np.kaiser(2 * half + 1, kaiser_beta(STOP_BAND_DB))
    return taps / taps.sum()


def high_pass(samples: np.ndarray, sample_rate: int, cutoff_hz: float) -> np.ndarray:
    """Return the band above a cutoff, without delay: linear phase, half the amplitude at the cutoff itself.

    The filter is 0 from 100 Hz below the cutoff on, and 1 from 100 Hz above. The recording's remaining half at its edge
    and the half added there make up a whole.

    Source: J. F. Kaiser's formula for the length of a windowed FIR filter (1974).
    """
    half = high_pass_reach(sample_rate)
    taps = -_low_pass(cutoff_hz, sample_rate, half)
    taps[half] += 1.0
    return oaconvolve(np.pad(samples.astype(np.float64), half), taps, mode="valid")


def high_pass_reach(sample_rate: int) -> int:
    """Return the number of samples that ``high_pass`` reads to either side."""
    n_taps = int(np.ceil((STOP_BAND_DB - 7.95) / (2.285 * 2 * np.pi * TRANSITION_HZ / sample_rate))) | 1
    return n_taps // 2


BAND_FILLS: dict[str, BandFill] = {"unprocessed": _unprocessed, "noise": _noise, "replication": _replication}
