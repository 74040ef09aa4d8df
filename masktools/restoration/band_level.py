"""Where a recording's own band ends, and how an added one meets it: level, quiet guard, stereo width and limiter.

The latter are plain functions of samples (t,): they know neither a model nor a file.

The noise floor of a recording is what it holds in its quietest moments, below its cutoff; continued above the cutoff
with its slope, it tells how loud the missing band was at least allowed to be there. Where a recording is close to its
floor, what is added to it is kept close to that continuation.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from scipy.ndimage import gaussian_filter1d, minimum_filter1d, uniform_filter1d
from scipy.signal import lfilter

from masktools.classical.fills import TRANSITION_HZ, high_pass, high_pass_reach
from masktools.core.arguments import checked_real
from masktools.core.errors import ParameterError, unknown_name
from masktools.pipeline import Pipeline
from masktools.pipeline.hub import check_job
from masktools.restoration.recordings import Reader

EXTENDABLE, FULL_BAND, OUT_OF_REACH = "extendable", "full_band", "out_of_reach"
USUAL_TOP_HZ = 20_000.0  # where the band of recordings ends that have all of it
_MODEL_SHARE = 0.86  # of the model's band: above it the model has next to nothing to add
_TOP_SHARE = 0.9  # of the band up to the top: above it there is next to nothing left to add


@runtime_checkable
class BandEdge(Protocol):
    """What was found about the band of a recording."""

    @property
    def cutoff_hz(self) -> float | None:
        """Where the band ends, or None where no edge was found."""
        ...


@dataclass(frozen=True)
class Decision:
    """Whether a recording is to be extended, from which frequency on, or why not."""

    cutoff_hz: float | None  # None unless it is to be extended
    status: str  # extendable, full_band or out_of_reach
    reason: str = ""  # one sentence, where it is not to be extended

    def __post_init__(self) -> None:
        """Check that a cutoff is given exactly where there is something to do."""
        if self.status not in (EXTENDABLE, FULL_BAND, OUT_OF_REACH):
            raise unknown_name("status", self.status, (EXTENDABLE, FULL_BAND, OUT_OF_REACH))
        if (self.cutoff_hz is None) == (self.status == EXTENDABLE):
            raise ParameterError(
                f"a decision has a cutoff if and only if it is {EXTENDABLE!r}, "
                f"got {self.cutoff_hz} Hz and {self.status!r}"
            )


def choose_top(pipeline: Pipeline, sample_rate: int, to_hz: float | None = None) -> float:
    """Return up to where a recording is extended: as it is wanted, or where the band of such recordings ends.

    Args:
        pipeline: the model.
        sample_rate: of the recording, in Hz; one below the model's is raised to it.
        to_hz: what is wanted, if anything.

    Raises:
        ParameterError: a frequency that the recording has no room for.
    """
    nyquist_hz = max(sample_rate, pipeline.sample_rate) / 2
    if to_hz is None:
        return min(max(USUAL_TOP_HZ, pipeline.mel.f_max), nyquist_hz)
    if not 0 < to_hz <= nyquist_hz:
        raise ParameterError(
            f"to must lie in (0, {nyquist_hz:g}] Hz, half the sample rate of the result, got {to_hz:g} Hz: "
            "resample the recording to a higher rate first, or ask for less"
        )
    return float(to_hz)


def model_reaches(pipeline: Pipeline, cutoff_hz: float) -> bool:
    """Tell whether the model itself has something to add above a cutoff."""
    return cutoff_hz <= _MODEL_SHARE * pipeline.mel.f_max


def cutoff_limits_hz(pipeline: Pipeline, top_hz: float | None = None) -> tuple[float, float]:
    """Return the lowest and the highest cutoff from which a recording is extended up to a top, or to the model's own.

    The model must hear its lowest row of tokens at least, and something must be left to add.

    Raises:
        ParameterError: a model that extends no bandwidth.
    """
    check_job(pipeline, "bwe")
    model_hz = pipeline.mel.f_max
    highest = _MODEL_SHARE * model_hz
    if top_hz is not None:
        highest = max(highest, _TOP_SHARE * top_hz) if top_hz > model_hz else _MODEL_SHARE * top_hz
    return pipeline.grid.row_edges_hz[1], highest


def choose_cutoff(
    bandwidth: BandEdge, pipeline: Pipeline, sample_rate: int, to_hz: float | None = None, lfr: bool = True
) -> Decision:
    """Return what to do with a recording whose band was measured.

    Args:
        bandwidth: what ``detection.find_bandwidth`` found.
        pipeline: the model.
        sample_rate: of the recording, in Hz.
        to_hz: up to where it is to be extended, as for ``choose_top``.
        lfr: whether the original is kept below the cutoff; else the band ends with the model's.

    Returns:
        The cutoff to extend from; or the status ``full_band`` where no edge was found, or one where bands usually end,
        and ``out_of_reach`` where next to nothing is left to add, or the model hears nothing below.

    Raises:
        ParameterError: a top that the recording has no room for.
    """
    top_hz = choose_top(pipeline, sample_rate, to_hz if lfr else pipeline.mel.f_max)
    cutoff_hz = bandwidth.cutoff_hz
    if cutoff_hz is None:
        return Decision(None, FULL_BAND, "no edge was found above which the recording has nothing")
    if to_hz is None and cutoff_hz > cutoff_limits_hz(pipeline, top_hz)[1] >= _TOP_SHARE * USUAL_TOP_HZ:
        return Decision(None, FULL_BAND, f"its band ends at {cutoff_hz:.0f} Hz, as that of whole recordings does")
    refusal = _refusal(pipeline, cutoff_hz, top_hz)
    if refusal is not None:
        return Decision(None, OUT_OF_REACH, f"its band ends at {cutoff_hz:.0f} Hz, and {refusal}")
    return Decision(min(float(cutoff_hz), sample_rate / 2), EXTENDABLE)


def check_cutoff(pipeline: Pipeline, cutoff_hz: float, sample_rate: int, top_hz: float) -> None:
    """Refuse a cutoff that the recording or the model does not have, or that the top does not lie above.

    Raises:
        ParameterError: the message says what it must be.
    """
    cutoff_hz = checked_real("cutoff", cutoff_hz, "Hz")
    if not 0 < cutoff_hz <= sample_rate / 2:
        raise ParameterError(
            f"cutoff must lie in (0, {sample_rate / 2:g}] Hz, half the recording's sample rate, got {cutoff_hz:g} Hz"
        )
    if top_hz <= cutoff_hz:
        raise ParameterError(f"to must lie above the cutoff of {cutoff_hz:g} Hz, got {top_hz:g} Hz")
    refusal = _refusal(pipeline, cutoff_hz, top_hz)
    if refusal is not None:
        lowest, highest = cutoff_limits_hz(pipeline, top_hz)
        limit = f"at most {highest:.0f}" if cutoff_hz > highest else f"at least {lowest:.0f}"
        raise ParameterError(f"cutoff must be {limit} Hz, got {cutoff_hz:g} Hz: {refusal}")


def _refusal(pipeline: Pipeline, cutoff_hz: float, top_hz: float) -> str | None:
    lowest, highest = cutoff_limits_hz(pipeline, top_hz)
    if cutoff_hz > highest:
        what = "this model's band ends at" if top_hz == pipeline.mel.f_max else "it is to end at"
        return f"{what} {top_hz:g} Hz, so that above {highest:.0f} Hz there is next to nothing to add"
    if cutoff_hz < lowest:
        return f"below {lowest:.0f} Hz this model hears nothing that it could extend"
    return None


HOP = 512  # samples between the frames in which levels are measured
MATCHED_BAND = (0.7, 0.97)  # of the cutoff: where original and generated must be equally loud
MAX_GAIN_DB = 6.0  # either way
SILENCE = 1e-5  # RMS; -100 dB of full scale
SMOOTHING_S = 1.0
_FRAME = 2048  # samples
_BLOCK = 1024  # frames
_MAX_GAIN = 10 ** (MAX_GAIN_DB / 20)


def band_gain(known: np.ndarray, generated: np.ndarray, sample_rate: int, cutoff_hz: float) -> np.ndarray:
    """Return the gain (t,) that makes the generated as loud as the known just below a cutoff.

    Powers are compared between 0.7 and 0.97 of the cutoff, averaged over a second; the gain stays within 6 dB, and is
    1 where there is nothing to compare.
    """
    band = [(MATCHED_BAND[0] * cutoff_hz, MATCHED_BAND[1] * cutoff_hz)]
    n_frames = max(1, round(SMOOTHING_S * sample_rate / HOP))
    wanted, got = (
        uniform_filter1d(band_powers(x, sample_rate, band)[:, 0], n_frames, mode="nearest") for x in (known, generated)
    )
    quiet = SILENCE**2
    ratio = np.sqrt(np.maximum(wanted, quiet) / np.maximum(got, quiet))
    return at_samples(np.clip(ratio, 1 / _MAX_GAIN, _MAX_GAIN), len(known))


def loudness_gate(known: np.ndarray) -> np.ndarray:
    """Return 0 where the known samples are digital silence and 1 where they are not, (t,), with short slopes."""
    padded = np.pad(known, (0, -len(known) % HOP)).reshape(-1, HOP)
    power = uniform_filter1d(np.square(padded, dtype=np.float64).mean(axis=1), 3, mode="nearest")
    return at_samples((power > SILENCE**2).astype(np.float64), len(known))


def band_powers(samples: np.ndarray, sample_rate: int, bands_hz: list[tuple[float, float]]) -> np.ndarray:
    """Return the power of each band, (frames, bands) float64: mean squares, a frame each 512 samples around it."""
    n_frames = -(-len(samples) // HOP)
    half = _FRAME // 2
    padded = np.pad(samples.astype(np.float32), (half, half + n_frames * HOP - len(samples)))
    frames = np.lib.stride_tricks.sliding_window_view(padded, _FRAME)[::HOP][:n_frames]
    window = np.hanning(_FRAME).astype(np.float32)
    hertz = np.fft.rfftfreq(_FRAME, 1 / sample_rate)
    inside = np.stack([(hertz >= low) & (hertz <= high) for low, high in bands_hz], axis=1).astype(np.float32)
    scale = 2.0 / (_FRAME * float(np.sum(np.square(window, dtype=np.float64))))
    return scale * np.concatenate(
        [
            (np.abs(np.fft.rfft(frames[start : start + _BLOCK] * window)) ** 2 @ inside).astype(np.float64)
            for start in range(0, n_frames, _BLOCK)
        ]
    )


def at_samples(values: np.ndarray, n_samples: int) -> np.ndarray:
    """Return values that are 512 samples apart at every sample, by lines between them."""
    return np.interp(np.arange(n_samples), np.arange(len(values)) * HOP, values)


QUIET_SHARE = 0.1  # of the frames that are not digital silence
NEAR_DB = 6.0  # above its floor, a recording is quiet
DYNAMICS_DB = 12.0  # by which the loud moments exceed the floor at least: steady sounds have no pauses
_LOUD_SHARE = 0.9
_RELEASE = 4.0  # dB by which the limit rises for each dB beyond NEAR_DB
_N_BANDS = 6  # over the two octaves below the cutoff, of which the floor's slope is taken
_CLEAN = 0.95  # of the cutoff, up to which a low-pass filter leaves the band as it was
_SMOOTH_FRAMES = 1.5  # standard deviation


@dataclass(frozen=True)
class Floor:
    """The noise floor of a channel; powers are mean squares of full scale 1."""

    below: float  # power in the octave below the cutoff
    above: float  # power from the cutoff to the top, by extrapolation
    cutoff_hz: float
    top_hz: float

    @property
    def octave_hz(self) -> tuple[float, float]:
        """The band in which a recording is compared with its floor."""
        return 0.5 * self.cutoff_hz, _CLEAN * self.cutoff_hz


def floor_bands(cutoff_hz: float) -> list[tuple[float, float]]:
    """Return the bands whose powers ``floor_of`` needs."""
    edges = np.geomspace(cutoff_hz / 4, _CLEAN * cutoff_hz, _N_BANDS + 1)
    return list(zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True))


def floor_of(powers: np.ndarray, cutoff_hz: float, top_hz: float) -> Floor | None:
    """Return the noise floor of a channel; None if it is silent, or has no pauses.

    Args:
        powers: (frames, bands) of the whole channel in ``floor_bands``.
        cutoff_hz: where its band ends.
        top_hz: where the band ends that is to be added.
    """
    bands = floor_bands(cutoff_hz)
    upper = np.array([low >= 0.45 * cutoff_hz for low, _ in bands])
    octave = powers[:, upper].sum(axis=1)
    heard = np.flatnonzero(octave > SILENCE**2)
    if not len(heard):
        return None
    ranked = heard[np.argsort(octave[heard], kind="stable")]
    quiet = ranked[: max(1, round(QUIET_SHARE * len(ranked)))]
    below = float(octave[quiet[-1]])
    loud = float(octave[ranked[int(_LOUD_SHARE * (len(ranked) - 1))]])
    if loud < below * 10 ** (DYNAMICS_DB / 10):
        return None
    widths, centres = (np.array([f(low, high) for low, high in bands]) for f in (_width, _centre))
    density_db = 10 * np.log10(powers[quiet].mean(axis=0) / widths + SILENCE**4)
    slope_db = min(0.0, float(np.polyfit(np.log2(centres), density_db, 1)[0]))
    level_db = float(np.mean(density_db[upper] - slope_db * np.log2(centres[upper] / cutoff_hz)))
    hertz = np.linspace(cutoff_hz, top_hz, 65)
    line = 10 ** ((level_db + slope_db * np.log2(hertz / cutoff_hz)) / 10)
    return Floor(below, float((np.diff(hertz) * (line[1:] + line[:-1]) / 2.0).sum()), cutoff_hz, top_hz)


def _width(low: float, high: float) -> float:
    return high - low


def _centre(low: float, high: float) -> float:
    return float(np.sqrt(low * high))


def quiet_gain(
    known: np.ndarray, generated: np.ndarray, sample_rate: int, floor: Floor, guard_db: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return the gain (t,), at most 1, that keeps what is generated near the floor where the known is.

    Within 6 dB of its floor, what is added may exceed the floor's continuation by ``guard_db``; beyond, the limit rises
    fast, and soon is none.

    Args:
        known: (t,) the channel.
        generated: (t,) of which the band above the cutoff is to be added.
        sample_rate: in Hz.
        floor: of the channel.
        guard_db: in dB.

    Returns:
        The gain at each sample, and which frames, 512 samples apart, it makes quieter by more than 0.5 dB.
    """
    own = 10 * np.log10(band_powers(known, sample_rate, [floor.octave_hz])[:, 0] / floor.below + 1e-12)
    added = band_powers(generated, sample_rate, [(floor.cutoff_hz, floor.top_hz)])[:, 0]
    limit_db = 10 * np.log10(floor.above + 1e-30) + guard_db + _RELEASE * np.maximum(0.0, own - NEAR_DB)
    excess_db = np.maximum(0.0, 10 * np.log10(added + 1e-30) - limit_db)
    gain_db = -gaussian_filter1d(excess_db, _SMOOTH_FRAMES, mode="nearest")
    return at_samples(10 ** (gain_db / 20), len(known)), gain_db < -0.5


BLOCK_SAMPLES = 256 * HOP
_EDGE_FRAMES = 2  # at each end of a block, which see what is not there


@dataclass(frozen=True)
class Survey:
    """A recording as a whole."""

    floors: tuple[Floor | None, ...]  # of each wave; None of one without pauses
    above_db: float  # how loud it is above its cutoff, beside what it has below


def survey(blocks: Iterable[np.ndarray], sample_rate: int, cutoff_hz: float, top_hz: float) -> Survey:
    """Return what there is to know of a recording.

    Args:
        blocks: of the recording, (waves, n), each ``BLOCK_SAMPLES`` long but the last.
        sample_rate: in Hz.
        cutoff_hz: where its band ends.
        top_hz: where the band ends that is to be added.
    """
    bands = [*floor_bands(cutoff_hz), (0.0, cutoff_hz), (min(cutoff_hz + TRANSITION_HZ, top_hz), sample_rate / 2)]
    powers: list[list[np.ndarray]] = []
    for block in blocks:
        powers = powers or [[] for _ in block]
        for seen, wave in zip(powers, block, strict=True):
            found = band_powers(wave, sample_rate, bands)
            whole = found[_EDGE_FRAMES:-_EDGE_FRAMES] if len(found) > 4 * _EDGE_FRAMES else found
            seen.append(whole.astype(np.float32))
    each = [np.concatenate(seen).astype(np.float64) for seen in powers]
    below, above = (sum(float(found[:, column].sum()) for found in each) for column in (-2, -1))
    floors = tuple(floor_of(found[:, :-2], cutoff_hz, top_hz) for found in each)
    return Survey(floors, float(10 * np.log10((above + SILENCE**4) / (below + SILENCE**4))))


FAINT_DB = -50.0  # beside what is below the cutoff: what is louder is no leftover


def cleaned(reader: Reader, n_samples: int, sample_rate: int, cutoff_hz: float) -> Reader:
    """Return a reader of the recording without what it has above the cutoff; 200 Hz below it nothing changes."""
    reach = high_pass_reach(sample_rate)

    def read(start: int, stop: int) -> np.ndarray:
        first, last = max(0, start - reach), min(n_samples, stop + reach)
        part = reader(first, last)
        kept = slice(start - first, stop - first)
        low = [wave[kept] - high_pass(wave, sample_rate, cutoff_hz)[kept] for wave in part]
        return np.stack(low).astype(part.dtype)

    return read


MAX_RATIO = 2.0  # of the side's amplitude to the middle's
_DELAYS_S, _FEEDBACK = (0.0031, 0.0053, 0.0089), 0.6  # of the all-pass filters that take a wave out of step with itself


def side_of(middle: np.ndarray, known: np.ndarray, sample_rate: int, cutoff_hz: float) -> np.ndarray:
    """Return what lies between two channels above a cutoff, (t,), made from what they share there.

    Just below the cutoff it is measured how loud the side is beside the middle, and how much of it goes with the
    middle: that part leans the added band to one side, and the rest, out of step with the middle, makes it wide.

    Args:
        middle: (t,) the added band of the middle.
        known: (2, t) the recording.
        sample_rate: in Hz.
        cutoff_hz: where the band begins.
    """
    mid, side = 0.5 * (known[0] + known[1]), 0.5 * (known[0] - known[1])
    mid, side = (_upper_band(wave, sample_rate, cutoff_hz) for wave in (mid, side))
    cross, mid_power, side_power = (_averaged(a * b, sample_rate) for a, b in ((mid, side), (mid, mid), (side, side)))
    quiet = SILENCE**2
    ratio = np.minimum(np.sqrt(side_power / np.maximum(mid_power, quiet)), MAX_RATIO)
    lean = np.clip(cross / np.maximum(mid_power, quiet), -ratio, ratio)
    wide = np.sqrt(np.maximum(0.0, ratio**2 - lean**2))
    n = len(middle)
    return at_samples(lean, n) * middle + at_samples(wide, n) * _out_of_step(middle, sample_rate)


def _upper_band(wave: np.ndarray, sample_rate: int, cutoff_hz: float) -> np.ndarray:
    low, high = (share * cutoff_hz for share in MATCHED_BAND)
    return high_pass(wave, sample_rate, low) - high_pass(wave, sample_rate, high)


def _averaged(products: np.ndarray, sample_rate: int) -> np.ndarray:
    blocks = np.pad(products, (0, -len(products) % HOP)).reshape(-1, HOP).mean(axis=1)
    return uniform_filter1d(blocks, max(1, round(SMOOTHING_S * sample_rate / HOP)), mode="nearest")


def _out_of_step(wave: np.ndarray, sample_rate: int) -> np.ndarray:
    """Return a wave of the same spectrum that has next to nothing in common with it, sample by sample.

    Source: M. R. Schroeder, Natural sounding artificial reverberation (1962): all-pass filters in series.
    """
    for delay_s in _DELAYS_S:
        taps = np.zeros(max(1, round(delay_s * sample_rate)) + 1)
        taps[0], taps[-1] = _FEEDBACK, 1.0
        wave = np.asarray(lfilter(taps, np.concatenate([[1.0], np.zeros(len(taps) - 2), [_FEEDBACK]]), wave))
    return wave


LOOK_AHEAD_S = 0.005


def limited(
    pairs: Iterable[tuple[np.ndarray, np.ndarray]], sample_rate: int
) -> Iterator[tuple[np.ndarray, np.ndarray, int]]:
    """Yield recordings and what is added to them, the latter attenuated where their sum would clip.

    Args:
        pairs: (original, added) of consecutive stretches, (channels, n) each.
        sample_rate: in Hz.

    Yields:
        original, added and the number of samples that were attenuated, of stretches that follow each other but are
        not those that came in.
    """
    reach = 2 * _reach(sample_rate)  # what the gain of a sample depends on, either way
    original = added = None
    n_before = 0
    for one, other in pairs:
        original = one if original is None else np.concatenate([original, one], axis=1)
        added = other if added is None else np.concatenate([added, other], axis=1)
        stop = original.shape[1] - reach
        if stop <= n_before:
            continue
        yield _attenuated(original, added, sample_rate, n_before, stop)
        kept = max(0, stop - reach)
        original, added, n_before = original[:, kept:], added[:, kept:], stop - kept
    if original is not None and added is not None and n_before < original.shape[1]:
        yield _attenuated(original, added, sample_rate, n_before, original.shape[1])


def _attenuated(
    original: np.ndarray, added: np.ndarray, sample_rate: int, start: int, stop: int
) -> tuple[np.ndarray, np.ndarray, int]:
    part = slice(start, stop)
    if np.abs(original + added).max(initial=0.0) <= 1.0:
        return original[:, part], added[:, part], 0
    gain = peak_gain(original, added, sample_rate)[part]
    return original[:, part], (added[:, part] * gain).astype(added.dtype), int(np.count_nonzero(gain < 1.0))


def peak_gain(original: np.ndarray, added: np.ndarray, sample_rate: int) -> np.ndarray:
    """Return the gain (t,) in [0, 1] of what is added to an original, so that no sample of the sum leaves full scale.

    A sample of the original that lies beyond full scale by itself is not made larger. The gain is that of all
    channels together, 1 more than 10 ms away from a peak, and without corners.

    Args:
        original: (channels, t); it is never changed.
        added: (channels, t).
        sample_rate: in Hz.
    """
    room = np.maximum(1.0, np.abs(original)).astype(np.float64) * (1.0 - 1e-6) - original * np.sign(added)
    needed = np.where(np.abs(original + added) > 1.0, room.clip(0.0) / np.maximum(np.abs(added), 1e-30), 1.0)
    lowest = needed.clip(0.0, 1.0).min(axis=0)
    reach = _reach(sample_rate)
    held = minimum_filter1d(np.pad(lowest, reach, constant_values=1.0), 2 * reach + 1, mode="constant", cval=1.0)
    weights = np.hanning(2 * reach + 3)[1:-1]
    return 1.0 - np.convolve(1.0 - held, weights / weights.sum(), mode="valid")


def _reach(sample_rate: int) -> int:
    return max(1, round(LOOK_AHEAD_S * sample_rate))
