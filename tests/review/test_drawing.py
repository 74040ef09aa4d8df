"""Colours, words and lines of pictures, as other programs read them."""

import io

import numpy as np
import pytest
from PIL import Image

from masktools.review.panels import (
    MARK,
    N_LEVELS,
    N_SIGNED,
    Canvas,
    level_colours,
    picture_of,
    signed_colours,
    text_width,
    to_png,
)


def brightness(colours):
    return colours @ np.array([0.2126, 0.7152, 0.0722])


def written(text, size=12.0):
    """Return which pixels of a canvas a line of text has changed."""
    canvas = Canvas(200, 40)
    canvas.write(4, 25, text, size)
    return canvas.pixels > 0


@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (128, 301)])
@pytest.mark.parametrize("signed", [False, True])
def test_a_picture_is_read_pixel_by_pixel(shape, signed):
    colours = signed_colours(N_SIGNED) if signed else level_colours(N_LEVELS)
    numbers = np.random.default_rng(0).integers(0, len(colours), shape).astype(np.uint8)
    read = Image.open(io.BytesIO(to_png(picture_of(numbers, signed))))
    np.testing.assert_array_equal(np.asarray(read.convert("RGB")), colours[numbers])


def test_levels_become_evenly_brighter():
    steps = np.diff(brightness(level_colours(120)))
    assert steps.min() > -0.5
    assert brightness(level_colours(120))[[0, -1]] == pytest.approx([5, 240], abs=15)


def test_less_is_blue_more_is_red_and_nothing_is_dark():
    colours = signed_colours(101)
    assert len(colours) == 101
    assert colours[50].max() < 20
    assert colours[20, 2] > 150 > colours[20, 0]
    assert colours[80, 0] > 150 > colours[80, 2]
    for side in (brightness(colours[50:]), brightness(colours[50::-1])):
        assert np.diff(side).min() > -1


def test_what_is_drawn_beyond_the_edge_is_cut_off():
    canvas = Canvas(20, 10)
    canvas.fill(-5, -5, 100, 8, MARK)
    canvas.write(-3, 9, "wide words", 4.0)
    canvas.write(18, 200, "below", 8.0)
    canvas.dash(15, 4, 1, 100)
    assert canvas.image.size == (20, 10)
    assert (canvas.pixels[:3] == MARK).all()


def test_a_line_of_words_stands_where_it_is_aligned_and_is_as_wide_as_said():
    columns = np.flatnonzero(written("level 12").any(axis=0))
    assert columns[0] in (4, 5)
    assert columns[-1] - columns[0] == pytest.approx(text_width("level 12", 12.0), abs=3)
    rows = np.flatnonzero(written("EX").any(axis=1))
    assert (rows[-1], rows[-1] - rows[0] + 1) == (24, pytest.approx(12, abs=1))  # the baseline, and capitals of 12


def test_accents_and_signs_that_the_font_lacks_are_written_plainly():
    np.testing.assert_array_equal(written("\u22123 caf\u00e9"), written("-3 cafe"))
