"""Gap filling: gaps cut into recordings that are whole, filled by every method, and compared with what was there."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from masktools.classical import GAP_FILLS
from masktools.errors import ParameterError
from masktools.evaluation.clips import Clip, Clips
from masktools.evaluation.embedders import Embedder
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
from masktools.metrics import level_error_db, lsd_db, seam_crest_db, third_octave_error_db
from masktools.model import Model
from masktools.pipeline import Progress
from masktools.runtime import threads
from masktools.solver import SolverConfig, derive_seed

__all__ = ["INPAINT_METHODS", "InpaintSettings", "evaluate_inpainting"]

UNPROCESSED, MODEL, MODEL_ALONE, CEILING = "unprocessed", "model", "model_alone", "ceiling"
INPAINT_METHODS = (UNPROCESSED, *(name for name in GAP_FILLS if name != "zero"), MODEL, MODEL_ALONE, CEILING)
"""The methods by name: the gap left empty, what one can do without a model, the model as it is used, the model alone
(with its vocoder's texture), and its tokenizer and vocoder given what was in the gap."""

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
        if not self.gaps_s or any(not 0.001 <= gap <= 60 for gap in self.gaps_s):
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
    n_holes = 1 if settings.columns else len(settings.gaps_s)
    meter = Meter(progress, len(clips) * n_holes * len(methods))
    rows: list[Row] = []
    scores = SetScores(embedders, settings.statistics)
    with threads(model.threads):
        for places in batches(clips):
            waves = stacked(clips, places)
            for number, hole in enumerate(_holes(model, waves.shape[1], settings)):
                heard = _heard(hole, clips[places[0]], settings)
                for place in places:
                    scores.add(place, clips[place], SetScores.ORIGINAL, clips[place].wave[heard], hole.case)
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
    figures = (*settings.statistics.summary(rows), *scores.figures())
    about = described("inpaint", model, clips, settings, embedders)
    around = "whole clips" if settings.around_s is None else f"the gap and {settings.around_s:g} s at each side"
    notes = ["All distances are of the gap alone"] + ([f"Embedders hear {around}"] if embedders else [])
    return make_report("Gap filling", about, clips, rows, figures, notes)


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
    if not settings.composite:
        return _decoded(model, waves, hole, method, settings, seed, progress)
    if method == CEILING:
        knowing = Model(TrueTokens(model.pipeline), model.threads)
        return _restored(knowing, waves, hole, settings, seed, False, progress, "model")
    given = empty if settings.leak_free else waves
    texture = "model" if method == MODEL_ALONE else "blend"
    return _restored(model, given, hole, settings, seed, settings.leak_free, progress, texture)


def _restored(
    model: Model,
    waves: np.ndarray,
    hole: _Hole,
    settings: InpaintSettings,
    seed: int,
    leak_free: bool,
    progress: Progress | None,
    texture: str,
) -> np.ndarray:
    result = model.inpaint(
        np.ascontiguousarray(waves.T),
        model.sample_rate,
        [hole.gap],
        seed=seed,
        solver=settings.solver,
        channels="independent",
        texture=texture,
        leak_free=leak_free,
        method="model",
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
    if method == CEILING:
        return pipeline.decode(clean_tokens(pipeline, waves), waves.shape[1]).cpu().numpy()
    mask = GridMask.gaps(pipeline.grid, pipeline.grid.n_columns(waves.shape[1]), [hole.gap]).tensor
    solver = settings.solver or pipeline.decoding.get("inpaint", SolverConfig())
    seeds = [derive_seed(seed, number) for number in range(len(waves))]
    return decode_masked(pipeline, waves, mask, seeds, solver, settings.leak_free, progress)


def _measured(clip: Clip, wave: np.ndarray, hole: _Hole, method: str) -> list[Row]:
    """Return the distances of a filled gap from what was there."""
    rate, gap = clip.sample_rate, hole.gap
    envelope = third_octave_error_db(clip.wave, wave, rate, span_s=gap[:2])
    found = {
        "lsd_db": lsd_db(clip.wave, wave, rate, span_s=gap[:2]),
        "third_octave_db": envelope.rms,
        "bias_db": envelope.bias,
        "level_error_db": level_error_db(clip.wave, wave, rate, gap[:2]),
        "seam_crest_db": max(seam_crest_db(wave, rate, join) for join in gap[:2]),
    }
    if hole.is_short:
        found["snr_db"] = _snr_db(clip.wave[slice(*hole.span)], wave[slice(*hole.span)])
    return [Row.of(clip, method, metric, value, hole.case) for metric, value in found.items()]


def _snr_db(true: np.ndarray, found: np.ndarray) -> float:
    """Return the ratio of signal to noise in dB, within 100 dB; NaN where there is no signal."""
    signal = float(np.sum(true.astype(np.float64) ** 2))
    noise = float(np.sum((found.astype(np.float64) - true) ** 2))
    if signal == 0:
        return float("nan")
    limit = 10 ** (-_MAX_SNR_DB / 10)
    return float(-10 * np.log10(max(noise / signal, limit)))
