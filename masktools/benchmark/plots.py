"""Pictures of a benchmark: where the time goes, how near jobs come to their floors, and the peers."""

import importlib.util
import io
from collections.abc import Sequence
from typing import Any

from masktools.benchmark.measurements import Benchmark, Measurement
from masktools.errors import ParameterError

__all__ = ["check_matplotlib", "draw"]

_COLOURS = {"fp32": "#0072b2", "bf16": "#d55e00", "fp16": "#e69f00", "int8": "#009e73"}
_OTHER = "#4d4d4d"
_INK, _FAINT = "#222222", "#8a8a8a"
_STEP = "solver step"
_LEAST = 0.005  # of the time: stages below it are not drawn


def check_matplotlib() -> None:
    """Say what to install if pictures cannot be drawn.

    Raises:
        ParameterError: matplotlib is not installed.
    """
    if importlib.util.find_spec("matplotlib") is None:
        raise ParameterError('plots are drawn with matplotlib: pip install "masktools[plots]"')


def draw(found: Benchmark, dots_per_inch: int = 150) -> bytes:
    """Return a PNG with a panel for each of stages, jobs and peers that were measured.

    Stages are bars of milliseconds, one for each precision. Jobs and peers are dots at their real-time factors, joined
    with a mark at what their arithmetic allows at that precision. Thin lines are quartiles over the repeats.

    Args:
        found: the benchmark.
        dots_per_inch: of the picture.

    Raises:
        ParameterError: nothing to draw, or matplotlib is not installed.
    """
    panels = [
        (draw_panel, group)
        for draw_panel, group in (
            (_draw_stages, _worth_drawing([one for one in found.of("stages") if one.name != _STEP])),
            (_draw_jobs, list(found.of("jobs"))),
            (_draw_peers, list(found.of("peers"))),
        )
        if group
    ]
    if not panels:
        raise ParameterError("a plot needs stages, jobs or peers that were measured, got none")
    check_matplotlib()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    n_bars = [len(group) for _, group in panels]
    size = 8.0, 0.9 * len(panels) + 0.24 * sum(n_bars)  # inches
    picture = Figure(figsize=size, dpi=dots_per_inch, layout="constrained")
    canvas = FigureCanvasAgg(picture)
    axes = picture.subplots(len(panels), 1, squeeze=False, height_ratios=[count + 3 for count in n_bars])[:, 0]
    for axis, (draw_panel, group) in zip(axes, panels, strict=True):
        draw_panel(axis, group)
        axis.spines[["top", "right"]].set_visible(False)
        axis.tick_params(colors=_INK, labelsize=8)
        axis.set_ylim(len(group) - 0.4, -0.6)
    place = found.machine.get("gpu") or f"{found.machine.get('cpu')}, {found.machine.get('threads')} threads"
    picture.suptitle(f"{found.model.get('name')}: {place}", fontsize=9, color=_INK)
    written = io.BytesIO()
    canvas.print_png(written)
    return written.getvalue()


def _colour(one: Measurement) -> str:
    return _COLOURS.get(str(one.case.get("model_precision", one.case.get("precision"))), _OTHER)


def _bars(axis: Any, group: Sequence[Measurement]) -> None:
    """Draw a bar of milliseconds for each measurement, with its quartiles, and its number behind it."""
    for place, one in enumerate(group):
        middle, low, high = (1e3 * one.figures[f"seconds{end}"] for end in ("", "_low", "_high"))
        axis.barh(place, middle, height=0.72, color=_colour(one))
        axis.plot([low, high], [place, place], color=_INK, linewidth=1.0)
        _tell(axis, middle, high, place)


def _dots(axis: Any, group: Sequence[Measurement]) -> None:
    """Draw a dot at each real-time factor, with its quartiles, and what its arithmetic allows, joined with it."""
    for place, one in enumerate(group):
        middle = one.figures["real_time_factor"]
        scale = middle / one.figures["seconds"]
        low, high = (scale * one.figures[f"seconds_{end}"] for end in ("low", "high"))
        floor = one.figures.get("floor_real_time_factor")
        if floor is not None:
            axis.plot([floor, middle], [place, place], color=_colour(one), linewidth=1.0, alpha=0.5)
            axis.plot([floor, floor], [place - 0.3, place + 0.3], color=_INK, linewidth=1.8)
        axis.plot([low, high], [place, place], color=_INK, linewidth=1.0)
        axis.plot(middle, place, "o", color=_colour(one), markersize=5)
        _tell(axis, middle, high, place)
    axis.axvline(1.0, color=_FAINT, linewidth=1.0, linestyle=(0, (5, 3)))
    axis.set_xscale("log")


def _tell(axis: Any, value: float, end: float, place: int) -> None:
    told: dict[str, Any] = {"textcoords": "offset points", "va": "center", "fontsize": 7, "color": _INK}
    axis.annotate(f"{value:.0f}" if value >= 1000 else f"{value:.3g}", (max(value, end), place), (6, 0), **told)


def _legend(axis: Any, group: Sequence[Measurement], more: Sequence[Any] = ()) -> None:
    from matplotlib.patches import Patch

    names = dict.fromkeys(str(one.case.get("model_precision", one.case.get("precision"))) for one in group)
    entries = [Patch(color=_COLOURS.get(name, _OTHER), label=name) for name in names]
    axis.legend(handles=[*entries, *more], fontsize=7, frameon=False, loc="best")


def _worth_drawing(stages: Sequence[Measurement]) -> list[Measurement]:
    """Return the stages that take a share of the time in some precision, each one's measurements together."""
    names = dict.fromkeys(one.name for one in stages if one.figures["share"] >= _LEAST)
    return [one for name in names for one in stages if one.name == name]


def _draw_stages(axis: Any, group: Sequence[Measurement]) -> None:
    labels = [name if count == 0 else "" for name, count in _numbered([one.name for one in group])]
    _bars(axis, group)
    axis.set_yticks(range(len(group)), labels)
    axis.set_xlabel(f"milliseconds of each stage, batch {group[0].case.get('batch')}", fontsize=8, color=_INK)
    _legend(axis, group)


def _numbered(names: Sequence[str]) -> list[tuple[str, int]]:
    """Return each name with how often it came before."""
    return [(name, names[:place].count(name)) for place, name in enumerate(names)]


def _draw_jobs(axis: Any, group: Sequence[Measurement]) -> None:
    several = [key for key in ("batch", "steps", "threads", "preset") if len({one.case.get(key) for one in group}) > 1]
    _dots(axis, group)
    labels = [
        ", ".join([one.name, *(_worded(key, one.case[key]) for key in several if key in one.case)]) for one in group
    ]
    axis.set_yticks(range(len(group)), labels)
    axis.set_xlabel("real-time factor: seconds for a second of audio", fontsize=8, color=_INK)
    _legend(axis, group, _floor_mark())


def _worded(key: str, value: object) -> str:
    return str(value) if key == "preset" else f"{value} {key}" if key == "steps" else f"{key} {value}"


def _draw_peers(axis: Any, group: Sequence[Measurement]) -> None:
    _dots(axis, group)
    axis.set_yticks(range(len(group)), [one.name for one in group])
    axis.set_xlabel("real-time factor, one clip, whole runs", fontsize=8, color=_INK)
    _legend(axis, group, _floor_mark())


def _floor_mark() -> list[Any]:
    from matplotlib.lines import Line2D

    style: dict[str, Any] = {"marker": "|", "linestyle": "none", "markersize": 8, "markeredgewidth": 1.8}
    return [Line2D([], [], color=_INK, label="floor: arithmetic / best matrix product", **style)]
