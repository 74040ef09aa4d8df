"""Reports: figures with their intervals, the values of each clip, and tables.

A row is one value of one clip; figures summarise rows over the clips of a group. Groups separate kinds, and real
recordings from rendered ones.
"""

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from math import isfinite
from pathlib import Path
from typing import Any, Literal

import numpy as np

from masktools.core.configs import parse_json
from masktools.core.errors import ParameterError
from masktools.core.tables import Table, escaped, markdown_of
from masktools.evaluation.clips import Clip, LeftOut, group_name
from masktools.io import replacing
from masktools.metrics import bootstrap

FORMAT = 1
Statistic = Literal["median", "mean", "set"]
_NAMED = 3  # of the recordings that were left out; JSON lists all
_STATISTICS = {"median": np.median, "mean": np.mean}


@dataclass(frozen=True)
class Row:
    """One value of one clip by one method."""

    clip: str
    kind: str
    origin: str
    method: str
    metric: str
    value: float  # NaN where it could not be measured
    case: str = ""  # further settings: the length of a gap, a cutoff, a number of steps

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
    """One number of a table: the result of a method by a measure over the clips of a group."""

    group: str
    method: str
    metric: str
    value: float
    low: float | None  # of the 95 % interval; None without one
    high: float | None
    n: int  # clips
    embedder: str | None = None  # for a distance between sets
    case: str = ""
    statistic: Statistic = "median"  # over the clips; a set as a whole has one value


@dataclass(frozen=True)
class Report:
    """Results of an evaluation, with all settings."""

    title: str
    settings: dict[str, Any]  # in JSON types
    figures: tuple[Figure, ...]
    per_clip: tuple[Row, ...] = ()
    left_out: tuple[LeftOut, ...] = ()
    notes: tuple[str, ...] = field(default=())  # on the table, a sentence each

    def value(self, group: str, method: str, metric: str, case: str = "", embedder: str | None = None) -> float:
        """Return one number of the tables.

        Args:
            group: group, as in the tables.
            method: method, as in the tables.
            metric: measure, as in the tables.
            case: case, as in the tables.
            embedder: beginning of its name, if there are several.

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
        """Return the tables for a terminal of this width."""
        lines = [self.title, *(piece for line in self._lines() for piece in _wrapped(line, width)), ""]
        for table in self._tables():
            lines += [table.title, *_aligned(table, width)]
        numbered = [f"[{number}] {name}" for number, name in enumerate(self._embedders(), 1)]
        return "\n".join([*lines, *(piece for line in numbered for piece in _wrapped(line, width))]).rstrip() + "\n"

    def to_markdown(self) -> str:
        """Return the tables as Markdown."""
        tables = [replace(table, columns=("method", *table.columns[1:])) for table in self._tables()]
        numbered = [f"{number}. {escaped(name)}" for number, name in enumerate(self._embedders(), 1)]
        lines = [f"## {self.title}", "", *(f"- {escaped(line)}" for line in self._lines()), ""]
        return "\n".join([*lines, markdown_of(tables, right=False), *numbered]).rstrip() + "\n"

    def to_json(self) -> str:
        """Return the report as JSON; missing values are null."""
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
        """Parse the output of ``to_json``.

        Raises:
            ParameterError: another document.
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
        """Write the report, whole or not at all: Markdown to .md, JSON to .json, plain text tables elsewhere."""
        makers = {".json": self.to_json, ".md": self.to_markdown}
        content = makers.get(Path(os.path.realpath(path)).suffix.lower(), self.to_text)()
        with replacing(Path(path)) as part:
            part.write_text(content, encoding="utf-8")

    def _embedders(self) -> list[str]:
        return list(dict.fromkeys(figure.embedder for figure in self.figures if figure.embedder))

    def _tables(self) -> list[Table]:
        """Return one table for each group and case, in order of appearance."""
        numbers = {name: number for number, name in enumerate(self._embedders(), 1)}
        groups: dict[str, dict[tuple[str, str], Figure]] = {}
        for figure in self.figures:
            heading = ", ".join(filter(None, (figure.group, figure.case)))
            column = figure.metric if figure.embedder is None else f"{figure.metric}[{numbers[figure.embedder]}]"
            groups.setdefault(heading, {})[figure.method, column] = figure
        return [_table(heading, cells) for heading, cells in groups.items()]

    def _lines(self) -> list[str]:
        """Return the lines above the tables."""
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


def _table(heading: str, cells: Mapping[tuple[str, str], Figure]) -> Table:
    """Return the table of a group and case, (method, column) -> figure."""
    methods, columns = (list(dict.fromkeys(key[place] for key in cells)) for place in (0, 1))
    n = max(figure.n for figure in cells.values())
    rows = [(method, *(_cell(cells.get((method, column)), n) for column in columns)) for method in methods]
    return Table(f"{heading} (n = {n})", ("", *columns), tuple(rows))


def _cell(figure: Figure | None, n: int) -> str:
    """Return a figure with its interval, and its number of clips if others have more."""
    if figure is None:
        return "-"
    count = "" if figure.n == n else f" (n={figure.n})"
    digits = _digits(figure.value)
    if figure.low is None or figure.high is None:
        return f"{figure.value:.{digits}f}{count}"
    return f"{figure.value:.{digits}f} [{figure.low:.{digits}f}, {figure.high:.{digits}f}]{count}"


def _digits(value: float) -> int:
    """Return the number of significant decimals: 3 below 1, none from 1000 on."""
    size = abs(value)
    if size >= 10 and float(value).is_integer():
        return 0
    return 0 if size >= 1000 else 1 if size >= 100 else 2 if size >= 1 else 3


def _aligned(table: Table, width: int) -> Iterator[str]:
    """Yield the lines of a table for a terminal; columns that do not fit are continued below."""
    names, *columns = (
        [cell.ljust(max(map(len, column))) for cell in column]
        for column in zip(table.columns, *table.rows, strict=True)
    )
    while columns:
        n = next((n for n in range(2, len(columns) + 1) if _width([names, *columns[:n]]) > width), len(columns) + 1) - 1
        yield from ("  ".join(line).rstrip() for line in zip(names, *columns[:n], strict=True))
        yield ""
        columns = columns[n:]


def _width(columns: Sequence[Sequence[str]]) -> int:
    return len("  ".join(column[0] for column in columns))


def _wrapped(line: str, width: int) -> Iterator[str]:
    """Yield a line in pieces that fit, broken between words if possible."""
    while len(line) > width:
        cut = line.rfind(" ", width // 2, width + 1)
        cut = width if cut < 0 else cut
        yield line[:cut].rstrip()
        line = "  " + line[cut:].lstrip()
    yield line


def groups_of(pairs: Iterable[tuple[str, str]]) -> dict[str, list[int]]:
    """Return the groups of clips, name -> indices, from their kinds and origins.

    Each kind and origin is a group; if there are several kinds of an origin, "all" of them are another one.

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
    rows: Sequence[Row], means: Iterable[str] = (), n_resamples: int = 1000, seed: int = 0, level: float = 0.95
) -> tuple[Figure, ...]:
    """Return the median over the clips of each group, for each case, method and measure, with its interval.

    Missing values are left out, and ``n`` is the number of the others.

    Args:
        rows: values of clips.
        means: measures that are averaged instead, as in the literature.
        n_resamples: number of bootstrap resamples of clips.
        seed: random seed of the bootstrap.
        level: level of the intervals, in (0, 1).

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
    """Return values in JSON types: null instead of NaN."""
    return {name: None if isinstance(value, float) and not isfinite(value) else value for name, value in values.items()}


def _numbers(values: dict[str, Any]) -> dict[str, Any]:
    return {**values, "value": float("nan") if values["value"] is None else values["value"]}


def _shown(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(_shown, value)) or "none"
    return f"{value:g}" if isinstance(value, float) else str(value)
