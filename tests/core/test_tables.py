"""Tables on the screen, as Markdown, and on a page."""

import pytest

from masktools.core.errors import ParameterError
from masktools.core.tables import Table, markdown_of, text_of


def test_a_table_on_the_screen_is_aligned():
    text = text_of([Table("Title", ("what", "n"), (("a", "1"), ("longer", "123")), ("said",))])
    assert text.splitlines() == ["Title", "what      n", "a         1", "longer  123", "said"]


def test_columns_without_anything_and_tables_without_rows_are_left_out():
    table = Table("T", ("a", "b", "c"), (("x", "", "1"), ("y", "", "2|3")))
    assert text_of([table, Table("U", ("a",), ())]).splitlines() == ["T", "a    c", "x    1", "y  2|3"]
    assert "| y | 2\\|3 |" in markdown_of([table])


def test_words_numbers_and_dashes_are_told_apart():
    table = Table("T", ("what", "n", "none", "mixed"), (("a", "\N{MINUS SIGN}1", "\N{EN DASH}", "\N{EN DASH}"),) * 2)
    assert table.words == (True, False, False, False)


def test_a_row_has_a_cell_for_every_column():
    with pytest.raises(ParameterError, match="a row must have 2 cells, got 1"):
        Table("T", ("a", "b"), (("x",),))
