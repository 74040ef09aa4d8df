"""Spectrograms on a page, below each other on one scale: a click chooses the moment, marks show what was repaired."""

from collections.abc import Sequence
from html import escape

import numpy as np

from masktools.review.canvas import N_LEVELS, N_SIGNED
from masktools.review.colours import hex_colour, level_colours, signed_colours
from masktools.review.data import data_uri
from masktools.review.excerpts import Excerpt
from masktools.review.html import attribute
from masktools.review.labels import hz_label, time_label
from masktools.review.panels import Mark, Panel, Scale
from masktools.review.png import encode_png
from masktools.review.spectra import Rows

__all__ = ["colour_keys", "sheet"]

_N_STOPS = 12


def sheet(panels: Sequence[Panel], rows: Rows, span: Excerpt) -> str:
    """Return the spectrograms of one stretch of time with their axes, as HTML.

    Args:
        panels: in order from the top; their titles say what they show, also to those who do not see it.
        rows: their rows.
        span: the stretch.
    """
    heights = "".join(
        f'<span style="bottom:{100 * rows.height(hz):.2f}%">{hz_label(hz)}</span>' for hz in rows.ticks_hz()
    )
    axes = f'<div class="heights">{heights}</div>' * len(panels)
    strips = "\n".join(_strip(panel, rows, span) for panel in panels)
    return (
        f'<div class="shown"><div aria-hidden="true">{axes}</div>\n<div class="roll"><div class="sheet" tabindex="0" '
        f'role="slider" aria-label="Position" aria-valuemin="0" aria-valuemax="{span.seconds:.2f}" aria-valuenow="0" '
        f'aria-valuetext="{time_label(span.start_s, 0.1)}">\n{strips}\n<div class="looped" hidden></div>'
        '<div class="cursor"></div><div class="times" aria-hidden="true"></div></div></div></div>'
    )


def colour_keys(scale: Scale) -> str:
    """Return what the colours mean, as HTML."""
    low, high, most = (
        f"{value:.0f}".replace("-", "\N{MINUS SIGN}") for value in (scale.low_db, scale.high_db, scale.most_db)
    )
    levels, signed = _gradient(level_colours(N_LEVELS)), _gradient(signed_colours(N_SIGNED))
    return (
        f'<div class="keys"><span>Level: {low}<i style="background:{levels}"></i>{high} dBFS</span>'
        f'<span>Difference: \N{MINUS SIGN}{most}<i style="background:{signed}"></i>+{most} dB '
        "(blue: less after, red: more; of several channels the one that changed most)</span>"
        "<span>Frequency in Hz</span></div>"
    )


def _strip(panel: Panel, rows: Rows, span: Excerpt) -> str:
    colours = signed_colours(N_SIGNED) if panel.signed else level_colours(N_LEVELS)
    picture = data_uri("image/png", encode_png(panel.image, colours))
    said = (
        f"Spectrogram, {panel.title}: {time_label(span.start_s, 0.1)} to {time_label(span.end_s, 0.1)}, "
        f"0 to {rows.top_hz / 1000:.3g} kHz"
    )
    marks = "".join(_mark(mark, rows, span) for mark in panel.marks if _meets(mark, span))
    if panel.cutoff_hz is not None and panel.cutoff_hz < rows.top_hz:
        marks += f'<div class="cut" style="bottom:{100 * rows.height(panel.cutoff_hz):.2f}%"></div>'
    return (
        f'<div class="strip"><img{attribute("alt", said)}{attribute("src", picture)} draggable="false">{marks}'
        f'<span class="name" aria-hidden="true">{escape(panel.title)}</span></div>'
    )


def _mark(mark: Mark, rows: Rows, span: Excerpt) -> str:
    left, right = (
        100 * (min(max(edge_s, span.start_s), span.end_s) - span.start_s) / span.seconds
        for edge_s in (mark.start_s, mark.end_s)
    )
    place = f"left:{left:.3f}%;width:{right - left:.3f}%"
    if mark.low_hz is None and mark.high_hz is None:
        return f'<div class="span" style="{place}"></div>'
    low = rows.height(mark.low_hz or 0.0)
    high = 1.0 if mark.high_hz is None else rows.height(mark.high_hz)
    return f'<div class="span band" style="{place};bottom:{100 * low:.2f}%;top:{100 * (1 - high):.2f}%"></div>'


def _meets(mark: Mark, span: Excerpt) -> bool:
    return mark.start_s < span.end_s and mark.end_s > span.start_s


def _gradient(colours: np.ndarray) -> str:
    stops = colours[np.linspace(0, len(colours) - 1, _N_STOPS).round().astype(int)]
    return f"linear-gradient(90deg,{','.join(hex_colour(stop) for stop in stops)})"
