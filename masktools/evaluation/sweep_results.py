"""Results of a sweep: cost and quality of its points, their Pareto frontier, and plots."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from math import hypot, isfinite
from typing import Any

from masktools.core.arguments import PLOTTING, check_installed
from masktools.core.errors import ParameterError
from masktools.evaluation.report import Figure
from masktools.evaluation.sweep import COST, Point, SweepResult

_LESS = ("fad", "kad", "kid", "kl", "lsd_db", "lsd_hi_db", "mel_l1", "third_octave_db", "ndb_share", "caption_rank")
_MORE = ("text_score", "caption_r1", "caption_r5", "probe_top1", "inception_score")
DIRECTIONS: dict[str, int] = {**dict.fromkeys(_LESS, -1), **dict.fromkeys(_MORE, 1)}
"""The measures of quality: 1 where more is better, -1 where less is."""

Measure = tuple[str, str, str, str | None]
"""Group, case, measure and the name of the embedder."""


@dataclass(frozen=True)
class Priced:
    """A point of a sweep by one measure."""

    name: str
    cost: float  # forwards per window
    figure: Figure
    best: bool = False  # whether it is on the Pareto frontier

    @property
    def value(self) -> float:
        """Value of the measure."""
        return self.figure.value


def priced(points: Sequence[tuple[str, Sequence[Figure]]], measure: Measure, method: str = "model") -> list[Priced]:
    """Return the points that have a cost and a value by a measure, with those on the frontier marked.

    Args:
        points: names and figures of the points.
        measure: group, case, measure and embedder; the measure is one of ``DIRECTIONS``.
        method: name of the method in the protocol.

    Raises:
        ParameterError: the measure is not one of quality.
    """
    metric = measure[2]
    if metric not in DIRECTIONS:
        raise ParameterError(f"the measure must be one of {', '.join(DIRECTIONS)}, got {metric!r}")
    found = []
    for name, figures in points:
        costs = [one.value for one in figures if one.metric == COST]
        values = [
            one
            for one in figures
            if one.method == method and (one.group, one.case, one.metric, one.embedder) == measure
        ]
        if costs and values and isfinite(values[0].value):
            found.append(Priced(name, costs[0], values[0]))
    best = frontier([(one.cost, one.value) for one in found], DIRECTIONS[metric])
    return [Priced(one.name, one.cost, one.figure, number in best) for number, one in enumerate(found)]


def frontier(pairs: Sequence[tuple[float, float]], direction: int) -> list[int]:
    """Return the indices of the pairs of cost and value on the Pareto frontier, by rising cost.

    Args:
        pairs: pairs of cost and value.
        direction: 1 if higher values are better, -1 if lower ones are.

    >>> frontier([(30, 1.0), (16, 1.1), (20, 1.3)], direction=-1)
    [1, 0]
    """
    best: list[int] = []
    for place in sorted(range(len(pairs)), key=lambda place: (pairs[place][0], -direction * pairs[place][1])):
        if not best or direction * pairs[place][1] > direction * pairs[best[-1]][1]:
            best.append(place)
    return best


def loss_lines(points: Sequence[tuple[str, Sequence[Figure]]], measures: Sequence[Measure], base: str) -> list[str]:
    """Return a Markdown table of the cost of each point, and its loss against one of them, by each measure.

    A loss is within noise if it is less than the root of the sum of squares of the two intervals' halves that face
    each other. With repeats these are over the decoding's randomness; without, over the clips, which the points share,
    and then they are too wide.

    Args:
        points: names and figures of the points.
        measures: group, case, measure and embedder of each table row.
        base: name of the point that the others are compared with.
    """
    lines = ["| measure | settings | forwards | value | worse by | |", "|---|---|---|---|---|---|"]
    for measure in measures:
        rows = priced(points, measure)
        own = next((row for row in rows if row.name == base), None)
        if own is None:
            continue
        for row in rows:
            loss = DIRECTIONS[measure[2]] * (own.value - row.value) + 0.0  # no minus before zero
            about = ", ".join(filter(None, (measure[2], measure[0], measure[1], measure[3])))
            verdict = _verdict(own.figure, row.figure, loss) if row is not own else "what it is compared with"
            marked = f"**{row.name}**" if row.best else row.name
            value = f"{row.value:.4g}{_interval(row.figure)}"
            lines.append(f"| {about} | {marked} | {row.cost:.2f} | {value} | {loss:+.3g} | {verdict} |")
    return [
        *lines,
        "",
        "Settings in bold are on the frontier: no other is as cheap and better, or as good and cheaper.",
    ]


def _interval(figure: Figure) -> str:
    return "" if figure.low is None or figure.high is None else f" [{figure.low:.4g}, {figure.high:.4g}]"


def _verdict(own: Figure, other: Figure, loss: float) -> str:
    """Return in words whether a loss is significant."""
    low, high = (own, other) if own.value <= other.value else (other, own)
    if low.high is None or high.low is None:
        return "no intervals"
    if abs(loss) <= hypot(max(0.0, low.high - low.value), max(0.0, high.value - high.low)):
        return "within noise"
    return "worse" if loss > 0 else "better"


_LOGARITHMIC = {"n_steps"}
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#4d4d4d")
_INK, _FAINT = "#222222", "#8a8a8a"
_MARKS = "osD^vPX"
_DASHES = ((0, (5, 3)), (0, (1, 2)), (0, (6, 2, 1, 2)), (0, (3, 1, 1, 1, 1, 1)), (0, (8, 3)), (0, (1, 5)), (0, (4, 1)))


def _picture(size: tuple[float, float], dots_per_inch: int) -> Any:
    """Return an empty plot of a size in inches."""
    check_installed(*PLOTTING)
    from matplotlib.figure import Figure as Picture

    return Picture(figsize=size, layout="constrained", dpi=dots_per_inch)


def _plain(panel: Any) -> None:
    panel.grid(alpha=0.25, linewidth=0.6)
    panel.spines[["top", "right"]].set_visible(False)


def _titled(picture: Any, measure: Measure, n: int) -> bytes:
    """Return a plot as PNG, with a title of the measure and the number of clips."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    group, case, metric, embedder = measure
    about = ", ".join(filter(None, (group, case, embedder, f"n = {n}")))
    picture.suptitle(f"{metric} of {about}", fontsize=8, color=_INK)
    written = io.BytesIO()
    FigureCanvasAgg(picture).print_png(written, metadata={"Software": None})
    return written.getvalue()


def plotted_measures(result: SweepResult, method: str = "model") -> list[Measure]:
    """Return the measures of a sweep that can be plotted: those of each group and case that all points have."""
    each = [{_measure_of(figure) for figure in figures if figure.method == method} for _, figures in result.points]
    common = set.intersection(*each) if each else set[Measure]()
    first = result.points[0][1] if result.points else ()
    return [one for one in dict.fromkeys(map(_measure_of, first)) if one in common]


def _measure_of(figure: Figure) -> Measure:
    return figure.group, figure.case, figure.metric, figure.embedder


def draw_sweep(result: SweepResult, measure: Measure, method: str = "model") -> bytes:
    """Return a PNG of one measure against each axis that has several values, one panel for each.

    A line joins the points that differ on that axis only; bars are the intervals; dashed lines are the references.

    Args:
        result: result of the sweep.
        measure: one of ``plotted_measures``.
        method: name of the method in the protocol.

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
    picture = _picture((0.6 + 3.6 * len(axes), 3.4), 100)
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
        _plain(panel)
        if panel.get_legend_handles_labels()[1]:
            panel.legend(fontsize=7, frameon=False, labelcolor=_INK)
    if dashed:
        names = [reference.method for reference in references[: len(dashed)]]
        picture.legend(dashed, names, loc="outside lower center", ncols=len(names), fontsize=7, frameon=False)
    panels[0].set_ylabel(measure[2])
    return _titled(picture, measure, next(iter(found.values())).n)


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
        ends = zip(*map(_reach_of, figures), strict=True)
        label = Point(tuple(pair for pair in others if pair[0] in changing)).name or None
        panel.errorbar(
            [place[point.get(axis)] for point in ordered],
            heights,
            yerr=list(ends),
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


_LINE = "#0072b2"
_NAMED = 14  # most points that are all labelled; of more, only those on the frontier


def named_points(result: SweepResult) -> list[tuple[str, Sequence]]:
    """Return the points of a sweep, named by their difference from the first one, which has its full name."""
    if not result.points:
        return []
    first, _ = result.points[0]
    return [(_changes(first, point) or first.name, figures) for point, figures in result.points]


def _changes(first: Point, other: Point) -> str:
    """Return the name of a point without values equal to the first one's."""
    return Point(tuple((axis, value) for axis, value in other.values if value != first.get(axis))).name


def priced_measures(result: SweepResult, measures: Sequence[Measure]) -> list[Measure]:
    """Return the measures of quality for which at least two points have a cost and a value."""
    points = named_points(result)
    return [one for one in measures if one[2] in DIRECTIONS and len(priced(points, one)) > 1]


def draw_cost(result: SweepResult, measure: Measure, dots_per_inch: int = 150) -> bytes:
    """Return a PNG of one measure against the cost of each point.

    Bars are the intervals; dashed lines are the nearby references, so that distant ones do not flatten the plot.

    Args:
        result: result of the sweep.
        measure: group, case, measure of quality and embedder.
        dots_per_inch: resolution of the plot.

    Raises:
        ParameterError: no two points with a cost, or matplotlib is not installed.
    """
    points = priced(named_points(result), measure)
    if len(points) < 2:
        raise ParameterError(f"a plot of cost needs at least two points that were decoded, got {len(points)}")
    picture = _picture((6.4, 4.2), dots_per_inch)
    panel = picture.subplots()
    best = sorted((one for one in points if one.best), key=lambda one: one.cost)
    panel.plot([one.cost for one in best], [one.value for one in best], color=_LINE, linewidth=1.2, zorder=1)
    for one in points:
        colour = _LINE if one.best else _FAINT
        panel.errorbar(
            [one.cost],
            [one.value],
            yerr=_bars(one.figure),
            color=colour,
            marker="o",
            markersize=5,
            elinewidth=0.8,
            capsize=2,
        )
        if one.best or len(points) <= _NAMED:
            is_far = one.cost > 0.7 * max(each.cost for each in points)  # its label goes to the left
            panel.annotate(
                one.name.replace(", ", "\n"),
                (one.cost, one.value),
                (-4 if is_far else 4, 4),
                textcoords="offset points",
                fontsize=6.5,
                color=_INK,
                ha="right" if is_far else "left",
            ).set_in_layout(False)
    metric = measure[2]
    low, high = _reach(points)
    span = high - low
    for reference in result.references:
        is_near = low - span <= reference.value <= high + span
        if is_near and _measure_of(reference) == measure:
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
    _plain(panel)
    return _titled(picture, measure, points[0].figure.n)


def _reach(points: Sequence[Priced]) -> tuple[float, float]:
    """Return the least and the greatest of all values and intervals."""
    figures = [one.figure for one in points]
    ends = [end for one in figures for end in (one.value, one.low, one.high) if end is not None]
    return min(ends), max(ends)


def _reach_of(figure: Figure) -> tuple[float, float]:
    """Return the extent of the interval below and above a value; 0 without one."""
    low, high = (figure.value if end is None else end for end in (figure.low, figure.high))
    return max(0.0, figure.value - low), max(0.0, high - figure.value)


def _bars(figure: Figure) -> list[list[float]] | None:
    """Return the lengths of the bars below and above a point; None without an interval."""
    return None if figure.low is None or figure.high is None else [[end] for end in _reach_of(figure)]
