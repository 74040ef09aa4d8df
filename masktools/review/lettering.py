"""Letters for pictures, drawn as strokes of a round pen: what a spectrogram's labels need, without a font file.

A glyph is a list of strokes on a grid: a stroke is a list of points, each of two digits, right and up. The baseline is
at height 2, capitals end at 8, small letters at 6, descenders at 0. A stroke that begins with ``~`` is smooth: its
points are the corners that the curve rounds off (a quadratic B-spline from the first point to the last).
"""

import unicodedata
from functools import cache

import numpy as np

__all__ = ["draw_text", "text_width"]

_BOWL, _MIRRORED = "~454606024243", "~050646420203"
_GLYPHS = {
    "a": f"4642 {_BOWL}",
    "b": f"0802 {_MIRRORED}",
    "c": _BOWL,
    "d": f"4842 {_BOWL}",
    "e": "0444 ~444606024243",
    "f": "1216 ~161838 0636",
    "g": f"4641 ~41400001 {_BOWL}",
    "h": "0802 ~04064644 4442",
    "i": "0206 0808",
    "j": "1611 ~111000 1818",
    "k": "0802 3603 1432",
    "l": "0802",
    "m": "0602 ~04063634 3432 ~34366664 6462",
    "n": "0602 ~04064644 4442",
    "o": "~224246060222",
    "p": f"0600 {_MIRRORED}",
    "q": f"4640 {_BOWL}",
    "r": "0602 ~040636",
    "s": "~4546060444420203",
    "t": "1813 ~131232 0636",
    "u": "0604 ~04024244 4642",
    "v": "062246",
    "w": "0612355266",
    "x": "0642 0246",
    "y": "0622 4610",
    "z": "06460242",
    "A": "022842 1434",
    "B": "0828 ~28484525 2505 ~25454222 2202 0208",
    "C": "~474808024243",
    "D": "0802 0818 ~18484212 1202",
    "E": "48080242 0535",
    "F": "480802 0535",
    "G": "~474808024244 4424",
    "H": "0802 4842 0545",
    "I": "0802",
    "J": "3834 ~34320204",
    "K": "0802 4804 1542",
    "L": "080242",
    "M": "0208254842",
    "N": "02084248",
    "O": "~224248080222",
    "P": "0208 0828 ~28484525 2505",
    "Q": "~224248080222 2442",
    "R": "0208 0828 ~28484525 2505 2542",
    "S": "~4748080545420203",
    "T": "0848 2822",
    "U": "0804 ~04024244 4448",
    "V": "082248",
    "W": "0812365268",
    "X": "0842 0248",
    "Y": "0825 4825 2522",
    "Z": "08480242",
    "0": "~224248080222",
    "1": "0728 2822",
    "2": "~0708484524 240242",
    "3": "~0708484525 ~2545420203",
    "4": "3238 380444",
    "5": "48080525 ~2545420203",
    "6": "~4748080242450504",
    "7": "084812",
    "8": "~254542020525 ~254548080525",
    "9": "~0302424808054546",
    ".": "0202",
    ",": "1201",
    ":": "0202 0505",
    ";": "1515 1201",
    "-": "0535",
    "\N{EN DASH}": "0545",
    "\N{EM DASH}": "0565",
    "\N{MINUS SIGN}": "0545",
    "+": "0545 2327",
    "\N{PLUS-MINUS SIGN}": "0545 2327 0242",
    "\N{MULTIPLICATION SIGN}": "0347 0743",
    "\N{MIDDLE DOT}": "0505",
    "/": "0248",
    "\\": "0842",
    "%": "0248 ~182826060818 ~344442222434",
    "(": "~18070312",
    ")": "~08171302",
    "[": "18080212",
    "]": "08181202",
    "{": "~18070312",
    "}": "~08171302",
    '"': "0806 2826",
    "'": "0806",
    "=": "0444 0646",
    "_": "0141",
    "<": "470543",
    ">": "074503",
    "*": "2723 0644 0446",
    "#": "1218 3238 0444 0646",
    "!": "0804 0202",
    "?": "~0708484525 2524 2222",
    "|": "0901",
    "~": "~04173346",
    "^": "062846",
    "&": "~421608383604023245",
    "$": "~4748080545420203 2921",
    "@": "~344426243444 ~444808024232",
    "\N{DEGREE SIGN}": "~182826060818",
    "\N{MICRO SIGN}": "0600 ~04024244 4642",
    "\N{HORIZONTAL ELLIPSIS}": "0202 2222 4242",
}
_UNKNOWN = "0208484202"  # a box
_SAME = str.maketrans("\u201c\u201d\u2018\u2019\u00a0", "\"\"'' ")
_CAPITAL, _TOP, _GAP, _SPACE, _PEN = 6.0, 9.0, 2.0, 3.0, 0.8  # in steps of the grid
_CURVE = np.linspace(0.0, 1.0, 7)[1:, None]


def text_width(text: str, size: float) -> float:
    """Return how wide a line of text is, in pixels; ``size`` is the height of capitals."""
    return max(0.0, sum(_advance(character) for character in _known(text)) - _GAP) * size / _CAPITAL


def draw_text(text: str, size: float) -> np.ndarray:
    """Return how much ink (height, width) in [0, 1] a line of text leaves on each pixel.

    Letters with accents lose them, and what has no glyph becomes a box.

    Args:
        text: the line.
        size: height of capitals in pixels.
    """
    scale = size / _CAPITAL
    margin = _PEN
    segments, right = [], margin
    for character in _known(text):
        segments += [stroke + np.array([right, margin]) for stroke in _strokes(character)]
        right += _advance(character)
    height, width = round((_TOP + 2 * margin) * scale), max(1, round((right - _GAP + margin) * scale))
    ink = np.zeros((height, width))
    for points in segments:
        _draw_stroke(ink, points * scale, _PEN * scale / 2)
    return ink


def _draw_stroke(ink: np.ndarray, points: np.ndarray, radius: float) -> None:
    """Add a line along points (n, 2), right and up in pixels, to the ink where it is darker."""
    height, width = ink.shape
    low, high = points.min(axis=0) - radius - 1, points.max(axis=0) + radius + 1
    left, below = (int(max(0, side)) for side in low)
    right, above = (int(min(limit, np.ceil(side) + 1)) for side, limit in zip(high, (width, height), strict=True))
    across, up = np.meshgrid(np.arange(left, right) + 0.5, np.arange(below, above) + 0.5)
    places = np.stack([across, up], axis=-1)[:, :, None]
    starts, ways = points[:-1], np.diff(points, axis=0)
    lengths = np.sum(ways**2, axis=1).clip(1e-9)
    along = (np.sum((places - starts) * ways, axis=-1) / lengths).clip(0, 1)
    distance = np.linalg.norm(places - starts - along[..., None] * ways, axis=-1).min(axis=-1)
    box = ink[height - above : height - below, left:right]
    np.maximum(box, (radius + 0.5 - distance).clip(0, 1)[::-1], out=box)


def _known(text: str) -> str:
    """Return text in characters that have glyphs, as far as there are any."""
    text = text.translate(_SAME)
    return "".join(character if character in _GLYPHS else _without_accents(character) for character in text)


def _without_accents(character: str) -> str:
    parts = unicodedata.normalize("NFKD", character)
    return "".join(part for part in parts if not unicodedata.combining(part)) or character


def _advance(character: str) -> float:
    if character == " ":
        return _SPACE
    if character.isdigit():
        return 4.0 + _GAP  # figures stand below each other
    return max(float(stroke[:, 0].max()) for stroke in _strokes(character)) + _GAP


@cache
def _strokes(character: str) -> tuple[np.ndarray, ...]:
    """Return the strokes of a character, each of points (n, 2)."""
    if character == " ":
        return ()
    strokes = []
    for stroke in _GLYPHS.get(character, _UNKNOWN).split():
        digits = stroke.removeprefix("~")
        points = np.array([[int(digits[i]), int(digits[i + 1])] for i in range(0, len(digits), 2)], float)
        strokes.append(_rounded(points) if stroke.startswith("~") else points)
    return tuple(strokes)


def _rounded(corners: np.ndarray) -> np.ndarray:
    """Return points on the quadratic B-spline that corners span, from the first corner to the last."""
    ends = (corners[1:-2] + corners[2:-1]) / 2
    points, start = [corners[:1]], corners[0]
    for corner, end in zip(corners[1:-1], [*ends, corners[-1]], strict=True):
        points.append((1 - _CURVE) ** 2 * start + 2 * _CURVE * (1 - _CURVE) * corner + _CURVE**2 * end)
        start = end
    return np.concatenate(points)
