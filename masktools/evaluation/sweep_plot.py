"""A picture of a sweep: quality against cost, with the points that nothing beats at their price joined by a line."""

import io
from collections.abc import Sequence

from masktools.errors import ParameterError
from masktools.evaluation.plots import check_matplotlib
from masktools.evaluation.sweep import SweepResult
from masktools.evaluation.sweep_cost import DIRECTIONS, Measure, Priced, priced
from masktools.evaluation.sweep_points import Point

__all__ = ["draw_cost", "named_points", "priced_measures"]

_INK, _FAINT, _LINE = "#222222", "#8a8a8a", "#0072b2"
_NAMED = 14  # points at most whose names all stand beside them; of more, only those on the frontier


def named_points(result: SweepResult) -> list[tuple[str, Sequence]]:
    """Return the points of a sweep, named by what they change of the first one; that has its whole name."""
    if not result.points:
        return []
    first, _ = result.points[0]
    return [(_changes(first, point) or first.name, figures) for point, figures in result.points]


def _changes(first: Point, other: Point) -> str:
    """Return the name of a point without what is as at the first one."""
    return Point(tuple((axis, value) for axis, value in other.values if value != first.get(axis))).name


def priced_measures(result: SweepResult, measures: Sequence[Measure]) -> list[Measure]:
    """Return the measures of quality by which at least two points have a cost and a value."""
    points = named_points(result)
    return [one for one in measures if one[2] in DIRECTIONS and len(priced(points, one)) > 1]


def draw_cost(result: SweepResult, measure: Measure, dots_per_inch: int = 150) -> bytes:
    """Return a PNG of one measure against the cost of each point.

    Bars are the intervals; dashed lines are the references that lie near, so that the far ones do not flatten the rest.

    Args:
        result: the sweep.
        measure: group, case, measure of quality and embedder.
        dots_per_inch: of the picture.

    Raises:
        ParameterError: no two points with a cost, or matplotlib is not installed.
    """
    points = priced(named_points(result), measure)
    if len(points) < 2:
        raise ParameterError(f"a plot of cost needs at least two points that were decoded, got {len(points)}")
    check_matplotlib()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure as Picture

    picture = Picture(figsize=(6.4, 4.2), layout="constrained", dpi=dots_per_inch)
    canvas = FigureCanvasAgg(picture)
    panel = picture.subplots()
    best = sorted((one for one in points if one.best), key=lambda one: one.cost)
    panel.plot([one.cost for one in best], [one.value for one in best], color=_LINE, linewidth=1.2, zorder=1)
    for one in points:
        colour = _LINE if one.best else _FAINT
        panel.errorbar(
            [one.cost], [one.value], yerr=_ends(one), color=colour, marker="o", markersize=5, elinewidth=0.8, capsize=2
        )
        if one.best or len(points) <= _NAMED:
            is_far = one.cost > 0.7 * max(each.cost for each in points)  # its name goes to the left
            panel.annotate(
                one.name.replace(", ", "\n"),
                (one.cost, one.value),
                (-4 if is_far else 4, 4),
                textcoords="offset points",
                fontsize=6.5,
                color=_INK,
                ha="right" if is_far else "left",
            ).set_in_layout(False)
    group, case, metric, embedder = measure
    low, high = _reach(points)
    span = high - low
    for reference in result.references:
        is_near = low - span <= reference.value <= high + span
        if is_near and (reference.group, reference.case, reference.metric, reference.embedder) == measure:
            panel.axhline(reference.value, color=_FAINT, linewidth=0.9, linestyle=(0, (5, 3)), zorder=0)
            panel.annotate(
                reference.method,
                (1.0, reference.value),
                (-2, 2),
                xycoords=("axes fraction", "data"),
                textcoords="offset points",
                fontsize=6.5,
                color=_FAINT,
                ha="right",
            )
    panel.set_xlim(0.0, 1.1 * max(one.cost for one in points))
    panel.set_xlabel("full forwards of the transformer per decoded window")
    panel.set_ylabel(f"{metric} ({'more' if DIRECTIONS[metric] > 0 else 'less'} is better)")
    panel.grid(alpha=0.25, linewidth=0.6)
    for side in ("top", "right"):
        panel.spines[side].set_visible(False)
    about = ", ".join(filter(None, (group, case, embedder, f"n = {points[0].figure.n}")))
    picture.suptitle(f"{metric} of {about}", fontsize=8, color=_INK)
    written = io.BytesIO()
    canvas.print_png(written, metadata={"Software": None})
    return written.getvalue()


def _reach(points: Sequence[Priced]) -> tuple[float, float]:
    """Return the least and the greatest of all values and intervals."""
    figures = [one.figure for one in points]
    ends = [end for one in figures for end in (one.value, one.low, one.high) if end is not None]
    return min(ends), max(ends)


def _ends(one: Priced) -> list[list[float]] | None:
    """Return the lengths of the bars below and above a point; None where it has no interval."""
    figure = one.figure
    if figure.low is None or figure.high is None:
        return None
    return [[max(0.0, figure.value - figure.low)], [max(0.0, figure.high - figure.value)]]
