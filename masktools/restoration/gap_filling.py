"""Gaps of a recording filled one after the other; nothing is read or computed but what lies around them."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from heapq import heappop, heappush
from math import ceil
from time import perf_counter
from typing import Any

import numpy as np
from torch import Tensor

from masktools.classical import SEARCHES
from masktools.classical.search import Copy
from masktools.classical.similarity import Found
from masktools.errors import ParameterError
from masktools.pipeline import Progress, Walk
from masktools.restoration.gap_fill import FilledGap, faded, filled_gap, is_silent
from masktools.restoration.gap_model import Rendering, render_items
from masktools.restoration.gap_settings import BLEND, MODEL, SEARCH, GapSettings
from masktools.restoration.gap_tasks import GapPlan, GapTask, WindowJob, first_start
from masktools.restoration.surroundings import Part, Surroundings
from masktools.restoration.window_filling import HeardWindow, fill_window, hear_window
from masktools.segments import Window
from masktools.solver import Plan, SolverConfig, plan_value

__all__ = ["GapFilling", "LaterModel"]

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
