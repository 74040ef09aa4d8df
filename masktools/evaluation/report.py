"""Reports: figures with their intervals, the values of each clip they summarise, and their tables.

A row is one value of one clip; figures summarise rows over the clips of a group. Groups keep kinds apart, and real
recordings apart from rendered ones.
"""

import json
import os
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from math import isfinite
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from masktools.errors import ParameterError
from masktools.evaluation.clips import Clip, LeftOut, group_name
from masktools.jsons import parse_json
from masktools.metrics import bootstrap

_GAP = "  "


class Cell(NamedTuple):
    """A figure, its interval, and how many clips it is of."""

    value: float
    low: float | None
    high: float | None
    n: int


@dataclass(eq=False)
class Table:
    """Cells by method and measure, both in the order in which they came."""

    heading: str
    cells: dict[tuple[str, str], Cell] = field(default_factory=dict)

    def put(self, method: str, column: str, cell: Cell) -> None:
        """Put a cell where it belongs."""
        self.cells[method, column] = cell

    @property
    def methods(self) -> list[str]:
        """The rows."""
        return list(dict.fromkeys(method for method, _ in self.cells))

    @property
    def columns(self) -> list[str]:
        """The columns."""
        return list(dict.fromkeys(column for _, column in self.cells))

    @property
    def n(self) -> int:
        """Clips that most cells are of at least: the greatest number."""
        return max((cell.n for cell in self.cells.values()), default=0)

    def shown(self, method: str, column: str) -> str:
        """Return a cell as people read it; how many clips it is of is said where others are of more."""
        cell = self.cells.get((method, column))
        if cell is None:
            return "-"
        count = "" if cell.n == self.n else f" (n={cell.n})"
        if cell.low is None or cell.high is None:
            return f"{_number(cell.value)}{count}"
        digits = _digits(cell.value)
        return f"{_number(cell.value)} [{_number(cell.low, digits)}, {_number(cell.high, digits)}]{count}"


def _digits(value: float) -> int:
    size = abs(value)
    if size >= 10 and float(value).is_integer():
        return 0
    return 0 if size >= 1000 else 1 if size >= 100 else 2 if size >= 1 else 3


def _number(value: float, digits: int | None = None) -> str:
    """Return a number with the digits that matter.

    >>> _number(5.4321), _number(-0.0123), _number(1234.5)
    ('5.43', '-0.012', '1234')
    """
    return f"{value:.{_digits(value) if digits is None else digits}f}"


def text(title: str, lines: Sequence[str], tables: Sequence[Table], legend: Sequence[str], width: int) -> str:
    """Return tables for a screen of so many columns; those that are wider go on below."""
    parts = [title, *(piece for line in lines for piece in _wrapped(line, width)), ""]
    for table in tables:
        parts.append(f"{table.heading} (n = {table.n})")
        for columns in _blocks(table, width):
            parts += [*_grid(table, columns), ""]
    numbered = [f"[{number}] {name}" for number, name in enumerate(legend, 1)]
    parts += [piece for line in numbered for piece in _wrapped(line, width)]
    return "\n".join(parts).rstrip() + "\n"


def _blocks(table: Table, width: int) -> Iterator[list[str]]:
    """Yield columns that fit beside the names of the methods."""
    names = max(map(len, table.methods))
    block: list[str] = []
    used = names
    for column in table.columns:
        own = len(_GAP) + _width(table, column)
        if block and used + own > width:
            yield block
            block, used = [], names
        block.append(column)
        used += own
    yield block


def _width(table: Table, column: str) -> int:
    return max(len(column), *(len(table.shown(method, column)) for method in table.methods))


def _grid(table: Table, columns: Sequence[str]) -> list[str]:
    names = max(map(len, table.methods))
    rows = [("", columns), *((name, [table.shown(name, column) for column in columns]) for name in table.methods)]
    widths = [_width(table, column) for column in columns]
    return [
        _GAP.join([name.ljust(names), *(cell.ljust(n) for cell, n in zip(cells, widths, strict=True))]).rstrip()
        for name, cells in rows
    ]


def _wrapped(line: str, width: int) -> Iterator[str]:
    """Yield a line in pieces that fit, broken between words where it can be."""
    while len(line) > width:
        cut = line.rfind(" ", width // 2, width + 1)
        cut = width if cut < 0 else cut
        yield line[:cut].rstrip()
        line = "  " + line[cut:].lstrip()
    yield line


def markdown(title: str, lines: Sequence[str], tables: Sequence[Table], legend: Sequence[str]) -> str:
    """Return tables as Markdown."""
    parts = [f"## {title}", "", *(f"- {_escaped(line)}" for line in lines), ""]
    for table in tables:
        parts += [f"### {_escaped(table.heading)} (n = {table.n})", ""]
        parts.append(f"| method | {' | '.join(map(_escaped, table.columns))} |")
        parts.append(f"|---|{'---|' * len(table.columns)}")
        for method in table.methods:
            cells = (_escaped(table.shown(method, column)) for column in table.columns)
            parts.append(f"| {_escaped(method)} | {' | '.join(cells)} |")
        parts.append("")
    parts += [f"{number}. {_escaped(name)}" for number, name in enumerate(legend, 1)]
    return "\n".join(parts).rstrip() + "\n"


def _escaped(words: str) -> str:
    return words.replace("|", "\\|")


FORMAT = 1
Statistic = Literal["median", "mean", "set"]
_NAMED = 3  # of the recordings that were left out; JSON names all
_STATISTICS = {"median": np.median, "mean": np.mean}


@dataclass(frozen=True)
class Row:
    """One value of one clip, as one method gave it."""

    clip: str
    kind: str
    origin: str
    method: str
    metric: str
    value: float  # NaN where it could not be measured
    case: str = ""  # what else was set: the length of a gap, a cutoff, a number of steps

    @classmethod
    def of(cls, clip: Clip, method: str, metric: str, value: float, case: str = "") -> "Row":
        """Return the row of a clip."""
        return cls(clip.name, clip.kind, clip.origin, method, metric, float(value), case)

    @classmethod
    def each(cls, clip: Clip, method: str, values: Mapping[str, float], case: str = "") -> "list[Row]":
        """Return the rows of a clip, one for each measure."""
        return [cls.of(clip, method, metric, value, case) for metric, value in values.items()]

    @property
    def group(self) -> str:
        """Name of the clip's group."""
        return group_name(self.kind, self.origin)


@dataclass(frozen=True)
class Figure:
    """One number of a table: what a method reached by a measure over the clips of a group."""

    group: str
    method: str
    metric: str
    value: float
    low: float | None  # of the 95 % interval; None where there is none
    high: float | None
    n: int  # clips
    embedder: str | None = None  # what a distance between sets was computed with
    case: str = ""
    statistic: Statistic = "median"  # over the clips; a set has one value as a whole


@dataclass(frozen=True)
class Report:
    """The outcome of an evaluation, with everything that was set."""

    title: str
    settings: dict[str, Any]  # what JSON has
    figures: tuple[Figure, ...]
    per_clip: tuple[Row, ...] = ()
    left_out: tuple[LeftOut, ...] = ()
    notes: tuple[str, ...] = field(default=())  # for the reader of the table, a sentence each

    def value(self, group: str, method: str, metric: str, case: str = "", embedder: str | None = None) -> float:
        """Return one number of the tables.

        Args:
            group: as in the tables.
            method: as in the tables.
            metric: as in the tables.
            case: as in the tables.
            embedder: beginning of its name, where there are several.

        Raises:
            ParameterError: there is no such figure, or more than one.
        """
        found = [
            figure.value
            for figure in self.figures
            if (figure.group, figure.method, figure.metric, figure.case) == (group, method, metric, case)
            and (embedder is None or (figure.embedder or "").startswith(embedder))
        ]
        if len(found) != 1:
            asked = ", ".join(filter(None, (group, method, metric, case, embedder)))
            raise ParameterError(f"the report must have one figure for {asked}, it has {len(found)}")
        return found[0]

    def to_text(self, width: int = 120) -> str:
        """Return the tables for a screen of so many columns."""
        return text(self.title, self._lines(), self._tables(), self._embedders(), width)

    def to_markdown(self) -> str:
        """Return the tables as Markdown."""
        return markdown(self.title, self._lines(), self._tables(), self._embedders())

    def to_json(self) -> str:
        """Return everything as JSON; what could not be measured is null."""
        content = {
            "format": FORMAT,
            "title": self.title,
            "settings": self.settings,
            "figures": [_plain(asdict(figure)) for figure in self.figures],
            "notes": list(self.notes),
            "left_out": [asdict(one) for one in self.left_out],
            "per_clip": [_plain(asdict(row)) for row in self.per_clip],
        }
        return json.dumps(content, indent=1, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, content: str) -> "Report":
        """Return the report that ``to_json`` wrote.

        Raises:
            ParameterError: it is none.
        """
        try:
            data = parse_json(content)
            if data["format"] != FORMAT:
                raise ParameterError(f"a report must be of format {FORMAT}, got {data['format']!r}: update masktools")
            return cls(
                data["title"],
                data["settings"],
                tuple(Figure(**_numbers(figure)) for figure in data["figures"]),
                tuple(Row(**_numbers(row)) for row in data["per_clip"]),
                tuple(LeftOut(**one) for one in data["left_out"]),
                tuple(data["notes"]),
            )
        except (ValueError, KeyError, TypeError) as error:
            if isinstance(error, ParameterError):
                raise
            raise ParameterError(f"a report must be JSON that `masktools evaluate` wrote: {error}") from error

    def write(self, path: str | os.PathLike[str]) -> None:
        """Write the report, whole or not at all: Markdown to .md, JSON to .json, the tables for a screen elsewhere."""
        target = Path(os.path.realpath(path))
        makers = {".json": self.to_json, ".md": self.to_markdown}
        content = makers.get(target.suffix.lower(), self.to_text)()
        unfinished = target.with_name(f".{target.name[:50]}.{secrets.token_hex(4)}.part")
        try:
            unfinished.write_text(content, encoding="utf-8")
            os.replace(unfinished, target)
        finally:
            unfinished.unlink(missing_ok=True)

    def _embedders(self) -> list[str]:
        return list(dict.fromkeys(figure.embedder for figure in self.figures if figure.embedder))

    def _tables(self) -> list[Table]:
        """Return one table for each group and case, in the order in which they came."""
        numbers = {name: number for number, name in enumerate(self._embedders(), 1)}
        tables: dict[tuple[str, str], Table] = {}
        for figure in self.figures:
            heading = ", ".join(filter(None, (figure.group, figure.case)))
            table = tables.setdefault((figure.group, figure.case), Table(heading))
            column = figure.metric if figure.embedder is None else f"{figure.metric}[{numbers[figure.embedder]}]"
            table.put(figure.method, column, Cell(figure.value, figure.low, figure.high, figure.n))
        return list(tables.values())

    def _lines(self) -> list[str]:
        """Return what stands above the tables."""
        statistics = {figure.statistic for figure in self.figures} - {"set"}
        means = sorted({figure.metric for figure in self.figures if figure.statistic == "mean"})
        lines = [f"{name}: {_shown(value)}" for name, value in self.settings.items() if not isinstance(value, Mapping)]
        if "median" in statistics:
            but = f" ({', '.join(means)}: means)" if means else ""
            lines.append(f"Medians over clips{but} [95 % interval of a bootstrap over clips]")
        elif means:
            lines.append("Means over clips [95 % interval of a bootstrap over clips]")
        faults: dict[str, list[str]] = {}
        for one in self.left_out:
            faults.setdefault(one.fault, []).append(one.name)
        for fault, names in faults.items():
            some = ", ".join(os.path.basename(name) for name in names[:_NAMED])
            more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
            lines.append(f"left out as {fault}: {len(names)} ({some}{more})")
        return [*lines, *self.notes]


def groups_of(pairs: Iterable[tuple[str, str]]) -> dict[str, list[int]]:
    """Return the groups of clips, name -> places, from their kinds and origins.

    Each kind and origin is a group; where there are several kinds of an origin, "all" of them are one more.

    >>> groups_of([("music", "real"), ("speech", "real"), ("music", "rendered")])
    {'music': [0], 'speech': [1], 'music, rendered': [2], 'all, real': [0, 1]}
    """
    groups: dict[str, list[int]] = {}
    origins: dict[str, dict[str, list[int]]] = {}
    for place, (kind, origin) in enumerate(pairs):
        groups.setdefault(group_name(kind, origin), []).append(place)
        origins.setdefault(origin, {}).setdefault(kind, []).append(place)
    for origin, kinds in origins.items():
        if len(kinds) > 1:
            groups[f"all, {origin}"] = sorted(place for places in kinds.values() for place in places)
    return groups


def summarise(
    rows: Sequence[Row],
    means: Iterable[str] = (),
    n_resamples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> tuple[Figure, ...]:
    """Return the median over the clips of each group, for each case, method and measure, with its interval.

    Values that could not be measured are left out, and ``n`` says how many were.

    Args:
        rows: values of clips.
        means: measures that are averaged instead, as the literature does.
        n_resamples: of the bootstrap over clips.
        seed: of the bootstrap.
        level: of the intervals, in (0, 1).

    Source: percentile bootstrap, Efron and Tibshirani, An Introduction to the Bootstrap (1993), chapter 13.
    """
    averaged = set(means)
    values: dict[tuple[str, str, str, str], list[float]] = {}
    for group, places in groups_of([(row.kind, row.origin) for row in rows]).items():
        for place in places:
            row = rows[place]
            values.setdefault((group, row.case, row.method, row.metric), []).append(row.value)
    figures = []
    for (group, case, method, metric), found in values.items():
        measured = np.array([value for value in found if isfinite(value)])
        if not len(measured):
            continue
        statistic: Statistic = "mean" if metric in averaged else "median"
        interval = bootstrap(measured, _STATISTICS[statistic], n_resamples=n_resamples, seed=seed, level=level)
        low, high = (interval.low, interval.high) if len(measured) > 1 else (None, None)
        figures.append(
            Figure(group, method, metric, interval.value, low, high, len(measured), case=case, statistic=statistic)
        )
    return tuple(figures)


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    """Return what JSON has: null where a number is none."""
    return {name: None if isinstance(value, float) and not isfinite(value) else value for name, value in values.items()}


def _numbers(values: dict[str, Any]) -> dict[str, Any]:
    return {**values, "value": float("nan") if values["value"] is None else values["value"]}


def _shown(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(_shown, value)) or "none"
    return f"{value:g}" if isinstance(value, float) else str(value)
