"""Gap filling: every sample outside the gaps is unchanged.

The steps for a gap, from the recording and back to it::

    plan = plan_gaps(gaps, ...)                                     gap_plan: tasks, and windows around them
    for each gap or window, in order of time:                       Inpainting
        part = surroundings.known(window)                           surroundings: read, gaps erased
        by a classical method:
            fill = surroundings.classical(...) or .searched(...)    classical
        by the model:
            wave = prefilled(part)                                  _context
            mel, tokens -> solver -> mel, wave                      _filled_columns, render.fill_mel
            fill = generated_fill(part, wave or texture)            seams: lag, level, phase, edges
        piece = filled_gap(part, fill)                              seams: limiter, report
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from heapq import heappop, heappush
from math import ceil
from time import perf_counter
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor

from masktools.classical import SEARCHES
from masktools.classical.fills import high_pass
from masktools.core.arguments import checked_call
from masktools.core.arrays import as_channels
from masktools.core.errors import ParameterError
from masktools.core.gaps import GapLike
from masktools.core.settings import AUTO, MODEL, GapSettings
from masktools.core.shapes import Mask, Wave, Window
from masktools.pipeline import Pipeline, Progress, Walk
from masktools.pipeline.hub import plan_for
from masktools.restoration.gap_plan import (
    BLEND,
    SEARCH,
    GapPlan,
    GapTask,
    Part,
    Surroundings,
    WindowJob,
    channel_spans,
    first_start,
    hidden_in,
    merged,
    plan_gaps,
    wanted_gaps,
)
from masktools.restoration.recordings import (
    FilledGap,
    Restored,
    Signal,
    check_channels,
    put_into,
    untouched,
)
from masktools.restoration.render import (
    TEXTURES,
    Decoder,
    Filled,
    Rendering,
    Unknown,
    fill_mel,
    render_windows,
    shaped_by_mel,
)
from masktools.restoration.seams import (
    FULL_BAND_HZ,
    SHOULDER_S,
    SILENCE,
    better_noise,
    faded,
    filled_gap,
    generated_fill,
    is_silent,
    mel_fit_db,
    noise_above,
    prefilled,
    shoulder_samples,
    sides_of,
)
from masktools.solver import Plan, candidate_seeds, derive_seed, plan_value

LaterModel = Callable[[], tuple[Walk, Plan]]
"""Function that loads a model, and returns it with its decoding settings."""

_CONTEXT_S = 0.25  # of known audio around a gap, for the comparison with fills, and beyond a window
_RESAMPLED_SHARE = 0.96  # of the model's band that is left after resampling to a higher rate
_STEPS = 1000  # of progress, for each gap


def inpaint(
    model: Walk | None,
    samples: np.ndarray | Tensor,
    sample_rate: int,
    gaps: Iterable[GapLike] | str = AUTO,
    settings: GapSettings | None = None,
    *,
    progress: Progress | None = None,
    **changes: Any,
) -> Restored:
    """Return a recording with its gaps filled; no sample outside them is changed, and none inside them is read.

    Args:
        model: the model; None if no gap needs it.
        samples: (channels, t), an array or a tensor, full scale 1, of any rate and length; samples in the gaps may be
            anything, even NaN.
        sample_rate: sampling rate in Hz.
        gaps: (start, end) in seconds, or ``Gap`` if only some channels are damaged; a text such as
            "1.20-1.55,3-3.2"; or "auto" for detection.
        settings: settings of the filling.
        progress: called with (steps done, steps in total).
        **changes: fields of ``GapSettings`` to change.

    Raises:
        ParameterError: gaps that do not fit this recording or are too long, several prompts, a value out of its range,
            an unknown name, or no model where one is needed.
        AudioError: samples beside a gap that are not finite.

    Source: SpecMaskGIT (arXiv:2406.17672), section 4.3.
    """
    made, wave = GapSettings.of(settings, changes), as_channels(samples, sample_rate, finite=False)
    signal = Signal.of(wave, sample_rate)
    check_channels(made.channels, signal.n_channels)
    if model is not None:
        plan_for(model, "inpaint", made)  # errors are raised whatever is detected
    checked_call("progress", progress)
    wanted = wanted_gaps(signal, gaps, made)
    if not wanted:
        report = {"job": "inpaint", "model": None if model is None else model.name, "seed": made.seed, "gaps": []}
        return untouched(model, wave, sample_rate, made.prompt, report)
    filling = inpaint_pieces(model, signal, wanted, made, progress=progress)
    return Restored(put_into(wave, filling), sample_rate, filling.report())


def inpaint_pieces(
    model: Walk | None,
    signal: Signal,
    gaps: Iterable[GapLike],
    settings: GapSettings | None = None,
    *,
    n_ranks: int = 1,
    progress: Progress | None = None,
    later: Callable[[], Walk] | None = None,
    **changes: Any,
) -> "Inpainting":
    """Return the filled gaps of a recording one by one, in order of time: for files of any length.

    Only the audio around the gaps is read, when it is needed; where the recording is searched, it is read
    once as a whole.

    Args:
        model: the model; None if no gap needs it, or it comes from ``later``.
        signal: the recording; samples in the gaps may be anything, even NaN.
        gaps: gaps as for ``inpaint``, but no text.
        settings: settings of the filling.
        n_ranks: number of fills of each gap that are kept for ``Inpainting.ranked``, at most ``n_candidates``.
        progress: called with (steps done, steps in total).
        later: function that returns the model, called when a gap or a prompt needs it.
        **changes: fields of ``GapSettings`` to change.

    Returns:
        An iterator of ``FilledGap``; its ``report()`` is on the gaps so far.

    Raises:
        ParameterError: see ``inpaint``.
        AudioError: see ``inpaint``; raised when the gap is reached.
    """
    made = GapSettings.of(settings, changes)
    checked_call("progress", progress)
    plan = plan_gaps(gaps, signal.n_samples, signal.n_channels, signal.sample_rate, made)
    if not 1 <= n_ranks <= made.n_candidates:
        raise ParameterError(f"n_ranks must lie in [1, {made.n_candidates}], the candidates, got {n_ranks}")
    modelled = next((task.span for task in plan.tasks if task.by_model), None)
    if model is None and modelled is not None:
        if later is None:
            raise ParameterError(
                f"a gap of {modelled.length / signal.sample_rate:.6g} s at {modelled.start / signal.sample_rate:.6g} s "
                f"needs a model by method {made.method!r}, got none: load one, or choose a classical method"
            )
        model = None if made.prompt is None else later()
    others = channel_spans(signal.damaged, signal.n_samples, signal.n_channels, signal.sample_rate)
    hidden = [merged([*own, *more]) for own, more in zip(plan.hidden, others, strict=True)]
    decoder = Decoder.of(model, "inpaint", made, "filled")
    surroundings = Surroundings(signal.read, signal.n_samples, signal.n_channels, signal.sample_rate, hidden)
    loads = None if later is None else lambda: (walk := later(), plan_for(walk, "inpaint", made))
    return Inpainting(decoder, surroundings, plan, made, n_ranks, progress, loads)


@dataclass(frozen=True, eq=False)
class WindowItem:
    """One input of the model: a window of one voice, or of several that are equal there."""

    voices: tuple[int, ...]
    samples: np.ndarray  # (t,) float32
    hidden: tuple[Window, ...]  # gaps, in samples of the window
    seed: int


@dataclass(frozen=True, eq=False)
class WindowContext:
    """A window with its context, as input of the model."""

    job: WindowJob
    part: Part  # the window with some audio around it
    window: Window  # in samples of the part
    grain: np.ndarray | None  # (voices, t) the part with its gaps filled classically, if the texture needs it
    candidates: tuple[tuple[WindowItem, ...], ...]  # for each candidate: windows to render, equal voices once

    @property
    def items(self) -> list[WindowItem]:
        """All windows to render, candidate by candidate."""
        return [item for items in self.candidates for item in items]


class Inpainting(Iterator[FilledGap]):
    """The filled gaps of a recording, in order of time, each computed on demand.

    A result depends neither on the size of batches nor on the other gaps of the run, except for the index of
    a gap in its recording, which is part of its seed.
    """

    def __init__(
        self,
        decoder: Decoder,
        surroundings: Surroundings,
        plan: GapPlan,
        settings: GapSettings,
        n_ranks: int = 1,
        progress: Progress | None = None,
        later: LaterModel | None = None,
    ) -> None:
        """Prepare the filling.

        Args:
            decoder: the model; without one if no task needs it, or it is loaded later.
            surroundings: reader of the recording.
            plan: gaps of the recording.
            settings: settings of the filling.
            n_ranks: number of fills of each gap from ``ranked``.
            progress: called with (steps done, steps in total).
            later: function that returns the model and its decoding settings, called when a gap needs it.
        """
        self.decoder, self.surroundings, self.plan, self.settings = decoder, surroundings, plan, settings
        self.n_ranks, self.progress, self._later = n_ranks, progress, later
        self._searches = settings.searches_first and decoder.condition is None
        self._n_done, self._started = 0, perf_counter()
        self._n_in_all = len(plan.tasks) * (2 if self._searches else 1)  # searched, and filled
        self._filled: list[dict[str, Any]] = []
        self._ranked = self._in_order()

    def __next__(self) -> FilledGap:
        return next(self._ranked)[0]

    def ranked(self) -> Iterator[list[FilledGap]]:
        """Yield the fills of each gap, the best first; a single fill is repeated for every rank."""
        yield from self._ranked

    def report(self) -> dict[str, Any]:
        """Return the report on the gaps so far, in JSON types."""
        decoder = self.decoder
        return {
            "job": "inpaint",
            "model": None if decoder.model is None else decoder.model.name,
            **self.settings.told(),
            "prompted": decoder.condition is not None,
            "n_steps": plan_value(decoder.plan, "n_steps"),
            "n_forwards": decoder.n_forwards,
            "gaps": list(self._filled),
            "samples_changed": self.plan.n_samples_changed,
            "timings": {"solve_s": round(decoder.solve_s, 3), "total_s": round(perf_counter() - self._started, 3)},
        }

    def _in_order(self) -> Iterator[list[FilledGap]]:
        """Yield the fills of each gap in order of time, however windows overlap."""
        waiting: list[tuple[int, tuple[int, ...], list[FilledGap]]] = []
        for fills, next_start in self._as_computed(list(self._settled())):
            for ranked in fills:
                heappush(waiting, (ranked[0].start, ranked[0].channels, ranked))
            while waiting and (next_start is None or waiting[0][:2] < next_start):
                ranked = heappop(waiting)[2]
                self._filled.append(ranked[0].report)
                yield ranked

    def _settled(self) -> Iterator[GapTask | WindowJob]:
        """Yield the tasks, after deciding which of the model's gaps the recording itself can fill."""
        tasks, notes = list(self.plan.tasks), {}
        for number, task in enumerate(tasks if self._searches else ()):
            if task.method == MODEL:
                part = self._beside(task)
                reason = "" if is_silent(part, part.local(task.span)) else self.surroundings.why_not(task)
                if reason:
                    confidence = self.surroundings.found(task).confidence
                    notes[task] = {"confidence": confidence, "why_not_searched": reason}
                else:
                    tasks[number] = replace(task, method=SEARCH)
            self._step(1)
        if self.decoder.model is None and self._later is not None and any(task.by_model for task in tasks):
            self.decoder.model, self.decoder.plan = self._later()
        model, around = self.decoder.model, self.surroundings
        grid, window_cols = (None, 0) if model is None else (model.grid, model.window_cols)
        for work in replace(self.plan, tasks=tuple(tasks)).work(
            around.n_samples, around.sample_rate, grid, window_cols
        ):
            if isinstance(work, WindowJob):
                work = replace(work, notes={task.span: notes.get(task, {}) for task in work.tasks})
            yield work

    def _as_computed(
        self, works: Sequence[GapTask | WindowJob]
    ) -> Iterator[tuple[list[list[FilledGap]], tuple[int, tuple[int, ...]] | None]]:
        """Yield fills as they are computed, with the start of the first gap that is still to come."""
        waiting: list[WindowContext] = []
        for number, work in enumerate(works):
            following = works[number + 1] if number + 1 < len(works) else None
            fills = []
            if isinstance(work, GapTask):
                fills.append(self._classical(work))
                self._step(1)
            else:
                waiting.append(self._context(work))
            if waiting and (following is None or self._is_enough(waiting, following)):
                fills += self._modelled(waiting)
                waiting = []
            next_work = waiting[0].job if waiting else following
            yield fills, None if next_work is None else first_start(next_work)

    def _is_enough(self, waiting: Sequence[WindowContext], following: GapTask | WindowJob) -> bool:
        """Return whether windows make up a batch, or the next one has another length."""
        n_items = sum(len(context.items) for context in waiting)
        another = isinstance(following, WindowJob) and following.plan.n_cols != waiting[0].job.plan.n_cols
        return another or n_items >= self._batch_size()

    def _batch_size(self) -> int:
        """Return the batch size: on a CPU one, so that the order of sums does not change."""
        model = self.decoder.model
        return 1 if model is None or model.device.type == "cpu" else model.batch_size

    def _classical(self, task: GapTask) -> list[FilledGap]:
        """Return the fills of a gap by a classical method, one for each rank."""
        part = self._beside(task)
        local, told = part.local(task.span), {"method": task.method, "seed": self.settings.seed, "lag_s": 0.0}
        if is_silent(part, local):
            silence = np.zeros((len(part.samples), task.span.length))
            return [filled_gap(part, task, silence, **{**told, "method": "silence"})] * self.n_ranks
        seeds = self.settings.seeds_for(task.number, task.channels)
        if task.method not in SEARCHES:
            voices = faded(self.surroundings.classical(task.method, task, seeds), part, local)
            return [filled_gap(part, task, voices, **told)] * self.n_ranks
        fills, found = self.surroundings.searched(task.method, task, seeds, self.n_ranks)
        rate, made = self.surroundings.sample_rate, []
        for rank, fill in enumerate(fills):
            told |= {
                "grain": fill.grain,
                "source_s": None if fill.lag is None else [(edge + fill.lag) / rate for edge in task.span],
                "lag_s": (fill.lag or 0) / rate,
                "likeness": fill.likeness,
                "confidence": found.confidence,
                "rank": rank,
            }
            made.append(filled_gap(part, task, faded(fill.samples, part, local), **told))
        return [made[min(rank, len(made) - 1)] for rank in range(self.n_ranks)]

    def _beside(self, task: GapTask) -> Part:
        reach = ceil(_CONTEXT_S * self.surroundings.sample_rate)
        return self.surroundings.known(Window(task.span.start - reach, task.span.stop + reach), task)

    def _context(self, job: WindowJob) -> WindowContext:
        """Return the model's input for a window; linked voices that are equal there are computed once."""
        first, settings, rate = job.tasks[0], self.settings, self.surroundings.sample_rate
        reach = ceil(_CONTEXT_S * rate)
        wide = Window(job.plan.window.start - reach, job.plan.window.stop + reach)
        part = self.surroundings.known(wide, first).centred()
        window = part.local(job.plan.window)
        given = part.samples[:, window.start : window.stop]
        if not settings.leak_free:
            given = self.surroundings.everything(job.plan.window, first)
        own: list[WindowItem] = []
        seed = derive_seed(settings.seed, job.number, *(() if settings.linked else first.channels))
        for voice, wave in enumerate(given):
            hidden = tuple(hidden_in(window, part.hidden[voice]))
            heard = prefilled(wave, hidden, rate) if settings.leak_free else wave.astype(np.float32)
            same = (n for n, one in enumerate(own) if one.hidden == hidden and np.array_equal(one.samples, heard))
            place = next(same, None)
            if place is None:
                own.append(WindowItem((voice,), heard, hidden, seed))
            else:
                own[place] = replace(own[place], voices=(*own[place].voices, voice))
        seeds = candidate_seeds(seed, settings.n_candidates)
        candidates = tuple(tuple(replace(item, seed=one) for item in own) for one in seeds)
        return WindowContext(job, part, window, self._grain(job, part), candidates)

    def _grain(self, job: WindowJob, part: Part) -> np.ndarray | None:
        """Return the part (voices, t) with the gaps of the window filled by the texture's classical method."""
        texture = TEXTURES[self.settings.texture]
        if texture is None:
            return None
        grain = part.samples.copy()
        for task in job.tasks:
            span = part.local(task.span)
            seeds = self.settings.seeds_for(task.number, task.channels)
            grain[:, span.start : span.stop] = self.surroundings.classical(texture.gap, task, seeds) - part.offset
        return grain

    def _modelled(self, waiting: Sequence[WindowContext]) -> list[list[FilledGap]]:
        """Return the fills of the gaps of some windows with the same number of columns."""
        model, rate = self.decoder.model, self.surroundings.sample_rate
        if model is None:
            raise ParameterError("gaps of this length need a model, got none: load one, or choose a classical method")
        items, n_cols = [item for context in waiting for item in context.items], waiting[0].job.plan.n_cols
        n_tasks, size = sum(len(context.job.tasks) for context in waiting), self._batch_size()
        renderings: list[Rendering] = []
        for start in range(0, len(items), size):
            batch = items[start : start + size]
            progress = self._share(n_tasks, start / len(items), len(batch) / len(items))
            fill = partial(self._filled_columns, batch, n_cols, progress)
            renderings += render_windows(model, [item.samples for item in batch], rate, fill)
        fills: list[list[FilledGap]] = []
        for context in waiting:
            own, renderings = renderings[: len(context.items)], renderings[len(context.items) :]
            fills += self._fills_of(context, own)
        self._step(n_tasks)
        return fills

    def _filled_columns(
        self, items: Sequence[WindowItem], n_cols: int, progress: Progress | None, wave: Wave
    ) -> Filled:
        """Return waves (b, t) at the model's rate with their gaps filled, and their mel spectrograms."""
        model, rates = self.decoder.model, (self.surroundings.sample_rate, self.decoder.model.sample_rate)
        hidden, seeds = [_at_rate(item.hidden, *rates) for item in items], [item.seed for item in items]
        if model.shape.has_bands:  # outside the gaps, cells of the mel spectrogram are known
            unknown = Unknown(partial(column_masks, model, hidden), n_cols, erase=False)
            made = fill_mel(self.decoder, wave, unknown, seeds, progress)
            return model.render(made.deep), made.filled, made.said, made.known
        tokens = model.encode(wave)  # token columns that are no bands: the whole wave is decoded
        mask = _columns(model, hidden, tokens.shape[-1])[:, None].repeat(1, tokens.shape[1], 1)
        decoded = model.decode(self.decoder.fill(tokens, mask, seeds, Unknown.overlap_share, progress), wave.shape[-1])
        mel = model.to_mel(decoded)
        return decoded, mel, mel, model.to_mel(wave)

    def _fills_of(self, context: WindowContext, renderings: Sequence[Rendering]) -> list[list[FilledGap]]:
        """Return the fills of each task of a window, the best ``n_ranks`` first, from the renderings of its items."""
        first, rendered = context.candidates[0], []
        for start in range(0, len(renderings), len(first)):
            own = renderings[start : start + len(first)]
            of_voice = {voice: one for item, one in zip(first, own, strict=True) for voice in item.voices}
            rendered.append([of_voice[voice] for voice in sorted(of_voice)])
        filled = []
        for task in context.job.tasks:
            fits_db = [self._fit_db(context, task, voices) for voices in rendered]
            order = sorted(range(len(fits_db)), key=lambda number: (fits_db[number], number))
            seeds = [context.candidates[number][0].seed for number in order]
            table = [
                {"seed": seed, "fit_db": round(fits_db[number], 3)} for seed, number in zip(seeds, order, strict=True)
            ]
            ranked = enumerate(order[: self.n_ranks])
            filled.append([self._joined(context, task, rendered[number], table, rank) for rank, number in ranked])
        return filled

    def _fit_db(self, context: WindowContext, task: GapTask, voices: Sequence[Rendering]) -> float:
        """Return the distance in dB between the decoded and the known frames beside a gap."""
        rate, config = context.part.sample_rate, self.decoder.model.mel
        frame_s = config.hop_length / config.sample_rate
        margin_s = config.margin / config.sample_rate  # context of a frame, before and after its hop
        fits = []
        for voice, rendering in enumerate(voices):
            frames: list[int] = []
            for side in sides_of(context.part, voice, context.part.local(task.span)):
                start_s, stop_s = ((edge - context.window.start) / rate for edge in side)
                first, last = ceil((start_s + margin_s) / frame_s), int((stop_s - margin_s) / frame_s)
                frames += [frame for frame in range(max(0, first), last) if frame < rendering.mel.shape[1]]
            fits.append(mel_fit_db(rendering.said, rendering.known, frames, config))
        return float(np.mean(fits))

    def _joined(
        self, context: WindowContext, task: GapTask, voices: Sequence[Rendering], table: list[dict[str, Any]], rank: int
    ) -> FilledGap:
        """Return the filled gap of a task, with its rendering aligned to the known audio beside it."""
        part, rate, settings = context.part, context.part.sample_rate, self.settings
        span = part.local(task.span)
        waves = np.zeros(part.samples.shape)
        for wave, rendering in zip(waves, voices, strict=True):
            wave[context.window.start : context.window.stop] = rendering.wave
        method = "burg+model" if task.method == BLEND else MODEL
        seeds = settings.seeds_for(task.number, task.channels)
        core = better_noise(part, span, waves, seeds) if task.method == BLEND else None
        texture, above = TEXTURES[settings.texture], None
        if core is not None:
            waves, method = core, "burg+spectral_noise"
        elif texture is not None and context.grain is not None:
            for voice, rendering in enumerate(voices):
                self._give_grain(context, waves[voice], context.grain[voice], rendering.mel, span)
        elif rate >= FULL_BAND_HZ:
            above = noise_above(part, span, shoulder_samples(part), self._top_hz, seeds)
        is_vocoded = core is None and texture is None
        bridge = settings.method == AUTO  # may use linear prediction as far as it goes
        notes = context.job.notes.get(task.span, {})
        levels = self.surroundings.levels(task) if notes else None
        max_db = settings.match_level_db
        fill = generated_fill(
            part, span, waves, max_db, match_lag=is_vocoded, bridge=bridge, above=above, levels=levels
        )
        return filled_gap(
            part,
            task,
            fill.voices,
            method=method,
            seed=table[rank]["seed"],
            lag_s=fill.lag / rate,
            gains_db=[[round(gain_db, 2) for gain_db in ends] for ends in fill.gains_db],
            window_s=[context.job.plan.window.start / rate, context.job.plan.window.stop / rate],
            candidates=table,
            rank=rank,
            **notes,
        )

    def _give_grain(
        self, context: WindowContext, wave: np.ndarray, grain: np.ndarray, mel: np.ndarray, span: Window
    ) -> None:
        """Put the classical fill into the gap of a wave (t,) of a part, moved towards the model's mel (f, m).

        Where the classical fill is silent the wave is unchanged.
        """
        window, rate, texture = context.window, context.part.sample_rate, TEXTURES[self.settings.texture]
        start, stop = span.start - window.start, span.stop - window.start
        own = grain[window.start : window.stop].astype(np.float32)
        if texture is None or not np.any(np.abs(own[start:stop]) > SILENCE):
            return
        shaped = shaped_by_mel(self.decoder.model, own, rate, mel, texture.share)
        if rate >= FULL_BAND_HZ:  # above its band the model has no levels
            shaped += high_pass(own - shaped, rate, self._top_hz)
        reach = ceil(SHOULDER_S * rate)  # the shoulders are compared with the known audio
        first, last = max(0, start - reach), min(len(own), stop + reach)
        wave[window.start + first : window.start + last] = shaped[first:last]

    @property
    def _top_hz(self) -> float:
        """Upper limit of the model's rendered band at higher rates."""
        model = self.decoder.model
        return min(model.mel.f_max, _RESAMPLED_SHARE * model.sample_rate / 2)

    def _share(self, n_tasks: int, before: float, share: float) -> Progress | None:
        """Return the callback for a share of the next n_tasks gaps."""
        progress, done_before, total = self.progress, self._n_done, self._n_in_all
        if progress is None:
            return None
        return lambda done, of: progress(
            round(_STEPS * (done_before + n_tasks * (before + share * done / max(1, of)))), _STEPS * total
        )

    def _step(self, n_tasks: int) -> None:
        self._n_done += n_tasks
        if self.progress is not None:
            self.progress(_STEPS * self._n_done, _STEPS * self._n_in_all)


def column_masks(
    model: Pipeline, hidden: Sequence[Sequence[Window]], n_frames: int
) -> tuple[Mask, Bool[Tensor, "b f m"]]:
    """Return the masks of tokens whose columns overlap a gap, and of mel cells whose analysis window does.

    Args:
        model: the model.
        hidden: the gaps of each window, in samples at the model's rate.
        n_frames: number of frames in the windows.
    """
    mask = _columns(model, hidden, n_frames // model.grid.patch_frames)[:, None].repeat(1, model.grid.n_rows, 1)
    first = torch.arange(n_frames) * model.mel.hop_length - model.mel.margin
    frames = torch.zeros(len(hidden), 1, n_frames, dtype=torch.bool)
    for own, spans in zip(frames, hidden, strict=True):
        for span in spans:
            own |= (first < span.stop) & (first + model.mel.n_fft > span.start)
    return mask, frames & model.cells(mask)


def _columns(model: Walk, hidden: Sequence[Sequence[Window]], n_cols: int) -> Bool[Tensor, "b w"]:
    """Return the masks of columns that overlap gaps, and of those whose tokens depend on them."""
    columns = torch.zeros(len(hidden), n_cols, dtype=torch.bool)
    reach, samples = model.shape.reach_cols, model.shape.column_samples
    for own, spans in zip(columns, hidden, strict=True):
        for span in spans:
            own[max(0, span.start // samples - reach) : model.grid.n_columns(span.stop) + reach] = True
    return columns


def _at_rate(hidden: Sequence[Window], sample_rate: int, rate: int) -> list[Window]:
    """Return gaps in samples at the model's rate, rounded outwards."""
    return [Window(start * rate // sample_rate, -(-stop * rate // sample_rate)) for start, stop in hidden]
