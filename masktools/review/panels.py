"""Spectrograms below each other on one scale of time, frequency and level, with axes, marks and colour bars."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor, log10

import numpy as np

from masktools.errors import ParameterError
from masktools.review.drawing import MARK, N_LEVELS, N_SIGNED, Canvas, text_width, to_png
from masktools.review.spectra import Rows, show_levels

__all__ = [
    "LINE_SIZE",
    "Mark",
    "Panel",
    "Scale",
    "draw_panels",
    "hz_label",
    "time_label",
    "time_step",
    "time_ticks",
]

_LEFT, _RIGHT, _TOP, _BOTTOM, _BETWEEN = 64, 84, 14, 44, 34  # margins in pixels
_SIZE, _TITLE = 9.0, 10.5  # heights of capitals in pixels
LINE_SIZE = _SIZE
_BAR = 14  # width of a colour bar


@dataclass(frozen=True)
class Scale:
    """What the colours mean: levels between two ends, and differences of either sign up to a limit."""

    low_db: float
    high_db: float
    most_db: float = 30.0  # difference of the strongest colour

    def __post_init__(self) -> None:
        """Check the order."""
        if not self.low_db < self.high_db or not self.most_db > 0:
            raise ParameterError(
                f"a scale must rise and have a limit above 0 dB, got {self.low_db:g} to {self.high_db:g} dB "
                f"and {self.most_db:g} dB"
            )

    def show(self, levels: np.ndarray) -> np.ndarray:
        """Return levels (rows, columns) in dBFS as colour numbers, the highest row first."""
        return show_levels(levels, self.low_db, self.high_db, N_LEVELS)

    def show_difference(self, before: np.ndarray, after: np.ndarray) -> np.ndarray:
        """Return by how much a level rose, as colour numbers; what lies below the scale counts as its lower end.

        Of several channels (channels, rows, columns) the one counts in which a level changed most.
        """
        rise = np.maximum(after, self.low_db) - np.maximum(before, self.low_db)
        most = np.take_along_axis(rise, np.abs(rise).argmax(axis=0)[None], axis=0)[0]
        return show_levels(most, -self.most_db, self.most_db, N_SIGNED)


@dataclass(frozen=True)
class Mark:
    """A stretch of time that is bracketed, from 0 Hz to the top or in a band."""

    start_s: float
    end_s: float
    low_hz: float | None = None
    high_hz: float | None = None


@dataclass(frozen=True)
class Panel:
    """One spectrogram of a picture."""

    title: str
    image: np.ndarray  # (rows, columns) colour numbers, the highest row first
    signed: bool = False  # whether it shows a difference
    marks: tuple[Mark, ...] = ()
    cutoff_hz: float | None = None


def draw_panels(
    panels: Sequence[Panel],
    rows: Rows,
    scale: Scale,
    start_s: float,
    end_s: float,
    title: str = "",
    lines: Sequence[str] = (),
) -> bytes:
    """Return a PNG of spectrograms below each other, marks at the edges of repairs and across a cutoff.

    Args:
        panels: at least one, all of as many columns.
        rows: their rows.
        scale: what their colours mean.
        start_s: the time at their left edge.
        end_s: the time at their right edge.
        title: in large letters at the top.
        lines: of text below the title.

    Raises:
        ParameterError: no panel.
    """
    if not panels:
        raise ParameterError("a picture needs at least one panel, got none")
    n_rows, n_cols = panels[0].image.shape
    head = _TOP + (30 if title else 0) + 20 * len(lines)
    top = head + (34 if lines else 26)
    height = top + len(panels) * (n_rows + _BETWEEN) - _BETWEEN + _BOTTOM
    canvas = Canvas(_LEFT + n_cols + _RIGHT, height)
    if title:
        canvas.write(_TOP, _TOP + 16, title, 14.0)
    for number, line in enumerate(lines):
        canvas.write(_TOP, head - 20 * (len(lines) - number) + 16, line, _SIZE)
    for number, panel in enumerate(panels):
        _draw(canvas, panel, top, rows, (start_s, end_s), last=number == len(panels) - 1)
        _draw_bar(canvas, scale, panel.signed, _LEFT + n_cols + 12, top, n_rows)
        top += n_rows + _BETWEEN
    return to_png(canvas.image)


def _draw(canvas: Canvas, panel: Panel, top: int, rows: Rows, span_s: tuple[float, float], last: bool) -> None:
    n_rows, n_cols = panel.image.shape
    start_s, end_s = span_s
    canvas.show(_LEFT, top, panel.image, panel.signed)
    canvas.write(_LEFT, top - 11, panel.title, _TITLE)
    for hz in rows.ticks_hz():
        y = top + n_rows * (1 - rows.height(hz))
        canvas.fill(_LEFT - 5, y, 5, 1)
        canvas.write(_LEFT - 9, y + _SIZE / 2, hz_label(hz), _SIZE, align=1.0)
    for second in time_ticks(start_s, end_s, n_cols / 90):
        x = _LEFT + n_cols * (second - start_s) / (end_s - start_s)
        canvas.fill(x, top + n_rows, 1, 5)
        if last:
            label = time_label(second, time_step(start_s, end_s, n_cols / 90))
            left = min(x - text_width(label, _SIZE) / 2, _LEFT + n_cols + _RIGHT - text_width(label, _SIZE) - 4)
            canvas.write(left, top + n_rows + 20, label, _SIZE)
    if last:
        canvas.write(_LEFT + n_cols / 2, top + n_rows + 40, "time in minutes and seconds", _SIZE, align=0.5)
        canvas.write(_LEFT - 9, top - 11, "Hz", _SIZE, align=1.0)
    if panel.cutoff_hz is not None and panel.cutoff_hz < rows.top_hz:
        canvas.dash(_LEFT, top + n_rows * (1 - rows.height(panel.cutoff_hz)), n_cols, 1)
    for mark in panel.marks:
        _draw_mark(canvas, mark, rows, top, n_rows, n_cols, span_s)


def _draw_mark(
    canvas: Canvas, mark: Mark, rows: Rows, top: int, n_rows: int, n_cols: int, span_s: tuple[float, float]
) -> None:
    start_s, end_s = span_s
    left, right = (
        _LEFT + n_cols * (min(max(edge_s, start_s), end_s) - start_s) / (end_s - start_s)
        for edge_s in (mark.start_s, mark.end_s)
    )
    above = n_rows * (1 - (1.0 if mark.high_hz is None else rows.height(mark.high_hz)))
    below = n_rows * (1 - (0.0 if mark.low_hz is None else rows.height(mark.low_hz)))
    for x in (left, right):
        canvas.dash(x, top + above, 1, below - above)
    for hz, y in ((mark.low_hz, below), (mark.high_hz, above)):
        if hz is not None:
            canvas.dash(left, top + y, right - left, 1)
    canvas.fill(left, top - 5, right - left, 3, MARK)


def _draw_bar(canvas: Canvas, scale: Scale, signed: bool, left: int, top: int, height: int) -> None:
    low, high = (-scale.most_db, scale.most_db) if signed else (scale.low_db, scale.high_db)
    n_colours = N_SIGNED if signed else N_LEVELS
    ramp = np.rint(np.linspace(n_colours - 1, 0, height)).astype(np.uint8)
    canvas.show(left, top, np.repeat(ramp[:, None], _BAR, axis=1), signed)
    canvas.write(left, top - 11, "dB" if signed else "dBFS", _SIZE)
    step = next(step for step in (10, 20, 50, 100) if height * step / (high - low) > 1.6 * _SIZE or step == 100)
    for value in range(step * ceil(low / step), step * floor(high / step) + 1, step):
        y = top + (height - 1) * (high - value) / (high - low)
        canvas.fill(left + _BAR, y, 4, 1)
        text = f"{value:+d}" if signed and value else f"{value}"
        canvas.write(left + _BAR + 8, y + _SIZE / 2, text.replace("-", "\N{MINUS SIGN}"), _SIZE)


def hz_label(hz: float) -> str:
    """Return a frequency as axes show it.

    >>> hz_label(500), hz_label(2000)
    ('500', '2 k')
    """
    return f"{hz / 1000:g} k" if hz >= 1000 else f"{hz:g}"


def time_step(start_s: float, end_s: float, n_ticks: float) -> float:
    """Return the seconds between about so many round times."""
    wanted = max((end_s - start_s) / max(1.0, n_ticks), 0.001)
    if wanted > 5:
        steps = (10, 15, 30, 60, 120, 300, 600, 900, 1800)
        return float(next((step for step in steps if step >= wanted), 3600 * ceil(wanted / 3600)))
    power = 10.0 ** floor(log10(wanted))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= wanted * 0.999)


def time_ticks(start_s: float, end_s: float, n_ticks: float) -> list[float]:
    """Return about so many round times in [start_s, end_s].

    >>> time_ticks(0.5, 10.0, 5)
    [2.0, 4.0, 6.0, 8.0, 10.0]
    """
    step = time_step(start_s, end_s, n_ticks)
    return [round(number * step, 6) for number in range(ceil(start_s / step - 1e-6), floor(end_s / step + 1e-6) + 1)]


def time_label(second: float, step: float = 0.001) -> str:
    """Return a time in hours, minutes and seconds, with as many places as steps of that size need.

    >>> time_label(83.5, 0.5), time_label(3723.0, 1), time_label(0.25)
    ('1:23.5', '1:02:03', '0:00.250')
    """
    places = next((places for places in range(4) if abs(step * 10**places - round(step * 10**places)) < 1e-6), 3)
    ticks = round(second * 10**places)
    whole, fraction = divmod(ticks, 10**places)
    hours, minutes, seconds = whole // 3600, whole // 60 % 60, whole % 60
    text = f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"
    return f"{text}.{fraction:0{places}d}" if places else text
