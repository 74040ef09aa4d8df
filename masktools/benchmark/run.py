"""One run of the benchmark: the subjects that were asked for, one after the other, on one model."""

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import numpy as np
import torch

from masktools import __version__
from masktools.benchmark import accuracy, measurements, peers, processes, roofline, timing
from masktools.benchmark.models import RunSettings, random_pipeline, synthetic_clip, write_random_bundle
from masktools.core import runtime
from masktools.core.errors import ParameterError
from masktools.networks.packing import can_compute_int8
from masktools.pipeline import Pipeline, hub

Watch = Callable[[str, int, int], object]
"""Called with (subject, parts done, parts in all)."""

_MEASURED = {"cpu": ("fp32", "bf16", "int8"), "cuda": ("fp32", "bf16", "fp16", "int8"), "mps": ("fp32", "fp16")}


def default_subjects(size: str | None = None) -> tuple[str, ...]:
    """Return what is measured where nothing is asked for; random weights say nothing of accuracy."""
    return tuple(name for name in measurements.SUBJECTS if name != "peers" and (size is None or name != "accuracy"))


def default_precisions(device: torch.device | str = "auto") -> tuple[str, ...]:
    """Return the precisions that are worth comparing on a device, that of ``auto`` first."""
    place = runtime.resolve_device(device)
    chosen = runtime.resolve_precision("auto", place)
    others = ["fp32"] if place.type != "cpu" or not can_compute_int8() else ["fp32", "int8"]
    return tuple(dict.fromkeys([runtime.precision_of(chosen), *others]))


def run_benchmark(
    settings: RunSettings,
    recordings: Sequence[tuple[np.ndarray, int]] = (),
    watch: Watch | None = None,
    on_found: Callable[[measurements.Benchmark], object] | None = None,
) -> measurements.Benchmark:
    """Return what was asked for.

    Args:
        settings: what is measured.
        recordings: (channels, t) and rate, to state the accuracy with; a synthetic clip where there are none.
        watch: called as each subject goes on.
        on_found: called after each subject, with its measurements alone.

    Raises:
        ParameterError: a value out of its range, an unknown name, or packages of a peer that are not installed.
        DeviceError: a device, a precision or a compiler that this machine does not offer.
        BundleError: no such model.
    """
    device = runtime.resolve_device(settings.device)
    machine = measurements.describe_machine(device, settings.threads[0])
    neighbours = measurements.Neighbours()
    with _models(settings) as models:
        first = models.load(settings.precisions[0])
        costs = roofline.model_costs(first)
        told = {
            "masktools": __version__,
            "name": first.name,
            "random": settings.size is not None,
            "window_s": first.window_samples / first.sample_rate,
            "sample_rate": first.sample_rate,
            "parameters": dict(costs.parameters),
        }
        about = {**asdict(settings), "device": str(device), "when": datetime.now(UTC).isoformat(timespec="seconds")}
        warnings = machine.warnings()
        found: list[measurements.Measurement] = []
        limits: dict[int | None, roofline.Peaks] = {}
        for subject in [name for name in measurements.SUBJECTS if name == "ceilings" or name in settings.subjects]:
            shown = None if watch is None else partial(watch, subject)
            if subject == "ceilings":
                limits = _peaks(settings, device)
                made = tuple(one for each in limits.values() for one in each.measurements)
            else:
                made = _measured(subject, settings, models, limits, recordings, shown)
            found += made
            if on_found is not None:
                on_found(measurements.Benchmark(asdict(machine), told, about, made, ()))
    warnings += neighbours.warnings(machine.cores)
    return measurements.Benchmark(asdict(machine), told, about, tuple(found), tuple(warnings))


def _peaks(settings: RunSettings, device: torch.device) -> dict[int | None, roofline.Peaks]:
    return {
        n: roofline.measure_peaks(device, _MEASURED[device.type], n, settings.ceiling_s)
        for n in dict.fromkeys(settings.threads)
    }


class _Models:
    """The model of a run in each precision, and as a bundle that fresh processes can load."""

    def __init__(self, settings: RunSettings, folder: Path) -> None:
        self.settings, self.folder = settings, folder
        self._kept: dict[str, Pipeline] = {}
        self._bundle: str | None = None if settings.size is not None else settings.model

    def load(self, precision: str) -> Pipeline:
        """Return the model in a precision; it is made once."""
        if precision not in self._kept:
            settings, size = self.settings, max(self.settings.batches)
            if settings.size is None:
                made = hub.load_bundle(
                    settings.model, settings.device, precision, batch_size=size, compile=settings.compiled
                )
            else:
                made = random_pipeline(
                    settings.size, settings.vocoder, settings.device, precision, size, settings.seed, settings.compiled
                )
            if not made.shape.has_bands:
                raise ParameterError(f"a benchmark is of models over bands of frequency, {made.name!r} has streams")
            self._kept[precision] = made
        return self._kept[precision]

    @property
    def bundle(self) -> str:
        """The name of the model, or a folder that it has been written to."""
        if self._bundle is None:
            settings = self.settings
            written = write_random_bundle(settings.size or "", self.folder / "random", settings.vocoder, settings.seed)
            self._bundle = str(written)
        return self._bundle


@contextmanager
def _models(settings: RunSettings) -> Iterator[_Models]:
    with tempfile.TemporaryDirectory(prefix="masktools-bench-") as folder:
        yield _Models(settings, Path(folder))


def _measured(
    subject: str,
    settings: RunSettings,
    models: _Models,
    limits: Mapping[int | None, roofline.Peaks],
    recordings: Sequence[tuple[np.ndarray, int]],
    shown: Callable[[int, int], object] | None,
) -> tuple[measurements.Measurement, ...]:
    peaks = limits[settings.threads[0]]
    solver = settings.solver(models.load(settings.precisions[0]))
    if subject == "stages":
        each = (
            timing.measure_stages(models.load(name), peaks, settings, solver, shown) for name in settings.precisions
        )
        return tuple(one for made in each for one in made)
    if subject == "jobs":
        return timing.measure_jobs(models.load, limits, settings, shown)
    if subject == "memory":
        return processes.measure_memory(models.bundle, settings, shown)
    if subject == "start-up":
        return processes.measure_start_up(models.bundle, settings, shown)
    if subject == "accuracy":
        return _accuracy(settings, models, recordings, shown)
    return peers.measure_peers(models.load(settings.precisions[0]), peaks, settings, solver, shown)


def _accuracy(
    settings: RunSettings,
    models: _Models,
    recordings: Sequence[tuple[np.ndarray, int]],
    shown: Callable[[int, int], object] | None,
) -> tuple[measurements.Measurement, ...]:
    from masktools.io import resample

    pipeline = models.load(settings.precisions[0])
    rate, n_samples = pipeline.sample_rate, pipeline.window_samples
    clips = []
    for samples, own_rate in recordings:
        wave = resample(samples.mean(axis=0, keepdims=True), own_rate, rate)[0]
        start = max(0, (len(wave) - n_samples) // 2)
        clips.append(wave[start : start + n_samples])
    clips = clips or [synthetic_clip(n_samples / rate, rate, seed=settings.seed)[0]]
    generate, inpaint = (settings.solver(pipeline, job) for job in ("generate", "inpaint"))
    asked = accuracy.AccuracySettings(settings.precisions, generate=generate, inpaint=inpaint, seed=settings.seed)
    return accuracy.measure_accuracy(models.load, clips, asked, shown)
