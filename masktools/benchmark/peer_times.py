"""Other models beside ours in one run: a whole clip of ours, and one step of theirs in turn."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from masktools.benchmark.ceilings import Ceilings
from masktools.benchmark.clocks import interleaved
from masktools.benchmark.floors import floor_figures, part_precision, precision_name
from masktools.benchmark.flops import counted, model_costs
from masktools.benchmark.measurements import Measurement, Value, ratio_to, spread_of
from masktools.benchmark.models import random_condition
from masktools.benchmark.peers import PEERS, PeerRun, build_peer
from masktools.errors import unknown_name
from masktools.model import Model
from masktools.pipeline import Pipeline, Progress
from masktools.runtime import threads as use_threads
from masktools.solver import SolverConfig

__all__ = ["PeerSettings", "measure_peers"]

_TYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class PeerSettings:
    """Who is beside us, and how."""

    peers: tuple[str, ...] = tuple(PEERS)
    precisions: tuple[str, ...] = ("fp32",)  # of theirs: fp32, bf16 or fp16, by autocast
    solver: SolverConfig = field(default_factory=SolverConfig)  # of ours
    repeats: int = 3
    threads: int | None = None
    seed: int = 0
    sizes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # peer -> what is not as published

    def __post_init__(self) -> None:
        """Check every name."""
        for name in self.peers:
            if name not in PEERS:
                raise unknown_name("peer", name, PEERS)
        for precision in self.precisions:
            if precision != "fp32" and precision not in _TYPES:
                raise unknown_name("precision of peers", precision, ("fp32", *_TYPES))


def measure_peers(
    pipeline: Pipeline, ceilings: Ceilings, settings: PeerSettings, progress: Progress | None = None
) -> tuple[Measurement, ...]:
    """Return what a clip takes ours, and what it takes the others; ratios are of real-time factors.

    All take turns: a whole clip of ours, then of each peer one step, and what it does once. The time of its whole run
    is its published number of steps times the one.

    Args:
        pipeline: ours.
        ceilings: of the machine, with the same number of threads.
        settings: who else.
        progress: called with (calls done, calls in all).

    Raises:
        ParameterError: the packages that a peer is built from are not installed.
    """
    device = pipeline.device
    model = Model(pipeline, settings.threads)
    condition = random_condition(pipeline, 1, settings.seed)
    ours_s = pipeline.window_samples / pipeline.sample_rate
    runs = {
        name: build_peer(name, device, settings.seed, settings.sizes.get(name))
        for name in dict.fromkeys(settings.peers)
    }
    calls: dict[str, Callable[[], object]] = {
        "ours": lambda: model.generate(condition, seed=settings.seed, solver=settings.solver)
    }
    for name, run in runs.items():
        for precision in settings.precisions:
            calls[f"{name} {precision} step"] = _computing(run.step, precision, device)
            calls[f"{name} {precision} finish"] = _computing(run.finish, precision, device)
    with use_threads(settings.threads):
        times = interleaved(calls, settings.repeats, device, progress=progress)
        threads = torch.get_num_threads()
    case: dict[str, Value] = {"batch": 1, "threads": threads}
    base = [seconds / ours_s for seconds in times["ours"]]
    found = [_ours(pipeline, settings, ceilings, times["ours"], case)]
    for name, run in runs.items():
        flop = run.n_steps * counted(run.step) + counted(run.finish)
        for precision in settings.precisions:
            pairs = zip(times[f"{name} {precision} step"], times[f"{name} {precision} finish"], strict=True)
            whole = [run.n_steps * step + finish for step, finish in pairs]
            found.append(_theirs(run, precision, whole, base, flop, ceilings, case))
    return tuple(found)


def _computing(call: Callable[[], object], precision: str, device: torch.device) -> Callable[[], object]:
    def run() -> object:
        reduced = precision in _TYPES
        with torch.inference_mode(), torch.autocast(device.type, _TYPES.get(precision), enabled=reduced):
            return call()

    return run


def _ours(
    pipeline: Pipeline,
    settings: PeerSettings,
    ceilings: Ceilings,
    times: Sequence[float],
    case: Mapping[str, Value],
) -> Measurement:
    costs, precision = model_costs(pipeline), precision_name(pipeline)
    flop = {precision: costs.solving(settings.solver, True)}
    for part, amount in (("decoder", costs.decode), ("vocoder", costs.vocoder)):
        name = part_precision(pipeline, part)
        flop[name] = flop.get(name, 0.0) + amount
    audio_s = pipeline.window_samples / pipeline.sample_rate
    figures = floor_figures(flop, spread_of(times).median, audio_s, ceilings)
    figures |= {"ratio": 1.0, "ratio_low": 1.0, "ratio_high": 1.0, "n_steps": float(settings.solver.n_steps)}
    figures["parameters"] = float(sum(costs.parameters.values()))
    return Measurement.of_times("peers", pipeline.name, {**case, "precision": precision}, times, figures)


def _theirs(
    run: PeerRun,
    precision: str,
    whole: Sequence[float],
    base: Sequence[float],
    flop: float,
    ceilings: Ceilings,
    case: Mapping[str, Value],
) -> Measurement:
    figures = floor_figures({precision: flop}, spread_of(whole).median, run.audio_s, ceilings)
    figures |= ratio_to([seconds / run.audio_s for seconds in whole], base)
    figures |= {"n_steps": float(run.n_steps), "parameters": float(run.n_parameters)}
    note = f"one step timed and multiplied by {run.n_steps}; {run.note}"
    return Measurement.of_times("peers", run.name, {**case, "precision": precision}, whole, figures, note)
