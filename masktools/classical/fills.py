"""Gaps filled and bands extended without a model, by name: from nothing at all to the best classical methods.

Each takes samples (channels, t), the sample rate in Hz, gaps (start, end) in seconds, and a seed, and returns the
samples with the gaps filled, in the same type. What was in a gap is never looked at; what is outside all gaps comes
back bit for bit, so that every seam lies inside a gap.

Each takes low-passed samples (channels, t), the sample rate in Hz, the cutoff, the highest frequency that is wanted
and a seed, and returns samples of the same shape and type. What is filled in is filtered and added: more than 200 Hz
below the cutoff the recording stays as it was, to -100 dB.
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
    """A way to fill gaps."""

    def __call__(
        self, samples: np.ndarray, sample_rate: int, gaps_s: Iterable[Sequence[Any]], seed: int = 0
    ) -> np.ndarray:
        """Return samples (channels, t) with their gaps filled.

        Args:
            samples: (channels, t), float32 or float64; what is in a gap may be anything.
            sample_rate: in Hz.
            gaps_s: (start, end) in seconds; they may touch, but not overlap.
            seed: of what is left to chance.

        Raises:
            ParameterError: samples that are no recording, a known sample that is not finite, or gaps that are none
                of this recording or leave nothing of it.
        """
        ...


SpanFill = Callable[[Damaged, Span, np.random.Generator], np.ndarray]
"""What one gap is filled with, (channels, length) in float64."""


def _each_gap(fill: SpanFill) -> GapFill:
    """Return the way to fill gaps that fills each of them, whatever is made of the others."""

    def filled(samples: np.ndarray, sample_rate: int, gaps_s: Iterable[Sequence[Any]], seed: int = 0) -> np.ndarray:
        damaged = Damaged.of(samples, sample_rate, gaps_s)
        result = damaged.samples.copy()
        for number, span in enumerate(damaged.spans):
            result[:, span.start : span.stop] = fill(damaged, span, np.random.default_rng((seed, number)))
        return result

    return filled


def _from_elsewhere(method: str) -> GapFill:
    """Return the way to fill gaps from other places of the recording."""

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
    """Return what linear prediction of 200 ms on either side makes of the gap; it dies away in a long one."""
    before, after = damaged.shoulders(span, LONG_CONTEXT_S)
    return np.stack([bridge(left, right, span.length) for left, right in zip(before, after, strict=True)])


def _janssen(damaged: Damaged, span: Span, rng: np.random.Generator) -> np.ndarray:
    """Return what an autoregressive model of the gap and 200 ms on either side expects; over 100 ms, Burg's fill."""
    if span.length > MAX_GAP_S * damaged.sample_rate:
        return _burg(damaged, span, rng)
    before, after = damaged.shoulders(span, LONG_CONTEXT_S)
    return np.stack([interpolate(left, right, span.length) for left, right in zip(before, after, strict=True)])


def _spectral_noise(damaged: Damaged, span: Span, rng: np.random.Generator) -> np.ndarray:
    """Return noise whose spectrum goes, in decibels, from that of the 100 ms before the gap to that after it.

    At both ends the known audio is continued and gives way to it. Of white noise that continuation is fainter than
    what it continues: a gap of 20 to 50 ms in it is filled 1 dB too faint.
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
"""The methods that look at what is beside a gap: for whoever holds but a part of a recording."""

CONTEXT_S: dict[str, float] = {
    "zero": 0.001,
    "linear": 0.001,
    "burg": LONG_CONTEXT_S,
    "janssen": LONG_CONTEXT_S,
    "spectral_noise": SPECTRUM_S,
}
"""How far each method looks on either side of a gap: what lies beyond changes nothing."""

SEARCHES = ("copy", "search")
"""The methods that look through the whole recording."""

GAP_FILLS: dict[str, GapFill] = {
    **{name: _each_gap(fill) for name, fill in SPAN_FILLS.items()},
    **{name: _from_elsewhere(name) for name in SEARCHES},
}


MIN_CUTOFF_HZ = 500.0  # below it, too little is left to extend from
FRAME_S = 0.093
TRANSITION_HZ = 200.0  # of the filter, below the cutoff and above the top
STOP_BAND_DB = 110.0
_CLEAN = 0.95  # of the cutoff, up to which a low-pass filter leaves the band as it was
_FAINT = 1e-12  # power; what is fainter is silence


@runtime_checkable
class BandFill(Protocol):
    """A way to extend a band."""

    def __call__(
        self, samples: np.ndarray, sample_rate: int, cutoff_hz: float, top_hz: float, seed: int = 0
    ) -> np.ndarray:
        """Return samples (channels, t) that reach from their cutoff on to the top.

        Args:
            samples: (channels, t), float32 or float64, with nothing of value above the cutoff; it is not filtered.
            sample_rate: in Hz.
            cutoff_hz: from 500 Hz to the top.
            top_hz: at most half the sample rate.
            seed: of what is left to chance.

        Raises:
            ParameterError: samples that are no recording or not finite, or a cutoff or a top out of its range.
        """
        ...


def _unprocessed(samples: np.ndarray, sample_rate: int, cutoff_hz: float, top_hz: float, seed: int = 0) -> np.ndarray:
    """Return the samples as they are."""
    _check(samples, sample_rate, cutoff_hz, top_hz)
    return samples.copy()


def _noise(samples: np.ndarray, sample_rate: int, cutoff_hz: float, top_hz: float, seed: int = 0) -> np.ndarray:
    """Return the samples with noise above the cutoff.

    Its spectrum goes on with the slope, in dB per octave, of the mean spectrum over the two octaves below the
    cutoff, never upwards; from frame to frame it is as loud as the upper of these octaves.
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
    """Return the samples with the upper half of their band copied above the cutoff, again and again.

    The copies follow the slope, in dB per octave, of the mean spectrum over the two octaves below the cutoff, never
    upwards.

    Source: Dietz et al., Spectral band replication, a novel approach in audio coding (AES 112, 2002).
    Differs: there is no side information; the level of each band is guessed from the slope.
    """
    _check(samples, sample_rate, cutoff_hz, top_hz)
    frames = _frames(sample_rate)
    spectrum = frames.stft(_long_enough(samples, frames))
    hertz = frames.f
    slope_db = _slope_db(np.abs(spectrum) ** 2, hertz, cutoff_hz)
    edge = int(_CLEAN * cutoff_hz / frames.delta_f)
    shift = max(OVERLAP, edge // 2 // OVERLAP * OVERLAP)  # by such a multiple no phase turns between frames
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
    """Return the samples in float64, with silence after what is shorter than a frame."""
    return np.pad(samples.astype(np.float64), ((0, 0), (0, max(0, frames.m_num - samples.shape[1]))))


def _slope_db(power: np.ndarray, hertz: np.ndarray, cutoff_hz: float) -> float:
    """Return by how many dB per octave the mean of power (channels, bins, frames) falls; at most 0."""
    seen = (hertz > cutoff_hz / 4) & (hertz < _CLEAN * cutoff_hz)
    level_db = 10 * np.log10(np.mean(power, axis=(0, 2))[seen] + _FAINT)
    return min(0.0, float(np.polyfit(np.log2(hertz[seen]), level_db, 1)[0]))


def _added(samples: np.ndarray, added: np.ndarray, sample_rate: int, cutoff_hz: float, top_hz: float) -> np.ndarray:
    """Return the sum of samples and what of ``added`` lies from the cutoff to the top, without delay.

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
    """Return what lies above a cutoff, without delay: linear phase, half the amplitude at the cutoff itself.

    Nothing is left 100 Hz below the cutoff, and everything 100 Hz above it. What a recording still has at its edge,
    half of what it once had, and what is added there make up a whole.

    Source: J. F. Kaiser's formula for the length of a windowed FIR filter (1974).
    """
    half = high_pass_reach(sample_rate)
    taps = -_low_pass(cutoff_hz, sample_rate, half)
    taps[half] += 1.0
    return oaconvolve(np.pad(samples.astype(np.float64), half), taps, mode="valid")


def high_pass_reach(sample_rate: int) -> int:
    """Return how many samples to either side ``high_pass`` reads."""
    n_taps = int(np.ceil((STOP_BAND_DB - 7.95) / (2.285 * 2 * np.pi * TRANSITION_HZ / sample_rate))) | 1
    return n_taps // 2


BAND_FILLS: dict[str, BandFill] = {"unprocessed": _unprocessed, "noise": _noise, "replication": _replication}
