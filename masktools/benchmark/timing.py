"""Times of stages of the pipeline, of solver steps, and of whole jobs, with their roofline."""

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from masktools import io
from masktools.benchmark.measurements import (
    Measurement,
    Value,
    interleaved,
    ratio_to,
    seconds_of,
    seconds_on_device,
    settle,
    spread_of,
)
from masktools.benchmark.models import RunSettings, Variant, random_condition, synthetic_clip
from masktools.benchmark.roofline import (
    Costs,
    Peaks,
    bound_figures,
    model_costs,
    part_precision,
    precision_name,
    rate_figures,
)
from masktools.core.arguments import checked_name
from masktools.core.runtime import threads as use_threads
from masktools.model import Model
from masktools.pipeline import Pipeline, Progress, share_of, watched
from masktools.solver import SolverConfig, SolveResult, item_seeds, solve

_FILE_RATE = 44_100  # Hz


def measure_stages(
    pipeline: Pipeline, peaks: Peaks, settings: RunSettings, solver: SolverConfig, progress: Progress | None = None
) -> tuple[Measurement, ...]:
    """Return the time, the share, the FLOP and the rate of each stage, then of each step of the solver.

    A stereo recording of 44.1 kHz is read, resampled, turned into a mel spectrogram and encoded; as many tokens are
    generated, decoded, rendered, resampled and written. A round runs all stages once; the first one is not
    counted. Stages that run on a GPU are timed by its clock.

    Args:
        pipeline: the model.
        peaks: peak rates of the machine, with the same number of threads.
        settings: settings of the run; the first batch size and number of threads are used, with clips of a full window.
        solver: decoding settings for a full mask.
        progress: called with (rounds done, rounds in total).
    """
    with use_threads(settings.threads[0]), tempfile.TemporaryDirectory() as folder:
        walk = _Walk(pipeline, settings, solver, Path(folder))
        rounds = [walk.round() for _ in watched(range(settings.repeats + 1), progress)][1:]
        threads = torch.get_num_threads()
    case: dict[str, Value] = {
        "precision": precision_name(pipeline),
        "model_precision": precision_name(pipeline),
        "batch": settings.batches[0],
        "threads": threads,
    }
    costs = model_costs(pipeline)
    return (*_of_stages(pipeline, rounds, case, costs, peaks), *_of_steps(rounds, case, costs, peaks))


@dataclass(frozen=True, eq=False)
class _Round:
    """Times of one round."""

    stages_s: dict[str, float]
    steps_s: tuple[float, ...]
    solved: SolveResult


class _Walk:
    """The stages of one model, each ready to be called with the output of the one before."""

    def __init__(self, pipeline: Pipeline, settings: RunSettings, solver: SolverConfig, folder: Path) -> None:
        self.pipeline, self.solver, self.seed, self.batch = pipeline, solver, settings.seed, settings.batches[0]
        self.seconds = pipeline.window_samples / pipeline.sample_rate
        samples = synthetic_clip(self.seconds, _FILE_RATE, 2, self.seed)
        self.source, self.target = folder / "in.wav", folder / "out.wav"
        io.write(self.source, samples, _FILE_RATE)
        self.condition = random_condition(pipeline, self.batch, self.seed).to(pipeline.device)

    def round(self) -> _Round:
        """Run all stages once."""
        pipeline, device = self.pipeline, self.pipeline.device
        batch, rate = self.batch, pipeline.sample_rate
        times: dict[str, float] = {}
        made: dict[str, Any] = {}

        def stage(name: str, call: Callable[[], Any], on_device: bool = False) -> Any:
            def keep() -> None:
                made[name] = call()

            times[name] = (seconds_on_device if on_device else seconds_of)(keep, device)
            return made[name]

        audio = stage("read file", lambda: io.read(self.source))
        mono = audio.samples.mean(axis=0, keepdims=True)
        wave = stage("resample", lambda: io.resample(mono, audio.sample_rate, rate))[:, : pipeline.window_samples]
        waves = torch.from_numpy(np.repeat(wave, batch, axis=0)).to(device)
        n_frames = pipeline.window_cols * pipeline.grid.patch_frames
        mel = stage("mel", lambda: pipeline.to_mel(waves), True)[..., :n_frames]
        stage("encode", lambda: pipeline.tokenise(mel), True)
        solved, times_of_steps, in_transformer = self._solve()
        times["transformer"] = in_transformer
        times["choice of tokens"] = max(0.0, sum(times_of_steps) - in_transformer)
        decoded = stage("decode", lambda: pipeline.to_mel_from(solved.tokens), True)
        rendered = stage("vocoder", lambda: pipeline.render(decoded), True)
        back = stage("to memory", lambda: rendered.float().cpu().numpy())
        out = stage("resample back", lambda: io.resample(back[:1], rate, _FILE_RATE))
        stage("write file", lambda: io.write(self.target, out, _FILE_RATE))
        return _Round(times, times_of_steps, solved)

    @torch.inference_mode()
    def _solve(self) -> tuple[SolveResult, tuple[float, ...], float]:
        """Return the result of the solver, the seconds of each of its steps, and those within the transformer."""
        pipeline, device = self.pipeline, self.pipeline.device
        mask = torch.ones(self.batch, pipeline.grid.n_rows, pipeline.window_cols, dtype=torch.bool, device=device)
        remembers = self.solver.cache_every > 1
        predict = _TimedPredict(pipeline.predictor(self.condition, remembers=remembers), device)
        clock = _StepClock(device)
        solved = solve(
            predict,
            torch.zeros_like(mask, dtype=torch.int64),
            mask,
            item_seeds(self.seed, self.batch),
            self.solver,
            callback=clock,
        )
        return solved, clock.steps_s(), sum(predict.times_s)


class _TimedPredict:
    """A predictor that records the time of each call."""

    def __init__(self, predict: Any, device: torch.device) -> None:
        self.predict, self.device = predict, device
        self.times_s: list[float] = []

    def __call__(self, *given: Any) -> Tensor:
        """Return the output of the predictor."""
        return self._timed(self.predict, given)

    def recall(self, *given: Any) -> Tensor:
        """Return the output of a predictor with a cache."""
        return self._timed(self.predict.recall, given)

    def _timed(self, function: Callable[..., Tensor], given: Sequence[Any]) -> Tensor:
        kept: list[Tensor] = []
        self.times_s.append(seconds_on_device(lambda: kept.append(function(*given)), self.device))
        return kept[0]


class _StepClock:
    """A callback of the solver that records the time between its calls."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.marks: list[float] = []
        self._mark()

    def __call__(self, *_: Any) -> None:
        """Record the end of a step."""
        self._mark()

    def _mark(self) -> None:
        settle(self.device)
        self.marks.append(time.perf_counter())

    def steps_s(self) -> tuple[float, ...]:
        """Return the seconds of each step."""
        return tuple(after - before for before, after in zip(self.marks, self.marks[1:], strict=False))


def _of_stages(
    pipeline: Pipeline, rounds: Sequence[_Round], case: dict[str, Value], costs: Costs, peaks: Peaks
) -> list[Measurement]:
    batch = int(case["batch"])
    work = {
        "mel": ("fp32", batch * costs.mel),
        "encode": ("fp32", batch * costs.encode),
        "transformer": (case["precision"], sum(costs.step(record) for record in rounds[0].solved.trace)),
        "decode": (part_precision(pipeline, "decoder"), batch * costs.decode),
        "vocoder": (part_precision(pipeline, "vocoder"), batch * costs.vocoder),
    }
    total = sum(spread_of([one.stages_s[name] for one in rounds]).median for name in rounds[0].stages_s)
    found = []
    for name in rounds[0].stages_s:
        times = [one.stages_s[name] for one in rounds]
        middle = spread_of(times).median
        figures = {"share": middle / total if total else 0.0}
        own: dict[str, Value] = {}
        if name in work:
            precision, flop = work[name]
            own["precision"] = precision
            figures |= rate_figures(flop, middle, str(precision), peaks)
        if name == "transformer":
            figures["n_passes"] = float(rounds[0].solved.n_forwards)
        found.append(Measurement.of_times("stages", name, case | own, times, figures))
    return found


def _of_steps(rounds: Sequence[_Round], case: dict[str, Value], costs: Costs, peaks: Peaks) -> list[Measurement]:
    found = []
    for number, record in enumerate(rounds[0].solved.trace):
        times = [one.steps_s[number] for one in rounds]
        middle = spread_of(times).median
        figures = rate_figures(costs.step(record), middle, str(case["precision"]), peaks)
        figures["n_passes"] = float(record.forwards)
        own: dict[str, Value] = {"step": number + 1, "of_steps": len(rounds[0].solved.trace)}
        found.append(Measurement.of_times("stages", "solver step", case | own, times, figures))
    return found


_GAP_S = 1.0
_CUTOFF_HZ = 4000.0


@dataclass(frozen=True, eq=False)
class JobCall:
    """A job ready to run, with its FLOP known afterwards."""

    run: Callable[[], Any]
    audio_s: float
    n_clips: int
    solves: bool = True


def measure_jobs(
    load: Callable[[str], Pipeline],
    peaks: Mapping[int | None, Peaks],
    settings: RunSettings,
    progress: Progress | None = None,
) -> tuple[Measurement, ...]:
    """Return the times of jobs in all their variants, which run in alternation.

    A job's clips have the length of the model's window: ``generate`` makes a batch of them, with a condition; ``embed``
    reads one recording of that length; ``inpaint`` fills a gap of 1 s in one clip, ``bwe`` extends one from 4 kHz.

    Args:
        load: function from a precision to the model; models are kept while their jobs run.
        peaks: peak rates of the machine, for each number of threads in the settings.
        settings: jobs and variants.
        progress: called with (calls done, calls in total), job by job.

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
            limits = peaks[variant.threads]
            flop, n_passes = _flop(job, call, last[name], costs, pipeline)
            figures = bound_figures(flop, spread_of(times).median, call.audio_s, limits) | ratio_to(times, base)
            if call.solves:
                figures["n_passes"] = float(n_passes)
            found.append(Measurement.of_times("jobs", job, _case(variant, pipeline), times, figures))
    return tuple(found)


def prepared(job: str, model: Model, variant: Variant, seed: int = 0) -> JobCall:
    """Return a job that is ready to run.

    Args:
        job: a name in ``JOBS``.
        model: model for the job.
        variant: variant of the job: batch, steps and preset count; precision and threads are the model's.
        seed: random seed of the decoding, and of the job's input.

    Raises:
        ParameterError: an unknown name.
    """
    checked_name("job", job, JOBS)
    return JOBS[job](model, variant, seed)


def _name(variant: Variant) -> str:
    return repr(variant)


def _keeping(last: dict[str, list[SolveResult]], name: str, call: JobCall, pipeline: Pipeline) -> Callable[[], None]:
    """Return a job that keeps the results of its last decodings."""

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
        lambda: model.inpaint(samples, model.sample_rate, gaps, method="model", **_decoding(variant, seed)), window_s, 1
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
"""Jobs that can be timed."""


def _flop(
    job: str, call: JobCall, solved: Sequence[SolveResult], costs: Costs, pipeline: Pipeline
) -> tuple[dict[str, float], int]:
    """Return the FLOP of a job by precision, and the number of passes of the transformer."""
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
