"""Gaps in a recording, filled: everything outside them stays as it was, sample for sample."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from heapq import heappop, heappush
from math import ceil
from time import perf_counter
from typing import Any

import numpy as np
from torch import Tensor

from masktools.arguments import checked_call, plain, shown
from masktools.arrays import as_channels
from masktools.classical import SEARCHES
from masktools.classical.search import Copy
from masktools.classical.similarity import Found
from masktools.conditioning import Prompts
from masktools.detection import find_damage
from masktools.errors import ParameterError
from masktools.gaps import Gap, GapLike, as_gap, parse_gaps
from masktools.pipeline import Progress, Walk
from masktools.restoration.gap_plan import (
    BLEND,
    MODEL,
    SEARCH,
    GapPlan,
    GapSettings,
    GapTask,
    WindowJob,
    first_start,
    plan_gaps,
)
from masktools.restoration.recordings import Restored
from masktools.restoration.seams import FilledGap, faded, filled_gap, is_silent
from masktools.restoration.surroundings import Part, Reader, Surroundings
from masktools.restoration.window_filling import HeardWindow, Rendering, fill_window, hear_window, render_items
from masktools.segments import Window
from masktools.solver import Plan, SolverConfig, plan_value


def which_gaps(samples: np.ndarray, sample_rate: int, gaps: Iterable[GapLike] | str, max_gap_s: float) -> list[GapLike]:
    """Return gaps that were given or written down or, with "auto", that are found.

    Args:
        samples: (channels, t).
        sample_rate: in Hz.
        gaps: gaps in seconds, a text such as "1.20-1.55,3-3.2", or "auto".
        max_gap_s: longer ones are not found.

    Raises:
        ParameterError: what is no gap, or a text that tells none.
    """
    gaps = plain(gaps)
    if not isinstance(gaps, str):
        if not isinstance(gaps, Iterable):
            raise ParameterError(f"gaps must be auto, a text or a list of (start, end) in seconds, got {shown(gaps)}")
        return [as_gap(gap) for gap in gaps]
    if gaps != "auto":
        return list(parse_gaps(gaps))
    found = find_damage(samples, sample_rate, max_gap_s=max_gap_s)
    return [Gap(one.start / sample_rate, one.stop / sample_rate, one.channels) for one in found]


LaterModel = Callable[[], tuple[Walk, Plan]]
"""Loads a model, and says how it decodes."""

_CONTEXT_S = 0.25  # known audio around a gap, with which a fill is compared
_STEPS = 1000  # of progress, for each gap


class GapFilling(Iterator[FilledGap]):
    """The filled gaps of a recording, in order of time, each computed when it is asked for.

    A result depends neither on the size of batches nor on what else is filled in the same run, but for the number of
    a gap in its recording, which is part of its seed.
    """

    def __init__(
        self,
        pipeline: Walk | None,
        surroundings: Surroundings,
        plan: GapPlan,
        settings: GapSettings,
        solver: Plan = SolverConfig(),
        condition: Tensor | None = None,
        n_ranks: int = 1,
        progress: Progress | None = None,
        later: LaterModel | None = None,
    ) -> None:
        """Prepare the work.

        Args:
            pipeline: the model; None where no task needs one, or it is to be loaded later.
            surroundings: the recording.
            plan: its gaps.
            settings: of the filling.
            solver: settings of the decoding.
            condition: what to hear in the gaps, (1, d); None for anything.
            n_ranks: how many fills of each gap ``ranked`` gives.
            progress: called with (steps done, steps in all).
            later: gives the model and its decoding as soon as a gap is left to it; without a pipeline.

        Raises:
            ParameterError: a task needs a model, and there is none.
        """
        self.pipeline, self.surroundings, self.plan, self.settings = pipeline, surroundings, plan, settings
        self.solver, self.condition, self.n_ranks, self.progress = solver, condition, n_ranks, progress
        self._later, self._searches = later, settings.searches_first and condition is None
        self._n_done, self._n_forwards, self._solve_s, self._started = 0, 0, 0.0, perf_counter()
        self._filled: list[dict[str, Any]] = []
        self._ranked = self._in_order()

    def __next__(self) -> FilledGap:
        return next(self._ranked)[0]

    def ranked(self) -> Iterator[list[FilledGap]]:
        """Yield for each gap its fills, the one that fits best first; what has but one fill has it in every rank."""
        yield from self._ranked

    def report(self) -> dict[str, Any]:
        """Return what has been done so far, in what JSON has."""
        return {
            "job": "inpaint",
            "model": None if self.pipeline is None else self.pipeline.name,
            "seed": self.settings.seed,
            "method": self.settings.method,
            "prompted": self.condition is not None,
            "leak_free": self.settings.leak_free,
            "texture": self.settings.texture,
            "channels": self.settings.channels,
            "n_candidates": self.settings.n_candidates,
            "n_steps": plan_value(self.solver, "n_steps"),
            "n_forwards": self._n_forwards,
            "gaps": list(self._filled),
            "samples_changed": self.plan.n_samples_changed,
            "timings": {"solve_s": round(self._solve_s, 3), "total_s": round(perf_counter() - self._started, 3)},
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
        """Yield the work, after it was found out which gaps of the model's the recording itself can fill."""
        tasks, notes = list(self.plan.tasks), {}
        for number, task in enumerate(tasks if self._searches else ()):
            if task.method == MODEL:
                part = self._beside(task)
                found = None if is_silent(part, part.local(task.span)) else self.surroundings.found(task)
                if found is None or found.is_alike:
                    tasks[number] = replace(task, method=SEARCH)
                else:
                    reason = "nothing in the recording is alike" if found.places else "no other place is known"
                    notes[task] = {"confidence": found.confidence, "why_not_searched": reason}
            self._step(1)
        if self.pipeline is None and self._later is not None and any(task.method in (MODEL, BLEND) for task in tasks):
            self.pipeline, self.solver = self._later()
        grid, window_cols = (None, 0) if self.pipeline is None else (self.pipeline.grid, self.pipeline.window_cols)
        size = self.surroundings.n_samples, self.surroundings.sample_rate
        for work in replace(self.plan, tasks=tuple(tasks)).work(*size, grid, window_cols):
            of_work = {} if isinstance(work, GapTask) else {task.span: notes.get(task, {}) for task in work.tasks}
            yield replace(work, notes=of_work) if isinstance(work, WindowJob) else work

    def _as_computed(
        self, works: Sequence[GapTask | WindowJob]
    ) -> Iterator[tuple[list[list[FilledGap]], tuple[int, tuple[int, ...]] | None]]:
        """Yield fills as they come, and where the first of those begins that are still to come."""
        waiting: list[HeardWindow] = []
        for number, work in enumerate(works):
            following = first_start(works[number + 1]) if number + 1 < len(works) else None
            fills = []
            if isinstance(work, GapTask):
                fills.append(self._classical(work))
                self._step(1)
            else:
                waiting.append(hear_window(self.surroundings, work, self.settings))
            if waiting and (following is None or self._is_enough(waiting, works[number + 1])):
                fills += self._modelled(waiting)
                waiting = []
            yield fills, first_start(waiting[0].job) if waiting else following

    def _is_enough(self, waiting: Sequence[HeardWindow], following: GapTask | WindowJob) -> bool:
        """Return whether windows fill a batch, or the next one is of another length."""
        n_items = sum(len(heard.items) for heard in waiting)
        another = isinstance(following, WindowJob) and following.plan.n_cols != waiting[0].job.plan.n_cols
        return another or n_items >= self._batch_size()

    def _batch_size(self) -> int:
        """Return how many items are rendered at once: on a CPU one, so that no sum is taken in another order."""
        if self.pipeline is None or self.pipeline.device.type == "cpu":
            return 1
        return self.pipeline.batch_size

    def _classical(self, task: GapTask) -> list[FilledGap]:
        """Return the fills of a gap by a classical method, in every rank."""
        part = self._beside(task)
        if is_silent(part, part.local(task.span)):
            silence = np.zeros((len(part.samples), task.span.length))
            told = {"method": "silence", "seed": self.settings.seed, "lag_s": 0.0}
            return [filled_gap(part, task, silence, **told)] * self.n_ranks
        seeds = self.settings.seeds_for(task.number, task.channels)
        if task.method in SEARCHES:
            return self._from_elsewhere(task, part, *self.surroundings.searched(task.method, task, seeds, self.n_ranks))
        voices = faded(self.surroundings.classical(task.method, task, seeds), part, part.local(task.span))
        return [filled_gap(part, task, voices, method=task.method, seed=self.settings.seed, lag_s=0.0)] * self.n_ranks

    def _beside(self, task: GapTask) -> Part:
        reach = ceil(_CONTEXT_S * self.surroundings.sample_rate)
        return self.surroundings.known(Window(task.span.start - reach, task.span.stop + reach), task)

    def _from_elsewhere(self, task: GapTask, part: Part, fills: Sequence[Copy], found: Found) -> list[FilledGap]:
        """Return fills from other places of the recording, the last one in every rank that is left."""
        rate, made = self.surroundings.sample_rate, []
        for rank, fill in enumerate(fills):
            told = {
                "method": task.method,
                "grain": fill.grain,
                "source_s": None if fill.lag is None else [(edge + fill.lag) / rate for edge in task.span],
                "lag_s": (fill.lag or 0) / rate,
                "likeness": fill.likeness,
                "confidence": found.confidence,
                "seed": self.settings.seed,
                "rank": rank,
            }
            made.append(filled_gap(part, task, faded(fill.samples, part, part.local(task.span)), **told))
        return [made[min(rank, len(made) - 1)] for rank in range(self.n_ranks)]

    def _modelled(self, waiting: Sequence[HeardWindow]) -> list[list[FilledGap]]:
        """Return the fills of the gaps of some windows that have as many columns."""
        if self.pipeline is None:
            raise ParameterError("gaps of this length need a model, got none: load one, or choose a classical method")
        items = [item for heard in waiting for item in heard.items]
        n_tasks = sum(len(heard.job.tasks) for heard in waiting)
        size = self._batch_size()
        renderings: list[Rendering] = []
        for start in range(0, len(items), size):
            batch = items[start : start + size]
            share = self._share(n_tasks, start / len(items), len(batch) / len(items))
            some, result = render_items(
                self.pipeline,
                batch,
                self.surroundings.sample_rate,
                self.solver,
                self.condition,
                share,
            )
            renderings += some
            self._n_forwards += result.n_forwards
            self._solve_s += sum(record.seconds for record in result.trace)
        fills: list[list[FilledGap]] = []
        for heard in waiting:
            own, renderings = renderings[: len(heard.items)], renderings[len(heard.items) :]
            fills += fill_window(self.pipeline, heard, own, self.settings, self.n_ranks)
        self._step(n_tasks)
        return fills

    def _share(self, n_tasks: int, before: float, share: float) -> Progress | None:
        """Return the callback for a share of the next so many gaps."""
        progress, done_before, total = self.progress, self._n_done, self._n_in_all
        if progress is None:
            return None
        return lambda done, of: progress(
            round(_STEPS * (done_before + n_tasks * (before + share * done / max(1, of)))), _STEPS * total
        )

    @property
    def _n_in_all(self) -> int:
        """Gaps that are looked for elsewhere, and gaps that are filled."""
        return len(self.plan.tasks) * (2 if self._searches else 1)

    def _step(self, n_tasks: int) -> None:
        self._n_done += n_tasks
        if self.progress is not None:
            self.progress(_STEPS * self._n_done, _STEPS * self._n_in_all)


def inpaint(
    pipeline: Walk | None,
    samples: np.ndarray | Tensor,
    sample_rate: int,
    gaps: Iterable[GapLike],
    *,
    seed: int = 0,
    solver: Plan = SolverConfig(),
    prompt: Prompts | None = None,
    channels: str = "linked",
    texture: str = "model",
    leak_free: bool = True,
    method: str = MODEL,
    classical_below_s: float = 0.06,
    max_gap_s: float = 4.0,
    n_candidates: int = 1,
    match_level_db: float = 6.0,
    progress: Progress | None = None,
) -> Restored:
    """Return a recording with its gaps filled; no sample outside them is changed, and none inside them is read.

    Args:
        pipeline: the model; None where no gap is filled by one.
        samples: (channels, t), an array or a tensor, full scale 1, of any rate and length; in the gaps
            anything, NaN too.
        sample_rate: in Hz.
        gaps: (start, end) in seconds, or ``Gap`` where only some channels are damaged.
        seed: the same seed gives the same result, however large batches are.
        solver: settings of the decoding.
        prompt: what to hear in the gaps; without one the surroundings alone decide, as in the paper.
        channels: ``linked`` decodes all channels with the same random numbers, ``independent`` each with its own,
            ``mid_side`` the middle and the side of two, where both are damaged.
        texture: what a fill of the model's is made of in detail, one of ``TEXTURES``.
        leak_free: False computes the known tokens from audio that still holds what is in the gaps, as the paper
            does. It is meant for tables: what is restored then knows the answer in part.
        method: ``model``; one of ``classical.GAP_FILLS``; or ``auto``: Janssen's up to ``classical_below_s``, and up
            to 0.186 s the edges by linear prediction and the middle by the model or by noise of the spectrum around
            it, whichever renders the known audio beside the gap better. Above it the model; but with texture
            ``blend`` and no prompt first ``search``, which leaves to the model what the recording holds nothing like.
        classical_below_s: with ``auto``, in seconds.
        max_gap_s: with ``auto``, longer gaps are refused.
        n_candidates: fills by the model of each gap, of which the one is taken that fits its surroundings best;
            copies are from different places.
        match_level_db: by which a fill is made louder or fainter at most, to meet what is known at both ends.
        progress: called with (steps done, steps in all).

    Raises:
        ParameterError: gaps that are none of this recording or too long, several prompts, a value out of its range,
            an unknown name, or no model where one is needed.
        AudioError: samples beside a gap that are not finite.

    Source: SpecMaskGIT (arXiv:2406.17672), section 4.3.
    """
    settings = GapSettings(
        seed, method, classical_below_s, max_gap_s, n_candidates, match_level_db, channels, texture, leak_free
    )
    return _composed(pipeline, samples, sample_rate, gaps, settings, solver, prompt, 1, progress)[0]


def inpaint_candidates(
    pipeline: Walk | None,
    samples: np.ndarray | Tensor,
    sample_rate: int,
    gaps: Iterable[GapLike],
    *,
    n_candidates: int,
    seed: int = 0,
    solver: Plan = SolverConfig(),
    prompt: Prompts | None = None,
    progress: Progress | None = None,
    **settings: Any,
) -> list[Restored]:
    """Return ``n_candidates`` recordings with their gaps filled, the one whose fills fit best first.

    Each gap has its best fill in the first of them, its second best in the second, and so on: answers of the model, or
    copies from different places. Gaps that are filled by another classical method are the same in all.

    Args:
        pipeline: the model; None where no gap is filled by one.
        samples: (channels, t), as ``inpaint`` takes them.
        sample_rate: in Hz.
        gaps: as ``inpaint`` takes them.
        n_candidates: at least 1.
        seed: the same seed gives the same results.
        solver: settings of the decoding.
        prompt: what to hear in the gaps.
        progress: called with (steps done, steps in all).
        **settings: the others of ``inpaint``.

    Raises:
        ParameterError: as ``inpaint``.
        AudioError: as ``inpaint``.
    """
    made = GapSettings(seed=seed, n_candidates=n_candidates, **settings)
    return _composed(pipeline, samples, sample_rate, gaps, made, solver, prompt, n_candidates, progress)


def inpaint_pieces(
    pipeline: Walk | None,
    reader: Reader,
    n_samples: int,
    n_channels: int,
    sample_rate: int,
    gaps: Iterable[GapLike],
    *,
    seed: int = 0,
    solver: Plan = SolverConfig(),
    prompt: Prompts | None = None,
    n_ranks: int = 1,
    progress: Progress | None = None,
    later: LaterModel | None = None,
    **settings: Any,
) -> GapFilling:
    """Return the filled gaps of a recording one after the other, in order of time: for files of any length.

    Nothing is read but what lies around the gaps, when its turn comes; where the recording is searched, it is read
    once as a whole.

    Args:
        pipeline: the model; None where no gap is filled by one.
        reader: gives the samples [start, stop) of the recording, (channels, stop - start); in the gaps it may give
            anything, NaN too.
        n_samples: of the recording.
        n_channels: of the recording.
        sample_rate: in Hz.
        gaps: as ``inpaint`` takes them.
        seed: the same seed gives the same result.
        solver: settings of the decoding.
        prompt: what to hear in the gaps.
        n_ranks: how many fills of each gap are kept for ``GapFilling.ranked``, at most ``n_candidates``.
        progress: called with (steps done, steps in all).
        later: gives the model and its decoding when a gap is left to it, in place of ``pipeline`` and ``solver``; for
            work without a prompt.
        **settings: the others of ``inpaint``.

    Returns:
        An iterator of ``FilledGap``; its ``report()`` says what has been done so far.

    Raises:
        ParameterError: as ``inpaint``.
        AudioError: as ``inpaint``, when the gap is reached.
    """
    made = GapSettings(seed=seed, **settings)
    size = n_channels, n_samples
    return _filling(pipeline, reader, size, sample_rate, gaps, made, solver, prompt, n_ranks, progress, later)


def _filling(
    pipeline: Walk | None,
    reader: Reader,
    size: tuple[int, int],
    sample_rate: int,
    gaps: Iterable[GapLike],
    settings: GapSettings,
    solver: Plan,
    prompt: Prompts | None,
    n_ranks: int,
    progress: Progress | None,
    later: LaterModel | None = None,
) -> GapFilling:
    n_channels, n_samples = size
    checked_call("progress", progress)
    plan = plan_gaps(gaps, n_samples, n_channels, sample_rate, settings)
    if not 1 <= n_ranks <= settings.n_candidates:
        raise ParameterError(f"n_ranks must lie in [1, {settings.n_candidates}], the candidates, got {n_ranks}")
    longest = [task for task in plan.tasks if task.method in (MODEL, BLEND)]
    if pipeline is None and later is None and longest:
        start, stop = longest[0].span
        raise ParameterError(
            f"a gap of {(stop - start) / sample_rate:.6g} s at {start / sample_rate:.6g} s needs a model by method "
            f"{settings.method!r}, got none: load one, or choose a classical method"
        )
    condition = None if pipeline is None else pipeline.condition(prompt)
    if condition is not None and len(condition) != 1:
        raise ParameterError(f"a recording is filled by one prompt at most, got {len(condition)}")
    surroundings = Surroundings(reader, n_samples, n_channels, sample_rate, plan.hidden)
    return GapFilling(pipeline, surroundings, plan, settings, solver, condition, n_ranks, progress, later)


def _composed(
    pipeline: Walk | None,
    samples: np.ndarray | Tensor,
    sample_rate: int,
    gaps: Iterable[GapLike],
    settings: GapSettings,
    solver: Plan,
    prompt: Prompts | None,
    n_ranks: int,
    progress: Progress | None,
) -> list[Restored]:
    """Return the recording with its gaps filled, once for each rank of fills."""
    wave = as_channels(samples, sample_rate, finite=False)
    filling = _filling(
        pipeline,
        lambda start, stop: wave[:, start:stop],
        (wave.shape[0], wave.shape[1]),
        sample_rate,
        gaps,
        settings,
        solver,
        prompt,
        n_ranks,
        progress,
    )
    restored = [wave.copy() for _ in range(n_ranks)]
    reports: list[list[dict[str, Any]]] = [[] for _ in range(n_ranks)]
    for fills in filling.ranked():
        for repaired, done, fill in zip(restored, reports, fills, strict=True):
            repaired[list(fill.channels), fill.start : fill.start + fill.samples.shape[1]] = fill.samples
            done.append(fill.report)
    whole = filling.report()
    return [
        Restored(repaired, sample_rate, {**whole, "gaps": done})
        for repaired, done in zip(restored, reports, strict=True)
    ]
