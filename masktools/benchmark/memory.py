"""Memory of a job in each precision, each in a fresh process."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from masktools.benchmark.measurements import Measurement, Value
from masktools.benchmark.processes import run_python
from masktools.errors import ParameterError, unknown_name
from masktools.jsons import parse_json
from masktools.pipeline import Progress

__all__ = ["MemorySettings", "measure_memory"]

_CHILD = "from masktools.benchmark.memory_child import main; main()"
_JOBS = ("generate", "inpaint", "bwe", "embed")


@dataclass(frozen=True)
class MemorySettings:
    """What is done in each process."""

    job: str = "generate"
    precisions: tuple[str, ...] = ("auto",)
    batches: tuple[int, ...] = (1,)
    steps: int | None = None
    threads: int | None = None
    device: str = "auto"
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the job, and that there is something to measure."""
        if self.job not in _JOBS:
            raise unknown_name("job", self.job, _JOBS)
        if not self.precisions or not self.batches:
            raise ParameterError("memory must be measured for at least one precision and one batch, got none")


def measure_memory(model: str, settings: MemorySettings, progress: Progress | None = None) -> tuple[Measurement, ...]:
    """Return what processes need that load a model as its users do, and do one job.

    Args:
        model: the name of a model at hand, or the folder of a bundle.
        settings: what is done.
        progress: called with (processes done, processes in all).

    Raises:
        MasktoolsError: a process failed.
    """
    found: list[Measurement] = []
    pairs: Sequence[tuple[str, int]] = [(name, size) for name in settings.precisions for size in settings.batches]
    for number, (precision, batch) in enumerate(dict.fromkeys(pairs)):
        spec = {
            "model": model,
            "device": settings.device,
            "precision": precision,
            "threads": settings.threads,
            "batch": batch,
            "job": settings.job,
            "steps": settings.steps,
            "seed": settings.seed,
        }
        done = run_python(["-c", _CHILD, json.dumps(spec)])
        figures = {name: float(value) for name, value in parse_json(done.stdout.splitlines()[-1]).items()}
        case: dict[str, Value] = {"precision": precision, "batch": batch}
        found.append(Measurement("memory", settings.job, case, figures))
        if progress is not None:
            progress(number + 1, len(pairs))
    return tuple(found)
