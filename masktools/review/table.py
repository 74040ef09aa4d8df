"""A table of words: as lines of text, and as HTML."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from masktools.review.html import attribute

__all__ = ["Table", "table_html", "table_text"]


@dataclass(frozen=True)
class Table:
    """Rows of words under headings."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""  # what the columns mean
    marked: tuple[int, ...] = ()  # rows that stand out


def table_text(table: Table) -> str:
    """Return a table as lines of aligned columns."""
    lines = (table.columns, *table.rows)
    widths = [max(len(line[column]) for line in lines) for column in range(len(table.columns))]
    aligned = (
        "  ".join(
            word.ljust(width) if column == 0 else word.rjust(width)
            for column, (word, width) in enumerate(zip(line, widths, strict=True))
        )
        for line in lines
    )
    return "\n".join((table.title, *(f"  {line}" for line in aligned)))


def table_html(table: Table, first_cells: Sequence[str] | None = None) -> str:
    """Return a table as HTML, in which columns of words and of numbers are told apart.

    Args:
        table: what it says.
        first_cells: HTML that stands in the first column, in place of its words.
    """
    words = [_are_words([row[column] for row in table.rows]) for column in range(len(table.columns))]
    kinds = [attribute("class", "word", word) for word in words]
    head = "".join(
        f'<th{kind} scope="col">{escape(cell)}</th>' for cell, kind in zip(table.columns, kinds, strict=True)
    )
    lines = []
    for number, row in enumerate(table.rows):
        cells = [escape(cell) for cell in row]
        if first_cells is not None:
            cells[0] = first_cells[number]
        line = "".join(f"<td{kind}>{cell}</td>" for cell, kind in zip(cells, kinds, strict=True))
        lines.append(f"<tr{attribute('class', 'ours', number in table.marked)}>{line}</tr>")
    below = f'\n<p class="soft">{escape(table.note)}</p>' if table.note else ""
    return (
        f'<div class="wide"><table{attribute("class", "few", len(table.columns) < 5)}><caption>{escape(table.title)}'
        f"</caption>\n<thead><tr>{head}</tr></thead>\n<tbody>\n" + "\n".join(lines) + f"\n</tbody></table></div>{below}"
    )


def _are_words(cells: Sequence[str]) -> bool:
    """Tell whether a column is one of words; a dash, which stands for nothing, is neither word nor number."""
    said = [cell for cell in cells if cell not in ("", "\N{EN DASH}")]
    return (bool(said) or not cells) and not any(cell.lstrip("+-\N{MINUS SIGN}")[:1].isdigit() for cell in said)
