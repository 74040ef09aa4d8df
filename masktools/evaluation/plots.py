"""Pictures of a sweep: a measure against each axis, as in the paper's figure 7."""

import importlib.util
import io
from collections.abc import Sequence
from typing import Any

from masktools.errors import ParameterError
from masktools.evaluation.report import Figure
from masktools.evaluation.sweep import SweepResult
from masktools.evaluation.sweep_points import Point

__all__ = ["check_matplotlib", "draw_sweep", "plotted_measures"]

_LOGARITHMIC = {"n_steps"}
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#4d4d4d")
_INK, _FAINT = "#222222", "#8a8a8a"
_MARKS = "osD^vPX"
_DASHES = ((0, (5, 3)), (0, (1, 2)), (0, (6, 2, 1, 2)), (0, (3, 1, 1, 1, 1, 1)), (0, (8, 3)), (0, (1, 5)), (0, (4, 1)))

Measure = tuple[str, str, str, str | None]
"""Group, case, measure and the name of the embedder."""


def check_matplotlib() -> None:
    """Say what to install if pictures cannot be drawn.

    Raises:
        ParameterError: matplotlib is not installed.
    """
    if importlib.util.find_spec("matplotlib") is None:
        raise ParameterError("plots are drawn with matplotlib: install masktools[plots]")


def plotted_measures(result: SweepResult, method: str = "model") -> list[Measure]:
    """Return what can be drawn of a sweep: each measure of each group and case that all points have."""
    each = [{_measure_of(figure) for figure in figures if figure.method == method} for _, figures in result.points]
    common = set.intersection(*each) if each else set[Measure]()
    first = result.points[0][1] if result.points else ()
    return [one for one in dict.fromkeys(map(_measure_of, first)) if one in common]


def _measure_of(figure: Figure) -> Measure:
    return figure.group, figure.case, figure.metric, figure.embedder


def draw_sweep(result: SweepResult, measure: Measure, method: str = "model", dots_per_inch: int = 150) -> bytes:
    """Return a PNG of one measure against each axis that has several values, one panel for each.

    A line joins the points that differ on that axis only; bars are the intervals; dashed lines are the references.

    Args:
        result: the sweep.
        measure: one of ``plotted_measures``.
        method: which method of the protocol.
        dots_per_inch: of the picture.

    Raises:
        ParameterError: nothing to draw, or matplotlib is not installed.

    Source: SpecMaskGIT (arXiv:2406.17672), figure 7.
    """
    found = {
        point: figure
        for point, figures in result.points
        for figure in figures
        if figure.method == method and _measure_of(figure) == measure
    }
    axes = [axis for axis in _axes(found) if len({point.get(axis) for point in found}) > 1]
    if not axes:
        raise ParameterError("a plot needs an axis with at least two values that were measured, got none")
    check_matplotlib()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure as Picture

    picture = Picture(figsize=(0.6 + 3.6 * len(axes), 3.4), layout="constrained")
    canvas = FigureCanvasAgg(picture)
    panels = picture.subplots(1, len(axes), sharey=True, squeeze=False)[0]
    dashed: list[Any] = []
    references = [figure for figure in result.references if _measure_of(figure) == measure]
    for panel, axis in zip(panels, axes, strict=True):
        _draw(panel, axis, found)
        dashed = [
            panel.axhline(reference.value, color=_FAINT, linewidth=1.0, linestyle=dash)
            for dash, reference in zip(_DASHES, references, strict=False)
        ]
        panel.set_xlabel(axis.replace("_", " "))
        panel.grid(alpha=0.25, linewidth=0.6)
        for side in ("top", "right"):
            panel.spines[side].set_visible(False)
        if panel.get_legend_handles_labels()[1]:
            panel.legend(fontsize=7, frameon=False, labelcolor=_INK)
    if dashed:
        names = [reference.method for reference in references[: len(dashed)]]
        picture.legend(dashed, names, loc="outside lower center", ncols=len(names), fontsize=7, frameon=False)
    group, case, metric, embedder = measure
    panels[0].set_ylabel(metric)
    shown = next(iter(found.values()))
    about = ", ".join(filter(None, (group, case, embedder, f"n = {shown.n}")))
    picture.suptitle(f"{metric} of {about}", fontsize=8, color=_INK)
    written = io.BytesIO()
    canvas.print_png(written, metadata={"Software": None})
    return written.getvalue()


def _axes(points: Sequence[Point] | dict[Point, Figure]) -> list[str]:
    return list(dict.fromkeys(axis for point in points for axis, _ in point.values))


def _draw(panel: Any, axis: str, found: dict[Point, Figure]) -> None:
    """Draw one line for each setting of the other axes that has several values on this one."""
    lines: dict[tuple[tuple[str, Any], ...], list[Point]] = {}
    for point in found:
        others = tuple(pair for pair in point.values if pair[0] != axis)
        lines.setdefault(others, []).append(point)
    drawn = {others: points for others, points in lines.items() if len(points) > 1} or lines
    values = list(dict.fromkeys(point.get(axis) for point in found))
    numeric = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
    place = {value: value if numeric else number for number, value in enumerate(values)}
    changing = [name for name in _axes(found) if len({dict(others).get(name) for others in drawn}) > 1]
    for number, (others, points) in enumerate(drawn.items()):
        ordered = sorted(points, key=lambda point: place[point.get(axis)])
        figures = [found[point] for point in ordered]
        heights = [figure.value for figure in figures]
        ends = [
            [figure.value - (figure.value if figure.low is None else figure.low) for figure in figures],
            [(figure.value if figure.high is None else figure.high) - figure.value for figure in figures],
        ]
        label = Point(tuple(pair for pair in others if pair[0] in changing)).name or None
        panel.errorbar(
            [place[point.get(axis)] for point in ordered],
            heights,
            yerr=[[max(0.0, end) for end in side] for side in ends],
            color=_COLOURS[number % len(_COLOURS)],
            marker=_MARKS[number % len(_MARKS)],
            linestyle="-" if numeric else "none",
            linewidth=1.4,
            markersize=4.5,
            elinewidth=0.8,
            capsize=2.0,
            label=label,
        )
    if axis in _LOGARITHMIC and numeric:
        panel.set_xscale("log", base=2)
    panel.set_xticks([place[value] for value in values], [_tick(value) for value in values])
    panel.minorticks_off()


def _tick(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
