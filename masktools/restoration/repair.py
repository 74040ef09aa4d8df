"""Spectral repair: the content of a region of time and frequency is replaced, and nothing else."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from math import ceil, floor
from time import perf_counter
from typing import Any, cast

import numpy as np
from jaxtyping import Bool
from torch import Tensor

from masktools.classical.spans import LONG_CONTEXT_S
from masktools.core.arguments import checked_call
from masktools.core.arrays import as_channels
from masktools.core.errors import ParameterError
from masktools.core.settings import AUTO, INTERPOLATE, MID_SIDE, MODEL, RepairSettings
from masktools.core.shapes import Mask, Wave, Window
from masktools.mel.spectrogram import TokenGrid
from masktools.pipeline import Pipeline, Progress, Walk, share_of
from masktools.pipeline.hub import check_job
from masktools.restoration.gap_plan import GapWindow, merged, plan_windows
from masktools.restoration.recordings import (
    MIX,
    UNMIX,
    Duplicates,
    FilledGap,
    Restored,
    Signal,
    check_channels,
    check_finite,
    put_into,
    read_checked,
)
from masktools.restoration.regions import Region, check_regions, parse_regions
from masktools.restoration.render import (
    TEXTURES,
    Decoder,
    Filled,
    Unknown,
    band_gains_db,
    fill_mel,
    render_windows,
    shape,
)
from masktools.restoration.repair_spectra import (
    Block,
    Frames,
    Source,
    add_difference,
    has_surroundings,
    interpolated,
    level_gains_db,
    masked_power,
    unknown_cells,
)
from masktools.restoration.seams import SILENCE
from masktools.solver import derive_seed, plan_value

SHORT_S = 0.186  # up to this length a region resembles its context in time: a column of tokens
HIGH_OCTAVES = 5.0  # from this height on there is little context below and above it
LOWEST_HZ = 50.0  # lower limit for counting octaves
LONGEST_S = 20.0  # greatest length of a region
_TOP_SHARE = 0.95  # of the model's band: above it resampling attenuates
_BORDER = (3, 2)  # frames and mel bins of the transition, inside a region
_ROUNDING = 1e-3  # samples; rounding error of times in seconds that were computed from samples


def method_for(settings: RepairSettings, region: Region, top_hz: float | None) -> str:
    """Return the method for a region: the model, or interpolation.

    Interpolation goes in decibels from the audio before a region to that after it, and follows the level of the bands
    below and above. With "auto" the model fills regions that are longer than a column of tokens and higher than five
    octaves; frequencies above the model's band are interpolated.

    Args:
        settings: settings of the repair.
        region: region to repair.
        top_hz: upper limit of the model's band in Hz; None if unknown.
    """
    if settings.method == INTERPOLATE or (top_hz is not None and region.low_hz >= top_hz):
        return INTERPOLATE
    if settings.method == MODEL:
        return MODEL
    is_high = region.high_hz >= max(region.low_hz, LOWEST_HZ) * 2**HIGH_OCTAVES
    return MODEL if is_high and SHORT_S < region.length_s <= LONGEST_S else INTERPOLATE


@dataclass(frozen=True)
class RegionTask:
    """One region, as samples of the recording, and its method."""

    region: Region
    span: Window
    method: str
    number: int  # index among all of the recording


@dataclass(frozen=True)
class RepairJob:
    """Regions near each other, in the same channels, that are repaired together."""

    window: Window  # window of the model
    spans: tuple[Window, ...]  # samples that change: the regions' spans, with touching ones merged
    tasks: tuple[RegionTask, ...]  # in order of time
    around: tuple[RegionTask, ...]  # all regions that overlap the window, including those of the tasks
    channels: tuple[int, ...]
    mid_side: bool  # whether mid and side are repaired instead of the two channels
    number: int

    @property
    def is_modelled(self) -> bool:
        """Whether the model is used."""
        return any(task.method == MODEL for task in self.tasks)


def plan_repair(
    regions: Iterable[Region], signal: Signal, settings: RepairSettings, model: Pipeline | None = None
) -> list[RepairJob]:
    """Return the jobs of a repair, in order of time.

    Args:
        regions: regions of the recording.
        signal: the recording.
        settings: settings of the repair.
        model: the model, if there is one.

    Raises:
        ParameterError: regions that do not fit this recording or cover all of it, channels that cannot be treated
            in this way, or no model where one is needed.
    """
    n_samples, n_channels, sample_rate = signal.n_samples, signal.n_channels, signal.sample_rate
    grid, window_cols, top_hz = (None, 0, None)
    if model is not None:
        grid, window_cols, top_hz = model.grid, model.window_cols, model_top_hz(model)
    check_channels(settings.channels, n_channels)
    checked = check_regions(regions, n_samples / sample_rate, sample_rate, n_channels)
    tasks = [
        RegionTask(region, _span(region, n_samples, sample_rate), method_for(settings, region, top_hz), number)
        for number, region in enumerate(checked)
    ]
    modelled = [task.region for task in tasks if task.method == MODEL]
    if grid is None and modelled:
        raise ParameterError(
            f"the region {modelled[0].shown()} needs a model by method {settings.method!r}, got none: load one, or "
            f"choose the method {INTERPOLATE!r}"
        )
    groups: dict[tuple[RegionTask, ...], list[int]] = {}
    for channel in range(n_channels):
        own = tuple(task for task in tasks if task.region.channels is None or channel in task.region.channels)
        if own:
            groups.setdefault(own, []).append(channel)
    jobs = []
    for own, alike in groups.items():
        for plan in _windows(own, n_samples, sample_rate, grid, window_cols):
            inside = tuple(task for task in own if any(_meets(task.span, span) for span in plan.spans))
            around = tuple(task for task in own if _meets(task.span, plan.window))
            for channels in [tuple(alike)] if settings.linked else [(channel,) for channel in alike]:
                is_mid_side = settings.channels == MID_SIDE and len(channels) == 2
                jobs.append((plan, inside, around, channels, is_mid_side))
    jobs.sort(key=lambda job: (job[0].spans[0], job[3]))
    planned = [
        RepairJob(plan.window, plan.spans, inside, around, channels, is_mid_side, number)
        for number, (plan, inside, around, channels, is_mid_side) in enumerate(jobs)
    ]
    for job in planned:
        _check_something_remains(job, n_samples, n_channels, sample_rate)
    return planned


def _check_something_remains(job: RepairJob, n_samples: int, n_channels: int, sample_rate: int) -> None:
    """Raise where regions leave nothing of a recording, or of one of its channels, as context."""
    damaged = [task.region for task in job.around]
    for task in job.tasks:
        frames = Frames.of(task.region, task.span.start, task.span.stop, 0, sample_rate)
        if not has_surroundings(frames, damaged, n_samples):
            alone = len(job.channels) < n_channels
            where = f" in channel {', '.join(map(str, job.channels))}" if alone else ""
            raise ParameterError(
                f"the region {task.region.shown()}{where} leaves nothing to repair it from: of a recording of "
                f"{n_samples / sample_rate:.6g} s, {1000 * frames.n_fft / sample_rate:.0f} ms before or after it, or a "
                "band below or above it, must remain"
            )


def _span(region: Region, n_samples: int, sample_rate: int) -> Window:
    start = min(n_samples - 1, floor(region.start_s * sample_rate + _ROUNDING))
    return Window(start, min(n_samples, max(start + 1, ceil(region.end_s * sample_rate - _ROUNDING))))


def _meets(one: Window, other: Window) -> bool:
    return one.start < other.stop and other.start < one.stop


def _windows(
    tasks: Sequence[RegionTask], n_samples: int, sample_rate: int, grid: TokenGrid | None, window_cols: int
) -> list[GapWindow]:
    spans = merged(task.span for task in tasks)
    if grid is None or all(task.method != MODEL for task in tasks):
        return [GapWindow(span, 0, (span,)) for span in spans]
    return plan_windows(spans, n_samples, sample_rate, grid, window_cols)


_CONTEXT_S = LONG_CONTEXT_S + 0.75  # around changed samples: longer than any frame with its context
_QUIET = 1e-12  # power; reported as -120 dB


class Repairing(Iterator[FilledGap]):
    """The repaired parts of a recording, in order of their starts, each computed on demand."""

    def __init__(
        self,
        decoder: Decoder,
        signal: Signal,
        settings: RepairSettings,
        jobs: Sequence[RepairJob],
        progress: Progress | None,
    ) -> None:
        self.decoder, self.signal, self.settings, self.jobs = decoder, signal, settings, jobs
        self._started, self._done = perf_counter(), list[dict[str, Any]]()
        self._pieces = self._each(progress)

    def __next__(self) -> FilledGap:
        return next(self._pieces)

    def _each(self, progress: Progress | None) -> Iterator[FilledGap]:
        for number, job in enumerate(self.jobs):
            pieces, reports = self._repaired(job, share_of(progress, number, len(self.jobs)))
            self._done += reports
            yield from pieces
        if progress is not None:
            progress(len(self.jobs), len(self.jobs))

    def report(self) -> dict[str, Any]:
        """Return the report on the repairs so far, in JSON types."""
        decoder = self.decoder
        return {
            "job": "repair",
            "model": None if decoder.model is None else decoder.model.name,
            **self.settings.told(),
            "prompted": decoder.condition is not None,
            "n_steps": plan_value(decoder.plan, "n_steps"),
            "n_forwards": decoder.n_forwards,
            "regions": sorted(self._done, key=lambda region: (region["start_s"], region["channels"])),
            "samples_changed": sum(span.length * len(job.channels) for job in self.jobs for span in job.spans),
            "timings": {
                "solve_s": round(decoder.solve_s, 3),
                "total_s": round(perf_counter() - self._started, 3),
            },
        }

    def _repaired(self, job: RepairJob, progress: Progress | None) -> tuple[list[FilledGap], list[dict[str, Any]]]:
        """Return the changed parts of a job, and a report for each region."""
        rate = self.signal.sample_rate
        origin, given = self._read(job)
        waves = given.astype(np.float64)
        before = MIX @ waves if job.mid_side else waves
        voices = before.copy()
        damaged = [task.region for task in job.around]
        frames = {task: _frames(task, origin, rate) for task in job.around}
        for task in job.around:
            add_difference(voices, frames[task], interpolated(voices, frames[task], damaged, self._noise(task, job)))
        if job.is_modelled and self.decoder.model is not None:
            self._by_model(job, origin, voices, frames, progress)
        change = voices - before
        made = waves + (UNMIX @ change if job.mid_side else change)
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
        """Return the start of a job's part of the recording, and its channels."""
        n_samples, rate = self.signal.n_samples, self.signal.sample_rate
        reach = ceil(_CONTEXT_S * rate)
        start = max(0, min(job.window.start, *(task.span.start for task in job.around)) - reach)
        stop = min(n_samples, max(job.window.stop, *(task.span.stop for task in job.around)) + reach)
        samples = read_checked(self.signal.read, start, stop, self.signal.n_channels)[list(job.channels)]
        check_finite(samples, start, rate, "around a region must be finite", "fill that gap first")
        return start, samples

    def _noise(self, task: RegionTask, job: RepairJob) -> list[np.random.Generator]:
        own = () if self.settings.linked else job.channels
        seeds = (self.settings.seed % 2**64, task.number, *own)
        return [np.random.default_rng(seeds) for _ in range(2 if job.mid_side else len(job.channels))]

    def _by_model(
        self,
        job: RepairJob,
        origin: int,
        voices: np.ndarray,
        frames: dict[RegionTask, Frames],
        progress: Progress | None,
    ) -> None:
        """Replace interpolations by the model's output, where it is used; equal voices are computed once."""
        rate, model, texture = self.signal.sample_rate, self.decoder.model, TEXTURES[self.settings.texture]
        local = slice(job.window.start - origin, job.window.stop - origin)
        duplicates = Duplicates(len(voices), linked=True)
        heard = voices[:, local].astype(np.float32)
        duplicates.part(heard)
        windows = [heard[voice] for voice in duplicates.firsts]
        made = render_windows(model, windows, rate, lambda wave: self._filled(wave, job, progress))
        made_of = dict(zip(duplicates.firsts, made, strict=True))
        generated = voices.copy()
        for voice, place in zip(generated, duplicates.places, strict=True):
            one = made_of[place]
            if texture is None:
                voice[local] = one.wave
            else:  # an interpolated wave, equalised towards the model's levels
                gains_db = band_gains_db(one.mel, one.known, model.mel, texture.share)
                voice[local] = shape(voice[local], rate, gains_db, model.mel)
        regions = [task.region for task in job.around]
        for task in job.tasks:
            if task.method == MODEL:
                made_here = generated
                if self.decoder.condition is None:  # silence stays silent, unless there is a prompt
                    silent = [masked_power(voice[None], frames[task]) < SILENCE**2 for voice in voices]
                    made_here = np.where(np.array(silent)[:, None], voices, generated)
                top_hz = model_top_hz(model)
                source = _generated(made_here, voices, frames[task], regions, top_hz, texture is None)
                add_difference(voices, frames[task], source)

    def _filled(self, wave: Wave, job: RepairJob, progress: Progress | None) -> Filled:
        """Return waves (b, t) at the model's rate with the regions of a job filled, and their mel spectrograms."""
        model, regions = self.decoder.model, [task.region for task in job.around]
        own = () if self.settings.linked else job.channels
        seeds = [derive_seed(self.settings.seed, job.number, *own)] * len(wave)

        def masks(n_frames: int) -> tuple[Mask, Bool[Tensor, "b f m"]]:
            cells = unknown_cells(regions, model.mel, n_frames, job.window.start / self.signal.sample_rate)
            return tuple(part.expand(len(wave), -1, -1) for part in (_token_mask(model, cells), cells))  # type: ignore

        made = fill_mel(self.decoder, wave, Unknown(masks, border=_BORDER), seeds, progress)
        return model.render(made.deep), made.filled, made.said, made.known

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
        if task.method == INTERPOLATE or self.decoder.model is None:
            return report
        rate, model = self.signal.sample_rate, self.decoder.model
        n_model = ceil(job.window.length * model.sample_rate / rate)
        n_frames = model.grid.n_columns(n_model) * model.grid.patch_frames
        cells = unknown_cells([region], model.mel, n_frames, job.window.start / rate)
        window_s = [job.window.start / rate, job.window.stop / rate]
        return {**report, "tokens": int(_token_mask(model, cells).sum()), "window_s": window_s}


def model_top_hz(pipeline: Pipeline) -> float:
    """Return the upper limit of the model's input and output in Hz."""
    return _TOP_SHARE * min(pipeline.mel.f_max, pipeline.sample_rate / 2)


def _token_mask(pipeline: Pipeline, unknown: Bool[Tensor, "f m"]) -> Bool[Tensor, "r w"]:
    """Return the mask of tokens with unknown cells."""
    rows, columns = pipeline.grid.patch_mels, pipeline.grid.patch_frames
    return unknown.unflatten(0, (-1, rows)).unflatten(2, (-1, columns)).any(dim=3).any(dim=1)


def _frames(task: RegionTask, origin: int, sample_rate: int) -> Frames:
    return Frames.of(task.region, task.span.start - origin, task.span.stop - origin, origin, sample_rate)


def _level_db(power: float) -> float:
    return round(float(10 * np.log10(2 * power + _QUIET)), 2)


def _generated(
    generated: np.ndarray,
    voices: np.ndarray,
    frames: Frames,
    regions: Sequence[Any],
    top_hz: float,
    match_level: bool,
) -> Source:
    """Return the model's output for a region, matched in level to its context; above its band nothing changes."""
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


def repair(
    model: Walk | None,
    samples: np.ndarray | Tensor,
    sample_rate: int,
    regions: Iterable[Region] | str,
    settings: RepairSettings | None = None,
    *,
    progress: Progress | None = None,
    **changes: Any,
) -> Restored:
    """Return a recording with regions of time and frequency replaced by audio that fits their context.

    No sample outside the regions' times is changed. During them, the change has hardly any energy
    outside their bands.

    A region need not be damaged: with a prompt, the model replaces its content by what the text describes::

        repair(model, samples, sample_rate, "2-5,100-8000", prompt="a dog barking", texture="model")

    Args:
        model: the model; None if no region needs it.
        samples: (channels, t), an array or a tensor, full scale 1, of any rate and length.
        sample_rate: sampling rate in Hz.
        regions: regions, at least one, as ``Region`` or as a text such as "1.2-1.5,3000-6000"; they may overlap.
        settings: settings of the repair.
        progress: called with (steps done, steps in total).
        **changes: fields of ``RepairSettings`` to change.

    Raises:
        ParameterError: regions that do not fit this recording or leave no context, several prompts,
            an unknown name, or no model where one is needed.
        AudioError: samples around a region that are not finite.
    """
    made, wave = RepairSettings.of(settings, changes), as_channels(samples, sample_rate, finite=False)
    listed = parse_regions(regions) if isinstance(regions, str) else regions
    repairing = repair_pieces(model, Signal.of(wave, sample_rate), listed, made, progress=progress)
    return Restored(put_into(wave, repairing), sample_rate, repairing.report())


def repair_pieces(
    model: Walk | None,
    signal: Signal,
    regions: Iterable[Region],
    settings: RepairSettings | None = None,
    *,
    progress: Progress | None = None,
    later: Callable[[], Walk] | None = None,
    **changes: Any,
) -> Repairing:
    """Return the repaired parts of a recording one by one: for files of any length.

    Only the audio around the regions is read, when it is needed: memory grows with the longest of them.

    Args:
        model: the model; None if no region needs it, or it comes from ``later``.
        signal: the recording.
        regions: regions, at least one.
        settings: settings of the repair.
        progress: called with (steps done, steps in total).
        later: function that returns the model, called if it is needed.
        **changes: fields of ``RepairSettings`` to change.

    Returns:
        An iterator of ``FilledGap``; its ``report()`` is on the regions so far.

    Raises:
        ParameterError: see ``repair``.
        AudioError: see ``repair``; raised when the region is reached.
    """
    made = RepairSettings.of(settings, changes)
    checked_call("progress", progress)
    regions = check_regions(regions)
    if made.prompt is not None and made.method == AUTO:
        made = replace(made, method=MODEL)  # only the model supports prompts
    if model is None and later is not None and any(method_for(made, one, None) == MODEL for one in regions):
        check_regions(regions, signal.duration_s, signal.sample_rate, signal.n_channels)
        model = later()
    if model is not None:
        check_job(model, "repair")
    jobs = plan_repair(regions, signal, made, cast(Pipeline | None, model))  # whose family was checked
    return Repairing(Decoder.of(model, "inpaint", made, "repaired"), signal, made, jobs, progress)
