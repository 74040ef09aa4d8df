"""Tables of text cells, as text for a terminal and as Markdown; review's templates make HTML of them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from masktools.core.errors import ParameterError

_GAP = "  "
_DASH = "\N{EN DASH}"  # stands for an empty cell


@dataclass(frozen=True)
class Table:
    """Rows of text cells under headings; the first column names the row."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()  # explanations below the table
    marked: tuple[int, ...] = ()  # highlighted rows

    def __post_init__(self) -> None:
        """Check that every row has a cell for each column."""
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ParameterError(f"a row must have {len(self.columns)} cells, got {len(row)}: {row}")

    @property
    def filled(self) -> "Table":
        """The table without empty columns."""
        kept = [place for place in range(len(self.columns)) if any(row[place] for row in self.rows)]
        columns, *rows = (tuple(line[place] for place in kept) for line in (self.columns, *self.rows))
        return replace(self, columns=columns, rows=tuple(rows))

    @property
    def words(self) -> tuple[bool, ...]:
        """Whether each column holds words; a dash is neither word nor number."""
        return tuple(_are_words([row[place] for row in self.rows]) for place in range(len(self.columns)))


def text_of(tables: Sequence[Table], notes: bool = True) -> str:
    """Return tables for a terminal, with aligned columns; tables without rows are left out.

    Args:
        tables: tables, in order.
        notes: whether to print the notes below each table.
    """
    return "\n".join(_text(table.filled, notes) for table in tables if table.rows)


def markdown_of(tables: Sequence[Table], right: bool = True) -> str:
    """Return tables as Markdown; tables without rows are left out.

    Args:
        tables: tables, in order.
        right: whether all columns but the first are aligned to the right.
    """
    return "\n".join(_markdown(table.filled, "---:|" if right else "---|") for table in tables if table.rows)


def _text(table: Table, notes: bool) -> str:
    lines = [table.columns, *table.rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    aligned = [
        _GAP.join(
            cell.rjust(width) if place else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    ]
    return "\n".join([table.title, *aligned, *(table.notes if notes else ()), ""])


def _markdown(table: Table, rule: str) -> str:
    lines = [f"### {escaped(table.title)}", "", f"| {' | '.join(map(escaped, table.columns))} |"]
    lines.append(f"|---|{rule * (len(table.columns) - 1)}")
    lines += [f"| {' | '.join(map(escaped, row))} |" for row in table.rows]
    return "\n".join([*lines, *(part for note in table.notes for part in ("", escaped(note))), ""])


def escaped(words: str) -> str:
    """Return text escaped for a Markdown cell."""
    return words.replace("|", "\\|")


def _are_words(cells: Sequence[str]) -> bool:
    said = [cell for cell in cells if cell not in ("", _DASH)]
    return (bool(said) or not cells) and not any(cell.lstrip("+-\N{MINUS SIGN}")[:1].isdigit() for cell in said)
