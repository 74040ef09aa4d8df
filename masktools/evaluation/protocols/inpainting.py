"""Gap filling: gaps cut into recordings that are whole, filled by every method, and compared with what was there."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from masktools.classical import GAP_FILLS
from masktools.errors import ParameterError
from masktools.evaluation.clips import Clip, Clips
from masktools.evaluation.embedders import Embedder
from masktools.evaluation.onsets import onset_f
from masktools.evaluation.protocols.common import (
    Meter,
    batches,
    check_clips,
    chosen_methods,
    described,
    make_report,
    small_seeds,
    stacked,
)
from masktools.evaluation.protocols.tokens import TrueTokens, clean_tokens, decode_masked
from masktools.evaluation.report import Report, Row
from masktools.evaluation.scores import SetScores, Statistics
from masktools.gaps import Gap
from masktools.grid import GridMask
from masktools.metrics import (
    chroma_distance,
    envelope_error_db,
    flatness_error_db,
    level_error_db,
    lsd_db,
    seam_crest_db,
    third_octave_error_db,
)
from masktools.model import Model
from masktools.pipeline import Progress
from masktools.restoration.gap_plan import AUTO, METHODS
from masktools.restoration.gap_plan import MODEL as BY_MODEL
from masktools.runtime import threads
from masktools.solver import SolverConfig, derive_seed

__all__ = ["INPAINT_METHODS", "InpaintSettings", "evaluate_inpainting"]

UNPROCESSED, DEFAULT, MODEL, RECORDING, MODEL_ALONE = "unprocessed", "default", "model", "recording", "model_alone"
TRUE_TOKENS, CEILING = "true_tokens", "ceiling"
RESTORED = {
    DEFAULT: (AUTO, "blend"),
    MODEL: (BY_MODEL, "blend"),
    **{name: (name, "blend") for name in METHODS if name not in (AUTO, BY_MODEL, *GAP_FILLS)},
    RECORDING: (BY_MODEL, "recording"),
    MODEL_ALONE: (BY_MODEL, "model"),
}
"""Method and texture, as ``Model.inpaint`` takes them, of the methods that restore."""

INPAINT_METHODS = (UNPROCESSED, *(name for name in GAP_FILLS if name != "zero"), *RESTORED, TRUE_TOKENS, CEILING)
"""The methods by name: the gap left empty; what one can do without a model; what is done where nothing is said; the
model in each texture, and whatever other methods there are; what was in the gap, as the tokenizer and the vocoder give
it back; and that with its levels matched to the surroundings, as fills are."""

_PAPER_METHODS = (MODEL, CEILING)  # of those of the model, where nothing is put back
_MEANS = ("onset_f", "chroma", "flatness_db")
_NOTES = (
    "All distances are of the gap alone",
    "third_octave_db: of levels in frames of 93 ms, 50 Hz to 10 kHz; flatness_db: noise in place of tones, and the "
    "other way round; onset_f: onsets within 50 ms; chroma: cosine distance; seam_crest_db: of the worse end",
    "lsd_db rewards what is smooth: two noises of one colour are 7.7 dB apart, and a grey wash is nearer to either",
)
_FLOOR_NOTE = "elsewhere: the same recordings at another place, as far from the gap as they allow"
_LONGEST_S = 60.0
_SHORT_S = 0.1  # gaps in which samples can be compared one by one, and that a model of the samples can fill
_MAX_SNR_DB = 100.0


@dataclass(frozen=True)
class InpaintSettings:
    """Settings of the measurement of gap filling."""

    gaps_s: tuple[float, ...] = (0.372, 1.0, 1.858)  # lengths of the gaps, each in the middle of every clip
    columns: tuple[int, int] | None = None  # of tokens, first and one past the last: one gap there instead
    context_s: float = 1.0  # known audio that there must be at each side
    around_s: float | None = 1.0  # of the known audio at each side that embedders hear; None: the whole clip
    methods: tuple[str, ...] = ()  # all where none is named
    leak_free: bool = True  # False: known tokens are computed from audio with what is in the gap, as in the paper
    composite: bool = True  # False: the decoder's version of everything, as in the paper
    seed: int = 0
    solver: SolverConfig | None = None  # the model's own where there is none
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


@dataclass(frozen=True)
class _Hole:
    """A gap that is cut into clips of one length."""

    case: str
    gap: Gap  # seconds
    span: tuple[int, int]  # samples
    is_short: bool


def evaluate_inpainting(
    model: Model,
    clips: Sequence[Clip],
    settings: InpaintSettings = InpaintSettings(),
    embedders: Sequence[Embedder] = (),
    progress: Progress | None = None,
) -> Report:
    """Return how close each method of filling a gap comes to what was there, in the gap alone.

    Janssen's method, which models the samples one by one, and the ratio of signal to noise are for gaps of up to 0.1 s.

    Args:
        model: the model.
        clips: at the model's rate; those too short for the longest gap are left out.
        settings: of the measurement.
        embedders: what the distances between sets are computed with.
        progress: called with the pieces of work done and their number.

    Raises:
        ParameterError: no clips, none that is long enough, or clips at another rate.

    Source: SpecMaskGIT (arXiv:2406.17672), section 4.3 and table 8, for gaps given as columns.
    """
    check_clips(model, clips)
    clips = _long_enough(model, clips, settings)
    methods = chosen_methods(settings.methods, INPAINT_METHODS)
    if not settings.composite:
        left_out = {*RESTORED, TRUE_TOKENS} - {*_PAPER_METHODS}
        methods = tuple(method for method in methods if method not in left_out)
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


def _long_enough(model: Model, clips: Sequence[Clip], settings: InpaintSettings) -> Clips:
    if settings.columns is None:
        wanted_s = max(settings.gaps_s) + 2 * settings.context_s
    else:
        wanted_s = (settings.columns[1] + 1) * model.pipeline.grid.column_s
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
    return [
        _Hole(
            f"{1000 * (stop - start) / rate:.0f} ms",
            Gap(start / rate, stop / rate),
            (start, stop),
            is_short=stop - start <= round(_SHORT_S * rate),
        )
        for start, stop in spans
    ]


def _heard(hole: _Hole, clip: Clip, settings: InpaintSettings) -> slice:
    """Return the samples that embedders hear."""
    if settings.around_s is None:
        return slice(None)
    reach = round(settings.around_s * clip.sample_rate)
    return slice(max(0, hole.span[0] - reach), hole.span[1] + reach)


def _elsewhere(heard: slice, hole: _Hole, n_samples: int) -> slice | None:
    """Return the samples of an equally long part of a clip without its gap; None where there is no room for one."""
    start, stop, _ = heard.indices(n_samples)
    first, last = slice(0, stop - start), slice(n_samples - (stop - start), n_samples)
    before, after = hole.span[0] - first.stop, last.start - hole.span[1]
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
    empty[:, slice(*hole.span)] = 0.0
    if method == UNPROCESSED:
        return empty
    if method in GAP_FILLS:
        fill, seeds = GAP_FILLS[method], small_seeds(seed, len(empty))
        filled = [
            fill(wave[None], model.sample_rate, [hole.gap], own)[0] for wave, own in zip(empty, seeds, strict=True)
        ]
        return np.stack(filled)
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
    """Return what the decoder makes of waves (b, t), nothing of which is put back."""
    pipeline = model.pipeline
    if method in (TRUE_TOKENS, CEILING):
        return pipeline.decode(clean_tokens(pipeline, waves), waves.shape[1]).cpu().numpy()
    mask = GridMask.gaps(pipeline.grid, pipeline.grid.n_columns(waves.shape[1]), [hole.gap]).tensor
    solver = settings.solver or pipeline.decoding.get("inpaint", SolverConfig())
    seeds = [derive_seed(seed, number) for number in range(len(waves))]
    return decode_masked(pipeline, waves, mask, seeds, solver, settings.leak_free, progress)


def _measured(clip: Clip, wave: np.ndarray, hole: _Hole, method: str) -> list[Row]:
    """Return the distances of a filled gap from what was there; what cannot be measured in it is left out."""
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
        found["snr_db"] = _snr_db(clip.wave[slice(*hole.span)], wave[slice(*hole.span)])
    return [Row.of(clip, method, metric, value, hole.case) for metric, value in found.items() if np.isfinite(value)]


def _snr_db(true: np.ndarray, found: np.ndarray) -> float:
    """Return the ratio of signal to noise in dB, within 100 dB; NaN where there is no signal."""
    signal = float(np.sum(true.astype(np.float64) ** 2))
    noise = float(np.sum((found.astype(np.float64) - true) ** 2))
    if signal == 0:
        return float("nan")
    limit = 10 ** (-_MAX_SNR_DB / 10)
    return float(-10 * np.log10(max(noise / signal, limit)))
