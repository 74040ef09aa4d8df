"""Plots of spectrograms with common scales of time, frequency and level, with axes, marks and colour bars."""

import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from math import ceil, floor, log1p, log10

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from scipy.fft import rfft
from scipy.signal.windows import hann

from masktools.core.errors import ParameterError

N_LEVELS, N_SIGNED = 120, 101  # colours of levels; of differences, with a neutral one in the middle
INK, MARK = 15, 16  # greys from the background, 0, to the foreground
_GROUND_COLOUR, _INK_COLOUR, _MARK_COLOUR = (20, 23, 28), (215, 221, 230), (110, 231, 255)
_FIRST_LEVEL = MARK + 1
_FIRST_SIGNED = _FIRST_LEVEL + N_LEVELS
_CAPITAL = 0.71  # height of capitals over the size of the font
_PLAIN = str.maketrans("\u201c\u201d\u2018\u2019\u00a0\u2013\u2014\u2212\u00d7\u00b5", "\"\"'' ---xu")

# Lightness, chroma and hue (degrees) along each colour map.
_LEVELS = ((0.13, 0.02, 285.0), (0.33, 0.13, 295.0), (0.52, 0.19, 345.0), (0.70, 0.17, 40.0), (0.97, 0.08, 100.0))
_LESS, _NONE, _MORE = (0.84, 0.11, 235.0), (0.16, 0.0, 0.0), (0.80, 0.13, 45.0)
_LESS_DEEP, _MORE_DEEP = (0.56, 0.17, 255.0), (0.56, 0.21, 27.0)

# Source: B. Ottosson, A perceptual color space for image processing (2020): from Oklab to linear sRGB.
_TO_CONES = np.array(
    [[1.0, 0.3963377774, 0.2158037573], [1.0, -0.1055613458, -0.0638541728], [1.0, -0.0894841775, -1.2914855480]]
)
_TO_RGB = np.array(
    [
        [4.0767416621, -3.3077115913, 0.2309699292],
        [-1.2684380046, 2.6097574011, -0.3413193965],
        [-0.0041960863, -0.7034186147, 1.7076147010],
    ]
)


class Canvas:
    """A dark image with a colour palette; positions are in pixels from the upper left corner."""

    def __init__(self, width: int, height: int) -> None:
        self.pixels = np.zeros((height, width), np.uint8)  # palette indices; 0 is the background

    def show(self, left: int, top: int, numbers: np.ndarray, signed: bool = False) -> None:
        """Paste a spectrogram: palette indices (height, width) of levels, or of differences."""
        height, width = numbers.shape
        first = _FIRST_SIGNED if signed else _FIRST_LEVEL
        self.pixels[top : top + height, left : left + width] = numbers + np.uint8(first)

    def fill(self, left: float, top: float, width: float, height: float, colour: int = INK) -> None:
        """Fill a rectangle of at least one pixel each way, clipped to the image."""
        x, y = round(left), round(top)
        right, bottom = max(x + 1, round(left + width)), max(y + 1, round(top + height))
        self.pixels[max(0, y) : max(0, bottom), max(0, x) : max(0, right)] = colour

    def dash(self, left: float, top: float, width: float, height: float) -> None:
        """Draw a dashed line, vertical or horizontal, whichever is longer."""
        step, drawn = 7, 4
        if height > width:
            for y in range(round(top), round(top + height), step):
                self.fill(left, y, width, min(drawn, top + height - y), MARK)
        else:
            for x in range(round(left), round(left + width), step):
                self.fill(x, top, min(drawn, left + width - x), height, MARK)

    def write(self, x: float, baseline: float, text: str, size: float = 10.0, align: float = 0.0) -> None:
        """Draw a line of text by its baseline and its left end (align 0), middle (0.5) or right end (1)."""
        font, text = _font(size), _drawable(text)
        left, top, right, bottom = (round(edge) for edge in font.getbbox(text, anchor="ls"))
        mask = Image.new("L", (max(1, right - left), max(1, bottom - top)))
        ImageDraw.Draw(mask).text((-left, -top), text, 255, font, anchor="ls")
        left, top = round(x - align * font.getlength(text)) + left, round(baseline) + top
        ink = np.rint(np.asarray(mask) * (INK / 255)).astype(np.uint8)[max(0, -top) :, max(0, -left) :]
        below = self.pixels[max(0, top) : max(0, top) + ink.shape[0], max(0, left) : max(0, left) + ink.shape[1]]
        np.maximum(below, ink[: below.shape[0], : below.shape[1]], out=below)

    @property
    def image(self) -> Image.Image:
        """The image as a Pillow image."""
        greys = np.rint(np.linspace(_GROUND_COLOUR, _INK_COLOUR, INK + 1)).astype(np.uint8)
        mark = np.array([_MARK_COLOUR], np.uint8)
        return _paletted(self.pixels, np.concatenate([greys, mark, level_colours(N_LEVELS), signed_colours(N_SIGNED)]))


def text_width(text: str, size: float) -> float:
    """Return the width of a line of text in pixels; ``size`` is the height of capitals."""
    return _font(size).getlength(_drawable(text))


def picture_of(numbers: np.ndarray, signed: bool = False) -> Image.Image:
    """Return an image of indices (height, width) uint8, the top row first, in the colours of levels or differences."""
    return _paletted(numbers, signed_colours(N_SIGNED) if signed else level_colours(N_LEVELS))


def to_png(image: Image.Image, small: bool = True) -> bytes:
    """Return an image as PNG, optimised for size, or else for speed."""
    held = BytesIO()
    image.save(held, "PNG", optimize=small, compress_level=9 if small else 4)
    return held.getvalue()


@cache
def level_colours(n: int) -> np.ndarray:
    """Return n colours (n, 3) uint8 from near black over violet and orange to pale yellow, evenly lighter."""
    return _along(_LEVELS, n)


@cache
def signed_colours(n: int) -> np.ndarray:
    """Return n colours (n, 3) uint8 from blue (less) over near black (no difference) to red (more)."""
    below = _along((_NONE[:2] + _LESS_DEEP[2:], _LESS_DEEP, _LESS), n // 2 + 1)[::-1]
    above = _along((_NONE[:2] + _MORE_DEEP[2:], _MORE_DEEP, _MORE), n - n // 2)
    return np.concatenate([below[:-1], above])


def hex_colour(colour: np.ndarray) -> str:
    """Return a colour in CSS notation.

    >>> hex_colour(np.array([255, 0, 16], np.uint8))
    '#ff0010'
    """
    return "#" + "".join(f"{int(part):02x}" for part in colour)


@cache
def _font(size: float) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size / _CAPITAL)  # Aileron (CC0), bundled with Pillow: no system font is needed


def _paletted(numbers: np.ndarray, colours: np.ndarray) -> Image.Image:
    image = Image.fromarray(np.ascontiguousarray(numbers))
    image.putpalette(colours.tobytes())
    return image


def _drawable(text: str) -> str:
    """Return text without accents and special signs, which the font lacks."""
    parts = unicodedata.normalize("NFKD", text.translate(_PLAIN))
    return "".join(part for part in parts if not unicodedata.combining(part))


def _along(stops: tuple[tuple[float, float, float], ...], n: int) -> np.ndarray:
    """Return n colours along stops, in equal steps of lightness, with less chroma outside the screen's gamut."""
    lightness, chroma, hue = np.array(stops).T
    wanted = np.linspace(lightness[0], lightness[-1], n)
    hue = np.degrees(np.unwrap(np.radians(hue)))
    return _screen(wanted, np.interp(wanted, lightness, chroma), np.radians(np.interp(wanted, lightness, hue)))


def _screen(lightness: np.ndarray, chroma: np.ndarray, hue: np.ndarray) -> np.ndarray:
    """Return sRGB (n, 3) uint8 from Oklab's polar coordinates."""
    possible = np.zeros_like(chroma)
    for share in np.linspace(0.0, 1.0, 101):
        linear = _linear(lightness, share * chroma, hue)
        possible = np.where(((linear >= -1e-6) & (linear <= 1 + 1e-6)).all(axis=1), share, possible)
    linear = _linear(lightness, possible * chroma, hue).clip(0.0, 1.0)
    encoded = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return np.rint(255 * encoded).astype(np.uint8)


def _linear(lightness: np.ndarray, chroma: np.ndarray, hue: np.ndarray) -> np.ndarray:
    oklab = np.stack([lightness, chroma * np.cos(hue), chroma * np.sin(hue)], axis=1)
    return (oklab @ _TO_CONES.T) ** 3 @ _TO_RGB.T


FLOOR_DB = -120.0
_WINDOW_S = 0.046  # 1014 samples at 22.05 kHz
_NOISE_BINS = 1.5  # main lobe of a Hann window, in bins
_BREAK_HZ = 700.0  # the rows are linear in frequency below, logarithmic above
_N_FRAMES = 256  # frames transformed at once

Reader = Callable[[int, int], np.ndarray]
"""Function of start and stop to samples (channels, stop - start) of a recording."""


@dataclass(frozen=True)
class Rows:
    """Rows of a spectrogram: bands from 0 Hz up, on a scale similar to mel."""

    top_hz: float
    n: int = 128
    linear: bool = False  # linear in frequency instead

    def __post_init__(self) -> None:
        """Check the ranges."""
        if not self.top_hz > 0 or self.n < 1:
            raise ParameterError(f"rows must reach above 0 Hz and be at least 1, got {self.n} up to {self.top_hz:g} Hz")

    @property
    def edges_hz(self) -> np.ndarray:
        """Edges (n + 1,) of the bands."""
        if self.linear:
            return np.linspace(0.0, self.top_hz, self.n + 1)
        return _BREAK_HZ * np.expm1(np.linspace(0.0, log1p(self.top_hz / _BREAK_HZ), self.n + 1))

    def height(self, hz: float) -> float:
        """Return the relative height of a frequency, 0 at the bottom and 1 at the top."""
        if self.linear:
            return min(max(hz, 0.0), self.top_hz) / self.top_hz
        return log1p(min(max(hz, 0.0), self.top_hz) / _BREAK_HZ) / log1p(self.top_hz / _BREAK_HZ)

    def ticks_hz(self) -> list[float]:
        """Return the frequencies of axis labels, far enough from each other."""
        ticks, last = [], 0.0
        for hz in (100, 200, 500, 1000, 2000, 4000, 8000, 16_000, 32_000):
            if hz < 0.97 * self.top_hz and self.height(hz) - last > 0.1:
                ticks.append(float(hz))
                last = self.height(hz)
        return ticks


def spectrogram(
    read: Reader,
    n_samples: int,
    sample_rate: int,
    rows: Rows,
    n_cols: int,
    span: tuple[int, int] | None = None,
    most_frames: int | None = None,
) -> np.ndarray:
    """Return levels (channels, rows, columns) in dBFS of each row: a full-scale sine inside it is at 0.

    Rows narrower than the 33 Hz of a tone's main lobe hold only a part of it. A column is the mean power of all its
    frames; levels above half the sample rate are at the floor. Samples that are not finite count as zero. Memory does
    not grow with the recording.

    Args:
        read: function that returns samples.
        n_samples: length of the recording.
        sample_rate: sampling rate in Hz.
        rows: frequency bands.
        n_cols: number of columns, at least 1.
        span: first sample to show, and the one after the last; all of the recording by default.
        most_frames: greatest number of frames in a column, if not all need to count.

    Raises:
        ParameterError: a span outside the recording, or no column.
    """
    power = column_powers(read, n_samples, sample_rate, n_cols, span, most_frames)
    return as_levels(power @ row_weights(rows, sample_rate))


def column_powers(
    read: Reader,
    n_samples: int,
    sample_rate: int,
    n_cols: int,
    span: tuple[int, int] | None = None,
    most_frames: int | None = None,
) -> np.ndarray:
    """Return the mean power (channels, columns, bins) of the frames in each column; arguments as in ``spectrogram``."""
    start, stop = (0, n_samples) if span is None else span
    if not 0 <= start < stop <= n_samples or n_cols < 1:
        raise ParameterError(
            f"the span must lie in 0-{n_samples}, with a column at least, got {start}-{stop}, {n_cols}"
        )
    length = _frame_length(sample_rate)
    window = hann(length, sym=False).astype(np.float32)
    per_column = max(1, ceil((stop - start) / n_cols / (length / 2)))
    per_column = min(per_column, most_frames or per_column)
    n_frames = n_cols * per_column
    centres = start + np.floor((np.arange(n_frames) + 0.5) * ((stop - start) / n_frames)).astype(np.int64)
    sums = np.zeros((len(read(start, start + 1)), n_cols, length // 2 + 1), np.float32)
    for first in range(0, n_frames, _N_FRAMES):
        chosen = centres[first : first + _N_FRAMES] - length // 2
        frames = _frames(read, n_samples, chosen, length)
        spectrum = np.asarray(rfft(frames * window)) * (2 / float(window.sum()))
        columns = np.arange(first, first + len(chosen)) // per_column
        starts = np.flatnonzero(np.diff(columns, prepend=-1))
        sums[:, columns[starts]] += np.add.reduceat(spectrum.real**2 + spectrum.imag**2, starts, axis=1)
    return sums / per_column


def as_levels(power: np.ndarray) -> np.ndarray:
    """Return the power (channels, columns, rows) of columns as levels (channels, rows, columns) in dBFS."""
    return 10 * np.log10(power.transpose(0, 2, 1) + 10 ** (FLOOR_DB / 10))


def mean_levels(levels: np.ndarray) -> np.ndarray:
    """Return the levels (rows, columns) of the mean power of all channels (channels, rows, columns)."""
    return 10 * np.log10(np.mean(10 ** (levels / 10), axis=0))


def top_level_db(levels: list[np.ndarray]) -> float:
    """Return the upper end of a colour scale that fits several spectrograms, a multiple of 5 dB."""
    return 5 * ceil(max(float(np.quantile(level, 0.998)) for level in levels) / 5)


def show_levels(levels: np.ndarray, low: float, high: float, n_colours: int) -> np.ndarray:
    """Return levels (rows, columns) as palette indices uint8, the highest row first, as in images."""
    share = (levels[::-1] - low) / (high - low)
    return np.rint(share.clip(0, 1) * (n_colours - 1)).astype(np.uint8)


def _frame_length(sample_rate: int) -> int:
    return max(16, 2 * round(_WINDOW_S * sample_rate / 2))


@cache
def row_weights(rows: Rows, sample_rate: int) -> np.ndarray:
    """Return the weight of each bin in each row (bins, rows): the share of the bin inside the row."""
    length = _frame_length(sample_rate)
    width = sample_rate / length
    centres = np.arange(length // 2 + 1) * width
    low, high = rows.edges_hz[:-1], rows.edges_hz[1:]
    shared = np.minimum(centres[:, None] + width / 2, high) - np.maximum(centres[:, None] - width / 2, low)
    return (shared.clip(0.0) / (width * _NOISE_BINS)).astype(np.float32)


def _frames(read: Reader, n_samples: int, starts: np.ndarray, length: int) -> np.ndarray:
    """Return frames (channels, frames, length), padded with zeros outside the recording."""
    first, last = int(starts[0]), int(starts[-1]) + length
    if last - first > 2 * length * len(starts):  # far apart: samples between them need not be read
        frames = np.stack([_held(read, n_samples, start, start + length) for start in starts.tolist()], axis=1)
        return np.nan_to_num(frames, copy=False, nan=0.0, posinf=0.0, neginf=0.0)
    held = np.nan_to_num(_held(read, n_samples, first, last), nan=0.0, posinf=0.0, neginf=0.0)
    return np.stack([held[:, start - first : start - first + length] for start in starts], axis=1)


def _held(read: Reader, n_samples: int, start: int, stop: int) -> np.ndarray:
    """Return samples, padded with zeros outside the recording."""
    inside = read(max(0, start), min(n_samples, stop))
    if start >= 0 and stop <= n_samples:
        return inside
    return np.pad(inside, ((0, 0), (max(0, -start), max(0, stop - n_samples))))


_LEFT, _RIGHT, _TOP, _BOTTOM, _BETWEEN = 64, 84, 14, 44, 34  # margins in pixels
_SIZE, _TITLE = 9.0, 10.5  # heights of capitals in pixels
LINE_SIZE = _SIZE
_BAR = 14  # width of a colour bar


@dataclass(frozen=True)
class Scale:
    """A colour scale: levels between two limits, and differences of either sign up to a limit."""

    low_db: float
    high_db: float
    most_db: float = 30.0  # difference with the strongest colour

    def __post_init__(self) -> None:
        """Check the order."""
        if not self.low_db < self.high_db or not self.most_db > 0:
            raise ParameterError(
                f"a scale must rise and have a limit above 0 dB, got {self.low_db:g} to {self.high_db:g} dB "
                f"and {self.most_db:g} dB"
            )

    def show(self, levels: np.ndarray) -> np.ndarray:
        """Return levels (rows, columns) in dBFS as palette indices, the highest row first."""
        return show_levels(levels, self.low_db, self.high_db, N_LEVELS)

    def show_difference(self, before: np.ndarray, after: np.ndarray) -> np.ndarray:
        """Return the increase of levels as palette indices; levels below the scale count as its lower limit.

        Of several channels (channels, rows, columns) the one with the greatest change counts.
        """
        rise = np.maximum(after, self.low_db) - np.maximum(before, self.low_db)
        most = np.take_along_axis(rise, np.abs(rise).argmax(axis=0)[None], axis=0)[0]
        return show_levels(most, -self.most_db, self.most_db, N_SIGNED)


@dataclass(frozen=True)
class Mark:
    """A time span in brackets, over the full band or a part of it."""

    start_s: float
    end_s: float
    low_hz: float | None = None
    high_hz: float | None = None


@dataclass(frozen=True)
class Panel:
    """One spectrogram of a plot."""

    title: str
    image: np.ndarray  # (rows, columns) palette indices, the highest row first
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
    """Return a PNG of spectrograms one below the other, with marks at the edges of repairs and at a cutoff.

    Args:
        panels: spectrograms, at least one, all with the same number of columns.
        rows: rows of the spectrograms.
        scale: colour scale of the spectrograms.
        start_s: time at their left edge in seconds.
        end_s: time at their right edge in seconds.
        title: title in large letters at the top.
        lines: lines of text below the title.

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
    """Return the label of a frequency on an axis.

    >>> hz_label(500), hz_label(2000)
    ('500', '2 k')
    """
    return f"{hz / 1000:g} k" if hz >= 1000 else f"{hz:g}"


def time_step(start_s: float, end_s: float, n_ticks: float) -> float:
    """Return the step in seconds that gives about ``n_ticks`` round times."""
    wanted = max((end_s - start_s) / max(1.0, n_ticks), 0.001)
    if wanted > 5:
        steps = (10, 15, 30, 60, 120, 300, 600, 900, 1800)
        return float(next((step for step in steps if step >= wanted), 3600 * ceil(wanted / 3600)))
    power = 10.0 ** floor(log10(wanted))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= wanted * 0.999)


def time_ticks(start_s: float, end_s: float, n_ticks: float) -> list[float]:
    """Return about ``n_ticks`` round times in [start_s, end_s].

    >>> time_ticks(0.5, 10.0, 5)
    [2.0, 4.0, 6.0, 8.0, 10.0]
    """
    step = time_step(start_s, end_s, n_ticks)
    return [round(number * step, 6) for number in range(ceil(start_s / step - 1e-6), floor(end_s / step + 1e-6) + 1)]


def time_label(second: float, step: float = 0.001) -> str:
    """Return a time in hours, minutes and seconds, with the decimals that a step of this size needs.

    >>> time_label(83.5, 0.5), time_label(3723.0, 1), time_label(0.25)
    ('1:23.5', '1:02:03', '0:00.250')
    """
    places = next((places for places in range(4) if abs(step * 10**places - round(step * 10**places)) < 1e-6), 3)
    ticks = round(second * 10**places)
    whole, fraction = divmod(ticks, 10**places)
    hours, minutes, seconds = whole // 3600, whole // 60 % 60, whole % 60
    text = f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"
    return f"{text}.{fraction:0{places}d}" if places else text
