"""A benchmark as tables: one for each subject, in the units that people think in."""

from collections.abc import Mapping, Sequence
from typing import Any

from masktools.benchmark.measurements import Benchmark, Measurement
from masktools.tables import Table, markdown_of, text_of

__all__ = ["tables_of", "to_markdown", "to_text"]

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
    tables = [_ceilings(found), *_stages(found), _jobs(found), _memory(found), _start_up(found), _accuracy(found)]
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
    decimals = digits - len(str(int(abs(value)))) if abs(value) >= 1 else digits - 1 - _exponent(value)
    return f"{value:.{min(6, max(0, decimals))}f}"


def _exponent(value: float) -> int:
    return int(f"{abs(value):e}".partition("e")[2])


def _share(one: Measurement, name: str) -> str:
    return f"{100 * one.figures[name]:.1f} %" if name in one.figures else ""


def _spread(one: Measurement, name: str = "seconds", scale: float = 1.0) -> str:
    """Return a figure with its quartiles behind it, where they differ."""
    middle, low, high = (_figure(one, key, scale) for key in (name, f"{name}_low", f"{name}_high"))
    return middle if low == high else f"{middle} [{low}, {high}]"


def _told(case: Mapping[str, Any], key: str) -> str:
    return str(case.get(key, ""))


def _ceilings(found: Benchmark) -> Table:
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
