"""Plots of the spectrograms of two versions and their difference, or of scales from coarse to fine."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from masktools import io
from masktools.review.comparison import PROFILE_S, Comparison, Repair, open_all
from masktools.review.panels import (
    LINE_SIZE,
    N_LEVELS,
    Canvas,
    Mark,
    Panel,
    Rows,
    Scale,
    draw_panels,
    mean_levels,
    spectrogram,
    text_width,
    time_label,
    to_png,
    top_level_db,
)
from masktools.review.tables import difference_table

MARGIN_S = 2.5  # context before and after a repair
_LEAST_S = 0.5
_N_WITHOUT_REPAIRS = 3


class Excerpt(NamedTuple):
    """A time span of a recording."""

    start_s: float
    end_s: float

    @property
    def seconds(self) -> float:
        """Length in seconds."""
        return self.end_s - self.start_s


def choose_excerpts(
    duration_s: float, repairs: Sequence[Repair], profile: Sequence[float], budget_s: float
) -> list[Excerpt]:
    """Return time spans of a recording whose total length is within the budget, in order of time.

    All of it if that is short enough; else the context of the repairs, the longest first; without repairs the spans of
    the greatest difference, and without difference the beginning.

    Args:
        duration_s: length of the recording in seconds.
        repairs: repairs of the recording.
        profile: power of the difference in steps of half a second.
        budget_s: greatest total length in seconds.
    """
    if duration_s <= budget_s:
        return [Excerpt(0.0, duration_s)]
    chosen: list[Excerpt] = []
    for wanted in _wanted(duration_s, repairs, profile, budget_s):
        left_s = budget_s - sum(excerpt.seconds for excerpt in chosen)
        if left_s < _LEAST_S:
            break
        if wanted.seconds <= left_s or not chosen:
            chosen = _merged([*chosen, Excerpt(wanted.start_s, min(wanted.end_s, wanted.start_s + left_s))])
    return chosen


def _wanted(duration_s: float, repairs: Sequence[Repair], profile: Sequence[float], budget_s: float) -> list[Excerpt]:
    inside = [repair for repair in repairs if repair.start_s < duration_s]
    if inside:
        inside.sort(key=lambda repair: repair.start_s - repair.end_s)
        return [_around(repair.start_s - MARGIN_S, repair.end_s + MARGIN_S, duration_s) for repair in inside]
    length_s = budget_s / _N_WITHOUT_REPAIRS
    steps = sorted(range(len(profile)), key=lambda step: -profile[step])
    places: list[float] = []
    for step in steps:
        middle_s = (step + 0.5) * PROFILE_S
        if profile[step] > 0 and all(abs(middle_s - other) >= length_s for other in places):
            places.append(middle_s)
        if len(places) == _N_WITHOUT_REPAIRS:
            break
    if not places:
        return [Excerpt(0.0, budget_s)]
    return [_around(middle_s - length_s / 2, middle_s + length_s / 2, duration_s) for middle_s in places]


def _around(start_s: float, end_s: float, duration_s: float) -> Excerpt:
    return Excerpt(max(0.0, start_s), min(duration_s, end_s))


def _merged(excerpts: Sequence[Excerpt]) -> list[Excerpt]:
    """Return excerpts in order of time, with touching ones merged."""
    merged: list[Excerpt] = []
    for excerpt in sorted(excerpts):
        if merged and excerpt.start_s <= merged[-1].end_s:
            merged[-1] = Excerpt(merged[-1].start_s, max(merged[-1].end_s, excerpt.end_s))
        else:
            merged.append(excerpt)
    return merged


_RANGE_DB = 70.0
_N_ROWS, _N_COLS = 200, 1200


def write_picture(comparison: Comparison, path: Path | str) -> None:
    """Write the spectrograms of a comparison as a PNG: the whole recording, with repairs and cutoff marked.

    Args:
        comparison: comparison to show; its files must still exist.
        path: path of the image.

    Raises:
        AudioError: a file that can no longer be read, or a picture that cannot be written.
    """
    with ExitStack() as stack:
        recordings = open_all(stack, [version.path for version in comparison.versions])
        drawn = draw_comparison(comparison, recordings)
    with io.replacing(Path(path)) as part:
        part.write_bytes(drawn)


def draw_comparison(comparison: Comparison, recordings: Sequence[io.Recording], titled: bool = True) -> bytes:
    """Return the PNG of a comparison whose files are open.

    Args:
        comparison: comparison to show.
        recordings: its files, in the same order.
        titled: whether title and figures are above the spectrograms.
    """
    rows = rows_for(comparison, _N_ROWS)
    span = Excerpt(0.0, max(version.duration_s for version in comparison.versions[:2]))
    (shown,), scale = show(recordings, rows, [span], 1.0, (_N_COLS, _N_COLS))
    lines = [
        f"{version.name}: {version.path.name}, {version.format} {version.subtype}, {version.sample_rate} Hz, "
        f"{time_label(version.duration_s)}"
        for version in comparison.versions
    ]
    lines += _wrapped([f"{name}: {value}" for name, value in difference_table(comparison).rows])
    title, said = (comparison.title, lines) if titled else ("", [])
    return draw_panels(shown.panels(comparison, scale), rows, scale, span.start_s, span.end_s, title, said)


def _wrapped(parts: Sequence[str]) -> list[str]:
    """Return text parts in lines that fit into an image."""
    lines = [parts[0]]
    for part in parts[1:]:
        longer = f"{lines[-1]}; {part}"
        if text_width(longer, LINE_SIZE) <= _N_COLS:
            lines[-1] = longer
        else:
            lines.append(part)
    return lines


@dataclass(frozen=True)
class Shown:
    """Spectrograms of one time span."""

    span: Excerpt
    levels: tuple[np.ndarray, ...]  # of each version, (channels, rows, columns) in dBFS

    def panels(self, comparison: Comparison, scale: Scale) -> list[Panel]:
        """Return the panels of a plot: every version, and the difference of the first two."""
        marks = tuple(Mark(one.start_s, one.end_s, one.low_hz, one.high_hz) for one in comparison.repairs)
        known = {"marks": marks, "cutoff_hz": comparison.cutoff_hz}
        before, after = self.levels[:2]
        if len(before) != len(after):
            before, after = mean_levels(before)[None], mean_levels(after)[None]
        return [
            *(
                Panel(version.name, scale.show(mean_levels(levels)), **known)
                for version, levels in zip(comparison.versions, self.levels, strict=True)
            ),
            Panel("After \N{MINUS SIGN} before", scale.show_difference(before, after), signed=True, **known),
        ]


def show(
    recordings: Sequence[io.Recording],
    rows: Rows,
    spans: Sequence[Excerpt],
    columns_per_s: float,
    limits: tuple[int, int],
) -> tuple[list[Shown], Scale]:
    """Return the spectrograms of time spans of recordings, and their common colour scale.

    Args:
        recordings: the versions; after its end a version is silent.
        rows: frequency bands of the spectrograms.
        spans: time spans to show.
        columns_per_s: columns for each second.
        limits: least and greatest number of columns of a span.
    """
    shown = []
    for span in spans:
        n_cols = min(max(round(span.seconds * columns_per_s), limits[0]), limits[1])
        shown.append(Shown(span, tuple(_levels(recording, rows, span, n_cols) for recording in recordings)))
    high_db = top_level_db([mean_levels(levels) for one in shown for levels in one.levels])
    return shown, Scale(high_db - _RANGE_DB, high_db)


def rows_for(comparison: Comparison, n: int) -> Rows:
    """Return rows up to the highest frequency of any version."""
    return Rows(max(version.sample_rate for version in comparison.versions) / 2, n)


def _levels(recording: io.Recording, rows: Rows, span: Excerpt, n_cols: int) -> np.ndarray:
    rate = recording.sample_rate
    start, stop = round(span.start_s * rate), max(round(span.end_s * rate), round(span.start_s * rate) + 1)

    def read(first: int, last: int) -> np.ndarray:
        inside = recording.read(min(first, recording.n_samples), min(last, recording.n_samples), finite=False)
        return np.pad(inside, ((0, 0), (0, last - first - inside.shape[1])))

    return spectrogram(read, max(stop, recording.n_samples), rate, rows, n_cols, (start, stop))


_HEIGHT, _GAP, _HEAD = 192, 12, 20  # pixels
_WIDTHS = (120, 480)  # least and greatest width of one image


def draw_refinements(pictures: Sequence[np.ndarray], names: Sequence[str]) -> bytes:
    """Return a PNG of spectrograms (f, m) in [-1, 1] side by side, the lowest frequency at the bottom.

    Args:
        pictures: spectrograms of one size, in display order.
        names: heading of each.
    """
    n_mels, n_frames = pictures[0].shape
    width = min(max(n_frames * 2, _WIDTHS[0]), _WIDTHS[1])
    rows = (np.arange(_HEIGHT)[::-1] * n_mels) // _HEIGHT
    columns = (np.arange(width) * n_frames) // width
    canvas = Canvas(len(pictures) * (width + _GAP) + _GAP, _HEAD + _HEIGHT + _GAP)
    for number, (picture, name) in enumerate(zip(pictures, names, strict=True)):
        left = _GAP + number * (width + _GAP)
        levels = np.clip((picture[rows][:, columns] + 1.0) / 2.0, 0.0, 1.0)
        canvas.write(left, _HEAD - 6, name)
        canvas.show(left, _HEAD, np.rint(levels * (N_LEVELS - 1)).astype(np.uint8))
    return to_png(canvas.image)
