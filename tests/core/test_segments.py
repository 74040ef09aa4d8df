"""A recording cut into windows and joined again is the recording."""

from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from masktools.core.errors import ParameterError
from masktools.core.shapes import Window, cover, stitch


@st.composite
def cuts(draw):
    window = draw(st.integers(1, 40))
    return draw(st.integers(1, 200)), window, draw(st.integers(1, window))


def cut(wave, windows):
    return [wave[..., window.start : window.stop] for window in windows]


@given(cuts())
@settings(max_examples=50, deadline=None)
def test_windows_cover_the_recording_in_equal_steps(lengths):
    n, window, hop = lengths
    windows = cover(n, window, hop)
    assert windows[0].start == 0
    assert windows[-1].stop == n
    assert {w.length for w in windows} == {min(window, n)}
    steps = [after.start - before.start for before, after in pairwise(windows)]
    assert all(step == hop for step in steps[:-1])
    assert all(0 < step <= hop for step in steps)


@given(cuts(), st.integers(0, 50))
@settings(max_examples=50, deadline=None)
def test_stitching_what_was_cut_gives_the_recording_back_bit_for_bit(lengths, fade):
    wave = torch.rand(2, lengths[0], generator=torch.Generator().manual_seed(0)) - 0.5
    windows = cover(*lengths)
    assert torch.equal(stitch(cut(wave, windows), windows, lengths[0], fade), wave)


@given(cuts(), st.integers(0, 50))
@settings(max_examples=50, deadline=None)
def test_weights_are_shares_that_sum_to_one_everywhere(lengths, fade):
    windows = cover(*lengths)
    # Part i holds the i-th unit vector, so that channel i of the result is the weight of part i.
    units = [row[:, None].repeat(1, w.length) for row, w in zip(torch.eye(len(windows)).double(), windows, strict=True)]
    weights = stitch(units, windows, lengths[0], fade)
    assert torch.all((weights >= 0) & (weights <= 1))
    torch.testing.assert_close(weights.sum(0), torch.ones(lengths[0]).double())
    for weight, window in zip(weights, windows, strict=True):
        assert not weight[: window.start].any()
        assert not weight[window.stop :].any()


def test_the_cross_fade_is_a_line_in_the_middle_of_the_overlap():
    windows = [Window(0, 10), Window(4, 14)]
    wave = stitch([torch.zeros(10), torch.ones(10)], windows, 14, fade=4)
    expected = [0.0] * 5 + [1 / 8, 3 / 8, 5 / 8, 7 / 8] + [1.0] * 5
    torch.testing.assert_close(wave, torch.tensor(expected))


def test_a_fade_longer_than_the_overlap_is_as_long_as_the_overlap():
    windows = [Window(0, 6), Window(4, 10)]
    wave = stitch([torch.zeros(6), torch.ones(6)], windows, 10, fade=100)
    torch.testing.assert_close(wave, torch.tensor([0, 0, 0, 0, 1 / 4, 3 / 4, 1, 1, 1, 1]))


def test_no_fade_is_a_hard_cut_and_no_overlap_needs_none():
    parts = [torch.zeros(4), torch.ones(4)]
    assert stitch(parts, [Window(0, 4), Window(2, 6)], 6, fade=0).tolist() == [0, 0, 0, 1, 1, 1]
    assert stitch(parts, [Window(0, 4), Window(4, 8)], 8, fade=3).tolist() == [0] * 4 + [1] * 4


def test_a_tone_that_is_cut_and_joined_has_no_seam():
    tone = torch.sin(torch.arange(10_000) * 0.05)
    windows = cover(10_000, 3000, 2500)
    assert torch.equal(stitch(cut(tone, windows), windows, 10_000, 300), tone)
    louder = stitch(
        [part * gain for part, gain in zip(cut(tone, windows), (1, 2, 1, 2), strict=True)], windows, 10_000, 300
    )
    assert louder.diff().abs().max() < 2 * 0.05 + 1 / 300 + 1e-3


def test_a_recording_shorter_than_a_window_is_one_window():
    assert cover(3, 10, 5) == [Window(0, 3)]
    assert cover(10, 10, 5) == [Window(0, 10)]


@pytest.mark.parametrize(
    ("lengths", "message"),
    [
        ((0, 4, 2), "n must be at least 1, got 0"),
        ((9, 0, 1), "window must be at least 1, got 0"),
        ((9, 4, 0), r"hop must lie in \[1, 4\], got 0"),
        ((9, 4, 5), r"hop must lie in \[1, 4\], got 5: a longer one leaves holes"),
    ],
)
def test_lengths_out_of_range_are_refused(lengths, message):
    with pytest.raises(ParameterError, match=message):
        cover(*lengths)
