"""Where the time goes: the way of a recording through the model and back, stage by stage."""

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from masktools import io
from masktools.benchmark.flops import Costs, model_costs
from masktools.benchmark.machine import seconds_of, seconds_on_device, settle
from masktools.benchmark.measurements import Measurement, Value, spread_of
from masktools.benchmark.models import random_condition, synthetic_clip
from masktools.benchmark.roofline import Ceilings, part_precision, precision_name, rate_figures
from masktools.grid import GridMask
from masktools.pipeline import Pipeline, Progress
from masktools.runtime import threads as use_threads
from masktools.solver import SolverConfig, SolveResult, item_seeds, solve

__all__ = ["StageSettings", "measure_stages"]

_FILE_RATE = 44_100  # Hz


@dataclass(frozen=True)
class StageSettings:
    """What is walked through: clips of a full window, decoded under a condition from a full mask."""

    batch: int = 1
    solver: SolverConfig = field(default_factory=SolverConfig)
    repeats: int = 5
    threads: int | None = None
    seed: int = 0


def measure_stages(
    pipeline: Pipeline,
    ceilings: Ceilings,
    settings: StageSettings,
    progress: Progress | None = None,
) -> tuple[Measurement, ...]:
    """Return the time, the share, the arithmetic and the rate of each stage, then of each step of the solver.

    A stereo recording of 44.1 kHz is read, resampled, turned into a mel spectrogram and encoded; as many tokens are
    generated, decoded, rendered, resampled and written. A round goes through all stages once; the first one is not
    counted. Stages that run on a GPU are timed by its clock.

    Args:
        pipeline: the model.
        ceilings: of the machine, with the same number of threads.
        settings: what is walked through.
        progress: called with (rounds done, rounds in all).
    """
    with use_threads(settings.threads), tempfile.TemporaryDirectory() as folder:
        walk = _Walk(pipeline, settings, Path(folder))
        rounds = [walk.round() for number in _counted(settings.repeats + 1, progress)][1:]
        threads = torch.get_num_threads()
    case: dict[str, Value] = {
        "precision": precision_name(pipeline),
        "model_precision": precision_name(pipeline),
        "batch": settings.batch,
        "threads": threads,
    }
    costs = model_costs(pipeline)
    return (*_of_stages(pipeline, rounds, case, costs, ceilings), *_of_steps(rounds, case, costs, ceilings))


def _counted(total: int, progress: Progress | None) -> Any:
    for number in range(total):
        yield number
        if progress is not None:
            progress(number + 1, total)


@dataclass(frozen=True, eq=False)
class _Round:
    """The times of one walk."""

    stages_s: dict[str, float]
    steps_s: tuple[float, ...]
    solved: SolveResult


class _Walk:
    """The stages of one model, each ready to be called with what the one before it made."""

    def __init__(self, pipeline: Pipeline, settings: StageSettings, folder: Path) -> None:
        self.pipeline, self.settings, self.folder = pipeline, settings, folder
        self.seconds = pipeline.window_samples / pipeline.sample_rate
        samples = synthetic_clip(self.seconds, _FILE_RATE, 2, settings.seed)
        self.source, self.target = folder / "in.wav", folder / "out.wav"
        io.write(self.source, samples, _FILE_RATE)
        self.condition = random_condition(pipeline, settings.batch, settings.seed).to(pipeline.device)

    def round(self) -> _Round:
        """Go through all stages once."""
        pipeline, device = self.pipeline, self.pipeline.device
        batch, rate = self.settings.batch, pipeline.sample_rate
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
        mel = stage("mel", lambda: pipeline.to_mel(waves), True)[..., : self._n_frames]
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

    @property
    def _n_frames(self) -> int:
        return self.pipeline.window_cols * self.pipeline.grid.patch_frames

    @torch.inference_mode()
    def _solve(self) -> tuple[SolveResult, tuple[float, ...], float]:
        """Return what the solver made, the seconds of each of its steps, and those within the transformer."""
        pipeline, settings = self.pipeline, self.settings
        device = pipeline.device
        mask = GridMask.full(pipeline.grid, pipeline.window_cols).tensor.expand(settings.batch, -1, -1).to(device)
        remembers = settings.solver.cache_every > 1
        predict = _TimedPredict(pipeline.predictor(self.condition, remembers=remembers), device)
        clock = _StepClock(device)
        solved = solve(
            predict,
            torch.zeros_like(mask, dtype=torch.int64),
            mask,
            item_seeds(settings.seed, settings.batch),
            settings.solver,
            callback=clock,
        )
        return solved, clock.steps_s(), sum(predict.times_s)


class _TimedPredict:
    """A predictor that keeps the time of each call."""

    def __init__(self, predict: Any, device: torch.device) -> None:
        self.predict, self.device = predict, device
        self.times_s: list[float] = []

    def __call__(self, *given: Any) -> Tensor:
        """Return what the predictor returns."""
        return self._timed(self.predict, given)

    def recall(self, *given: Any) -> Tensor:
        """Return what a predictor that remembers recalls."""
        return self._timed(self.predict.recall, given)

    def _timed(self, function: Callable[..., Tensor], given: Sequence[Any]) -> Tensor:
        kept: list[Tensor] = []
        self.times_s.append(seconds_on_device(lambda: kept.append(function(*given)), self.device))
        return kept[0]


class _StepClock:
    """A callback of the solver that keeps the time between its calls."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.marks: list[float] = []
        self._mark()

    def __call__(self, *_: Any) -> None:
        """Note that a step is over."""
        self._mark()

    def _mark(self) -> None:
        settle(self.device)
        self.marks.append(time.perf_counter())

    def steps_s(self) -> tuple[float, ...]:
        """Return the seconds of each step."""
        return tuple(after - before for before, after in zip(self.marks, self.marks[1:], strict=False))


def _of_stages(
    pipeline: Pipeline, rounds: Sequence[_Round], case: dict[str, Value], costs: Costs, ceilings: Ceilings
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
            figures |= rate_figures(flop, middle, str(precision), ceilings)
        if name == "transformer":
            figures["n_passes"] = float(rounds[0].solved.n_forwards)
        found.append(Measurement.of_times("stages", name, case | own, times, figures))
    return found


def _of_steps(rounds: Sequence[_Round], case: dict[str, Value], costs: Costs, ceilings: Ceilings) -> list[Measurement]:
    found = []
    for number, record in enumerate(rounds[0].solved.trace):
        times = [one.steps_s[number] for one in rounds]
        middle = spread_of(times).median
        figures = rate_figures(costs.step(record), middle, str(case["precision"]), ceilings)
        figures["n_passes"] = float(record.forwards)
        own: dict[str, Value] = {"step": number + 1, "of_steps": len(rounds[0].solved.trace)}
        found.append(Measurement.of_times("stages", "solver step", case | own, times, figures))
    return found
