"""Tables of figures: methods below each other, measures side by side, as text and as Markdown."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

__all__ = ["Cell", "Table", "markdown", "text"]

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
