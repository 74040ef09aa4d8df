"""How long whole jobs take, by batch, steps, precision and threads, beside what their arithmetic allows."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from types import MappingProxyType
from typing import Any

import numpy as np
import torch

from masktools.benchmark.flops import Costs, model_costs
from masktools.benchmark.machine import interleaved
from masktools.benchmark.measurements import Measurement, Value, ratio_to, spread_of
from masktools.benchmark.models import random_condition, synthetic_clip
from masktools.benchmark.roofline import Ceilings, floor_figures, part_precision, precision_name
from masktools.errors import ParameterError, unknown_name
from masktools.model import Model
from masktools.pipeline import Pipeline, Progress, share_of
from masktools.solver import SolveResult

__all__ = ["BATCHED", "JOBS", "JobSettings", "Variant", "measure_jobs", "prepared"]

_GAP_S = 1.0
_CUTOFF_HZ = 4000.0
BATCHED = ("generate", "embed")  # the others take one recording


@dataclass(frozen=True)
class Variant:
    """One way to do a job."""

    precision: str = "auto"
    batch: int = 1
    steps: int | None = None  # None: the model's own, or the preset's
    threads: int | None = None
    preset: str | None = None


@dataclass(frozen=True)
class JobSettings:
    """Which jobs, with which values of each axis; the first ones together are the variant to compare with."""

    jobs: tuple[str, ...] = ("generate", "inpaint", "bwe", "embed")
    precisions: tuple[str, ...] = ("auto",)
    batches: tuple[int, ...] = (1,)
    steps: tuple[int | None, ...] = (None,)
    threads: tuple[int | None, ...] = (None,)
    presets: tuple[str | None, ...] = (None,)
    grid: bool = False  # all combinations instead of one axis at a time
    repeats: int = 5
    seed: int = 0

    def __post_init__(self) -> None:
        """Check that every axis has a value, and every job is known."""
        for name in ("jobs", "precisions", "batches", "steps", "threads", "presets"):
            if not getattr(self, name):
                raise ParameterError(f"{name} must have at least one value, got none")
        for job in self.jobs:
            if job not in JOBS:
                raise unknown_name("job", job, JOBS)

    def variants(self, job: str) -> tuple[Variant, ...]:
        """Return the ways to do a job, the one to compare with first; axes that it does not have keep one value."""
        axes: dict[str, Sequence[Any]] = {
            "precision": self.precisions,
            "batch": self.batches if job in BATCHED else (1,),
            "steps": (None,) if job == "embed" else self.steps,
            "threads": self.threads,
            "preset": (None,) if job == "embed" else self.presets,
        }
        first = Variant(**{axis: values[0] for axis, values in axes.items()})
        if self.grid:
            found: Iterator[Variant] = (
                Variant(**dict(zip(axes, values, strict=True))) for values in product(*axes.values())
            )
        else:
            found = (replace(first, **{axis: value}) for axis, values in axes.items() for value in values)
        return tuple(dict.fromkeys((first, *found)))


@dataclass(frozen=True, eq=False)
class JobCall:
    """A job that is ready to be done, and what is known of its arithmetic afterwards."""

    run: Callable[[], Any]
    audio_s: float
    n_clips: int
    solves: bool = True


def measure_jobs(
    load: Callable[[str], Pipeline],
    ceilings: Mapping[int | None, Ceilings],
    settings: JobSettings,
    progress: Progress | None = None,
) -> tuple[Measurement, ...]:
    """Return the times of jobs in all their variants, which are done in turn.

    A job's clips are of the model's window: ``generate`` makes as many as its batch, under a condition; ``embed``
    reads one recording of that length; ``inpaint`` fills a gap of 1 s in one clip, ``bwe`` extends one from 4 kHz.

    Args:
        load: precision -> model; models are kept while their jobs run.
        ceilings: of the machine, for each number of threads in the settings.
        settings: which jobs and variants.
        progress: called with (calls done, calls in all), job by job.

    Raises:
        ParameterError: a value out of its range, or an unknown name.
    """
    pipelines: dict[str, Pipeline] = {}
    costs: Costs | None = None
    found: list[Measurement] = []
    for number, job in enumerate(settings.jobs):
        variants = settings.variants(job)
        for variant in variants:
            if variant.precision not in pipelines:
                pipelines[variant.precision] = load(variant.precision)
        first = next(iter(pipelines.values()))
        costs = costs or model_costs(first)
        calls = {
            _name(one): prepared(job, Model(pipelines[one.precision], one.threads), one, settings.seed)
            for one in variants
        }
        last: dict[str, list[SolveResult]] = {}
        timed = interleaved(
            {_name(one): _keeping(last, _name(one), calls[_name(one)], pipelines[one.precision]) for one in variants},
            settings.repeats,
            first.device,
            progress=share_of(progress, number, len(settings.jobs)),
        )
        base = timed[_name(variants[0])]
        for variant in variants:
            name, pipeline = _name(variant), pipelines[variant.precision]
            call, times = calls[name], timed[name]
            limits = ceilings[variant.threads]
            flop, n_passes = _flop(job, call, last[name], costs, pipeline)
            figures = floor_figures(flop, spread_of(times).median, call.audio_s, limits) | ratio_to(times, base)
            if call.solves:
                figures["n_passes"] = float(n_passes)
            found.append(Measurement.of_times("jobs", job, _case(variant, pipeline), times, figures))
    return tuple(found)


def prepared(job: str, model: Model, variant: Variant, seed: int = 0) -> JobCall:
    """Return a job that is ready to be done with a model.

    Args:
        job: a name in ``JOBS``.
        model: what does it.
        variant: its batch, steps and preset count; precision and threads are the model's.
        seed: of the decoding, and of what the job is done with.

    Raises:
        ParameterError: an unknown name.
    """
    if job not in JOBS:
        raise unknown_name("job", job, JOBS)
    return JOBS[job](model, variant, seed)


def _name(variant: Variant) -> str:
    return repr(variant)


def _keeping(last: dict[str, list[SolveResult]], name: str, call: JobCall, pipeline: Pipeline) -> Callable[[], None]:
    """Return a job that leaves behind what its decodings did, the last time it was done."""

    def run() -> None:
        solved: list[SolveResult] = []
        pipeline.on_solved = solved.append
        try:
            call.run()
        finally:
            pipeline.on_solved = None
        last[name] = solved

    return run


def _case(variant: Variant, pipeline: Pipeline) -> dict[str, Value]:
    case: dict[str, Value] = {"precision": precision_name(pipeline), "asked_precision": variant.precision}
    case["batch"] = variant.batch
    case["threads"] = variant.threads or torch.get_num_threads()
    if variant.steps is not None:
        case["steps"] = variant.steps
    if variant.preset is not None:
        case["preset"] = variant.preset
    return case


def _decoding(variant: Variant, seed: int) -> dict[str, Any]:
    return {"seed": seed, "n_steps": variant.steps, "solver": variant.preset}


def _generate(model: Model, variant: Variant, seed: int) -> JobCall:
    condition = random_condition(model.pipeline, variant.batch, seed)
    window_s = model.pipeline.window_samples / model.sample_rate
    return JobCall(
        lambda: model.generate(condition, **_decoding(variant, seed)), variant.batch * window_s, variant.batch
    )


def _inpaint(model: Model, variant: Variant, seed: int) -> JobCall:
    samples = _clip(model, seed)
    window_s = len(samples) / model.sample_rate
    gap_s = min(_GAP_S, window_s / 4)
    gaps = [((window_s - gap_s) / 2, (window_s + gap_s) / 2)]
    return JobCall(
        lambda: model.inpaint(samples, model.sample_rate, gaps, method="model", **_decoding(variant, seed)),
        window_s,
        1,
    )


def _bwe(model: Model, variant: Variant, seed: int) -> JobCall:
    samples = _clip(model, seed)
    return JobCall(
        lambda: model.bwe(samples, model.sample_rate, _CUTOFF_HZ, **_decoding(variant, seed)),
        len(samples) / model.sample_rate,
        1,
    )


def _embed(model: Model, variant: Variant, seed: int) -> JobCall:
    samples = _clip(model, seed, variant.batch)
    return JobCall(
        lambda: model.embed(samples, model.sample_rate), len(samples) / model.sample_rate, variant.batch, False
    )


def _clip(model: Model, seed: int, n_windows: int = 1) -> np.ndarray:
    seconds = n_windows * model.pipeline.window_samples / model.sample_rate
    return synthetic_clip(seconds, model.sample_rate, seed=seed)[0]


JOBS: Mapping[str, Callable[[Model, Variant, int], JobCall]] = MappingProxyType(
    {"generate": _generate, "inpaint": _inpaint, "bwe": _bwe, "embed": _embed}
)
"""The jobs that can be timed."""


def _flop(
    job: str, call: JobCall, solved: Sequence[SolveResult], costs: Costs, pipeline: Pipeline
) -> tuple[dict[str, float], int]:
    """Return the arithmetic that a job must do, precision -> FLOP, and how often the transformer was passed."""
    flop = {"fp32": 0.0}
    precision = precision_name(pipeline)

    def add(name: str, amount: float) -> None:
        flop[name] = flop.get(name, 0.0) + amount

    if job != "generate":
        add("fp32", call.n_clips * (costs.mel + costs.encode))
    if job == "embed":
        add(precision, call.n_clips * costs.hidden_states())
    else:
        add(precision, sum(costs.step(record) for result in solved for record in result.trace))
        add(part_precision(pipeline, "decoder"), call.n_clips * costs.decode)
        add(part_precision(pipeline, "vocoder"), call.n_clips * costs.vocoder)
    return flop, sum(result.n_forwards for result in solved)
