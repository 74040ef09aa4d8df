"""Drawing of spectrograms: tables of colours, pictures of numbers, words and dashed lines on a canvas."""

import unicodedata
from functools import cache
from io import BytesIO

import numpy as np
from PIL import Image, ImageDraw, ImageFont

N_LEVELS, N_SIGNED = 120, 101  # colours of levels; of differences, with one in the middle
INK, MARK = 15, 16  # greys lead from the ground, 0, to the ink
_GROUND_COLOUR, _INK_COLOUR, _MARK_COLOUR = (20, 23, 28), (215, 221, 230), (110, 231, 255)
_FIRST_LEVEL = MARK + 1
_FIRST_SIGNED = _FIRST_LEVEL + N_LEVELS
_CAPITAL = 0.71  # height of capitals over the size of the font
_PLAIN = str.maketrans("\u201c\u201d\u2018\u2019\u00a0\u2013\u2014\u2212\u00d7\u00b5", "\"\"'' ---xu")

# Lightness, chroma and hue (degrees) along each table.
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
    """A dark picture that one draws on, in one table of colours; positions are in pixels from the upper left corner."""

    def __init__(self, width: int, height: int) -> None:
        self.pixels = np.zeros((height, width), np.uint8)  # numbers of colours; 0 is the ground

    def show(self, left: int, top: int, numbers: np.ndarray, signed: bool = False) -> None:
        """Put a spectrogram there: numbers (height, width) of colours of levels, or else of differences."""
        height, width = numbers.shape
        first = _FIRST_SIGNED if signed else _FIRST_LEVEL
        self.pixels[top : top + height, left : left + width] = numbers + np.uint8(first)

    def fill(self, left: float, top: float, width: float, height: float, colour: int = INK) -> None:
        """Fill a rectangle of at least one pixel each way, as far as it lies inside."""
        x, y = round(left), round(top)
        right, bottom = max(x + 1, round(left + width)), max(y + 1, round(top + height))
        self.pixels[max(0, y) : max(0, bottom), max(0, x) : max(0, right)] = colour

    def dash(self, left: float, top: float, width: float, height: float) -> None:
        """Draw a dashed line down or across, whichever is longer."""
        step, drawn = 7, 4
        if height > width:
            for y in range(round(top), round(top + height), step):
                self.fill(left, y, width, min(drawn, top + height - y), MARK)
        else:
            for x in range(round(left), round(left + width), step):
                self.fill(x, top, min(drawn, left + width - x), height, MARK)

    def write(self, x: float, baseline: float, text: str, size: float = 10.0, align: float = 0.0) -> None:
        """Write a line of text whose baseline, and left end (align 0), middle (0.5) or right end (1) lie there."""
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
        """The picture."""
        greys = np.rint(np.linspace(_GROUND_COLOUR, _INK_COLOUR, INK + 1)).astype(np.uint8)
        mark = np.array([_MARK_COLOUR], np.uint8)
        return _paletted(self.pixels, np.concatenate([greys, mark, level_colours(N_LEVELS), signed_colours(N_SIGNED)]))


def text_width(text: str, size: float) -> float:
    """Return how wide a line of text is, in pixels; ``size`` is the height of capitals."""
    return _font(size).getlength(_drawable(text))


def picture_of(numbers: np.ndarray, signed: bool = False) -> Image.Image:
    """Return a picture of numbers (height, width) uint8, the top row first, in the colours of levels or differences."""
    return _paletted(numbers, signed_colours(N_SIGNED) if signed else level_colours(N_LEVELS))


def to_png(image: Image.Image, small: bool = True) -> bytes:
    """Return a picture as the bytes of a PNG file, as few as possible, or else as soon as possible."""
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
    """Return a colour as style sheets write it.

    >>> hex_colour(np.array([255, 0, 16], np.uint8))
    '#ff0010'
    """
    return "#" + "".join(f"{int(part):02x}" for part in colour)


@cache
def _font(size: float) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size / _CAPITAL)  # Aileron (CC0), inside Pillow: the machine needs no font


def _paletted(numbers: np.ndarray, colours: np.ndarray) -> Image.Image:
    image = Image.fromarray(np.ascontiguousarray(numbers))
    image.putpalette(colours.tobytes())
    return image


def _drawable(text: str) -> str:
    """Return text without accents and with plain signs: the font has no others."""
    parts = unicodedata.normalize("NFKD", text.translate(_PLAIN))
    return "".join(part for part in parts if not unicodedata.combining(part))


def _along(stops: tuple[tuple[float, float, float], ...], n: int) -> np.ndarray:
    """Return n colours along stops, even in lightness, and less colourful where a screen cannot show it."""
    lightness, chroma, hue = np.array(stops).T
    wanted = np.linspace(lightness[0], lightness[-1], n)
    hue = np.degrees(np.unwrap(np.radians(hue)))
    return _screen(wanted, np.interp(wanted, lightness, chroma), np.radians(np.interp(wanted, lightness, hue)))


def _screen(lightness: np.ndarray, chroma: np.ndarray, hue: np.ndarray) -> np.ndarray:
    """Return sRGB (n, 3) uint8 of colours in Oklab's polar form."""
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
