"""A picture that one draws on: a plain ground, spectrograms, lines, and words, in one table of colours."""

import numpy as np

from masktools.review.colours import level_colours, signed_colours
from masktools.review.lettering import draw_text
from masktools.review.png import encode_png

__all__ = ["INK", "MARK", "N_LEVELS", "N_SIGNED", "Canvas"]

N_LEVELS, N_SIGNED = 120, 101  # colours of levels; of differences, with one in the middle
_N_GREYS = 16  # from the ground to the ink
_GROUND, _INK_COLOUR, _MARK_COLOUR = (20, 23, 28), (215, 221, 230), (110, 231, 255)
INK, MARK = _N_GREYS - 1, _N_GREYS
_FIRST_LEVEL = _N_GREYS + 1
_FIRST_SIGNED = _FIRST_LEVEL + N_LEVELS


class Canvas:
    """Pixels (height, width); all positions are counted from the upper left corner."""

    def __init__(self, width: int, height: int) -> None:
        self.pixels = np.zeros((height, width), np.uint8)

    def show(self, left: int, top: int, image: np.ndarray, signed: bool = False) -> None:
        """Put a spectrogram there: numbers of colours of levels, or else of differences."""
        height, width = image.shape
        first = _FIRST_SIGNED if signed else _FIRST_LEVEL
        self.pixels[top : top + height, left : left + width] = image + np.uint8(first)

    def fill(self, left: float, top: float, width: float, height: float, colour: int = INK) -> None:
        """Fill a rectangle of at least one pixel each way, as far as it lies inside."""
        x, y = round(left), round(top)
        right, bottom = max(x + 1, round(left + width)), max(y + 1, round(top + height))
        self.pixels[max(0, y) : max(0, bottom), max(0, x) : max(0, right)] = colour

    def dash(self, left: float, top: float, width: float, height: float, colour: int = MARK) -> None:
        """Draw a dashed line down or across, whichever is longer."""
        step, drawn = 7, 4
        if height > width:
            for y in range(round(top), round(top + height), step):
                self.fill(left, y, width, min(drawn, top + height - y), colour)
        else:
            for x in range(round(left), round(left + width), step):
                self.fill(x, top, min(drawn, left + width - x), height, colour)

    def write(self, x: float, baseline: float, text: str, size: float = 10.0, align: float = 0.0) -> None:
        """Write a line of text whose baseline, and left end (align 0), middle (0.5) or right end (1) lie there."""
        ink = np.rint(draw_text(text, size) * INK).astype(np.uint8)
        height, width = ink.shape
        unit = size / 6.0  # of the lettering's grid: the baseline is 2 above the lowest point, and the pen has a width
        left, top = round(x - align * width), round(baseline + 2.8 * unit) - height
        ink = ink[max(0, -top) :, max(0, -left) :]
        below = self.pixels[max(0, top) : max(0, top) + ink.shape[0], max(0, left) : max(0, left) + ink.shape[1]]
        np.maximum(below, ink[: below.shape[0], : below.shape[1]], out=below)

    def to_png(self) -> bytes:
        """Return the picture."""
        ground, ink = np.array(_GROUND), np.array(_INK_COLOUR)
        greys = np.rint(ground + np.linspace(0, 1, _N_GREYS)[:, None] * (ink - ground)).astype(np.uint8)
        colours = [greys, np.array([_MARK_COLOUR], np.uint8), level_colours(N_LEVELS), signed_colours(N_SIGNED)]
        return encode_png(self.pixels, np.concatenate(colours))
