"""Tables on the screen and on a page."""

from masktools.review.table import Table, table_html, table_text


def test_a_table_on_the_screen_is_aligned():
    text = table_text(Table("Title", ("what", "n"), (("a", "1"), ("longer", "123"))))
    assert text.splitlines() == ["Title", "  what      n", "  a         1", "  longer  123"]


def test_words_numbers_and_dashes_are_told_apart():
    table = Table("T", ("what", "n", "none", "mixed"), (("a", "\N{MINUS SIGN}1", "\N{EN DASH}", "\N{EN DASH}"),) * 2)
    assert table_html(table).count('<th class="word"') == 1


def test_cells_are_escaped_but_for_those_that_are_html():
    table = Table("<T>", ("<a>", "b"), (("<x>", "<y>"),), "<note>", (0,))
    assert "<td" in table_html(table)
    assert "<x>" not in table_html(table)
    assert "<note>" not in table_html(table)
    assert '<tr class="ours">' in table_html(table)
    linked = table_html(table, ["<b>x</b>"])
    assert '<td class="word"><b>x</b></td>' in linked
    assert "&lt;y&gt;" in linked
