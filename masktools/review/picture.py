"""Two versions of a recording and their difference as one picture."""

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from masktools import io
from masktools.review.alignment import open_all
from masktools.review.comparison import Comparison
from masktools.review.excerpts import Excerpt
from masktools.review.labels import time_label
from masktools.review.lettering import text_width
from masktools.review.panels import LINE_SIZE, draw_panels
from masktools.review.shown import rows_for, show
from masktools.review.tables import difference_table

__all__ = ["draw_comparison", "write_picture"]

_N_ROWS, _N_COLS = 200, 1200


def write_picture(comparison: Comparison, path: Path | str) -> None:
    """Write the spectrograms of a comparison as one PNG: the whole recording, with repairs and cutoff marked.

    Args:
        comparison: what is shown; its files must still be there.
        path: where to.

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
        comparison: what is shown.
        recordings: its files, in its order.
        titled: whether title and figures stand above the spectrograms.
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
    """Return parts in lines that fit into a picture."""
    lines = [parts[0]]
    for part in parts[1:]:
        longer = f"{lines[-1]}; {part}"
        if text_width(longer, LINE_SIZE) <= _N_COLS:
            lines[-1] = longer
        else:
            lines.append(part)
    return lines
