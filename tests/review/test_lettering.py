"""Words in pictures."""

import numpy as np
import pytest

from masktools.review.lettering import draw_text, text_width


def test_no_two_letters_look_alike():
    characters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNPQRSTUVWXYZ0123456789.,:;-+/%()=_<>*#!?"
    pictures = {character: draw_text(character, 12.0) for character in characters}
    for one, ink in pictures.items():
        for other, more in pictures.items():
            if one < other and {one, other} != {"I", "l"}:
                assert ink.shape != more.shape or np.abs(ink - more).max() > 0.3, one + other


def test_figures_are_equally_wide():
    assert text_width("1111", 10) == pytest.approx(text_width("8888", 10), abs=0.1)


def test_a_line_is_as_wide_as_its_letters_and_grows_with_their_size():
    assert text_width("level", 20.0) == pytest.approx(2 * text_width("level", 10.0))
    assert text_width("level and level", 10.0) > 2 * text_width("level", 10.0)
    assert text_width("", 10.0) == 0
    assert abs(draw_text("level", 10.0).shape[1] - text_width("level", 10.0)) < 4


def test_ink_is_between_none_and_all():
    ink = draw_text("Restored at 1:23.5", 9.0)
    assert ink.min() == 0
    assert 0.9 < ink.max() <= 1


def test_accents_are_left_out_and_unknown_letters_are_boxes():
    np.testing.assert_array_equal(draw_text("é", 12.0), draw_text("e", 12.0))
    np.testing.assert_array_equal(draw_text("漢", 12.0), draw_text("\x00", 12.0))
    assert draw_text("漢", 12.0).any()


def test_small_letters_hang_below_the_line_and_capitals_rise_above_small_ones():
    rows = {character: np.flatnonzero(draw_text(character, 24.0).max(axis=1) > 0.5) for character in "xpX"}
    assert rows["p"][-1] > rows["x"][-1] + 4
    assert rows["X"][0] < rows["x"][0] - 4
