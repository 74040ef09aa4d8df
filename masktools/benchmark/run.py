"""One run of the benchmark: the requested subjects, for one model; its tables and its plot."""

import io
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from masktools import __version__
from masktools.benchmark import accuracy, measurements, peers, processes, roofline, timing
from masktools.benchmark.measurements import Benchmark, Measurement
from masktools.benchmark.models import RunSettings, random_pipeline, synthetic_clip, write_random_bundle
from masktools.core import runtime
from masktools.core.arguments import PLOTTING, check_installed
from masktools.core.errors import ParameterError
from masktools.core.tables import Table, markdown_of, text_of
from masktools.networks.packing import can_compute_int8
from masktools.pipeline import Pipeline, hub

_GIGA, _MEGA = 1e9, 1e6
_STEP = "solver step"


def to_text(found: Benchmark) -> str:
    """Return all tables for a terminal."""
    return "\n".join([*_head(found), "", text_of(tables_of(found))])


def to_markdown(found: Benchmark, heading: str = "Speed") -> str:
    """Return all tables as Markdown under one heading."""
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
    tables = [
        _peak_table(found),
        *_stages(found),
        _jobs(found),
        _memory(found),
        _start_up(found),
        _accuracy_table(found),
    ]
    return tuple(table for table in (*tables, _peers(found)) if table.rows)


Cell = Callable[[Measurement], str]
"""Function from a measurement to the text of a table cell."""


def _table(title: str, group: Sequence[Measurement], columns: Mapping[str, Cell], notes: Sequence[str] = ()) -> Table:
    rows = tuple(tuple(cell(one) for cell in columns.values()) for one in group)
    return Table(title, tuple(columns), rows, tuple(notes))


def _name(one: Measurement) -> str:
    return one.name


def _told(key: str) -> Cell:
    return lambda one: str(one.case.get(key, ""))


def _figure(name: str, scale: float = 1.0, digits: int = 3) -> Cell:
    """Return the cell of a figure with significant digits; empty where it is missing."""
    return lambda one: _number(one.figures[name] / scale, digits) if name in one.figures else ""


def _number(value: float, digits: int = 3) -> str:
    """Return a number with significant digits, without an exponent.

    >>> _number(0.012345), _number(123.45), _number(98765.0), _number(2.0)
    ('0.0123', '123', '98765', '2')
    """
    if float(value).is_integer() and abs(value) < 10**digits:
        return str(int(value))
    exponent = int(f"{value:e}".partition("e")[2])
    decimals = digits - len(str(int(abs(value)))) if abs(value) >= 1 else digits - 1 - exponent
    return f"{value:.{min(6, max(0, decimals))}f}"


def _share(name: str) -> Cell:
    return lambda one: f"{100 * one.figures[name]:.1f} %" if name in one.figures else ""


def _spread(name: str = "seconds", scale: float = 1.0) -> Cell:
    """Return the cell of a figure with its quartiles, where they differ."""

    def cell(one: Measurement) -> str:
        middle, low, high = (_figure(key, scale)(one) for key in (name, f"{name}_low", f"{name}_high"))
        return middle if low == high else f"{middle} [{low}, {high}]"

    return cell


def _peak_table(found: Benchmark) -> Table:
    best: dict[tuple[str, str], Measurement] = {}
    for one in found.of("ceilings", "matrix product"):
        key = _told("precision")(one), _told("threads")(one)
        if key not in best or one.figures["flop_per_s"] > best[key].figures["flop_per_s"]:
            best[key] = one
    columns = {
        "": lambda one: f"{one.name} {one.case['precision']}" if "precision" in one.case else one.name,
        "threads": _told("threads"),
        "rows": _told("size"),
        "GFLOP/s": _figure("flop_per_s", _GIGA),
        "GB/s": _figure("bytes_per_s", _GIGA),
    }
    return _table("What the machine can do at best", [*best.values(), *found.of("ceilings", "copy")], columns)


def _stages(found: Benchmark) -> list[Table]:
    """Return the tables of stages for each case, and of solver steps."""
    groups: dict[tuple[str, ...], list[Measurement]] = {}
    for one in found.of("stages"):
        key = tuple(_told(name)(one) for name in ("model_precision", "batch", "threads"))
        groups.setdefault(key, []).append(one)
    rates = {"GFLOP/s": _figure("flop_per_s", _GIGA), "of the best product": _share("of_ceiling")}
    columns = {
        "stage": _name,
        "precision": lambda one: _told("precision")(one) if "flop" in one.figures else "",
        "ms": _spread(scale=1e-3),
        "share": _share("share"),
        "GFLOP": _figure("flop", _GIGA),
        **rates,
    }
    of_steps = {"step": _told("step"), "passes": _figure("n_passes"), "ms": _spread(scale=1e-3), **rates}
    tables: list[Table] = []
    for (precision, batch, threads), group in groups.items():
        case = f"{precision}, batch {batch}, threads {threads}"
        stages = [one for one in group if one.name != _STEP]
        table = _table(f"Stages ({case})", stages, columns)
        total_s = sum(one.figures["seconds"] for one in stages)
        total = ("all stages", "", _number(1e3 * total_s), "", "", "", "")
        steps = [one for one in group if one.name == _STEP and not tables]  # of the first case; JSON has all
        tables += [
            replace(table, rows=(*table.rows, total)),
            _table(f"Steps of the solver ({case})", steps, of_steps),
        ]
    return tables


def _jobs(found: Benchmark) -> Table:
    columns = {
        "job": _name,
        **{name: _told(name) for name in ("precision", "batch", "steps", "preset", "threads")},
        "passes": _figure("n_passes", digits=2),
        "s": _spread(),
        "real-time factor": _figure("real_time_factor"),
        "x real time": lambda one: _number(1 / one.figures["real_time_factor"]),
        "floor at that precision": _figure("floor_real_time_factor"),
        "floor at any": _figure("lowest_real_time_factor"),
        "s / s of the first": _spread("ratio"),
    }
    notes = (
        "Brackets: quartiles over the repeats, all variants of a job in turn. The floor is the arithmetic that must be "
        "done over the rate of the machine's best matrix product.",
    )
    return _table("Jobs", found.of("jobs"), columns, notes)


def _memory(found: Benchmark) -> Table:
    shown = {
        "imports": "imported_bytes",
        "loaded": "loaded_bytes",
        "at most until then": "load_peak_bytes",
        "at most in the job": "peak_bytes",
        "private after it": "private_bytes",
        "GPU, loaded": "device_bytes",
        "GPU, at most": "device_peak_bytes",
    }
    columns = {"job": _name, "precision": _told("precision"), "batch": _told("batch")}
    columns |= {title: _figure(name, _MEGA) for title, name in shown.items()}
    return _table("Memory in a fresh process, MB resident", found.of("memory"), columns)


def _start_up(found: Benchmark) -> Table:
    group = found.of("start-up")
    columns = {
        "fresh process": _name,
        "s": _spread(),
        "imports, s": _figure("import_s"),
        "share": _share("import_share"),
    }
    return _table("Start-up", group, columns, [f"Imports of {one.name}: {one.note}." for one in group if one.note])


def _accuracy_table(found: Benchmark) -> Table:
    columns = {
        "job": _name,
        "precision": _told("precision"),
        "nats": _figure("divergence_nats", digits=1),
        "most likely code": _share("choice_agreement"),
        "same draw": _share("draw_agreement"),
        "tokens as in fp32": _share("token_agreement"),
        "as with another seed": _share("other_seed_agreement"),
        "mel, dB": _figure("mel_db", digits=2),
        "same tokens, dB": _figure("decoded_mel_db", digits=2),
        "another seed, dB": _figure("other_seed_mel_db", digits=2),
        "further from the recording, dB": _further,
    }
    notes = (
        "Against fp32 under the same seeds; another seed of fp32 is how far two results lie apart that are as good.",
    )
    return _table("Nearness to fp32", found.of("accuracy"), columns, notes)


def _further(one: Measurement) -> str:
    """Return by how much the distance of fills from the recordings exceeds that of fp32, with the standard error."""
    if "further_db" not in one.figures:
        return ""
    error = f" ± {one.figures['further_error_db']:.2f}" if one.figures["further_error_db"] else ""
    return f"{one.figures['further_db']:+.2f}{error}"


def _peers(found: Benchmark) -> Table:
    group = found.of("peers")
    columns = {
        "model": _name,
        "precision": _told("precision"),
        "M weights": _figure("parameters", _MEGA),
        "steps": _figure("n_steps", digits=2),
        "TFLOP": _figure("flop", 1e12),
        "s": _spread(),
        "of audio, s": _figure("audio_s"),
        "real-time factor": _figure("real_time_factor"),
        "x ours": _spread("ratio"),
    }
    notes = dict.fromkeys(f"{one.name}: {one.note}." for one in group if one.note)
    return _table("Peers, one clip", group, columns, tuple(notes))


_COLOURS = {"fp32": "#0072b2", "bf16": "#d55e00", "fp16": "#e69f00", "int8": "#009e73"}
_OTHER = "#4d4d4d"
_INK, _FAINT = "#222222", "#8a8a8a"
_LEAST = 0.005  # share of the time below which stages are not drawn


def draw(found: Benchmark, dots_per_inch: int = 150) -> bytes:
    """Return a PNG with a panel for each of stages, jobs and peers that were measured.

    Stages are bars in milliseconds, one for each precision. Jobs and peers are dots at their real-time factors, joined
    with a mark at the bound of their roofline at that precision. Thin lines are quartiles over the repeats.

    Args:
        found: the benchmark.
        dots_per_inch: resolution of the plot.

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
    check_installed(*PLOTTING)
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
    """Draw a bar in milliseconds for each measurement, with its quartiles and its value."""
    for place, one in enumerate(group):
        middle, low, high = (1e3 * one.figures[f"seconds{end}"] for end in ("", "_low", "_high"))
        axis.barh(place, middle, height=0.72, color=_colour(one))
        axis.plot([low, high], [place, place], color=_INK, linewidth=1.0)
        _tell(axis, middle, high, place)


def _dots(axis: Any, group: Sequence[Measurement], labels: Sequence[str], words: str) -> None:
    """Draw a dot at each real-time factor, with its quartiles, joined with its roofline bound."""
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
    """Return the stages with a considerable share of the time in some precision, grouped by stage."""
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


Watch = Callable[[str, int, int], object]
"""Called with (subject, parts done, parts in total)."""

_MEASURED = {"cpu": ("fp32", "bf16", "int8"), "cuda": ("fp32", "bf16", "fp16", "int8"), "mps": ("fp32", "fp16")}


def default_subjects(size: str | None = None) -> tuple[str, ...]:
    """Return the default subjects; random weights have no accuracy."""
    return tuple(name for name in measurements.SUBJECTS if name != "peers" and (size is None or name != "accuracy"))


def default_precisions(device: torch.device | str = "auto") -> tuple[str, ...]:
    """Return the precisions to compare on a device by default, that of ``auto`` first."""
    place = runtime.resolve_device(device)
    chosen = runtime.resolve_precision("auto", place)
    others = ["fp32"] if place.type != "cpu" or not can_compute_int8() else ["fp32", "int8"]
    return tuple(dict.fromkeys([runtime.precision_of(chosen), *others]))


def run_benchmark(
    settings: RunSettings,
    recordings: Sequence[tuple[np.ndarray, int]] = (),
    watch: Watch | None = None,
    on_found: Callable[[measurements.Benchmark], object] | None = None,
) -> measurements.Benchmark:
    """Run a benchmark.

    Args:
        settings: subjects, model and variants.
        recordings: (channels, t) and rate, for the accuracy; a synthetic clip if there are none.
        watch: called with the progress of each subject.
        on_found: called after each subject, with its measurements.

    Raises:
        ParameterError: a value out of its range, an unknown name, or packages of a peer that are not installed.
        DeviceError: a device, a precision or a compiler that this machine does not support.
        BundleError: no such model.
    """
    device = runtime.resolve_device(settings.device)
    machine = measurements.describe_machine(device, settings.threads[0])
    neighbours = measurements.Neighbours()
    with _models(settings) as models:
        first = models.load(settings.precisions[0])
        costs = roofline.model_costs(first)
        told = {
            "masktools": __version__,
            "name": first.name,
            "random": settings.size is not None,
            "window_s": first.window_samples / first.sample_rate,
            "sample_rate": first.sample_rate,
            "parameters": dict(costs.parameters),
        }
        about = {**asdict(settings), "device": str(device), "when": datetime.now(UTC).isoformat(timespec="seconds")}
        warnings = machine.warnings()
        found: list[measurements.Measurement] = []
        limits: dict[int | None, roofline.Peaks] = {}
        for subject in [name for name in measurements.SUBJECTS if name == "ceilings" or name in settings.subjects]:
            shown = None if watch is None else partial(watch, subject)
            if subject == "ceilings":
                limits = _peaks(settings, device)
                made = tuple(one for each in limits.values() for one in each.measurements)
            else:
                made = _measured(subject, settings, models, limits, recordings, shown)
            found += made
            if on_found is not None:
                on_found(measurements.Benchmark(asdict(machine), told, about, made, ()))
    warnings += neighbours.warnings(machine.cores)
    return measurements.Benchmark(asdict(machine), told, about, tuple(found), tuple(warnings))


def _peaks(settings: RunSettings, device: torch.device) -> dict[int | None, roofline.Peaks]:
    return {
        n: roofline.measure_peaks(device, _MEASURED[device.type], n, settings.ceiling_s)
        for n in dict.fromkeys(settings.threads)
    }


class _Models:
    """The model of a run in each precision, and as a bundle that fresh processes can load."""

    def __init__(self, settings: RunSettings, folder: Path) -> None:
        self.settings, self.folder = settings, folder
        self._kept: dict[str, Pipeline] = {}
        self._bundle: str | None = None if settings.size is not None else settings.model

    def load(self, precision: str) -> Pipeline:
        """Return the model in a precision; it is cached."""
        if precision not in self._kept:
            settings, size = self.settings, max(self.settings.batches)
            if settings.size is None:
                made = hub.load_bundle(
                    settings.model, settings.device, precision, batch_size=size, compile=settings.compiled
                )
            else:
                made = random_pipeline(
                    settings.size, settings.vocoder, settings.device, precision, size, settings.seed, settings.compiled
                )
            if not made.shape.has_bands:
                raise ParameterError(f"a benchmark is of models over bands of frequency, {made.name!r} has streams")
            self._kept[precision] = made
        return self._kept[precision]

    @property
    def bundle(self) -> str:
        """The name of the model, or a folder that it has been saved to."""
        if self._bundle is None:
            settings = self.settings
            written = write_random_bundle(settings.size or "", self.folder / "random", settings.vocoder, settings.seed)
            self._bundle = str(written)
        return self._bundle


@contextmanager
def _models(settings: RunSettings) -> Iterator[_Models]:
    with tempfile.TemporaryDirectory(prefix="masktools-bench-") as folder:
        yield _Models(settings, Path(folder))


def _measured(
    subject: str,
    settings: RunSettings,
    models: _Models,
    limits: Mapping[int | None, roofline.Peaks],
    recordings: Sequence[tuple[np.ndarray, int]],
    shown: Callable[[int, int], object] | None,
) -> tuple[measurements.Measurement, ...]:
    peaks = limits[settings.threads[0]]
    solver = settings.solver(models.load(settings.precisions[0]))
    if subject == "stages":
        each = (
            timing.measure_stages(models.load(name), peaks, settings, solver, shown) for name in settings.precisions
        )
        return tuple(one for made in each for one in made)
    if subject == "jobs":
        return timing.measure_jobs(models.load, limits, settings, shown)
    if subject == "memory":
        return processes.measure_memory(models.bundle, settings, shown)
    if subject == "start-up":
        return processes.measure_start_up(models.bundle, settings, shown)
    if subject == "accuracy":
        return _accuracy(settings, models, recordings, shown)
    return peers.measure_peers(models.load(settings.precisions[0]), peaks, settings, solver, shown)


def _accuracy(
    settings: RunSettings,
    models: _Models,
    recordings: Sequence[tuple[np.ndarray, int]],
    shown: Callable[[int, int], object] | None,
) -> tuple[measurements.Measurement, ...]:
    from masktools.io import resample

    pipeline = models.load(settings.precisions[0])
    rate, n_samples = pipeline.sample_rate, pipeline.window_samples
    clips = []
    for samples, own_rate in recordings:
        wave = resample(samples.mean(axis=0, keepdims=True), own_rate, rate)[0]
        start = max(0, (len(wave) - n_samples) // 2)
        clips.append(wave[start : start + n_samples])
    clips = clips or [synthetic_clip(n_samples / rate, rate, seed=settings.seed)[0]]
    generate, inpaint = (settings.solver(pipeline, job) for job in ("generate", "inpaint"))
    asked = accuracy.AccuracySettings(settings.precisions, generate=generate, inpaint=inpaint, seed=settings.seed)
    return accuracy.measure_accuracy(models.load, clips, asked, shown)
