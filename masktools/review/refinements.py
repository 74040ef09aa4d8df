"""A strip of spectrograms from coarse to fine: a recording of one scale, of two, and so on, and as it is."""

from collections.abc import Sequence

import numpy as np

from masktools.review.drawing import N_LEVELS, Canvas, to_png

_HEIGHT, _GAP, _HEAD = 192, 12, 20  # pixels
_WIDTHS = (120, 480)  # of one picture, at least and at most


def draw_refinements(pictures: Sequence[np.ndarray], names: Sequence[str]) -> bytes:
    """Return a PNG of spectrograms (f, m) in [-1, 1] side by side, the lowest frequency at the bottom.

    Args:
        pictures: of one size, in the order in which they are shown.
        names: what stands above each.
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
