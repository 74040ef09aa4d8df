"""Spectral repair: what lies in a region of time and frequency is replaced, and nothing else."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from time import perf_counter
from typing import Any

import numpy as np
from torch import Tensor

from masktools.arguments import checked_call
from masktools.arrays import as_channels, checked_seed
from masktools.conditioning import Prompts
from masktools.errors import ParameterError
from masktools.hub import check_job
from masktools.pipeline import Pipeline, Progress, share_of
from masktools.restoration.gap_fill import FilledGap
from masktools.restoration.regions import Region, check_regions
from masktools.restoration.repair_model import model_top_hz
from masktools.restoration.repair_plan import AUTO, MODEL, REPAIRS, RepairSettings, needs_model, plan_repair
from masktools.restoration.repair_work import Repairer
from masktools.restoration.restored import Restored
from masktools.restoration.surroundings import Reader
from masktools.solver import SolverConfig

__all__ = ["REPAIRS", "Repairing", "needs_model", "repair", "repair_pieces"]


def repair(
    pipeline: Pipeline | None,
    samples: np.ndarray | Tensor,
    sample_rate: int,
    regions: Iterable[Region],
    *,
    seed: int = 0,
    solver: SolverConfig = SolverConfig(),
    prompt: Prompts | None = None,
    channels: str = "linked",
    texture: str = "blend",
    method: str = AUTO,
    progress: Progress | None = None,
) -> Restored:
    """Return a recording in which regions of time and frequency are replaced by what their surroundings suggest.

    No sample outside the regions' times is changed. During them, what is added to the recording has hardly any energy
    outside their bands.

    A region need not be damaged: with a prompt, the model replaces what is there by what the text says::

        regions = [Region.rectangle(2.0, 5.0, 100, 8000)]
        repair(pipeline, samples, sample_rate, regions, prompt="a dog barking", texture="model")

    Args:
        pipeline: the model; None where no region is filled by one.
        samples: (channels, t), an array or a tensor, full scale 1, of any rate and length.
        sample_rate: in Hz.
        regions: at least one; they may overlap.
        seed: the same seed gives the same result.
        solver: settings of the decoding.
        prompt: what to hear in the regions that the model fills; without one their surroundings decide.
        channels: ``linked`` repairs all channels with the same random numbers, ``independent`` each with its own,
            ``mid_side`` the middle and the side of two.
        texture: what a repair by the model is made of in detail, one of ``TEXTURES``: the vocoder, or an interpolation
            brought half the way or the whole way towards what the model says.
        method: ``model``; ``interpolate``, which goes in decibels from what is before a region to what is after it and
            rises and falls with the bands below and above; or ``auto``: the model where there is a prompt, or where a
            region is longer than a column of tokens and higher than five octaves. What lies above the model's band
            is interpolated.
        progress: called with (steps done, steps in all).

    Raises:
        ParameterError: regions that are none of this recording or leave nothing to repair them from, several prompts,
            an unknown name, or no model where one is needed.
        AudioError: samples around a region that are not finite.
    """
    wave = as_channels(samples, sample_rate, finite=False)
    repairing = repair_pieces(
        pipeline,
        lambda start, stop: wave[:, start:stop],
        wave.shape[1],
        wave.shape[0],
        sample_rate,
        regions,
        seed=seed,
        solver=solver,
        prompt=prompt,
        channels=channels,
        texture=texture,
        method=method,
        progress=progress,
    )
    repaired = wave.copy()
    for piece in repairing:
        repaired[list(piece.channels), piece.start : piece.start + piece.samples.shape[1]] = piece.samples
    return Restored(repaired, sample_rate, repairing.report())


class Repairing(Iterator[FilledGap]):
    """The repaired stretches of a recording, in order of their starts, each computed when it is asked for."""

    def __init__(self, repairer: Repairer, n_samples_changed: int, progress: Progress | None) -> None:
        self._repairer, self._n_changed, self._progress = repairer, n_samples_changed, progress
        self._started, self._done = perf_counter(), list[dict[str, Any]]()
        self._pieces = self._each()

    def __next__(self) -> FilledGap:
        return next(self._pieces)

    def report(self) -> dict[str, Any]:
        """Return what has been done so far, in what JSON has."""
        repairer, settings = self._repairer, self._repairer.settings
        return {
            "job": "repair",
            "model": None if repairer.pipeline is None else repairer.pipeline.name,
            "seed": settings.seed,
            "method": settings.method,
            "prompted": repairer.condition is not None,
            "texture": settings.texture,
            "channels": settings.channels,
            "n_steps": repairer.solver.n_steps,
            "n_forwards": repairer.n_forwards,
            "regions": sorted(self._done, key=lambda region: (region["start_s"], region["channels"])),
            "samples_changed": self._n_changed,
            "timings": {
                "solve_s": round(repairer.solve_s, 3),
                "total_s": round(perf_counter() - self._started, 3),
            },
        }

    def _each(self) -> Iterator[FilledGap]:
        jobs = self._repairer.jobs
        for number, job in enumerate(jobs):
            pieces, reports = self._repairer.repaired(job, share_of(self._progress, number, len(jobs)))
            self._done += reports
            yield from pieces
        if self._progress is not None:
            self._progress(len(jobs), len(jobs))


def repair_pieces(
    pipeline: Pipeline | None,
    reader: Reader,
    n_samples: int,
    n_channels: int,
    sample_rate: int,
    regions: Iterable[Region],
    *,
    seed: int = 0,
    solver: SolverConfig = SolverConfig(),
    prompt: Prompts | None = None,
    progress: Progress | None = None,
    **settings: Any,
) -> Repairing:
    """Return the repaired stretches of a recording one after the other: for files of any length.

    Nothing is read but what lies around the regions, when its turn comes: memory grows with the longest of them.

    Args:
        pipeline: the model; None where no region is filled by one.
        reader: gives the samples [start, stop) of the recording, (channels, stop - start).
        n_samples: of the recording.
        n_channels: of the recording.
        sample_rate: in Hz.
        regions: at least one.
        seed: the same seed gives the same result.
        solver: settings of the decoding.
        prompt: what to hear in the regions.
        progress: called with (steps done, steps in all).
        **settings: the others of ``repair``.

    Returns:
        An iterator of ``FilledGap``; its ``report()`` says what has been done so far.

    Raises:
        ParameterError: as ``repair``.
        AudioError: as ``repair``, when the region is reached.
    """
    made = RepairSettings(seed=checked_seed(seed), **settings)
    checked_call("progress", progress)
    regions = check_regions(regions)
    if prompt is not None and made.method == AUTO:
        made = replace(made, method=MODEL)  # only the model can read
    size = (n_samples, n_channels, sample_rate)
    if pipeline is None:
        jobs, condition = plan_repair(regions, *size, made), None
    else:
        check_job(pipeline, "repair")
        jobs = plan_repair(regions, *size, made, pipeline.grid, pipeline.window_cols, model_top_hz(pipeline))
        condition = pipeline.condition(prompt)
    if condition is not None and len(condition) != 1:
        raise ParameterError(f"a recording is repaired by one prompt at most, got {len(condition)}")
    n_changed = sum(span.length * len(job.channels) for job in jobs for span in job.spans)
    return Repairing(Repairer(pipeline, reader, size, made, solver, condition, jobs), n_changed, progress)
