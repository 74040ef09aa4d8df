"""The protocols by name, and sweeps over decoding settings: the same measurement at many points, in one table.

Finished points are kept, so that a sweep that was killed can be resumed, and one with more values computes
only the new points.
"""

import hashlib
import itertools
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, cast

import numpy as np

from masktools.core.arguments import check_least, checked_name
from masktools.core.configs import parse_json, to_dict, to_plain
from masktools.core.errors import ParameterError
from masktools.evaluation.bandwidth import BANDWIDTH_METHODS, BandwidthSettings, evaluate_bandwidth
from masktools.evaluation.clips import Clip, left_out_of
from masktools.evaluation.common import described, part_digests
from masktools.evaluation.embedders import Embedder, Scorer
from masktools.evaluation.generation import GENERATION_METHODS, GenerationSettings, evaluate_generation
from masktools.evaluation.inpainting import INPAINT_METHODS, InpaintSettings, evaluate_inpainting
from masktools.evaluation.notes import NoteSettings, evaluate_notes
from masktools.evaluation.reconstruction import TokenizerSettings, VocoderSettings, evaluate_tokenizer, evaluate_vocoder
from masktools.evaluation.report import Figure, Report
from masktools.evaluation.scores import Statistics
from masktools.evaluation.transformer import (
    ConditioningSettings,
    TransformerSettings,
    evaluate_conditioning,
    evaluate_transformer,
)
from masktools.io import replacing
from masktools.mel.spectrogram import TokenGrid
from masktools.model import Model
from masktools.pipeline import Pipeline, Progress
from masktools.solver import PRESETS as SOLVERS
from masktools.solver import Plan, SolverConfig, SolveResult, derive_seed, plan_value, preset


@dataclass(frozen=True)
class Protocol:
    """A measurement of a model."""

    evaluate: Callable[..., Report]  # function of (model, clips, settings, embedders, progress)
    settings: type[Any]  # a dataclass
    job: str | None = None  # job of the model, for its decoding settings
    reads_training: bool = False  # whether it takes training recordings, as ``training``
    of_notes: bool = False  # whether its clips are single notes in NSynth's format


PROTOCOLS: Mapping[str, Protocol] = {
    "tokenizer": Protocol(evaluate_tokenizer, TokenizerSettings),
    "transformer": Protocol(evaluate_transformer, TransformerSettings),
    "vocoder": Protocol(evaluate_vocoder, VocoderSettings),
    "inpaint": Protocol(evaluate_inpainting, InpaintSettings, "inpaint"),
    "bwe": Protocol(evaluate_bandwidth, BandwidthSettings, "bwe"),
    "generate": Protocol(evaluate_generation, GenerationSettings, "generate", reads_training=True),
    "conditioning": Protocol(evaluate_conditioning, ConditioningSettings),
    "notes": Protocol(evaluate_notes, NoteSettings, "generate", of_notes=True),
}
"""The protocols by name."""


@dataclass(frozen=True)
class Preset:
    """A protocol of the paper: its name here, and its settings for a model's grid of tokens."""

    protocol: str
    settings: Callable[[TokenGrid], Any]
    seconds: float = 10.0  # length of the clips


_PAPER = SOLVERS["paper"]  # 16 steps, cosine, temperature 1.5, guidance 3.0 rising linearly
_PUBLISHED = Statistics(n_components=0)
_COLUMNS = (25, 35)


def _inpaint(paper_like: bool) -> InpaintSettings:
    return InpaintSettings(
        columns=_COLUMNS,
        around_s=None,
        leak_free=not paper_like,
        composite=not paper_like,
        solver=_PAPER,
        statistics=_PUBLISHED,
    )


def _bandwidth(grid: TokenGrid, paper_like: bool) -> BandwidthSettings:
    return BandwidthSettings(
        cutoffs_hz=(grid.row_edges_hz[-2],),
        min_bandwidth_hz=0.0 if paper_like else BandwidthSettings().min_bandwidth_hz,  # the paper takes all clips
        leak_free=not paper_like,
        solver=_PAPER,
        statistics=_PUBLISHED,
    )


PRESETS: Mapping[str, Preset] = MappingProxyType(
    {
        "table3": Preset("tokenizer", lambda grid: TokenizerSettings(_PUBLISHED)),
        "audiocaps": Preset("generate", lambda grid: GenerationSettings(solver=_PAPER, statistics=_PUBLISHED)),
        "table8_inpaint_paper_like": Preset("inpaint", lambda grid: _inpaint(paper_like=True)),
        "table8_inpaint_leak_free": Preset("inpaint", lambda grid: _inpaint(paper_like=False)),
        "table8_bwe_paper_like": Preset("bwe", lambda grid: _bandwidth(grid, paper_like=True)),
        "table8_bwe_leak_free": Preset("bwe", lambda grid: _bandwidth(grid, paper_like=False)),
    }
)
"""The protocols of SpecMaskGIT (arXiv:2406.17672) by name: rFAD of table 3; tables 1, 2, 5, 6 and 7, and sections 4.2
and 5.1; table 8, time inpaint and BWE with and without LFR, section 4.2.

Figures are comparable with FAD by VGGish on the AudioCaps test split, one clip for each caption. Paper-like, known
tokens are computed from audio that contains the answer, and the whole clip is decoded from tokens; leak-free, the
answer is erased before tokens are computed, and known audio is kept.

The paper's "25th to 35th Mel-spec frames (around 1.9 s)" are columns of tokens: ten of them last 1.86 s, ten frames
0.12 s. Its "top 16 Mel-spec bins, beyond 4.3 kHz" are the top row of tokens, whose lower edge depends on the model.
Both run without a condition.
"""


def preset_settings(name: str, grid: TokenGrid) -> tuple[str, Any]:
    """Return the protocol of a preset and its settings for a model's grid of tokens.

    Raises:
        ParameterError: there is no such preset; the message lists them.
    """
    checked_name("preset", name, PRESETS)
    return PRESETS[name].protocol, PRESETS[name].settings(grid)


MODEL_AXIS = "model"
"""Name of the axis of different bundles; all others but the next one are settings of the solver."""

PRESET_AXIS = "preset"
"""Name of the axis of presets, which the other axes modify."""

Axes = Mapping[str, Sequence[Any]]


@dataclass(frozen=True)
class Point:
    """One setting of all axes of a sweep."""

    values: tuple[tuple[str, Any], ...]  # axis and value, in the order of the axes

    @property
    def name(self) -> str:
        """The point as text.

        >>> Point((("n_steps", 8), ("temperature", 1.5))).name
        'n_steps=8, temperature=1.5'
        """
        return ", ".join(f"{axis}={_shown(value)}" for axis, value in self.values)

    def solver(self, base: Plan) -> Plan:
        """Return the settings of the solver at this point, for all stages or each of them."""
        if isinstance(base, tuple):
            return tuple(cast(SolverConfig, self._of(stage).solver(config)) for stage, config in enumerate(base))
        named = self.get(PRESET_AXIS)
        start = base if named is None else preset(named, base)
        return replace(start, **{axis: value for axis, value in self.values if axis not in (MODEL_AXIS, PRESET_AXIS)})

    def _of(self, stage: int) -> "Point":
        """Return the point for one stage."""
        each = ((axis, value[stage] if isinstance(value, _Each) else value) for axis, value in self.values)
        return Point(tuple(each))

    def get(self, axis: str) -> Any:
        """Return the value on an axis; None if the sweep lacks it."""
        return dict(self.values).get(axis)


class _Each(tuple[Any, ...]):
    """A value for each stage, if stages differ."""


def _value_at(base: Plan, axis: str) -> Any:
    """Return the value of settings on an axis."""
    value = plan_value(base, axis)
    several = isinstance(base, tuple) and any(getattr(config, axis) != value for config in base)
    return _Each(value) if several else value


def _shown(value: Any) -> str:
    if isinstance(value, _Each):
        return "/".join(map(_shown, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def points_of(axes: Axes, base: Plan, grid: bool = False, first_model: str = "") -> tuple[Point, ...]:
    """Return the points of a sweep: all combinations of a grid, or the base and each axis by itself.

    In a grid the other axes override a preset; by itself a preset sets them.

    Args:
        axes: name of a setting of the solver, "preset" or "model" -> values.
        base: values of the other axes while one is varied.
        grid: whether to take all combinations.
        first_model: the model for which the other axes are varied.

    Raises:
        ParameterError: no axis, an unknown one, one without values or with equal ones, or a value out of its range.
    """
    known = (*(one.name for one in fields(SolverConfig)), MODEL_AXIS, PRESET_AXIS)
    for axis, values in axes.items():
        checked_name("axis", axis, known)
        if not values or len(set(values)) < len(values):
            raise ParameterError(f"the axis {axis} must have different values, at least one, got {list(values)}")
    if not axes:
        raise ParameterError("a sweep must have at least one axis, such as n_steps")
    standing = {MODEL_AXIS: first_model, PRESET_AXIS: "exact"}
    start = {axis: standing[axis] if axis in standing else _value_at(base, axis) for axis in axes}
    if grid:
        chosen = [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())]
    else:
        chosen = [start, *(_moved(start, axis, value, base) for axis, values in axes.items() for value in values)]
    points = tuple(dict.fromkeys(Point(tuple(one.items())) for one in chosen))
    for point in points:
        point.solver(base)  # raises for values out of their range before anything is computed
    return points


def _moved(start: Mapping[str, Any], axis: str, value: Any, base: Plan) -> dict[str, Any]:
    """Return the start with another value on one axis; with another preset, the other axes have its values."""
    others = start
    if axis == PRESET_AXIS and value != start[axis]:
        named = Point(((PRESET_AXIS, value),)).solver(base)
        others = {one: at if one in (MODEL_AXIS, PRESET_AXIS) else _value_at(named, one) for one, at in start.items()}
    return {**others, axis: value}


class Notebook:
    """A JSON-lines file of finished points, rewritten with each line, so that a kill leaves no partial line."""

    def __init__(self, path: str | os.PathLike[str], keys: Sequence[str]) -> None:
        """Read the existing points.

        Args:
            path: the file; it need not exist yet.
            keys: fingerprints of all settings that lines must have been made with, to be used.

        Raises:
            ParameterError: the file is invalid, or was made with other settings.
        """
        self.path = Path(os.path.realpath(path))
        self._lines: list[dict[str, Any]] = []
        if self.path.exists():
            try:
                self._lines = [parse_json(line) for line in self.path.read_text(encoding="utf-8").splitlines()]
                own = all(line["key"] in keys for line in self._lines)
            except (ValueError, KeyError, TypeError) as error:
                raise ParameterError(f"{path} must be a file of finished points, as a sweep writes it") from error
            if not own:
                raise ParameterError(
                    f"{path} holds points of another sweep (other recordings, settings, embedders or weights): "
                    "give another file, or delete it"
                )

    def __len__(self) -> int:
        return len(self._lines)

    def find(self, key: str, name: str) -> tuple[Figure, ...] | None:
        """Return the figures of a point by its name; None if it is not finished."""
        for line in self._lines:
            if (line["key"], line["point"]) == (key, name):
                return tuple(Figure(**figure) for figure in line["figures"])
        return None

    def add(self, key: str, name: str, figures: Sequence[Figure]) -> None:
        """Store the figures of a finished point."""
        self._lines.append({"key": key, "point": name, "figures": [asdict(figure) for figure in figures]})
        with replacing(self.path) as part:
            part.write_text("".join(f"{json.dumps(line)}\n" for line in self._lines), encoding="utf-8")


def over_repeats(repeats: Sequence[Sequence[Figure]]) -> tuple[Figure, ...]:
    """Return the figures of one measurement, or the means over several, with their 95 % intervals.

    The interval is Student's, over the seeds: the clips are the same each time, so that it shows which differences of
    settings are significant on these clips. Figures that some measurements lack are left out.
    """
    if len(repeats) == 1:
        return tuple(repeats[0])
    from scipy.stats import t

    known = [{_figure_key(figure): figure for figure in figures} for figures in repeats]
    means = []
    for key, figure in known[0].items():
        if all(key in one for one in known):
            values = np.array([one[key].value for one in known], np.float64)
            half = float(t.ppf(0.975, len(values) - 1)) * values.std(ddof=1) / np.sqrt(len(values))
            mean = float(values.mean())
            means.append(replace(figure, value=mean, low=mean - float(half), high=mean + float(half)))
    return tuple(means)


def _figure_key(figure: Figure) -> tuple[str | None, ...]:
    return figure.group, figure.method, figure.metric, figure.embedder, figure.case


COST = "forwards"
"""The measure of cost: full forward passes of the transformer per decoded window, guidance passes counted singly."""


@dataclass
class Spending:
    """Cost of decodings so far."""

    n_windows: int = 0
    forwards: float = field(default=0.0)

    def __call__(self, result: SolveResult) -> None:
        """Add a decoding."""
        self.n_windows += len(result.tokens)
        self.forwards += result.work * len(result.tokens)

    def figures(self, method: str) -> tuple[Figure, ...]:
        """Return the mean cost of a window; empty without decodings."""
        if not self.n_windows:
            return ()
        each = self.forwards / self.n_windows
        return (Figure("cost", method, COST, each, None, None, self.n_windows, statistic="mean"),)


@contextmanager
def counting(pipeline: Pipeline) -> Iterator[Spending]:
    """Count the decodings inside the block."""
    spending, before = Spending(), pipeline.on_solved
    pipeline.on_solved = spending
    try:
        yield spending
    finally:
        pipeline.on_solved = before


REFERENCE = "reference"


@dataclass(frozen=True)
class Swept:
    """A protocol that can be swept, with the methods that depend on the decoding, and those that are measured once."""

    settings: type[Any]
    evaluate: Callable[..., Report]
    moving: tuple[str, ...]
    methods: tuple[str, ...]

    @property
    def standing(self) -> tuple[str, ...]:
        """The methods that are the same at all points; unprompted samples are no reference."""
        return tuple(method for method in self.methods if method not in (*self.moving, "unconditional"))


SWEPT: Mapping[str, Swept] = MappingProxyType(
    {
        "generate": Swept(GenerationSettings, evaluate_generation, ("model",), GENERATION_METHODS),
        "inpaint": Swept(InpaintSettings, evaluate_inpainting, ("model",), INPAINT_METHODS),
        "bwe": Swept(BandwidthSettings, evaluate_bandwidth, ("model", "model_no_lfr"), BANDWIDTH_METHODS),
    }
)
"""The protocols that can be swept, by name."""


@dataclass(frozen=True)
class Sweep:
    """A sweep: a protocol with its settings, and the values on each axis."""

    protocol: str
    settings: Any  # of the protocol; its solver is the base, by default the model's own
    axes: Axes  # settings of the solver, or "model"
    grid: bool = False  # all combinations; otherwise each axis by itself, the others at the base
    references: bool = True  # whether to measure methods that do not depend on the decoding, once
    repeats: int = 1  # repetitions with other seeds; from two on, intervals are over the seeds

    def __post_init__(self) -> None:
        """Check that protocol and settings fit each other, and that the axes are valid."""
        check_least(1, repeats=self.repeats)
        checked_name("protocol", self.protocol, SWEPT)
        if not isinstance(self.settings, SWEPT[self.protocol].settings):
            wanted, got = SWEPT[self.protocol].settings.__name__, type(self.settings).__name__
            raise ParameterError(f"the settings of {self.protocol} must be {wanted}, got {got}")
        points_of(self.axes, self.settings.solver or SolverConfig(), self.grid)


@dataclass(frozen=True)
class SweepResult:
    """The table of a sweep, and the figures of each point and of the references."""

    report: Report
    points: tuple[tuple[Point, tuple[Figure, ...]], ...]
    references: tuple[Figure, ...]


def run_sweep(
    models: Mapping[str, Model],
    clips: Sequence[Clip],
    sweep: Sweep,
    embedders: Sequence[Embedder] = (),
    path: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
    *,
    training: Sequence[Clip] = (),
) -> SweepResult:
    """Run a protocol at each point of a sweep.

    Args:
        models: models by their values on the axis "model"; the first is the base.
        clips: clips at the models' rate.
        sweep: protocol, settings and axes.
        embedders: embedders for the distances between sets.
        path: JSON lines of finished points, which are reused; new ones are added.
        progress: called with the points done and their number.
        training: training recordings, or others, for the evaluation of generation.

    Raises:
        ParameterError: no model, an invalid axis or value, or a file of another sweep; and errors of the
            protocol.
    """
    if not models:
        raise ParameterError("a sweep needs at least one model, got none")
    swept, first = SWEPT[sweep.protocol], next(iter(models))
    base = sweep.settings.solver or models[first].pipeline.decoding.get(sweep.protocol, SolverConfig())
    points = points_of(sweep.axes, base, sweep.grid, first)
    for point in points:
        checked_name("model", str(point.get(MODEL_AXIS) or first), models)
    hearing = [_Remembering(embedder) for embedder in embedders]
    common = _fingerprint(sweep, clips, embedders, training)
    keys = {name: _key_of(common | _model_fingerprint(model)) for name, model in models.items()}
    notebook = None if path is None else Notebook(path, list(keys.values()))
    jobs = [(first, REFERENCE, base, swept.standing)] if sweep.references else []
    jobs += [(str(point.get(MODEL_AXIS) or first), point.name, point.solver(base), swept.moving) for point in points]
    turns = [(job, repeat) for job in jobs for repeat in range(1 if job[1] == REFERENCE else sweep.repeats)]
    drawn: dict[str, list[tuple[Figure, ...]]] = {}
    for done, ((model, name, solver, methods), repeat) in enumerate(turns):
        key = keys[model]
        told = to_plain(solver)
        settled = told if isinstance(told, dict) else {"stages": told}
        note = f"{name} @ {_key_of(settled)}" + (f" # {repeat}" if repeat else "")
        figures = None if notebook is None else notebook.find(key, note)
        if figures is None:
            seed = derive_seed(sweep.settings.seed, repeat) if repeat else sweep.settings.seed
            settings = replace(sweep.settings, solver=solver, methods=methods, seed=seed)
            more = {"training": training} if sweep.protocol == "generate" else {}
            with counting(models[model].pipeline) as spending:
                figures = swept.evaluate(models[model], clips, settings, hearing, **more).figures
            if name != REFERENCE:
                figures = (*figures, *spending.figures(swept.moving[0]))
            if notebook is not None:
                notebook.add(key, note, figures)
        drawn.setdefault(name, []).append(figures)
        if progress is not None:
            progress(done + 1, len(turns))
    found = {name: over_repeats(each) for name, each in drawn.items()}
    references = found.pop(REFERENCE, ())
    measured = tuple((point, found[point.name]) for point in points)
    about = described(sweep.protocol, models[first], clips, replace(sweep.settings, solver=base), embedders) | {
        "axes": {axis: list(values) for axis, values in sweep.axes.items()},
        "points": len(points),
        "repeats": sweep.repeats,
        "models": list(models),
    }
    table = (*references, *(named for point, figures in measured for named in _named(point, figures, swept)))
    how = "all combinations" if sweep.grid else "each axis by itself"
    notes = ("forwards: full forwards of the transformer per decoded window",)
    if sweep.repeats > 1:
        notes = (*notes, f"Means over {sweep.repeats} seeds; intervals are of these means, not of the clips")
    report = Report(f"Sweep of {sweep.protocol}: {how}", about, _in_order(table), (), left_out_of(clips), notes)
    return SweepResult(report, measured, tuple(references))


def _named(point: Point, figures: Sequence[Figure], swept: Swept) -> list[Figure]:
    """Return the figures of a point under its name; that of chance is among the references."""
    return [
        replace(figure, method=point.name if figure.method == swept.moving[0] else f"{point.name}, {figure.method}")
        for figure in figures
        if figure.method in swept.moving
    ]


def _in_order(figures: Sequence[Figure]) -> tuple[Figure, ...]:
    """Return figures with those of a group and a case together."""
    places = {place: number for number, place in enumerate(dict.fromkeys((one.group, one.case) for one in figures))}
    return tuple(sorted(figures, key=lambda one: places[one.group, one.case]))


def _fingerprint(
    sweep: Sweep, clips: Sequence[Clip], embedders: Sequence[Embedder], training: Sequence[Clip]
) -> dict[str, Any]:
    """Return all that the figures of a point depend on besides the point and the model."""
    return {
        "protocol": sweep.protocol,
        "settings": to_dict(replace(sweep.settings, solver=None, methods=())),
        "embedders": [embedder.name for embedder in embedders],
        "clips": [_digest(clip) for clip in clips],
        "training": [_digest(clip) for clip in training],
    }


def _digest(clip: Clip) -> str:
    digest = hashlib.sha256(clip.wave.tobytes())
    digest.update(json.dumps([clip.name, clip.group, clip.labels, clip.caption, clip.bandwidth_hz]).encode())
    return digest.hexdigest()[:16]


def _model_fingerprint(model: Model) -> dict[str, Any]:
    pipeline = model.pipeline
    told = {"weights": part_digests(pipeline), "mel": to_dict(pipeline.mel)}
    return told | {"precision": str(pipeline.precision)}


def _key_of(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


class _Remembering:
    """An embedder with a cache, since the real recordings are the same at all points."""

    def __init__(self, embedder: Embedder) -> None:
        self.embedder, self.name, self.dim = embedder, embedder.name, embedder.dim
        self._known: dict[bytes, np.ndarray] = {}
        if isinstance(embedder, Scorer):
            self.embed_text = embedder.embed_text

    def embed(self, wave: np.ndarray, sample_rate: int) -> np.ndarray:
        key = hashlib.sha256(np.ascontiguousarray(wave).tobytes() + str(sample_rate).encode()).digest()
        if key not in self._known:
            self._known[key] = self.embedder.embed(wave, sample_rate)
        return self._known[key]
