"""The regions of one window repaired: interpolated first, and then, where the model is asked, as it says."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import ceil
from typing import Any

import numpy as np

from masktools.classical.linear_prediction import LONG_CONTEXT_S
from masktools.errors import AudioError, ParameterError
from masktools.pipeline import Pipeline, Progress
from masktools.restoration.gap_fill import FilledGap
from masktools.restoration.repair_frames import Block, Frames, Source, add_difference, masked_power
from masktools.restoration.repair_interpolation import interpolated
from masktools.restoration.repair_levels import level_gains_db
from masktools.restoration.repair_model import Heard, Made, hear, model_top_hz, token_mask, unknown_cells
from masktools.restoration.repair_plan import INTERPOLATE, MODEL, RegionTask, RepairJob, RepairSettings
from masktools.restoration.splice import SILENCE
from masktools.restoration.surroundings import Reader
from masktools.restoration.texture import TEXTURES, band_gains_db, shape
from masktools.segments import Window
from masktools.shapes import Condition
from masktools.solver import SolverConfig, derive_seed

__all__ = ["Repairer"]

_CONTEXT_S = LONG_CONTEXT_S + 0.75  # around what changes: longer than any frame and what is beside it
_MIX = np.array([[0.5, 0.5], [0.5, -0.5]])  # left and right -> middle and side
_UNMIX = np.array([[1.0, 1.0], [1.0, -1.0]])
_QUIET = 1e-12  # power; reported as -120 dB


@dataclass(eq=False)
class Repairer:
    """A recording, its regions, and what repairs them; it counts what the model is asked."""

    pipeline: Pipeline | None
    reader: Reader
    size: tuple[int, int, int]  # samples, channels, Hz
    settings: RepairSettings
    solver: SolverConfig
    condition: Condition | None
    jobs: Sequence[RepairJob]
    n_forwards: int = field(default=0, init=False)
    solve_s: float = field(default=0.0, init=False)

    def repaired(self, job: RepairJob, progress: Progress | None) -> tuple[list[FilledGap], list[dict[str, Any]]]:
        """Return the stretches of a job that change, and a report for each region.

        Raises:
            AudioError: samples that are not finite.
            ParameterError: the reader returned another shape or type.
        """
        _, _, rate = self.size
        origin, given = self._read(job)
        waves = given.astype(np.float64)
        before = _MIX @ waves if job.mid_side else waves
        voices = before.copy()
        damaged = [task.region for task in job.around]
        frames = {task: _frames(task, origin, rate) for task in job.around}
        for task in job.around:
            add_difference(voices, frames[task], interpolated(voices, frames[task], damaged, self._noise(task, job)))
        if job.is_modelled and self.pipeline is not None:
            self._by_model(self.pipeline, job, origin, voices, frames, progress)
        change = voices - before
        made = waves + (_UNMIX @ change if job.mid_side else change)
        pieces = [
            FilledGap(
                span.start,
                made[:, span.start - origin : span.stop - origin].astype(given.dtype),
                job.channels,
                {"start_s": span.start / rate, "end_s": span.stop / rate, "channels": list(job.channels)},
            )
            for span in job.spans
        ]
        return pieces, [self._report(task, job, frames[task], before, voices) for task in job.tasks]

    def _read(self, job: RepairJob) -> tuple[int, np.ndarray]:
        """Return where a job's stretch of the recording starts, and the channels of it."""
        n_samples, n_channels, rate = self.size
        reach = ceil(_CONTEXT_S * rate)
        start = max(0, min(job.window.start, *(task.span.start for task in job.around)) - reach)
        stop = min(n_samples, max(job.window.stop, *(task.span.stop for task in job.around)) + reach)
        samples = np.asarray(self.reader(start, stop))
        wanted = (n_channels, stop - start)
        if samples.shape != wanted or samples.dtype not in (np.float32, np.float64):
            raise ParameterError(
                f"the reader must return float32 or float64 of shape {wanted} for samples {start} to {stop}, "
                f"got {samples.dtype} of shape {samples.shape}"
            )
        samples = samples[list(job.channels)]
        finite = np.isfinite(samples).all(axis=0)
        if not finite.all():
            first = start + int(np.argmin(finite))
            raise AudioError(
                f"samples around a region must be finite, but at {first / rate:.4f} s (sample {first}) there is NaN or "
                "infinity: fill that gap first"
            )
        return start, samples

    def _noise(self, task: RegionTask, job: RepairJob) -> list[np.random.Generator]:
        own = () if self.settings.linked else job.channels
        seeds = (self.settings.seed % 2**64, task.number, *own)
        return [np.random.default_rng(seeds) for _ in range(2 if job.mid_side else len(job.channels))]

    def _by_model(
        self,
        pipeline: Pipeline,
        job: RepairJob,
        origin: int,
        voices: np.ndarray,
        frames: dict[RegionTask, Frames],
        progress: Progress | None,
    ) -> None:
        """Replace interpolations by what the model says, where it is asked."""
        _, _, rate = self.size
        local = Window(job.window.start - origin, job.window.stop - origin)
        own = () if self.settings.linked else job.channels
        seed, regions = derive_seed(self.settings.seed, job.number, *own), tuple(task.region for task in job.around)
        heard, twins = list[Heard](), list[int]()
        for voice in voices:
            part = voice[local.start : local.stop].astype(np.float32)
            twin = next((n for n, other in enumerate(heard) if np.array_equal(other.samples, part)), len(heard))
            if twin == len(heard):
                heard.append(Heard(part, regions, job.window.start / rate, seed))
            twins.append(twin)
        made, result = hear(pipeline, heard, rate, self.solver, self.condition, progress)
        self.n_forwards += result.n_forwards
        self.solve_s += sum(record.seconds for record in result.trace)
        texture = TEXTURES[self.settings.texture]
        generated = voices.copy()
        for voice, twin in zip(generated, twins, strict=True):
            part = voice[local.start : local.stop]
            if texture is None:
                part[:] = made[twin].wave
            else:
                part[:] = _shaped(pipeline, part, rate, made[twin], texture.share)
        for task in job.tasks:
            if task.method == MODEL:
                made_here = generated
                if self.condition is None:  # what lies in silence is silent, unless a text says otherwise
                    silent = [masked_power(voice[None], frames[task]) < SILENCE**2 for voice in voices]
                    made_here = np.where(np.array(silent)[:, None], voices, generated)
                level = texture is None
                source = _generated(made_here, voices, frames[task], regions, model_top_hz(pipeline), level)
                add_difference(voices, frames[task], source)

    def _report(
        self, task: RegionTask, job: RepairJob, frames: Frames, before: np.ndarray, after: np.ndarray
    ) -> dict[str, Any]:
        region = task.region
        report = {
            "start_s": region.start_s,
            "end_s": region.end_s,
            "low_hz": region.low_hz,
            "high_hz": region.high_hz,
            "corners": [list(corner) for corner in region.corners],
            "channels": list(job.channels),
            "method": task.method,
            "before_db": _level_db(masked_power(before, frames)),
            "after_db": _level_db(masked_power(after, frames)),
        }
        if task.method == INTERPOLATE or self.pipeline is None:
            return report
        rate, pipeline = self.size[2], self.pipeline
        n_model = ceil(job.window.length * pipeline.sample_rate / rate)
        n_frames = pipeline.grid.n_columns(n_model) * pipeline.grid.patch_frames
        cells = unknown_cells([region], pipeline.mel, n_frames, job.window.start / rate)
        window_s = [job.window.start / rate, job.window.stop / rate]
        return {**report, "tokens": token_mask(pipeline, cells).count, "window_s": window_s}


def _frames(task: RegionTask, origin: int, sample_rate: int) -> Frames:
    return Frames.of(task.region, task.span.start - origin, task.span.stop - origin, origin, sample_rate)


def _level_db(power: float) -> float:
    return round(float(10 * np.log10(2 * power + _QUIET)), 2)


def _shaped(pipeline: Pipeline, wave: np.ndarray, sample_rate: int, made: Made, share: float) -> np.ndarray:
    """Return an interpolated wave (t,) made louder and quieter towards what the model says of it."""
    gains_db = band_gains_db(made.mel, made.known, pipeline.mel, share)
    return shape(wave, sample_rate, gains_db, pipeline.mel)


def _generated(
    generated: np.ndarray,
    voices: np.ndarray,
    frames: Frames,
    regions: Sequence[Any],
    top_hz: float,
    match_level: bool,
) -> Source:
    """Return what the model put into a region, as loud as what is beside it; above its band all stays as it is."""
    gains_db = level_gains_db(generated, voices, frames, regions) if match_level else None
    slope_hz = 4 * frames.sample_rate / frames.n_fft
    share = np.clip((top_hz - frames.hertz) / slope_hz, 0.0, 1.0)

    def spectra(block: Block) -> np.ndarray:
        made = frames.spectra(generated, block.centres)
        if gains_db is not None:
            place = np.clip((block.centres - frames.start) / (frames.stop - frames.start), 0.0, 1.0)[:, None]
            made *= 10 ** (((1 - place) * gains_db[0][:, None] + place * gains_db[1][:, None]) / 20)
        return block.known + share * (made - block.known)

    return spectra
