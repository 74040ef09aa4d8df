"""PNGs that other programs read as they were meant."""

import io

import numpy as np
import pytest
from PIL import Image

from masktools.errors import ParameterError
from masktools.review.colours import level_colours, signed_colours
from masktools.review.png import encode_png

COLOURS = np.array([[0, 0, 0], [255, 0, 0], [0, 0, 255]], np.uint8)


def brightness(colours):
    return colours @ np.array([0.2126, 0.7152, 0.0722])


@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (128, 301)])
def test_a_picture_is_read_pixel_by_pixel(shape):
    pixels = np.random.default_rng(0).integers(0, 3, shape).astype(np.uint8)
    read = Image.open(io.BytesIO(encode_png(pixels, COLOURS)))
    read.load()  # checks the sums
    np.testing.assert_array_equal(np.asarray(read.convert("RGB")), COLOURS[pixels])


@pytest.mark.parametrize(
    ("pixels", "colours", "message"),
    [
        (np.zeros((2, 2)), COLOURS, "pixels must be uint8 of shape"),
        (np.zeros((0, 2), np.uint8), COLOURS, "pixels must be uint8 of shape"),
        (np.zeros((2, 2), np.uint8), COLOURS[0], "colours must be 1 to 256 rows"),
        (np.full((2, 2), 3, np.uint8), COLOURS, "numbers below 3, the length of the table"),
    ],
)
def test_what_is_no_picture_is_refused(pixels, colours, message):
    with pytest.raises(ParameterError, match=message):
        encode_png(pixels, colours)


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
