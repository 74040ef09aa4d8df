"""Inpainting: gaps cut into intact recordings, filled by every method, and compared with the original.

Every method is compared with a splice: audio from elsewhere inserted without treatment of the seams.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np

from masktools.classical import GAP_FILLS
from masktools.core.errors import ParameterError
from masktools.core.gaps import Gap
from masktools.core.runtime import threads
from masktools.core.settings import AUTO
from masktools.core.settings import GAP_METHODS as METHODS
from masktools.core.settings import MODEL as BY_MODEL
from masktools.core.shapes import Mel, Tokens
from masktools.evaluation.clips import Clip, Clips
from masktools.evaluation.common import (
    Meter,
    TrueTokens,
    batches,
    check_clips,
    chosen_methods,
    clean_tokens,
    decode_masked,
    described,
    make_report,
    small_seeds,
    stacked,
)
from masktools.evaluation.embedders import Embedder
from masktools.evaluation.report import Figure, Report, Row, summarise
from masktools.evaluation.scores import SetScores, Statistics, onset_f
from masktools.mel.spectrogram import gap_mask
from masktools.metrics import (
    chroma_distance,
    envelope_error_db,
    flatness_error_db,
    level_db,
    level_error_db,
    lsd_db,
    seam_crest_db,
    third_octave_error_db,
)
from masktools.model import Model
from masktools.pipeline import Progress
from masktools.pipeline.hub import check_job
from masktools.restoration import inpaint
from masktools.solver import SolverConfig, derive_seed

UNPROCESSED, DEFAULT, MODEL, RECORDING, MODEL_ALONE = "unprocessed", "default", "model", "recording", "model_alone"
TRUE_TOKENS, CEILING = "true_tokens", "ceiling"
RESTORED = {
    DEFAULT: (AUTO, "blend"),
    MODEL: (BY_MODEL, "blend"),
    **{name: (name, "blend") for name in METHODS if name not in (AUTO, BY_MODEL, *GAP_FILLS)},
    RECORDING: (BY_MODEL, "recording"),
    MODEL_ALONE: (BY_MODEL, "model"),
}
"""Method and texture, as arguments of ``Model.inpaint``, of the methods that restore."""

INPAINT_METHODS = (UNPROCESSED, *(name for name in GAP_FILLS if name != "zero"), *RESTORED, TRUE_TOKENS, CEILING)
"""The methods by name: the empty gap; methods without a model; the default; the
model in each texture, and further methods; the original audio of the gap after tokenizer and vocoder;
and the same with its levels matched to the surroundings, as in fills."""

_PAPER_METHODS = (MODEL, CEILING)  # of the model's methods, without composition
_MEANS = ("onset_f", "chroma", "flatness_db")
_NOTES = (
    "All distances are of the gap alone",
    "third_octave_db: of levels in frames of 93 ms, 50 Hz to 10 kHz; flatness_db: noise in place of tones, and the "
    "other way round; onset_f: onsets within 50 ms; chroma: cosine distance; seam_crest_db: of the worse end",
    "lsd_db rewards what is smooth: two noises of one colour are 7.7 dB apart, and a grey wash is nearer to either",
)
_FLOOR_NOTE = "elsewhere: the same recordings at another place, as far from the gap as they allow"
_LONGEST_S = 60.0
_SHORT_S = 0.1  # length of gaps for comparison sample by sample, and for models of samples
_MAX_SNR_DB = 100.0


@dataclass(frozen=True)
class InpaintSettings:
    """Settings of the measurement of gap filling."""

    gaps_s: tuple[float, ...] = (0.372, 1.0, 1.858)  # lengths of the gaps, each in the middle of every clip
    columns: tuple[int, int] | None = None  # of tokens, first and one past the last: one gap there instead
    context_s: float = 1.0  # least known audio at each side
    around_s: float | None = 1.0  # context at each side for embedders; None: the whole clip
    methods: tuple[str, ...] = ()  # all by default
    leak_free: bool = True  # False: known tokens are computed from audio with the gap's content, as in the paper
    composite: bool = True  # False: all of the output is decoded from tokens, as in the paper
    seed: int = 0
    solver: SolverConfig | None = None  # the model's own by default
    statistics: Statistics = field(default_factory=Statistics)

    def __post_init__(self) -> None:
        """Check every range."""
        if not self.gaps_s or any(not 0.001 <= gap <= _LONGEST_S for gap in self.gaps_s):
            raise ParameterError(f"gaps_s must be lengths in [0.001, 60] s, at least one, got {self.gaps_s}")
        if self.columns is not None and not 0 < self.columns[0] < self.columns[1]:
            raise ParameterError(f"columns must be a first one above 0 and one past the last, got {self.columns}")
        for name, value in (("context_s", self.context_s), ("around_s", self.around_s)):
            if value is not None and not 0.1 <= value < np.inf:
                raise ParameterError(f"{name} must be at least 0.1 s, got {value:g} s")
        chosen_methods(self.methods, INPAINT_METHODS)


class _Hole(NamedTuple):
    """A gap in a recording."""

    start: int  # samples
    stop: int
    sample_rate: int

    @property
    def case(self) -> str:
        """Its length as text."""
        return f"{1000 * (self.stop - self.start) / self.sample_rate:.0f} ms"

    @property
    def gap(self) -> Gap:
        """Start and end in seconds."""
        return Gap(self.start / self.sample_rate, self.stop / self.sample_rate)

    @property
    def samples(self) -> slice:
        """Slice of its samples."""
        return slice(self.start, self.stop)

    @property
    def is_short(self) -> bool:
        """Whether it is at most 0.1 s long, so that autoregressive methods can fill it sample by sample."""
        return self.stop - self.start <= round(_SHORT_S * self.sample_rate)


def evaluate_inpainting(
    model: Model,
    clips: Sequence[Clip],
    settings: InpaintSettings = InpaintSettings(),
    embedders: Sequence[Embedder] = (),
    progress: Progress | None = None,
) -> Report:
    """Return the distances of each method's fill from the original, inside the gap.

    Janssen's method, which models single samples, and the signal-to-noise ratio are for gaps of up to 0.1 s.

    Args:
        model: the model.
        clips: clips at the model's rate; those too short for the longest gap are left out.
        settings: settings of the measurement.
        embedders: embedders for the distances between sets.
        progress: called with the pieces of work done and their number.

    Raises:
        ParameterError: no clips, none that is long enough, or clips at another rate; a model that fills no gaps, or one
            over token streams without composition.

    Source: SpecMaskGIT (arXiv:2406.17672), section 4.3 and table 8, for gaps given as columns.
    """
    check_job(model.pipeline, "inpaint")
    check_clips(model, clips, bands=not settings.composite)
    if settings.columns is None:
        clips = _long_enough(clips, max(settings.gaps_s) + 2 * settings.context_s)
    else:
        clips = _long_enough(clips, (settings.columns[1] + 1) * model.pipeline.grid.column_s)
    methods = chosen_methods(settings.methods, INPAINT_METHODS)
    if not settings.composite:
        left_out = {*RESTORED, TRUE_TOKENS} - {*_PAPER_METHODS}
        methods = tuple(method for method in methods if method not in left_out)
    if not model.pipeline.shape.has_bands:
        methods = tuple(method for method in methods if method != CEILING)
    n_holes = 1 if settings.columns else len(settings.gaps_s)
    meter = Meter(progress, len(clips) * n_holes * len(methods))
    rows: list[Row] = []
    scores = SetScores(embedders, settings.statistics)
    with threads(model.threads):
        for places in batches(clips):
            waves = stacked(clips, places)
            for number, hole in enumerate(_holes(model, waves.shape[1], settings)):
                heard = _heard(hole, clips[places[0]], settings)
                other = _elsewhere(heard, hole, waves.shape[1])
                for place in places:
                    scores.add(place, clips[place], SetScores.ORIGINAL, clips[place].wave[heard], hole.case)
                    if other is not None:
                        scores.add(place, clips[place], SetScores.ELSEWHERE, clips[place].wave[other], hole.case)
                for method in methods:
                    if method == "janssen" and not hole.is_short:
                        meter.step(len(places))
                        continue
                    seed = derive_seed(settings.seed, number, places[0])
                    filled = _filled(model, waves, hole, method, settings, seed, meter.within(len(places)))
                    for place, wave in zip(places, filled, strict=True):
                        rows += _measured(clips[place], wave, hole, method)
                        scores.add(place, clips[place], method, wave[heard], hole.case)
                    meter.step(len(places))
    figures = (*settings.statistics.summary(rows, _MEANS), *scores.figures())
    about = described("inpaint", model, clips, settings, embedders)
    around = "whole clips" if settings.around_s is None else f"the gap and {settings.around_s:g} s at each side"
    heard_note = [f"Embedders hear {around}", *scores.notes, _FLOOR_NOTE] if embedders else []
    return make_report("Gap filling", about, clips, rows, figures, [*_NOTES, *heard_note])


def _long_enough(clips: Sequence[Clip], wanted_s: float) -> Clips:
    return Clips.keeping(
        clips,
        "short",
        lambda clip: f"{clip.duration_s:.3g} s, the gap needs {wanted_s:.3g} s" if clip.duration_s < wanted_s else None,
        f"of {wanted_s:.3g} s, which the longest gap needs",
    )


def _holes(model: Model, n_samples: int, settings: InpaintSettings) -> list[_Hole]:
    rate, column = model.sample_rate, model.pipeline.grid.column_samples
    if settings.columns is not None:
        spans = [(settings.columns[0] * column, settings.columns[1] * column)]
    else:
        lengths = [max(1, round(gap_s * rate)) for gap_s in settings.gaps_s]
        spans = [((n_samples - length) // 2, (n_samples - length) // 2 + length) for length in lengths]
    return [_Hole(start, stop, rate) for start, stop in spans]


def _heard(hole: _Hole, clip: Clip, settings: InpaintSettings) -> slice:
    """Return the samples for embedders."""
    if settings.around_s is None:
        return slice(None)
    reach = round(settings.around_s * clip.sample_rate)
    return slice(max(0, hole.start - reach), hole.stop + reach)


def _elsewhere(heard: slice, hole: _Hole, n_samples: int) -> slice | None:
    """Return the samples of an equally long part of a clip without its gap; None where there is no room for one."""
    start, stop, _ = heard.indices(n_samples)
    first, last = slice(0, stop - start), slice(n_samples - (stop - start), n_samples)
    before, after = hole.start - first.stop, last.start - hole.stop
    if max(before, after) < 0:
        return None
    return last if after >= before else first


def _filled(
    model: Model,
    waves: np.ndarray,
    hole: _Hole,
    method: str,
    settings: InpaintSettings,
    seed: int,
    progress: Progress | None,
) -> np.ndarray:
    """Return waves (b, t) with the gap filled by a method."""
    empty = waves.copy()
    empty[:, hole.samples] = 0.0
    if method == UNPROCESSED:
        return empty
    if method in GAP_FILLS:
        fill, each = GAP_FILLS[method], zip(empty, small_seeds(seed, len(empty)), strict=True)
        return np.stack([fill(wave[None], model.sample_rate, [hole.gap], own)[0] for wave, own in each])
    if not settings.composite or method == TRUE_TOKENS:
        return _decoded(model, waves, hole, method, settings, seed, progress)
    if method == CEILING:
        model = Model(TrueTokens(model.pipeline), model.threads)
    leak_free = settings.leak_free and method != CEILING
    how, texture = RESTORED.get(method, (BY_MODEL, "model"))
    result = model.inpaint(
        np.ascontiguousarray((empty if leak_free else waves).T),
        model.sample_rate,
        [hole.gap],
        seed=seed,
        solver=settings.solver,
        channels="independent",
        texture=texture,
        leak_free=leak_free,
        method=how,
        max_gap_s=_LONGEST_S,
        progress=progress,
    )
    return np.ascontiguousarray(result.samples.T)


def _decoded(
    model: Model,
    waves: np.ndarray,
    hole: _Hole,
    method: str,
    settings: InpaintSettings,
    seed: int,
    progress: Progress | None,
) -> np.ndarray:
    """Return waves (b, t) decoded from tokens, without composition."""
    pipeline = model.pipeline
    if method in (TRUE_TOKENS, CEILING):
        return pipeline.decode(clean_tokens(pipeline, waves), waves.shape[1]).cpu().numpy()
    mask = gap_mask(pipeline.grid, pipeline.grid.n_columns(waves.shape[1]), [hole.gap])
    solver = settings.solver or pipeline.decoding.get("inpaint", SolverConfig())
    seeds = [derive_seed(seed, number) for number in range(len(waves))]
    return decode_masked(pipeline, waves, mask, seeds, solver, settings.leak_free, progress)


def _measured(clip: Clip, wave: np.ndarray, hole: _Hole, method: str) -> list[Row]:
    """Return the distances of a filled gap from the original; those that cannot be measured are left out."""
    rate, gap = clip.sample_rate, hole.gap
    span_s = gap[:2]
    found = {
        "third_octave_db": envelope_error_db(clip.wave, wave, rate, span_s),
        "onset_f": onset_f(clip.wave, wave, rate, span_s),
        "chroma": chroma_distance(clip.wave, wave, rate, span_s),
        "flatness_db": flatness_error_db(clip.wave, wave, rate, span_s),
        "lsd_db": lsd_db(clip.wave, wave, rate, span_s=span_s),
        "bias_db": third_octave_error_db(clip.wave, wave, rate, span_s=span_s).bias,
        "level_error_db": level_error_db(clip.wave, wave, rate, span_s),
        "seam_crest_db": max(seam_crest_db(wave, rate, join) for join in span_s),
    }
    if hole.is_short:
        found["snr_db"] = _snr_db(clip.wave[hole.samples], wave[hole.samples])
    return [Row.of(clip, method, metric, value, hole.case) for metric, value in found.items() if np.isfinite(value)]


def _snr_db(true: np.ndarray, found: np.ndarray) -> float:
    """Return the signal-to-noise ratio in dB, within 100 dB; NaN without a signal."""
    signal = float(np.sum(true.astype(np.float64) ** 2))
    noise = float(np.sum((found.astype(np.float64) - true) ** 2))
    if signal == 0:
        return float("nan")
    limit = 10 ** (-_MAX_SNR_DB / 10)
    return float(-10 * np.log10(max(noise / signal, limit)))


HARD_SPLICE, ORACLE = "hard_splice", "oracle"
GAP_METHODS = (HARD_SPLICE, *GAP_FILLS, "model", "auto", CEILING, ORACLE)
"""A splice from elsewhere; the classical methods; the model; by length; the vocoder with the true tokens of the
gap; and the vocoder with its true mel spectrogram, which shows the loss by the composition alone."""

GAPS_S = (0.005, 0.01, 0.02, 0.05, 0.1, 0.186, 0.372, 1.0, 1.858)
SHORT_S = 0.05  # greatest length of gaps that are compared sample by sample
EDGE_S = 0.1  # inside each edge, for levels
CONTEXT_S = 1.0  # least known audio at each side
QUIET_DB = -60.0  # dBFS; gaps in or beside fainter audio are not measured
_TRIES = 50


class TrueMel(TrueTokens):
    """A pipeline whose tokens stand for the exact mel spectrogram that they were made of."""

    def tokenise(self, mel: Mel) -> Tokens:
        """Return the tokens of a mel spectrogram, which the next call of ``to_mel_from`` returns."""
        self._heard = mel
        return super().tokenise(mel)

    def to_mel_from(self, tokens: Tokens) -> Mel:
        """Return the mel spectrogram of the last call of ``tokenise``."""
        return self._heard


def measure_gap_fills(
    clips: Sequence[Clip],
    gap_lengths_s: Sequence[float] = GAPS_S,
    methods: Sequence[str] = (),
    model: Model | None = None,
    *,
    n_positions: int = 3,
    texture: str = "blend",
    seed: int = 0,
    progress: Progress | None = None,
) -> Report:
    """Return measures of filled gaps at the clips' own rate, by method and length of the gap.

    ``seam_crest_db`` is of each seam: the largest residual of a predictor within 1.5 ms of the join over the 99 %
    quantile of its surroundings; ``seam_crest_p90_db`` is its 90 % quantile over all seams. ``level_edge_db`` is the
    level difference from the original in the 100 ms inside an edge, ``level_gap_db`` the same for the whole
    gap, without signs; ``level_step_db`` the level difference of the 100 ms inside and outside an edge. ``snr_db`` is
    for gaps up to 50 ms. ``n_changed`` counts samples outside the gap that differ from the original.

    Args:
        clips: clips of any rate; those that are shorter than the longest gap and two seconds are left out.
        gap_lengths_s: lengths in seconds.
        methods: names in ``GAP_METHODS``; all possible ones by default.
        model: model for ``model``, ``auto``, ``ceiling`` and ``oracle``, which are left out without one.
        n_positions: number of gaps of each length in each clip, at random positions where the clip is not silent.
        texture: texture of the model's fills.
        seed: random seed of the positions, and of the methods.
        progress: called with the gaps and methods done and their number.

    Raises:
        ParameterError: no clip that is long enough, no position that is not silent, a value out of its range, or an
            unknown method.
    """
    if not gap_lengths_s or any(not 0.001 <= length <= 60 for length in gap_lengths_s) or n_positions < 1:
        raise ParameterError(
            f"gap_lengths_s must be lengths in [0.001, 60] s, at least one, and n_positions at least 1, "
            f"got {tuple(gap_lengths_s)} and {n_positions}"
        )
    needing = {"model", "auto", CEILING, ORACLE}
    if model is None and needing & set(methods):
        raise ParameterError(f"{', '.join(sorted(needing & set(methods)))} can only be measured with a model, got none")
    chosen = [name for name in chosen_methods(methods, GAP_METHODS) if model is not None or name not in needing]
    clips = _long_enough(clips, max(gap_lengths_s) + 2 * CONTEXT_S)
    holes = [
        (place, number, hole)
        for place, clip in enumerate(clips)
        for length_s in gap_lengths_s
        for number, hole in enumerate(_drawn_holes(clip, place, length_s, n_positions, seed))
    ]
    if not holes:
        raise ParameterError(f"clips must be louder than {QUIET_DB:g} dBFS somewhere for gaps to be cut into them")
    meter = Meter(progress, len(holes) * len(chosen))
    rows: list[Row] = []
    with threads(None if model is None else model.threads):
        for place, number, hole in holes:
            for method in chosen:
                own_seed = derive_seed(seed, place, number) >> 31
                filled = _filled_natively(model, clips[place], hole, method, texture, own_seed)
                rows += _seam_rows(clips[place], filled, hole, method)
                meter.step()
    settings = {
        "protocol": "seams",
        "model": None if model is None else model.name,
        "gap_lengths_s": list(gap_lengths_s),
        "n_positions": n_positions,
        "n_gaps": len(holes),
        "texture": texture,
        "seed": seed,
    }
    figures = (*summarise(rows), *_quantiles(rows))
    return make_report("Seams and levels of filled gaps", settings, clips, rows, figures)


def _drawn_holes(clip: Clip, place: int, length_s: float, n_positions: int, seed: int) -> list[_Hole]:
    """Return gaps of one length at random positions of a clip where there is sound in and beside them."""
    rate, n = clip.sample_rate, len(clip.wave)
    length, context, edge = max(1, round(length_s * rate)), round(CONTEXT_S * rate), round(EDGE_S * rate)
    rng = np.random.default_rng((seed, place, length))
    holes: list[_Hole] = []
    for _ in range(_TRIES):
        start = int(rng.integers(context, max(context + 1, n - context - length + 1)))
        stop = start + length
        parts = (clip.wave[start - edge : start], clip.wave[start:stop], clip.wave[stop : stop + edge])
        if min(level_db(part, rate) for part in parts) > QUIET_DB:
            holes.append(_Hole(start, stop, rate))
        if len(holes) == n_positions:
            break
    return holes


def _filled_natively(model: Model | None, clip: Clip, hole: _Hole, method: str, texture: str, seed: int) -> np.ndarray:
    """Return the wave (t,) of a clip with a gap filled by a method."""
    filled, length = clip.wave.copy(), hole.stop - hole.start
    if method == HARD_SPLICE:
        far = max(0, min(hole.start - length if hole.start >= length else hole.stop, len(filled) - length))
        filled[hole.samples] = clip.wave[far : far + length]
        return filled
    pipeline = None if model is None else model.pipeline
    options: dict[str, Any] = {"texture": "model", "leak_free": False}
    if pipeline is not None and method in (CEILING, ORACLE):
        pipeline = TrueTokens(pipeline) if method == CEILING else TrueMel(pipeline)
    else:
        filled[hole.samples] = np.nan
        solver = SolverConfig() if pipeline is None else pipeline.decoding.get("inpaint", SolverConfig())
        options = {"texture": texture, "method": method, "solver": solver}
    return inpaint(pipeline, filled[None], clip.sample_rate, [hole.gap], seed=seed, **options).samples[0]


def _seam_rows(clip: Clip, filled: np.ndarray, hole: _Hole, method: str) -> list[Row]:
    """Return the measures of one filled gap, with separate rows for its seams and edges."""
    true, rate = clip.wave, clip.sample_rate
    start_s, end_s = hole.gap[:2]
    edge_s = min(EDGE_S, end_s - start_s)
    inside = ((start_s, start_s + edge_s), (end_s - edge_s, end_s))
    outside = ((start_s - EDGE_S, start_s), (end_s, min(clip.duration_s, end_s + EDGE_S)))
    found = [("seam_crest_db", seam_crest_db(filled, rate, join_s)) for join_s in (start_s, end_s)]
    found += [("level_edge_db", abs(level_error_db(true, filled, rate, edge))) for edge in inside]
    found += [
        ("level_step_db", abs(level_db(filled, rate, within) - level_db(filled, rate, without)))
        for within, without in zip(inside, outside, strict=True)
    ]
    found.append(("level_gap_db", abs(level_error_db(true, filled, rate, (start_s, end_s)))))
    found.append(("lsd_db", lsd_db(true, filled, rate, span_s=(start_s, end_s))))
    if hole.stop - hole.start <= SHORT_S * rate + 1:
        found.append(("snr_db", _snr_db(true[hole.samples], filled[hole.samples])))
    changed = true != filled
    changed[hole.samples] = False
    found.append(("n_changed", float(changed.sum())))
    named = replace(clip, name=f"{clip.name} at {start_s:.3f} s")
    return [Row.of(named, method, metric, value, hole.case) for metric, value in found]


def _quantiles(rows: Sequence[Row]) -> list[Figure]:
    """Return the 90 % quantile of the crests of all seams, for each method and length."""
    crests: dict[tuple[str, str], list[float]] = {}
    for row in rows:
        if row.metric == "seam_crest_db":
            crests.setdefault((row.method, row.case), []).append(row.value)
    quantiles = {key: float(np.quantile(values, 0.9)) for key, values in crests.items()}
    return [
        Figure("all seams", method, "seam_crest_p90_db", value, None, None, len(crests[method, case]), case=case)
        for (method, case), value in quantiles.items()
    ]
