"""What part of a recording is shown to the model for each gap: the gap in the middle, known audio around it."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil, floor

from masktools.gaps import Gap, GapLike, as_gap
from masktools.grid import Columns
from masktools.segments import Window

__all__ = ["GapWindow", "channel_spans", "gap_spans", "hidden_in", "plan_windows", "shoulders"]

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
    spans: list[Window] = []
    for start_s, end_s, _ in sorted(map(as_gap, gaps), key=lambda gap: gap[:2]):
        start = max(0, floor(start_s * sample_rate + _ROUNDING))
        stop = min(n_samples, max(start + 1, ceil(end_s * sample_rate - _ROUNDING)))
        if spans and start <= spans[-1].stop:
            spans[-1] = Window(spans[-1].start, max(stop, spans[-1].stop))
        elif start < stop:
            spans.append(Window(start, stop))
    return spans


def channel_spans(gaps: Sequence[Gap], n_samples: int, n_channels: int, sample_rate: int) -> list[list[Window]]:
    """Return for each channel the samples that its own gaps cover, in order, apart from each other."""
    own = [[gap for gap in gaps if gap.channels is None or channel in gap.channels] for channel in range(n_channels)]
    return [gap_spans(some, n_samples, sample_rate) for some in own]


def hidden_in(window: Window, spans: Sequence[Window]) -> list[Window]:
    """Return the spans that reach into a window, cut at its edges, as samples of the window; in order, apart."""
    inside = sorted(
        Window(max(span.start, window.start) - window.start, min(span.stop, window.stop) - window.start)
        for span in spans
        if span.start < window.stop and span.stop > window.start
    )
    merged: list[Window] = []
    for span in inside:
        if merged and span.start <= merged[-1].stop:
            merged[-1] = Window(merged[-1].start, max(merged[-1].stop, span.stop))
        else:
            merged.append(span)
    return merged


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
