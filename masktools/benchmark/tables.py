"""Tables of a benchmark, for a screen and as Markdown."""

from collections.abc import Sequence
from dataclasses import dataclass

from masktools.errors import ParameterError

__all__ = ["Table", "markdown_of", "text_of"]

_GAP = "  "


@dataclass(frozen=True)
class Table:
    """Cells as people read them; the first column is of words, the others of numbers."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    lines: tuple[str, ...] = ()  # what must be known of it, below

    def __post_init__(self) -> None:
        """Check that every row has a cell for each column."""
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ParameterError(f"a row must have {len(self.columns)} cells, got {len(row)}: {row}")

    @property
    def filled(self) -> "Table":
        """The table without columns in which no row has anything."""
        kept = [place for place in range(len(self.columns)) if any(row[place] for row in self.rows)]
        return Table(
            self.title,
            tuple(self.columns[place] for place in kept),
            tuple(tuple(row[place] for place in kept) for row in self.rows),
            self.lines,
        )


def text_of(tables: Sequence[Table]) -> str:
    """Return tables for a screen."""
    return "\n".join(_text(table.filled) for table in tables if table.rows)


def _text(table: Table) -> str:
    rows = [table.columns, *table.rows]
    widths = [max(len(row[place]) for row in rows) for place in range(len(table.columns))]
    lines = [
        _GAP.join(
            [
                row[0].ljust(widths[0]),
                *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)),
            ]
        ).rstrip()
        for row in rows
    ]
    return "\n".join([table.title, *lines, *table.lines, ""])


def markdown_of(tables: Sequence[Table]) -> str:
    """Return tables as Markdown."""
    return "\n".join(_markdown(table.filled) for table in tables if table.rows)


def _markdown(table: Table) -> str:
    lines = [f"### {_escaped(table.title)}", ""]
    lines.append(f"| {' | '.join(map(_escaped, table.columns))} |")
    lines.append(f"|---|{'---:|' * (len(table.columns) - 1)}")
    lines += [f"| {' | '.join(map(_escaped, row))} |" for row in table.rows]
    below = [part for line in table.lines for part in ("", _escaped(line))]
    return "\n".join([*lines, *below, ""])


def _escaped(words: str) -> str:
    return words.replace("|", "\\|")
