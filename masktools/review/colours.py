"""Tables of colours in which equal steps look equally large: for levels, and for differences with a sign."""

import numpy as np

__all__ = ["hex_colour", "level_colours", "signed_colours"]

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


def level_colours(n: int) -> np.ndarray:
    """Return n colours (n, 3) uint8 from near black over violet and orange to pale yellow, evenly lighter."""
    return _along(_LEVELS, n)


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
