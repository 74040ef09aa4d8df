"""Plan of gap filling: gaps, methods and windows; and the context of each gap, read from a recording of any length."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby, pairwise
from math import ceil, floor
from typing import Any

import numpy as np

from masktools.classical import CONTEXT_S, SEARCHES, SPAN_FILLS
from masktools.classical.search import Copy, Levels, fills_from_elsewhere, is_noisy, levels_elsewhere
from masktools.classical.similarity import Found, Known, Similarity
from masktools.classical.spans import MAX_GAP_S, Damaged, Span
from masktools.core.arguments import plain, shown
from masktools.core.arrays import check_loudest
from masktools.core.errors import ParameterError
from masktools.core.gaps import Gap, GapLike, as_gap, check_gaps, parse_gaps
from masktools.core.settings import AUTO, MODEL, BandSettings, GapSettings
from masktools.core.shapes import Window
from masktools.detection import Findings, Probe, ProbeSettings
from masktools.mel.spectrogram import Columns
from masktools.restoration.recordings import MIX, UNMIX, Reader, Signal, check_channels, check_finite, read_checked

BLEND, SEARCH = "blend", "search"
MODEL_ABOVE_S = 0.186  # one column of tokens; shorter gaps have at most one column of their own
_BLOCK = 1 << 18  # samples of each channel


def method_for(settings: GapSettings, length_s: float) -> str:
    """Return the method for a gap of that length: the model, a classical method, or the "blend" of both.

    With "auto" Janssen's method up to ``classical_below_s``; up to 0.186 s the edges by linear prediction and the
    middle by the model or by noise with the spectrum around it, whichever renders the known audio beside the gap
    better.
    Above it the model; but with texture "blend" and no prompt first a search, which leaves to the model the gaps
    without
    similar audio in the recording.

    Raises:
        ParameterError: with "auto", a gap longer than ``max_gap_s``.
    """
    if settings.method == AUTO:
        if length_s > settings.max_gap_s:
            raise ParameterError(
                f"gaps must be at most {settings.max_gap_s:g} s long, got one of {length_s:.6g} s, of which nothing "
                "but an invention can be made: set max_gap_s (--max-gap) higher to have it filled all the same"
            )
        if length_s > max(settings.classical_below_s, MODEL_ABOVE_S):
            return MODEL
        if length_s > settings.classical_below_s:
            return BLEND
    chosen = "janssen" if settings.method == AUTO else settings.method
    return "burg" if chosen == "janssen" and length_s > MAX_GAP_S else chosen


_ROUNDING = 1e-3  # samples; rounding error of times in seconds that were computed from samples
_CONTEXT_SHARE = 11 / 53  # of a window, at each side of the gaps: two seconds


@dataclass(frozen=True)
class GapWindow:
    """A part of a recording, and the gaps in it; positions are samples of the recording, at its own rate."""

    window: Window
    n_cols: int  # token columns in the window
    spans: tuple[Window, ...]  # gaps to be filled in this window


def gap_spans(gaps: Sequence[GapLike], n_samples: int, sample_rate: int) -> list[Window]:
    """Return the samples of gaps in seconds, in order, with touching and overlapping ones merged.

    Their channels are ignored.
    """
    spans = []
    for start_s, end_s, _ in map(as_gap, gaps):
        start = max(0, floor(start_s * sample_rate + _ROUNDING))
        stop = min(n_samples, max(start + 1, ceil(end_s * sample_rate - _ROUNDING)))
        spans += [Window(start, stop)] if start < stop else []
    return merged(spans)


def merged(spans: Iterable[Window]) -> list[Window]:
    """Return windows in order, with touching and overlapping ones merged."""
    made: list[Window] = []
    for span in sorted(spans):
        if made and span.start <= made[-1].stop:
            made[-1] = Window(made[-1].start, max(made[-1].stop, span.stop))
        else:
            made.append(span)
    return made


def channel_spans(gaps: Sequence[Gap], n_samples: int, n_channels: int, sample_rate: int) -> list[list[Window]]:
    """Return for each channel the samples of its own gaps, in order, apart from each other."""
    own = [[gap for gap in gaps if gap.channels is None or channel in gap.channels] for channel in range(n_channels)]
    return [gap_spans(some, n_samples, sample_rate) for some in own]


def hidden_in(window: Window, spans: Sequence[Window]) -> list[Window]:
    """Return the spans that overlap a window, cropped to it, as samples of the window; in order, apart."""
    return merged(
        Window(max(span.start, window.start) - window.start, min(span.stop, window.stop) - window.start)
        for span in spans
        if span.start < window.stop and span.stop > window.start
    )


def plan_windows(
    spans: Sequence[Window], n_samples: int, sample_rate: int, grid: Columns, window_cols: int
) -> list[GapWindow]:
    """Return the windows in which the gaps are filled.

    Adjacent gaps share a window as long as two seconds of it are left at each side. A gap that is longer than the
    longest window gets a longer one, which the solver fills in steps.

    Args:
        spans: samples of the gaps, in order, apart from each other.
        n_samples: length of the recording.
        sample_rate: sampling rate of the recording in Hz.
        grid: grid of the model's tokens.
        window_cols: columns in the model's window.
    """
    column = grid.column_samples * sample_rate / grid.sample_rate  # in samples of the recording
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
    """Return the window of that length centred on [start, stop), moved or cropped to lie in the recording."""
    first = max(0, min((start + stop - length) // 2, n_samples - length))
    return Window(first, min(first + length, n_samples))


def shoulders(span: Window, spans: Sequence[Window], n_samples: int, reach: int) -> tuple[Window, Window]:
    """Return the known samples before and after a gap, up to ``reach``, ending at the next gap or edge."""
    stops = [before.stop for before, after in pairwise(spans) if after == span]
    starts = [after.start for before, after in pairwise(spans) if before == span]
    left = max(span.start - reach, stops[0] if stops else 0)
    right = min(span.stop + reach, starts[0] if starts else n_samples)
    return Window(left, span.start), Window(span.stop, right)


_ROUNDED = 2  # samples by which rounding may have enlarged a gap in seconds


@dataclass(frozen=True)
class GapTask:
    """One gap, in the channels that have it and are filled together; positions are samples of the recording."""

    span: Window
    channels: tuple[int, ...]
    method: str  # a classical one, "model", or "blend"
    number: int  # index of the span in the recording
    mid_side: bool  # whether mid and side are filled instead of the two channels

    @property
    def by_model(self) -> bool:
        """Whether the model is used for it."""
        return self.method in (MODEL, BLEND)


@dataclass(frozen=True)
class WindowJob:
    """Gaps that the model fills in one window: of the same channels, near each other."""

    plan: GapWindow
    tasks: tuple[GapTask, ...]  # one for each span of the plan
    number: int  # index of the window
    notes: dict[Window, dict[str, Any]] = field(default_factory=dict, compare=False)  # further report entries of gaps


@dataclass(frozen=True)
class GapPlan:
    """The gaps of a recording, with their methods."""

    tasks: tuple[GapTask, ...]  # in order of time
    hidden: tuple[tuple[Window, ...], ...]  # for each channel: samples that must not be read

    @property
    def n_samples_changed(self) -> int:
        """Number of samples of all channels that are filled."""
        return sum(task.span.length * len(task.channels) for task in self.tasks)

    def work(
        self, n_samples: int, sample_rate: int, grid: Columns | None, window_cols: int
    ) -> Iterator[GapTask | WindowJob]:
        """Yield the tasks of gaps, in order of time: single ones, or several in a window of the model.

        Args:
            n_samples: length of the recording.
            sample_rate: sampling rate of the recording in Hz.
            grid: grid of the model's tokens; None if no task needs a model.
            window_cols: columns in the model's window.
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
    """Return the start of the first gap of a task, and its channels, as a sorting key."""
    task = work if isinstance(work, GapTask) else work.tasks[0]
    return task.span.start, task.channels


def look_through(signal: Signal, gaps: GapSettings | None, band: BandSettings | None = None) -> Findings:
    """Detect damage and the cutoff, as requested; the recording is read once, block by block.

    Raises:
        ParameterError: an unknown kind of damage, or invalid lengths.
    """
    ours, edge = gaps or GapSettings(), band or BandSettings()
    kinds = () if gaps is None else ours.detect
    wanted = ProbeSettings(kinds, band is not None, ours.min_gap_s, ours.max_gap_s, edge.min_drop_db)
    probe = Probe(signal.sample_rate, signal.n_channels, wanted)
    for start in range(0, signal.n_samples, _BLOCK):
        probe.feed(signal.read(start, min(start + _BLOCK, signal.n_samples)))
    return probe.finish()


def wanted_gaps(
    signal: Signal, gaps: Iterable[GapLike] | str, settings: GapSettings, findings: Findings | None = None
) -> list[Gap]:
    """Return gaps that are given or, with "auto", detected; each widened as settings say.

    Args:
        signal: the recording.
        gaps: gaps in seconds, a text such as "1.20-1.55,3-3.2", or "auto".
        settings: settings of the detection.
        findings: result of the detection, if it was done already.

    Raises:
        ParameterError: gaps that do not fit this recording, or an invalid text.
    """
    gaps = plain(gaps)
    if not isinstance(gaps, Iterable):
        raise ParameterError(f"gaps must be auto, a text or a list of (start, end) in seconds, got {shown(gaps)}")
    if isinstance(gaps, str) and gaps == AUTO:
        found = (findings or look_through(signal, settings)).gaps(settings.detect)
    else:
        listed = parse_gaps(gaps) if isinstance(gaps, str) else list(gaps)
        found = check_gaps(listed, signal.duration_s, signal.n_channels) if listed else []
    return widened(found, settings.pad_s, signal.duration_s, signal.n_channels)


def widened(gaps: Sequence[Gap], pad_s: float, duration_s: float, n_channels: int) -> list[Gap]:
    """Return gaps widened on both sides, with those that meet in a channel merged.

    >>> widened([Gap(1.0, 2.0), Gap(2.5, 3.0, (1,))], 0.5, 10.0, 2)
    [Gap(start_s=0.5, end_s=2.5, channels=(0,)), Gap(start_s=0.5, end_s=3.5, channels=(1,))]
    """
    channels_of: dict[tuple[float, float], list[int]] = {}
    for channel in range(n_channels):
        spans: list[tuple[float, float]] = []
        for gap in sorted(
            (gap for gap in gaps if gap.channels is None or channel in gap.channels), key=lambda g: g[:2]
        ):
            start_s, end_s = max(0.0, gap.start_s - pad_s), min(duration_s, gap.end_s + pad_s)
            if spans and start_s <= spans[-1][1]:
                spans[-1] = (spans[-1][0], max(spans[-1][1], end_s))
            else:
                spans.append((start_s, end_s))
        for span in spans:
            channels_of.setdefault(span, []).append(channel)
    return [
        Gap(*span, None if len(channels) == n_channels else tuple(channels))
        for span, channels in sorted(channels_of.items())
    ]


def plan_gaps(
    gaps: Iterable[GapLike], n_samples: int, n_channels: int, sample_rate: int, settings: GapSettings
) -> GapPlan:
    """Return the tasks that fill gaps, in order of time.

    A gap that several channels have in common is one task, unless channels are treated independently.

    Raises:
        ParameterError: gaps that do not fit this recording, or one that is too long.
    """
    check_channels(settings.channels, n_channels)
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
        method = method_for(settings, max(1, span.length - _ROUNDED) / sample_rate)
        together = [tuple(channels)] if settings.linked else [(channel,) for channel in channels]
        tasks += [GapTask(span, some, method, number, settings.mid_side and len(some) == 2) for some in together]
    return GapPlan(tuple(tasks), tuple(map(tuple, hidden)))


_OFFSET_BLOCK_S = 0.05  # pieces whose means agree on an offset
_LEAST_OFFSET = 1e-3  # -60 dB of full scale; less is inaudible


@dataclass(frozen=True, eq=False)
class Part:
    """A part of the voices of a task: its channels, or their mid and side; positions are those of the part."""

    start: int  # in the recording
    samples: np.ndarray  # (voices, t), zero in every gap
    hidden: tuple[tuple[Window, ...], ...]  # for each voice: its gaps
    sample_rate: int  # Hz
    mid_side: bool
    offset: np.ndarray | float = 0.0  # (voices, 1) offset that was subtracted from the samples

    def local(self, span: Window) -> Window:
        """Return the position in the part of samples of the recording."""
        return Window(span.start - self.start, span.stop - self.start)

    def channels(self, voices: np.ndarray) -> np.ndarray:
        """Return samples of voices (voices, n) as those of the channels, with their DC offset."""
        return UNMIX @ (voices + self.offset) if self.mid_side else voices + self.offset

    def centred(self) -> "Part":
        """Return the part without DC offset: generated audio has none, and would be joined with a step."""
        block = max(1, round(_OFFSET_BLOCK_S * self.sample_rate))
        known, offset = self.samples.copy(), np.zeros((len(self.samples), 1))
        for voice, spans in enumerate(self.hidden):
            unknown = np.zeros(known.shape[1], bool)
            for span in spans:
                unknown[span.start : span.stop] = True
            sound = known[voice, ~unknown]
            blocks = sound[: len(sound) // block * block].reshape(-1, block)
            level = float(np.median(blocks.mean(axis=1, dtype=np.float64))) if len(blocks) else 0.0
            if abs(level) >= _LEAST_OFFSET:
                offset[voice] = level
                known[voice, ~unknown] -= level
        return replace(self, samples=known, offset=offset) if offset.any() else self

    def classical(self, method: str, span: Window, seeds: tuple[int, ...]) -> np.ndarray:
        """Return the fill of a gap by a classical method, (voices, n) float64.

        Noise has the coherence of the voices around the gap; with any other method each is filled separately.

        Args:
            method: one of ``SPAN_FILLS``.
            span: the gap, in samples of the part.
            seeds: random seeds.
        """
        fill, voices = SPAN_FILLS[method], range(len(self.samples))
        together = [tuple(voices)] if method == "spectral_noise" else [(voice,) for voice in voices]
        parts = []
        for some in together:
            spans = hidden_in(Window(0, self.samples.shape[1]), [gap for voice in some for gap in self.hidden[voice]])
            damaged = Damaged(self.samples[list(some)], self.sample_rate, tuple(Span(*gap) for gap in spans))
            parts.append(fill(damaged, Span(*span), np.random.default_rng(seeds)))
        return np.concatenate(parts)


@dataclass(frozen=True, eq=False)
class Surroundings:
    """A recording that is read on demand, and its gaps."""

    reader: Reader
    n_samples: int
    n_channels: int
    sample_rate: int  # Hz
    hidden: Sequence[Sequence[Window]]  # for each channel: its gaps
    _similarities: dict[tuple[int, ...], Similarity] = field(default_factory=dict)
    _found: dict[tuple[tuple[int, ...], Window], Found] = field(default_factory=dict)

    def classical(self, method: str, task: GapTask, seeds: tuple[int, ...]) -> np.ndarray:
        """Return the fill of a task's gap by a classical method, (voices, n) float64.

        Raises:
            AudioError: known samples beside the gap that are not finite.
        """
        if method in SEARCHES:
            return self.searched(method, task, seeds)[0][0].samples
        reach = ceil(CONTEXT_S[method] * self.sample_rate)
        part = self.known(Window(task.span.start - reach, task.span.stop + reach), task)
        return part.classical(method, part.local(task.span), seeds)

    def found(self, task: GapTask) -> Found:
        """Return the matches of the recording for a task's gap; cached.

        The recording is read as a whole for the first gap of some channels. Samples that are not finite count as
        unknown.
        """
        if (task.channels, task.span) not in self._found:
            self._found[task.channels, task.span] = self._similarity(task).find(Span(*task.span))
        return self._found[task.channels, task.span]

    def why_not(self, task: GapTask) -> str:
        """Return why the recording has no match for a task's gap; empty if it has one."""
        found = self.found(task)
        if found.is_alike or is_noisy(self._reader_of(task), Span(*task.span), self.sample_rate):
            return ""
        return "it sounds like speech, and no word returns" if found.places else "no other place is known"

    def _similarity(self, task: GapTask) -> Similarity:
        if task.channels not in self._similarities:
            plain = replace(task, mid_side=False)
            self._similarities[task.channels] = Similarity(self._reader_of(plain), self.n_samples, self.sample_rate)
        return self._similarities[task.channels]

    def searched(
        self, method: str, task: GapTask, seeds: tuple[int, ...], n_fills: int = 1
    ) -> tuple[list[Copy], Found]:
        """Return up to ``n_fills`` fills of a task's gap from other positions, the best first, and the search result.

        Args:
            method: one of ``SEARCHES``.
            task: task of the gap.
            seeds: random seeds.
            n_fills: number of fills, at least 1.
        """
        found, places = self.found(task), (self._similarity(task), self._reader_of(task))
        return fills_from_elsewhere(method, *places, Span(*task.span), found, seeds, n_fills), found

    def levels(self, task: GapTask) -> Levels | None:
        """Return the levels of the recording's best match for a task's gap; None if there is none."""
        return levels_elsewhere(self._similarity(task), self._reader_of(task), Span(*task.span), self.found(task))

    def _reader_of(self, task: GapTask) -> Known:
        """Return a reader of the voices of a task; NaN in gaps and beyond the ends."""

        def known(start: int, stop: int) -> np.ndarray:
            made = np.full((len(task.channels), stop - start), np.nan)
            if start < self.n_samples and stop > 0:
                window, samples = self._read(Window(start, stop))
                part = made[:, window.start - start : window.stop - start]
                for wave, channel in zip(part, task.channels, strict=True):
                    own, spans = samples[channel], hidden_in(window, self.hidden[channel])
                    for span in spans:
                        own[span.start : span.stop] = 0.0
                    finite = np.isfinite(own)
                    own[~finite] = 0.0
                    check_loudest(max(float(own.max()), -float(own.min())))
                    wave[:] = np.where(finite, own, np.nan)
                    for span in spans:
                        wave[span.start : span.stop] = np.nan
            return MIX @ made if task.mid_side else made

        return known

    def known(self, window: Window, task: GapTask) -> Part:
        """Return the known part of a window, cropped to the recording, for the voices of a task.

        Raises:
            AudioError: known samples that are not finite.
            ParameterError: the reader returned another shape or type.
        """
        window, samples = self._read(window)
        samples = samples[list(task.channels)]
        hidden = [hidden_in(window, self.hidden[channel]) for channel in task.channels]
        for wave, spans in zip(samples, hidden, strict=True):
            for span in spans:
                wave[span.start : span.stop] = 0.0
        self._check_finite(samples, window.start)
        if task.mid_side:
            both = hidden_in(window, [span for channel in task.channels for span in self.hidden[channel]])
            samples, hidden = (MIX @ samples).astype(samples.dtype), [both, both]
            for span in both:
                samples[:, span.start : span.stop] = 0.0
        return Part(window.start, samples, tuple(map(tuple, hidden)), self.sample_rate, task.mid_side)

    def everything(self, window: Window, task: GapTask) -> np.ndarray:
        """Return the voices of a task (voices, t) including the content of their gaps.

        Raises:
            AudioError: samples that are not finite.
            ParameterError: the reader returned another shape or type.
        """
        window, samples = self._read(window)
        self._check_finite(samples[list(task.channels)], window.start, "must be finite where leak_free is False")
        chosen = samples[list(task.channels)]
        return (MIX @ chosen).astype(samples.dtype) if task.mid_side else chosen

    def _read(self, window: Window) -> tuple[Window, np.ndarray]:
        """Return a window, cropped to the recording, and a copy of its samples."""
        window = Window(max(0, window.start), min(self.n_samples, window.stop))
        return window, read_checked(self.reader, window.start, window.stop, self.n_channels).copy()

    def _check_finite(self, samples: np.ndarray, start: int, what: str = "must be finite outside the gaps") -> None:
        check_finite(samples, start, self.sample_rate, what, "make it part of a gap, or silence it first")
