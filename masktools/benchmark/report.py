"""A benchmark as tables, one for each subject, and as a picture."""

import importlib.util
import io
from collections.abc import Mapping, Sequence
from typing import Any

from masktools.benchmark.measurements import Benchmark, Measurement
from masktools.core.errors import ParameterError
from masktools.core.tables import Table, markdown_of, text_of

_GIGA, _MEGA = 1e9, 1e6
_STEP = "solver step"


def to_text(found: Benchmark) -> str:
    """Return everything for a screen."""
    return "\n".join([*_head(found), "", text_of(tables_of(found))])


def to_markdown(found: Benchmark, heading: str = "Speed") -> str:
    """Return everything as Markdown under one heading."""
    return "\n".join([f"## {heading}", "", *(f"- {line}" for line in _head(found)), "", markdown_of(tables_of(found))])


def _head(found: Benchmark) -> list[str]:
    machine, model = found.machine, found.model
    place = machine.get("gpu") or machine.get("cpu")
    features = ", ".join(machine.get("cpu_features") or ()) or "none named"
    versions = f"torch {machine.get('torch')}, Python {machine.get('python')}, {machine.get('system')}"
    weights = ", ".join(f"{part} {count / _MEGA:.1f} M" for part, count in (model.get("parameters") or {}).items())
    lines = [
        f"machine: {place}, {machine.get('cores')} cores ({features}), {machine.get('threads')} threads; {versions}",
        f"model: {model.get('name')} ({weights}); window {model.get('window_s', 0.0):.2f} s",
    ]
    if found.settings.get("command"):
        lines.append(f"command: {found.settings['command']}")
    return [*lines, *(f"warning: {warning}" for warning in found.warnings)]


def tables_of(found: Benchmark) -> tuple[Table, ...]:
    """Return the tables of a benchmark, those without rows left out."""
    tables = [_peaks(found), *_stages(found), _jobs(found), _memory(found), _start_up(found), _accuracy(found)]
    return tuple(table for table in (*tables, _peers(found)) if table.rows)


def _figure(one: Measurement, name: str, scale: float = 1.0, digits: int = 3) -> str:
    """Return a figure with so many digits that matter, or nothing where there is none."""
    if name not in one.figures:
        return ""
    return _number(one.figures[name] / scale, digits)


def _number(value: float, digits: int = 3) -> str:
    """Return a number with its digits that matter, without an exponent.

    >>> _number(0.012345), _number(123.45), _number(98765.0), _number(2.0)
    ('0.0123', '123', '98765', '2')
    """
    if float(value).is_integer() and abs(value) < 10**digits:
        return str(int(value))
    exponent = int(f"{value:e}".partition("e")[2])
    decimals = digits - len(str(int(abs(value)))) if abs(value) >= 1 else digits - 1 - exponent
    return f"{value:.{min(6, max(0, decimals))}f}"


def _share(one: Measurement, name: str) -> str:
    return f"{100 * one.figures[name]:.1f} %" if name in one.figures else ""


def _spread(one: Measurement, name: str = "seconds", scale: float = 1.0) -> str:
    """Return a figure with its quartiles behind it, where they differ."""
    middle, low, high = (_figure(one, key, scale) for key in (name, f"{name}_low", f"{name}_high"))
    return middle if low == high else f"{middle} [{low}, {high}]"


def _told(case: Mapping[str, Any], key: str) -> str:
    return str(case.get(key, ""))


def _peaks(found: Benchmark) -> Table:
    rows = []
    best: dict[tuple[str, str], Measurement] = {}
    for one in found.of("ceilings", "matrix product"):
        key = _told(one.case, "precision"), _told(one.case, "threads")
        if key not in best or one.figures["flop_per_s"] > best[key].figures["flop_per_s"]:
            best[key] = one
    for (precision, threads), one in best.items():
        size = _told(one.case, "size")
        rows.append((f"matrix product {precision}", threads, size, _figure(one, "flop_per_s", _GIGA), ""))
    rows += [
        ("copy", _told(one.case, "threads"), "", "", _figure(one, "bytes_per_s", _GIGA))
        for one in found.of("ceilings", "copy")
    ]
    return Table("What the machine can do at best", ("", "threads", "rows", "GFLOP/s", "GB/s"), tuple(rows))


def _stages(found: Benchmark) -> list[Table]:
    """Return the stages of each case, and the steps of the solver of each."""
    groups: dict[tuple[str, ...], list[Measurement]] = {}
    for one in found.of("stages"):
        key = tuple(_told(one.case, name) for name in ("model_precision", "batch", "threads"))
        groups.setdefault(key, []).append(one)
    tables = []
    for (precision, batch, threads), group in groups.items():
        case = f"{precision}, batch {batch}, threads {threads}"
        stages = [one for one in group if one.name != _STEP]
        rows = [
            (
                one.name,
                _told(one.case, "precision") if "flop" in one.figures else "",
                _spread(one, scale=1e-3),
                _share(one, "share"),
                _figure(one, "flop", _GIGA),
                _figure(one, "flop_per_s", _GIGA),
                _share(one, "of_ceiling"),
            )
            for one in stages
        ]
        total_s = sum(one.figures["seconds"] for one in stages)
        rows.append(("all stages", "", _number(1e3 * total_s), "", "", "", ""))
        columns = ("stage", "precision", "ms", "share", "GFLOP", "GFLOP/s", "of the best product")
        tables.append(Table(f"Stages ({case})", columns, tuple(rows)))
        steps = tuple(
            (
                _told(one.case, "step"),
                _figure(one, "n_passes"),
                _spread(one, scale=1e-3),
                _figure(one, "flop_per_s", _GIGA),
                _share(one, "of_ceiling"),
            )
            for one in group
            if one.name == _STEP and len(tables) < 2  # of the first case; JSON has all
        )
        columns = ("step", "passes", "ms", "GFLOP/s", "of the best product")
        tables.append(Table(f"Steps of the solver ({case})", columns, steps))
    return tables


def _jobs(found: Benchmark) -> Table:
    rows = tuple(
        (
            one.name,
            *(_told(one.case, name) for name in ("precision", "batch", "steps", "preset", "threads")),
            _figure(one, "n_passes", digits=2),
            _spread(one),
            _figure(one, "real_time_factor"),
            _number(1 / one.figures["real_time_factor"]),
            _figure(one, "floor_real_time_factor"),
            _figure(one, "lowest_real_time_factor"),
            _spread(one, "ratio"),
        )
        for one in found.of("jobs")
    )
    columns = (
        *("job", "precision", "batch", "steps", "preset", "threads", "passes", "s", "real-time factor"),
        *("x real time", "floor at that precision", "floor at any", "s / s of the first"),
    )
    lines = (
        "Brackets: quartiles over the repeats, all variants of a job in turn. The floor is the arithmetic that must be "
        "done over the rate of the machine's best matrix product.",
    )
    return Table("Jobs", columns, rows, lines)


def _memory(found: Benchmark) -> Table:
    names = (
        *("imported_bytes", "loaded_bytes", "load_peak_bytes", "peak_bytes", "private_bytes"),
        *("device_bytes", "device_peak_bytes"),
    )
    rows = tuple(
        (
            one.name,
            _told(one.case, "precision"),
            _told(one.case, "batch"),
            *(_figure(one, name, _MEGA) for name in names),
        )
        for one in found.of("memory")
    )
    columns = (
        *("job", "precision", "batch", "imports", "loaded", "at most until then", "at most in the job"),
        *("private after it", "GPU, loaded", "GPU, at most"),
    )
    return Table("Memory in a fresh process, MB resident", columns, rows)


def _start_up(found: Benchmark) -> Table:
    rows = tuple(
        (one.name, _spread(one), _figure(one, "import_s"), _share(one, "import_share")) for one in found.of("start-up")
    )
    notes = tuple(f"Imports of {one.name}: {one.note}." for one in found.of("start-up") if one.note)
    return Table("Start-up", ("fresh process", "s", "imports, s", "share"), rows, notes)


def _accuracy(found: Benchmark) -> Table:
    names = ("choice_agreement", "draw_agreement", "token_agreement", "other_seed_agreement")
    distances = ("mel_db", "decoded_mel_db", "other_seed_mel_db")
    rows = tuple(
        (
            one.name,
            _told(one.case, "precision"),
            _figure(one, "divergence_nats", digits=1),
            *(_share(one, name) for name in names),
            *(_figure(one, name, digits=2) for name in distances),
            _further(one),
        )
        for one in found.of("accuracy")
    )
    columns = (
        *("job", "precision", "nats", "most likely code", "same draw", "tokens as in fp32", "as with another seed"),
        *("mel, dB", "same tokens, dB", "another seed, dB", "further from the recording, dB"),
    )
    lines = (
        "Against fp32 under the same seeds; another seed of fp32 is how far two results lie apart that are as good.",
    )
    return Table("Nearness to fp32", columns, rows, lines)


def _further(one: Measurement) -> str:
    """Return how much further than those of fp32 the fills are from the recordings, with the standard error."""
    if "further_db" not in one.figures:
        return ""
    error = f" ± {one.figures['further_error_db']:.2f}" if one.figures["further_error_db"] else ""
    return f"{one.figures['further_db']:+.2f}{error}"


def _peers(found: Benchmark) -> Table:
    group: Sequence[Measurement] = found.of("peers")
    rows = tuple(
        (
            one.name,
            _told(one.case, "precision"),
            _figure(one, "parameters", _MEGA),
            _figure(one, "n_steps", digits=2),
            _figure(one, "flop", 1e12),
            _spread(one),
            _figure(one, "audio_s"),
            _figure(one, "real_time_factor"),
            _spread(one, "ratio"),
        )
        for one in group
    )
    columns = ("model", "precision", "M weights", "steps", "TFLOP", "s", "of audio, s", "real-time factor", "x ours")
    notes = dict.fromkeys(f"{one.name}: {one.note}." for one in group if one.note)
    return Table("Peers, one clip", columns, rows, tuple(notes))


_COLOURS = {"fp32": "#0072b2", "bf16": "#d55e00", "fp16": "#e69f00", "int8": "#009e73"}
_OTHER = "#4d4d4d"
_INK, _FAINT = "#222222", "#8a8a8a"
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
        dots_per_inch: resolution of the picture.

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


def _dots(axis: Any, group: Sequence[Measurement], labels: Sequence[str], words: str) -> None:
    """Draw a dot at each real-time factor, with its quartiles, and what its arithmetic allows, joined with it."""
    from matplotlib.lines import Line2D

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
    axis.set_yticks(range(len(group)), labels)
    axis.set_xlabel(words, fontsize=8, color=_INK)
    style: dict[str, Any] = {"marker": "|", "linestyle": "none", "markersize": 8, "markeredgewidth": 1.8}
    _legend(axis, group, [Line2D([], [], color=_INK, label="floor: arithmetic / best matrix product", **style)])


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
    names = [one.name for one in group]
    labels = [name if name not in names[:place] else "" for place, name in enumerate(names)]  # each once
    _bars(axis, group)
    axis.set_yticks(range(len(group)), labels)
    axis.set_xlabel(f"milliseconds of each stage, batch {group[0].case.get('batch')}", fontsize=8, color=_INK)
    _legend(axis, group)


def _draw_jobs(axis: Any, group: Sequence[Measurement]) -> None:
    several = [key for key in ("batch", "steps", "threads", "preset") if len({one.case.get(key) for one in group}) > 1]
    labels = [
        ", ".join([one.name, *(_worded(key, one.case[key]) for key in several if key in one.case)]) for one in group
    ]
    _dots(axis, group, labels, "real-time factor: seconds for a second of audio")


def _worded(key: str, value: object) -> str:
    return str(value) if key == "preset" else f"{value} {key}" if key == "steps" else f"{key} {value}"


def _draw_peers(axis: Any, group: Sequence[Measurement]) -> None:
    _dots(axis, group, [one.name for one in group], "real-time factor, one clip, whole runs")
