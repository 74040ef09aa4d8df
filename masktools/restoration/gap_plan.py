"""What is to be done: how gaps are filled, the channels that share each, and the windows that the model reads."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby, pairwise
from math import ceil, floor
from typing import Any

import numpy as np

from masktools.arguments import checked_name, plain, settle, shown
from masktools.classical import GAP_FILLS
from masktools.classical.prediction import MAX_GAP_S
from masktools.detection import find_damage
from masktools.errors import ParameterError
from masktools.gaps import Gap, GapLike, as_gap, check_gaps, parse_gaps
from masktools.grid import Columns
from masktools.restoration.recordings import INDEPENDENT, LINKED, MID_SIDE, check_channels
from masktools.restoration.render import TEXTURES
from masktools.segments import Window

AUTO, MODEL, BLEND, SEARCH = "auto", "model", "blend", "search"
METHODS = (AUTO, MODEL, *GAP_FILLS)
"""By length, by the model, or by a classical method."""

MODEL_ABOVE_S = 0.186  # one column of tokens; what is shorter has one column of its own at most
MAX_CANDIDATES = 64
MAX_MATCH_DB = 60.0


@dataclass(frozen=True)
class GapSettings:
    """Settings of gap filling beside the decoding.

    Args:
        seed: the same seed gives the same result, however large batches are.
        method: ``model``; one of ``classical.GAP_FILLS``; or ``auto``: Janssen's up to ``classical_below_s``, and up
            to 0.186 s the edges by linear prediction and the middle by the model or by noise of the spectrum around
            it, whichever renders the known audio beside the gap better. Above it the model; but with texture
            ``blend`` and no prompt first ``search``, which leaves to the model what the recording holds nothing like.
        classical_below_s: with ``auto``, in seconds.
        max_gap_s: with ``auto``, longer gaps are refused.
        n_candidates: fills by the model of each gap, of which the one is taken that fits its surroundings best;
            copies are from different places.
        match_level_db: by which a fill is made louder or fainter at most, to meet what is known at both ends.
        channels: ``linked`` decodes all channels with the same random numbers, ``independent`` each with its own,
            ``mid_side`` the middle and the side of two, where both are damaged.
        texture: what a fill of the model's is made of in detail, one of ``TEXTURES``.
        leak_free: False computes the known tokens from audio that still holds what is in the gaps, as the paper
            does. It is meant for tables: what is restored then knows the answer in part.
    """

    seed: int = 0
    method: str = MODEL
    classical_below_s: float = 0.06
    max_gap_s: float = 4.0
    n_candidates: int = 1
    match_level_db: float = 6.0
    channels: str = LINKED
    texture: str = "model"
    leak_free: bool = True

    def __post_init__(self) -> None:
        """Check every kind, name and range."""
        settle(self)
        checked_name("method", self.method, METHODS)
        checked_name("texture", self.texture, TEXTURES)
        for name, value in (("classical_below_s", self.classical_below_s), ("max_gap_s", self.max_gap_s)):
            if not value >= 0:
                raise ParameterError(f"{name} must not be negative, got {value:g} s")
        if not 1 <= self.n_candidates <= MAX_CANDIDATES:
            raise ParameterError(f"n_candidates must lie in [1, {MAX_CANDIDATES}], got {self.n_candidates}")
        if not 0 <= self.match_level_db <= MAX_MATCH_DB:
            raise ParameterError(f"match_level_db must lie in [0, {MAX_MATCH_DB:g}] dB, got {self.match_level_db:g} dB")

    def check_channels(self, n_channels: int) -> None:
        """Refuse a way of treating channels that is unknown or not for so many.

        Raises:
            ParameterError: the message says what there is.
        """
        check_channels(self.channels, n_channels)

    @property
    def linked(self) -> bool:
        """Whether all channels have the same random numbers."""
        return self.channels != INDEPENDENT

    @property
    def mid_side(self) -> bool:
        """Whether the middle and the side of two channels are filled, not the channels themselves."""
        return self.channels == MID_SIDE

    @property
    def searches_first(self) -> bool:
        """Whether a gap that is the model's is filled from the recording itself, where that holds something alike."""
        return self.method == AUTO and self.texture == "blend"

    def seeds_for(self, number: int, channels: tuple[int, ...]) -> tuple[int, ...]:
        """Return the seeds of what a classical method leaves to chance.

        Args:
            number: of the gap in its recording.
            channels: that are filled.
        """
        return (self.seed % 2**64, number, *(() if self.linked else channels))

    def method_for(self, length_s: float) -> str:
        """Return what fills a gap of that length: the model, a classical method, or the "blend" of both.

        Raises:
            ParameterError: with "auto", a gap longer than ``max_gap_s``.
        """
        if self.method == AUTO:
            if length_s > self.max_gap_s:
                raise ParameterError(
                    f"gaps must be at most {self.max_gap_s:g} s long, got one of {length_s:.6g} s, of which nothing "
                    "but an invention can be made: set max_gap_s (--max-gap) higher to have it filled all the same"
                )
            if length_s > max(self.classical_below_s, MODEL_ABOVE_S):
                return MODEL
            if length_s > self.classical_below_s:
                return BLEND
        chosen = "janssen" if self.method == AUTO else self.method
        return "burg" if chosen == "janssen" and length_s > MAX_GAP_S else chosen


_ROUNDING = 1e-3  # samples; times in seconds that were computed from samples are off by less
_CONTEXT_SHARE = 11 / 53  # of a window, at each side of what is to be filled: two seconds


@dataclass(frozen=True)
class GapWindow:
    """A stretch of a recording, and the gaps in it; positions are samples of the recording, at its own rate."""

    window: Window
    n_cols: int  # token columns that cover it
    spans: tuple[Window, ...]  # gaps to be filled from here


def gap_spans(gaps: Sequence[GapLike], n_samples: int, sample_rate: int) -> list[Window]:
    """Return the samples that gaps in seconds cover, in order; gaps that touch or overlap each other become one.

    In which channels they are is left out of account.
    """
    spans = []
    for start_s, end_s, _ in map(as_gap, gaps):
        start = max(0, floor(start_s * sample_rate + _ROUNDING))
        stop = min(n_samples, max(start + 1, ceil(end_s * sample_rate - _ROUNDING)))
        spans += [Window(start, stop)] if start < stop else []
    return merged(spans)


def merged(spans: Iterable[Window]) -> list[Window]:
    """Return stretches in order; those that touch or overlap each other become one."""
    made: list[Window] = []
    for span in sorted(spans):
        if made and span.start <= made[-1].stop:
            made[-1] = Window(made[-1].start, max(made[-1].stop, span.stop))
        else:
            made.append(span)
    return made


def channel_spans(gaps: Sequence[Gap], n_samples: int, n_channels: int, sample_rate: int) -> list[list[Window]]:
    """Return for each channel the samples that its own gaps cover, in order, apart from each other."""
    own = [[gap for gap in gaps if gap.channels is None or channel in gap.channels] for channel in range(n_channels)]
    return [gap_spans(some, n_samples, sample_rate) for some in own]


def hidden_in(window: Window, spans: Sequence[Window]) -> list[Window]:
    """Return the spans that reach into a window, cut at its edges, as samples of the window; in order, apart."""
    return merged(
        Window(max(span.start, window.start) - window.start, min(span.stop, window.stop) - window.start)
        for span in spans
        if span.start < window.stop and span.stop > window.start
    )


def plan_windows(
    spans: Sequence[Window], n_samples: int, sample_rate: int, grid: Columns, window_cols: int
) -> list[GapWindow]:
    """Return the windows from which the gaps are filled.

    Neighbouring gaps share a window as long as two seconds of it are left at each side. A gap that is longer than a
    window can be gets a longer one, which the solver fills in steps.

    Args:
        spans: samples of the gaps, in order, apart from each other.
        n_samples: of the recording.
        sample_rate: of the recording.
        grid: the model's tokens.
        window_cols: columns that the model reads at once.
    """
    column = grid.column_samples * sample_rate / grid.sample_rate  # samples of the recording
    context_cols = max(1, round(window_cols * _CONTEXT_SHARE))
    longest = max(1, window_cols - 2 * context_cols) * column
    clusters: list[list[Window]] = []
    for span in spans:
        if clusters and span.stop - clusters[-1][0].start <= longest:
            clusters[-1].append(span)
        else:
            clusters.append([span])
    windows = []
    for cluster in clusters:
        start, stop = cluster[0].start, cluster[-1].stop
        n_cols = max(window_cols, ceil((stop - start) / column) + 2 * context_cols)
        window = _around(start, stop, ceil(n_cols * column), n_samples)
        if window.length < ceil(n_cols * column):
            n_cols = ceil(window.length / column)
        windows.append(GapWindow(window, n_cols, tuple(cluster)))
    return windows


def _around(start: int, stop: int, length: int, n_samples: int) -> Window:
    """Return the window of that length with [start, stop) in its middle, moved or cut to lie in the recording."""
    first = max(0, min((start + stop - length) // 2, n_samples - length))
    return Window(first, min(first + length, n_samples))


def shoulders(span: Window, spans: Sequence[Window], n_samples: int, reach: int) -> tuple[Window, Window]:
    """Return the known samples before and after a gap, up to ``reach``, ending at the next gap or edge."""
    stops = [before.stop for before, after in pairwise(spans) if after == span]
    starts = [after.start for before, after in pairwise(spans) if before == span]
    left = max(span.start - reach, stops[0] if stops else 0)
    right = min(span.stop + reach, starts[0] if starts else n_samples)
    return Window(left, span.start), Window(span.stop, right)


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

    @property
    def by_model(self) -> bool:
        """Whether the model has a part in it."""
        return self.method in (MODEL, BLEND)


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
        modelled = sorted((task for task in self.tasks if task.by_model), key=lambda t: t.channels)
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
        alone = [task for task in self.tasks if not task.by_model]
        yield from sorted([*alone, *jobs], key=first_start)


def first_start(work: GapTask | WindowJob) -> tuple[int, tuple[int, ...]]:
    """Return where the first gap of some work begins, and its channels: the order in which work is done."""
    task = work if isinstance(work, GapTask) else work.tasks[0]
    return task.span.start, task.channels


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
