"""One picture of all that was changed."""

import io

import numpy as np
import pytest
from PIL import Image

from masktools.core.errors import AudioError, ParameterError
from masktools.review import Repair, compare, write_picture
from masktools.review.panels import Mark, Panel, Rows, Scale, draw_panels, time_label, time_step, time_ticks

RATE = 22_050


def pixels(path):
    return np.asarray(Image.open(path).convert("RGB"), float)


def test_a_picture_shows_all_versions_and_marks_the_repairs(files, music, tmp_path):
    damaged = music.copy()
    damaged[:, RATE : RATE + 2205] = 0
    paths = files("a.wav", damaged), files("b.wav")
    write_picture(compare(*paths, repairs=[Repair(1.0, 1.1)]), tmp_path / "two.png")
    write_picture(compare(*paths, reference=paths[1]), tmp_path / "three.png")
    two, three = pixels(tmp_path / "two.png"), pixels(tmp_path / "three.png")
    assert three.shape[1] == two.shape[1]
    assert three.shape[0] > two.shape[0] + 200
    marked = (two == (110, 231, 255)).all(axis=2)
    columns = np.flatnonzero(marked.sum(axis=0) > 50)
    assert len(columns) == 2
    assert columns[1] - columns[0] == pytest.approx(60, abs=1)  # a tenth of a second of 2 s on 1200 columns
    assert (three == (110, 231, 255)).all(axis=2).sum(axis=0).max() < 50


def test_a_picture_is_there_whole_or_not_at_all(files, tmp_path):
    comparison = compare(files("a.wav"), files("b.wav"))
    with pytest.raises(AudioError, match="cannot be written: No such file"):
        write_picture(comparison, tmp_path / "nowhere" / "x.png")
    comparison.before.path.unlink()
    with pytest.raises(AudioError, match=r"a\.wav does not exist"):
        write_picture(comparison, tmp_path / "x.png")
    assert not (tmp_path / "x.png").exists()


def test_a_repair_of_a_band_is_framed():
    rows, scale = Rows(8000.0, 100), Scale(-80.0, 0.0)
    image = np.zeros((100, 300), np.uint8)
    panel = Panel("x", image, marks=(Mark(1.0, 2.0, 500.0, 2000.0),))
    drawn = np.asarray(Image.open(io.BytesIO(draw_panels([panel], rows, scale, 0.0, 3.0))).convert("RGB"))
    marked = (drawn == (110, 231, 255)).all(axis=2)
    assert np.flatnonzero(marked.sum(axis=1) > 40).size >= 5  # the bar above it, and two edges


def test_levels_and_differences_have_their_own_scale():
    scale = Scale(-80.0, 0.0, most_db=20.0)
    assert scale.show(np.array([[-200.0, -80.0, 0.0, 10.0]])).tolist() == [[0, 0, 119, 119]]
    before = np.array([[[-60.0, -100.0, -20.0, -100.0]], [[-60.0, -90.0, -20.0, -50.0]]])
    after = np.array([[[-40.0, -85.0, -20.0, -75.0]], [[-60.0, -120.0, -21.0, -60.0]]])
    # Of two channels the one that changed most counts; what is below the scale changes nothing.
    assert scale.show_difference(before, after).tolist() == [[100, 50, 48, 25]]


@pytest.mark.parametrize("ends", [(0.0, 0.0), (0.0, -10.0)])
def test_a_scale_rises(ends):
    with pytest.raises(ParameterError, match="a scale must rise and have a limit above 0 dB"):
        Scale(*ends)


def test_a_picture_needs_a_panel():
    with pytest.raises(ParameterError, match="at least one panel"):
        draw_panels([], Rows(8000.0), Scale(-80.0, 0.0), 0.0, 1.0)


@pytest.mark.parametrize(
    ("span", "n", "expected"),
    [
        ((0.0, 9.0), 9, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]),
        ((0.0, 0.05), 5, [0, 0.01, 0.02, 0.03, 0.04, 0.05]),
        ((17.5, 23.0), 3, [18, 20, 22]),
        ((0.0, 3600.0), 6, [0, 600, 1200, 1800, 2400, 3000, 3600]),
        ((0.0, 50_000.0), 4, [0, 14_400, 28_800, 43_200]),
    ],
)
def test_times_on_an_axis_are_round(span, n, expected):
    assert time_ticks(*span, n) == pytest.approx(expected)


def test_times_have_as_many_places_as_they_need():
    assert [time_label(59.999, step) for step in (0.001, 0.01, 0.1, 1.0, 0.5)] == [
        "0:59.999",
        "1:00.00",
        "1:00.0",
        "1:00",
        "1:00.0",
    ]
    assert time_step(0.0, 0.0001, 10) == 0.001
