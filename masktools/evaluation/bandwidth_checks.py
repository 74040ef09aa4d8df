"""Checks of bandwidth extension: composition at the cutoff, joins between windows, and quiet moments.

A recording is band-limited, and what is to be added to it is known: the truth itself, or the truth as its mel
spectrogram tells it, 2 dB too loud. What remains is the rule by which the two are put together: ours, and those of
three other projects, each with its own way to find the cutoff, as they are used.

At each join the extended recording is measured beside the original, beside a rendering whose only window has that
place in its middle, and beside itself elsewhere.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
import torch
from scipy.signal import ShortTimeFFT, bilinear, butter, kaiserord, lfilter, oaconvolve, sosfiltfilt
from scipy.signal.windows import hann

from masktools.classical.fills import high_pass
from masktools.core.errors import ParameterError
from masktools.core.runtime import threads
from masktools.evaluation.clips import Clip
from masktools.evaluation.common import check_clips, check_some, make_report
from masktools.evaluation.report import Report, Row, summarise
from masktools.mel import MelConfig, MelFrontEnd
from masktools.metrics import band_level_db, quiet_excess_db, seam_crest_db
from masktools.model import Model
from masktools.networks.vocoder import GriffinLim, GriffinLimConfig
from masktools.pipeline import Pipeline, Progress, watched
from masktools.restoration import bwe
from masktools.restoration.band_extension import column_windows
from masktools.restoration.band_level import band_gain
from masktools.solver import SolverConfig

Rule = Callable[[np.ndarray, np.ndarray, int, float], np.ndarray]

TRUTH, GRIFFIN_LIM = "truth", "Griffin-Lim"
_EDGE_HZ = 400.0  # to either side of the cutoff: where levels are compared
_GUARD_HZ = 300.0  # below the cutoff: what lies further down must stay as it was
_SHELF_HZ = 100.0  # over which a band-limited recording falls to either side of its cutoff
_STOP_BAND_DB = 100.0
_TINY = 1e-30
_N_FFT, _HOP = 2048, 512  # samples


def measure_composition(
    clips: Sequence[Clip], cutoff_hz: float = 4000.0, *, gain_db: float = 2.0, progress: Progress | None = None
) -> Report:
    """Return what rules of composition do to the low band, and to the levels at the cutoff.

    The recordings that are extended are of 16 bits. ``low_db`` is the error more than 300 Hz below the cutoff, beside
    what the recording has there; ``low_pcm16_db`` the same where the result has 16 bits, too, so that its own rounding
    counts, and ``low_pcm16_dbfs`` that error beside a full-scale sine; ``below_db`` and ``above_db`` tell by how much
    the 400 Hz on either side of the cutoff are louder than the truth.

    Args:
        clips: full-band recordings, of one sample rate each.
        cutoff_hz: where they are cut off.
        gain_db: by which what Griffin-Lim makes is too loud.
        progress: called with the clips done and their number.

    Raises:
        ParameterError: no clips, or a cutoff that leaves no band to measure.
    """
    check_some(clips)
    lowest = min(clip.sample_rate for clip in clips)
    if not _EDGE_HZ < cutoff_hz < lowest / 2 - _EDGE_HZ:
        raise ParameterError(
            f"the cutoff must lie in ({_EDGE_HZ:g}, {lowest / 2 - _EDGE_HZ:g}) Hz, got {cutoff_hz:g} Hz"
        )
    rows: list[Row] = []
    for clip in watched(clips, progress):
        rate = clip.sample_rate
        low = _rounded(without_top(clip.wave, rate, cutoff_hz)).astype(np.float32)
        loud = 10 ** (gain_db / 20)
        for case, generated in ((TRUTH, clip.wave), (GRIFFIN_LIM, loud * _through_mel(clip.wave, rate))):
            for name, rule in RULES.items():
                joined = rule(low, generated.astype(np.float64), rate, cutoff_hz)
                rows += _measured(clip, low, joined, cutoff_hz, name, case)
    settings = {"protocol": "composition", "cutoff_hz": cutoff_hz, "gain_db": gain_db, "n_clips": len(clips)}
    notes = (
        "low_db: error below the cutoff less 300 Hz; below_db, above_db: levels of 400 Hz on either side of the cutoff "
        "beside the truth",
    )
    return make_report("Composition at the cutoff", settings, clips, rows, summarise(rows), notes)


def without_top(wave: np.ndarray, sample_rate: int, cutoff_hz: float) -> np.ndarray:
    """Return a wave (t,) without what it has above a cutoff, where half of the amplitude is left."""
    n_taps, beta = kaiserord(_STOP_BAND_DB, 4 * _SHELF_HZ / sample_rate)
    half = n_taps // 2
    taps = np.sinc(2 * cutoff_hz / sample_rate * np.arange(-half, half + 1)) * np.kaiser(2 * half + 1, beta)
    return oaconvolve(wave.astype(np.float64), taps / taps.sum(), mode="same").astype(np.float32)


def _through_mel(wave: np.ndarray, sample_rate: int) -> np.ndarray:
    """Return what Griffin-Lim makes of a wave's 80-band mel spectrogram, (t,)."""
    config = MelConfig(sample_rate=sample_rate, f_max=sample_rate / 2)
    hop = config.hop_length
    padded = np.pad(wave, (0, max(-len(wave) % hop, config.n_fft - len(wave))))
    with torch.inference_mode():
        mel = MelFrontEnd(config)(torch.from_numpy(padded)[None])
        made = GriffinLim(GriffinLimConfig(), config)(mel)[0].numpy()
    return np.pad(made, (0, max(0, len(wave) - len(made))))[: len(wave)]


def _measured(clip: Clip, low: np.ndarray, joined: np.ndarray, cutoff_hz: float, method: str, case: str) -> list[Row]:
    rate = clip.sample_rate
    rounded = _rounded(joined)
    bands = ((cutoff_hz - _EDGE_HZ, cutoff_hz), (cutoff_hz, cutoff_hz + _EDGE_HZ))
    below, above = (band_level_db(joined, rate, band) - band_level_db(clip.wave, rate, band) for band in bands)
    found = {
        "low_db": _low_error_db(low, joined, rate, cutoff_hz - _GUARD_HZ),
        "low_pcm16_db": _low_error_db(low, rounded, rate, cutoff_hz - _GUARD_HZ),
        "low_pcm16_dbfs": _low_level_dbfs(rounded - low, rate, cutoff_hz - _GUARD_HZ),
        "below_db": below,
        "above_db": above,
    }
    return Row.each(clip, method, found, case)


def _rounded(wave: np.ndarray) -> np.ndarray:
    """Return a wave as a file of 16 bits holds it."""
    return np.rint(wave.astype(np.float64) * 32768.0).clip(-32768.0, 32767.0) / 32768.0


def _low_error_db(low: np.ndarray, joined: np.ndarray, sample_rate: int, top_hz: float) -> float:
    """Return the power of what differs below a frequency, beside what was there, in dB."""
    return _low_level_dbfs(joined - low, sample_rate, top_hz) - _low_level_dbfs(low, sample_rate, top_hz)


def _low_level_dbfs(wave: np.ndarray, sample_rate: int, top_hz: float) -> float:
    """Return the level of what lies below a frequency, a full-scale sine at 0."""
    window = hann(len(wave), sym=False)
    hertz = np.fft.rfftfreq(len(wave), 1 / sample_rate)
    power = np.sum(np.abs(np.fft.rfft(wave.astype(np.float64) * window))[hertz < top_hz] ** 2)
    return float(10 * np.log10(4 * power / (len(wave) * np.sum(window**2)) + _TINY))


def _additive(low: np.ndarray, generated: np.ndarray, sample_rate: int, cutoff_hz: float) -> np.ndarray:
    """Return the recording plus what was generated above its cutoff, as loud as the recording just below it."""
    levelled = generated * band_gain(low, generated, sample_rate, cutoff_hz)
    return low + high_pass(levelled, sample_rate, cutoff_hz).astype(np.float32)


def _nvsr(low: np.ndarray, generated: np.ndarray, sample_rate: int, cutoff_hz: float) -> np.ndarray:
    """Return the rule of NVSR's evaluation: spectra exchanged at the bin that holds 97 % of the magnitude below it.

    Source: Liu et al., Neural vocoder is all you need for speech super-resolution (arXiv:2203.14941), section 2.4.
    """
    frames, own, made = _spectra(low, generated, sample_rate)
    edge = _cumulative_bin(np.abs(own).sum(axis=1), 0.97)
    return frames.istft(np.concatenate([own[:edge], made[edge:]]), k1=len(low))


def _audiosr(low: np.ndarray, generated: np.ndarray, sample_rate: int, cutoff_hz: float) -> np.ndarray:
    """Return the rule of AudioSR: as NVSR's with 98.5 %, the low band divided by a gain from one bin, the peak at 0.5.

    Source: Liu et al., AudioSR: versatile audio super-resolution at scale (arXiv:2309.07314), section 3.3.
    Differs: the cutoff is found on the recording itself, not on a copy filtered by chance.
    """
    frames, own, made = _spectra(low, generated, sample_rate)
    edge = _cumulative_bin(np.abs(own).sum(axis=1), 0.985)
    ratio = np.clip(np.abs(own[edge]).sum() / max(np.abs(made[edge]).sum(), _TINY), 0.8, 1.2)
    joined = frames.istft(np.concatenate([own[:edge] / ratio, made[edge:]]), k1=len(low))
    joined = joined - joined.mean()
    return 0.5 * joined / max(np.abs(joined).max(), _TINY)


def _clearvoice(low: np.ndarray, generated: np.ndarray, sample_rate: int, cutoff_hz: float) -> np.ndarray:
    """Return the rule of ClearVoice: Butterworth filters of order 4 meet, faded in over the first 100 ms.

    The cutoff is where 99.96 % of the energy lie below, in bins of 256 samples.

    Source: Zhao et al., ClearerVoice-Studio (arXiv:2506.19398), speech super-resolution.
    """
    small = ShortTimeFFT(hann(256, sym=False), 128, sample_rate)
    power = (np.abs(small.stft(_long_enough(low, 256))) ** 2).sum(axis=1)
    edge_hz = np.clip(small.f[_cumulative_bin(power, 0.9996)], 100.0, 0.49 * sample_rate)
    below, above = (butter(4, edge_hz, kind, fs=sample_rate, output="sos") for kind in ("low", "high"))
    rise = np.minimum(1.0, np.arange(len(low)) / (0.1 * sample_rate))
    return sosfiltfilt(below, low) + rise * sosfiltfilt(above, generated)


def _spectra(low: np.ndarray, generated: np.ndarray, sample_rate: int) -> tuple[ShortTimeFFT, np.ndarray, np.ndarray]:
    frames = ShortTimeFFT(hann(_N_FFT, sym=False), _HOP, sample_rate)
    own, made = (frames.stft(_long_enough(wave, _N_FFT)) for wave in (low, generated))
    return frames, own, made


def _long_enough(wave: np.ndarray, n: int) -> np.ndarray:
    return np.pad(wave.astype(np.float64), (0, max(0, n - len(wave))))


def _cumulative_bin(values: np.ndarray, share: float) -> int:
    """Return the last bin up to which less than a share of the sum has come together."""
    return int(np.searchsorted(np.cumsum(values), share * values.sum()).clip(1, len(values) - 1))


RULES: dict[str, Rule] = {"additive": _additive, "nvsr": _nvsr, "audiosr": _audiosr, "clearvoice": _clearvoice}
"""The rules by name: (recording (t,), generated (t,), sample rate, true cutoff) -> what they make of both; the last
three find a cutoff of their own."""


LOUDNESS_S = 0.4
WINDOWS, ELSEWHERE, SINGLE, ORIGINAL = "windows", "elsewhere", "single", "original"
_FAINT_POWER = 1e-10  # power


def measure_joins(
    model: Model,
    clips: Sequence[Clip],
    cutoff_hz: float = 4000.0,
    *,
    texture: str = "blend",
    seed: int = 0,
    progress: Progress | None = None,
) -> Report:
    """Return how the joins between windows stand out.

    ``crest_db`` is how much a join sticks out of its surroundings; ``crest_excess_db`` how much more than the same
    place does in the original, or in the rendering of a single window: music has onsets there, too. ``step_db`` is how
    much otherwise the loudness (400 ms) changes over the join than in the rendering of a single window, and
    ``band_step_db`` how much that of the added band changes there: of ``windows`` at the joins, ``elsewhere`` half way
    between them. The notes give 95 % quantiles over all joins.

    Args:
        model: the model.
        clips: at the model's rate; those that are longer than a window have joins.
        cutoff_hz: where they are cut off first.
        texture: what the added band is made of.
        seed: of the decoding.
        progress: called with the clips done and their number.

    Raises:
        ParameterError: no clips, none that is longer than a window, or clips at another rate.

    Source: ITU-R BS.1770-4 for the loudness.
    """
    check_clips(model, clips)
    pipeline, rate = model.pipeline, model.sample_rate
    times = [join_times_s(pipeline, len(clip.wave)) for clip in clips]
    if not any(times):
        longest = max(clip.duration_s for clip in clips)
        raise ParameterError(
            f"a clip must be longer than a window of {pipeline.window_samples / rate:.2f} s to have a join, "
            f"got {longest:.2f} s at most: join recordings to longer ones first"
        )
    solver = pipeline.decoding.get("bwe", SolverConfig())
    rows: list[Row] = []

    def extended(wave: np.ndarray) -> np.ndarray:
        return bwe(pipeline, wave[None], rate, cutoff_hz, seed=seed, solver=solver, texture=texture).samples[0]

    with threads(model.threads):
        for number, clip in enumerate(watched(clips, progress)):
            joins = times[number]
            low = without_top(clip.wave, rate, cutoff_hz)
            whole = extended(low) if joins else low
            for join_s in joins:
                start, stop = _around(join_s, len(low), pipeline.window_samples, rate)
                at_s, own = join_s - start / rate, low[start:stop]
                parts = {WINDOWS: whole[start:stop], SINGLE: extended(own), ORIGINAL: own}
                case = f"at {join_s:.2f} s"
                crests = [seam_crest_db(part, rate, at_s) for part in parts.values()]
                rows.append(Row.of(clip, WINDOWS, "crest_excess_db", crests[0] - max(crests[1:]), case))
                for (method, part), crest_db in zip(parts.items(), crests, strict=True):
                    rows.append(Row.of(clip, method, "crest_db", crest_db, case))
                    if method != ORIGINAL:
                        rows.append(Row.of(clip, method, "band_step_db", abs(_step_db(part - own, rate, at_s)), case))
                otherwise_db = _step_db(parts[WINDOWS], rate, at_s) - _step_db(parts[SINGLE], rate, at_s)
                rows.append(Row.of(clip, WINDOWS, "step_db", abs(otherwise_db), case))
            for before_s, after_s in pairwise(joins):
                at_s = (before_s + after_s) / 2
                case = f"at {at_s:.2f} s"
                rows.append(Row.of(clip, ELSEWHERE, "crest_db", seam_crest_db(whole, rate, at_s), case))
                rows.append(Row.of(clip, ELSEWHERE, "band_step_db", abs(_step_db(whole - low, rate, at_s)), case))
    settings = {
        "protocol": "joins",
        "model": model.name,
        "cutoff_hz": cutoff_hz,
        "texture": texture,
        "seed": seed,
        "n_clips": len(clips),
        "n_joins": sum(map(len, times)),
    }
    notes = [f"{name}, 95 % of joins: {value:.2f} dB at most" for name, value in _quantiles(rows).items()]
    each = [Row(row.clip, row.kind, row.origin, row.method, row.metric, row.value) for row in rows]
    return make_report("Joins between windows", settings, clips, rows, summarise(each), notes)


def join_times_s(pipeline: Pipeline, n_samples: int) -> list[float]:
    """Return where, in seconds, windows are joined in a recording of so many samples at the model's rate."""
    windows = column_windows(pipeline, n_samples)
    middles = [(before.stop + after.start) / 2 for before, after in pairwise(windows)]
    return [middle * pipeline.grid.column_s for middle in middles]


def loudness_db(wave: np.ndarray, sample_rate: int) -> float:
    """Return the loudness of a wave (t,) in LKFS, without a gate.

    Source: ITU-R BS.1770-4, annex 1; its two filters by their analogue prototypes, for any sample rate.
    """
    weighted = wave.astype(np.float64)
    for numerator, denominator in (_shelf(), _high_pass()):
        b, a = bilinear(numerator, denominator, sample_rate)
        weighted = np.asarray(lfilter(b, a, weighted))
    return float(-0.691 + 10 * np.log10(np.mean(weighted**2) + _FAINT_POWER))


def _shelf() -> tuple[list[float], list[float]]:
    """Return the head's filter: 4 dB more above 1.7 kHz, as coefficients of s."""
    omega, quality = 2 * np.pi * 1681.97, 0.7071752
    gain = 10 ** (3.99984 / 20)
    middle = gain**0.4996667
    return [gain, middle * omega / quality, omega**2], [1.0, omega / quality, omega**2]


def _high_pass() -> tuple[list[float], list[float]]:
    """Return the filter that takes away what lies below 38 Hz, as coefficients of s."""
    omega, quality = 2 * np.pi * 38.1355, 0.5003271
    return [1.0, 0.0, 0.0], [1.0, omega / quality, omega**2]


def _around(join_s: float, n_samples: int, window_samples: int, sample_rate: int) -> tuple[int, int]:
    start = round(join_s * sample_rate) - window_samples // 2
    start = max(0, min(start, n_samples - window_samples))
    return start, min(n_samples, start + window_samples)


def _step_db(wave: np.ndarray, sample_rate: int, at_s: float) -> float:
    """Return by how much the loudness rises from the 400 ms before a place to the 400 ms after it."""
    place, n = round(at_s * sample_rate), round(LOUDNESS_S * sample_rate)
    before, after = wave[max(0, place - n) : place], wave[place : place + n]
    return loudness_db(after, sample_rate) - loudness_db(before, sample_rate)


def _quantiles(rows: Sequence[Row]) -> dict[str, float]:
    values: dict[str, list[float]] = {}
    for row in rows:
        values.setdefault(f"{row.metric} of {row.method}", []).append(row.value)
    return {name: float(np.quantile(found, 0.95)) for name, found in values.items()}


GUARDED, UNGUARDED = "guarded", "unguarded"
GUARD_DB = 3.0
_HUSH_S, _MARGIN_S = 1.0, 0.1  # of the digital silence, and at its ends: where filters still sound
_FAINT_PEAK = 1e-15


def measure_quiet(
    model: Model,
    clips: Sequence[Clip],
    cutoff_hz: float = 4000.0,
    *,
    texture: str = "blend",
    seed: int = 0,
    progress: Progress | None = None,
) -> Report:
    """Return how much louder than the truth the quietest moments of recordings become.

    ``quiet_xs_db`` is of the whole band, ``quiet_xs_hi_db`` of what lies above the cutoff alone, down to -100 dBFS;
    ``silence_dbfs`` is the highest sample inside a second of zeros that was put into the middle of each clip.

    Args:
        model: the model.
        clips: at the model's rate.
        cutoff_hz: where they are cut off first.
        texture: what the added band is made of.
        seed: of the decoding.
        progress: called with the pieces of work done and their number.

    Raises:
        ParameterError: no clips, or clips at another rate.
    """
    check_clips(model, clips)
    pipeline, rate = model.pipeline, model.sample_rate
    solver = pipeline.decoding.get("bwe", SolverConfig())
    rows: list[Row] = []

    def extended(wave: np.ndarray, guard_db: float | None) -> np.ndarray:
        made = bwe(
            pipeline, wave[None], rate, cutoff_hz, seed=seed, solver=solver, texture=texture, quiet_guard_db=guard_db
        )
        return made.samples[0]

    with threads(model.threads):
        for clip in watched(clips, progress):
            low = without_top(clip.wave, rate, cutoff_hz)
            top = high_pass(clip.wave, rate, cutoff_hz)
            for method, guard_db in ((GUARDED, GUARD_DB), (UNGUARDED, None)):
                made = extended(low, guard_db)
                excess_hi = quiet_excess_db(top, high_pass(made, rate, cutoff_hz), floor_db=-100.0)
                rows.append(Row.of(clip, method, "quiet_xs_db", quiet_excess_db(clip.wave, made)))
                rows.append(Row.of(clip, method, "quiet_xs_hi_db", excess_hi))
            middle = len(low) // 2
            hushed = np.concatenate([low[:middle], np.zeros(round(_HUSH_S * rate), np.float32), low[middle:]])
            inside = slice(middle + round(_MARGIN_S * rate), middle + round((_HUSH_S - _MARGIN_S) * rate))
            loudest = float(np.abs(extended(hushed, GUARD_DB)[inside]).max())
            rows.append(Row.of(clip, GUARDED, "silence_dbfs", 20 * np.log10(loudest + _FAINT_PEAK)))
    settings = {
        "protocol": "quiet",
        "model": model.name,
        "cutoff_hz": cutoff_hz,
        "texture": texture,
        "guard_db": GUARD_DB,
        "seed": seed,
        "n_clips": len(clips),
    }
    worst = max(row.value for row in rows if row.metric == "quiet_xs_db" and row.method == GUARDED)
    notes = [f"quiet_xs_db of the worst clip, guarded: {worst:.2f} dB"]
    return make_report("Quiet moments", settings, clips, rows, summarise(rows), notes)
