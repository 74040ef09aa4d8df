"""Which stretch of a recording is shown to the model for each gap: the gap in the middle, known audio around it."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil, floor

from masktools.gaps import Gap
from masktools.grid import TokenGrid
from masktools.segments import Window

__all__ = ["GapWindow", "gap_spans", "plan_windows", "shoulders"]

_ROUNDING = 1e-3  # samples; times in seconds that were computed from samples are off by less
_CONTEXT_SHARE = 11 / 53  # of a window, at each side of what is to be filled: two seconds


@dataclass(frozen=True)
class GapWindow:
    """A stretch of a recording, and the gaps in it; positions are samples of the recording, at its own rate."""

    window: Window
    n_cols: int  # token columns that cover it
    spans: tuple[Window, ...]  # gaps to be filled from here
    hidden: tuple[Window, ...]  # all gaps that reach into the window, cut at its edges

    def hidden_inside(self) -> list[Window]:
        """Return the hidden gaps as samples of the window."""
        return [Window(span.start - self.window.start, span.stop - self.window.start) for span in self.hidden]


def gap_spans(gaps: Sequence[Gap], n_samples: int, sample_rate: int) -> list[Window]:
    """Return the samples that gaps in seconds cover, in order; gaps that touch each other become one."""
    spans: list[Window] = []
    for start_s, end_s in sorted(gaps):
        start = max(0, floor(start_s * sample_rate + _ROUNDING))
        stop = min(n_samples, max(start + 1, ceil(end_s * sample_rate - _ROUNDING)))
        if spans and start <= spans[-1].stop:
            spans[-1] = Window(spans[-1].start, max(stop, spans[-1].stop))
        elif start < stop:
            spans.append(Window(start, stop))
    return spans


def plan_windows(
    spans: Sequence[Window], n_samples: int, sample_rate: int, grid: TokenGrid, window_cols: int
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
        hidden = [Window(max(s.start, window.start), min(s.stop, window.stop)) for s in spans]
        inside = tuple(span for span in hidden if span.start < span.stop)
        windows.append(GapWindow(window, n_cols, tuple(cluster), inside))
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
