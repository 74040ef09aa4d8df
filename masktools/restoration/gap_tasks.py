"""What is to be done: the gaps of a recording as samples, the channels that share each, and what fills it."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from masktools.errors import ParameterError
from masktools.gaps import GapLike, check_gaps
from masktools.grid import Columns
from masktools.restoration.gap_settings import BLEND, MODEL, GapSettings
from masktools.restoration.gap_windows import GapWindow, channel_spans, plan_windows
from masktools.segments import Window

__all__ = ["GapPlan", "GapTask", "WindowJob", "needs_model", "plan_gaps"]


_ROUNDED = 2  # samples by which a gap in seconds may have grown to whole ones
_ROUNDING_S = 1e-6  # of differences of times
_SLACK_S = 2 * _ROUNDED / 1000  # the same at any rate; gaps that are nearer to each other may become one


@dataclass(frozen=True)
class GapTask:
    """One gap, in the channels that have it and are filled together; positions are samples of the recording."""

    span: Window
    channels: tuple[int, ...]
    method: str  # a classical one, "model", or "blend"
    number: int  # of the span among all that the recording has
    mid_side: bool  # whether the middle and the side of the two channels are filled instead


@dataclass(frozen=True)
class WindowJob:
    """What the model fills from one window: gaps of the same channels, near each other."""

    plan: GapWindow
    tasks: tuple[GapTask, ...]  # one for each span of the plan
    number: int  # of the window among all
    notes: dict[Window, dict[str, Any]] = field(default_factory=dict, compare=False)  # what reports say more of gaps


@dataclass(frozen=True)
class GapPlan:
    """The gaps of a recording."""

    tasks: tuple[GapTask, ...]  # in order of time
    hidden: tuple[tuple[Window, ...], ...]  # for each channel: samples that must not be read

    @property
    def n_samples_changed(self) -> int:
        """Samples of all channels that are filled."""
        return sum(task.span.length * len(task.channels) for task in self.tasks)

    def work(
        self, n_samples: int, sample_rate: int, grid: Columns | None, window_cols: int
    ) -> Iterator[GapTask | WindowJob]:
        """Yield what fills the gaps, in order of time: a task by itself, or several from a window of the model.

        Args:
            n_samples: of the recording.
            sample_rate: of the recording.
            grid: the model's tokens; None where no task needs a model.
            window_cols: columns that the model reads at once.
        """
        modelled = sorted((task for task in self.tasks if task.method in (MODEL, BLEND)), key=lambda t: t.channels)
        plans = [
            (plan, channels, {task.span: task for task in own})
            for channels, tasks in groupby(modelled, key=lambda task: task.channels)
            if grid is not None and (own := list(tasks))
            for plan in plan_windows([task.span for task in own], n_samples, sample_rate, grid, window_cols)
        ]
        places = {window: number for number, window in enumerate(sorted({plan.window for plan, _, _ in plans}))}
        jobs = [
            WindowJob(plan, tuple(of_span[span] for span in plan.spans), places[plan.window])
            for plan, _, of_span in plans
        ]
        alone = [task for task in self.tasks if task.method not in (MODEL, BLEND)]
        yield from sorted([*alone, *jobs], key=first_start)


def first_start(work: GapTask | WindowJob) -> tuple[int, tuple[int, ...]]:
    """Return where the first gap of some work begins, and its channels: the order in which work is done."""
    task = work if isinstance(work, GapTask) else work.tasks[0]
    return task.span.start, task.channels


def plan_gaps(
    gaps: Iterable[GapLike], n_samples: int, n_channels: int, sample_rate: int, settings: GapSettings
) -> GapPlan:
    """Return the tasks that fill gaps, in order of time.

    A gap that several channels have in common is one task, unless channels are treated independently.

    Raises:
        ParameterError: gaps that are none of this recording, or one that is too long.
    """
    settings.check_channels(n_channels)
    checked = check_gaps(gaps, n_samples / sample_rate, n_channels)
    hidden = channel_spans(checked, n_samples, n_channels, sample_rate)
    for channel, spans in enumerate(hidden):
        if sum(span.length for span in spans) >= n_samples:
            raise ParameterError(
                f"the gaps cover the whole of channel {channel}, {n_samples} samples: something must remain to fill "
                "them from"
            )
    having: dict[Window, list[int]] = {}
    for channel, spans in enumerate(hidden):
        for span in spans:
            having.setdefault(span, []).append(channel)
    tasks = []
    for number, (span, channels) in enumerate(sorted(having.items())):
        method = settings.method_for(max(1, span.length - _ROUNDED) / sample_rate)
        together = [tuple(channels)] if settings.linked else [(channel,) for channel in channels]
        tasks += [GapTask(span, some, method, number, settings.mid_side and len(some) == 2) for some in together]
    return GapPlan(tuple(tasks), tuple(map(tuple, hidden)))


def needs_model(
    gaps: Sequence[GapLike], method: str = MODEL, classical_below_s: float = GapSettings.classical_below_s
) -> bool:
    """Return whether some of the gaps may be filled by a model, so that one has to be loaded.

    Raises:
        ParameterError: gaps that are none, or an unknown method.
    """
    settings = GapSettings(method=method, classical_below_s=classical_below_s, max_gap_s=float("inf"))
    stretches: list[list[float]] = []
    for start_s, end_s, _ in check_gaps(gaps):
        if stretches and start_s <= stretches[-1][1] + _SLACK_S:
            stretches[-1][1] = max(stretches[-1][1], end_s)
        else:
            stretches.append([start_s, end_s])
    lengths_s = [end_s - start_s - _ROUNDING_S for start_s, end_s in stretches]
    return any(settings.method_for(length_s) in (MODEL, BLEND) for length_s in lengths_s)
