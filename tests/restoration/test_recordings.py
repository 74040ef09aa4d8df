"""Recordings pass by in blocks and windows; equal channels are computed once."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from masktools.core.errors import ParameterError
from masktools.core.shapes import Window
from masktools.io import resample_to
from masktools.restoration.band_level import side_of
from masktools.restoration.recordings import (
    Duplicates,
    Stretch,
    at_rate,
    check_channels,
    cross_faded,
    in_windows,
    of_length,
    read_blocks,
    reblocked,
)
from tests.tiny import SAMPLE_RATE, noise


def cut(samples, n):
    return [samples[:, start : start + n] for start in range(0, samples.shape[1], n)]


@pytest.mark.parametrize(("from_hz", "to_hz"), [(48_000, 22_050), (22_050, 44_100), (8000, 22_050), (22_050, 22_050)])
@pytest.mark.parametrize("n_block", [700, 30_000])
def test_a_rate_converted_in_blocks_is_that_of_the_whole_bit_for_bit(from_hz, to_hz, n_block):
    samples = noise(1.3, from_hz, 2)
    n = round(samples.shape[1] * to_hz / from_hz)
    got = np.concatenate(list(at_rate(cut(samples, n_block), from_hz, to_hz, n)), axis=1)
    np.testing.assert_array_equal(got, resample_to(samples, from_hz, to_hz, n))


def test_nothing_in_is_nothing_out():
    assert not list(at_rate([], 48_000, 22_050, 10))
    assert not list(of_length([], 10))
    assert not list(cross_faded([], 10))


def test_a_length_is_kept_by_cutting_and_by_zeros():
    blocks = cut(np.ones((1, 10), np.float32), 4)
    assert np.concatenate(list(of_length(blocks, 7)), axis=1).tolist() == [[1] * 7]
    assert np.concatenate(list(of_length(blocks, 13)), axis=1).tolist() == [[1] * 10 + [0] * 3]


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 200), st.integers(1, 50), st.integers(1, 50))
def test_blocks_of_another_size_hold_the_same_samples(n, n_in, n_out):
    samples = np.arange(2 * n).reshape(2, n)
    blocks = list(reblocked(cut(samples, n_in), n_out))
    assert [block.shape[1] for block in blocks[:-1]] == [n_out] * (len(blocks) - 1)
    np.testing.assert_array_equal(np.concatenate(blocks, axis=1), samples)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 40), st.integers(0, 9), st.integers(1, 25))
def test_windows_that_agree_join_to_the_recording(n_block, fade, hop):
    samples = noise(0.01, 20_000)
    starts = [*range(0, 170, hop), 170]
    windows = [Window(start, start + 30) for start in starts]
    stretches = list(in_windows(cut(samples, n_block), windows))
    assert [(stretch.start, stretch.stop) for stretch in stretches] == [tuple(window) for window in windows]
    np.testing.assert_array_equal(np.concatenate(list(cross_faded(stretches, fade)), axis=1), samples)


def test_windows_that_differ_change_over_by_a_line_in_the_middle_of_their_overlap():
    parts = [Stretch(0, np.zeros((1, 20))), Stretch(10, np.ones((1, 20)))]
    joined = np.concatenate(list(cross_faded(parts, 4)), axis=1)[0]
    assert joined.tolist() == [0.0] * 13 + [0.125, 0.375, 0.625, 0.875] + [1.0] * 13


def test_a_reader_is_asked_for_every_sample_once():
    samples = noise(8)
    asked = []

    def reader(start, stop):
        asked.append((start, stop))
        return samples[:, start:stop]

    got = np.concatenate(list(read_blocks(reader, samples.shape[1])), axis=1)
    np.testing.assert_array_equal(got, samples)
    assert [start for start, _ in asked[1:]] == [stop for _, stop in asked[:-1]]


HZ = 4000.0


def power_db(one, other):
    return 10 * np.log10(np.mean(np.square(one)) / np.mean(np.square(other)))


def test_twins_are_one_until_they_part_and_never_again():
    wave, other = noise(0.1)[0], noise(0.1, seed=1)[0]
    twins = Duplicates(3, linked=True)
    twins.part(np.stack([wave, other, wave]))
    assert (twins.places, twins.firsts) == ([0, 1, 0], [0, 1])
    twins.part(np.stack([wave, wave, wave]))
    assert twins.firsts == [0, 1]
    twins.part(np.stack([wave, other, other]))
    assert twins.firsts == [0, 1, 2]


def test_independent_channels_have_no_twins():
    twins = Duplicates(2, linked=False)
    twins.part(np.zeros((2, 10)))
    assert twins.firsts == [0, 1]


@pytest.mark.parametrize("lean", [-0.8, 0.0, 0.5])
def test_what_leans_to_a_side_goes_on_leaning(lean):
    wave, band = noise(3)[0], noise(3, seed=1)[0]
    side = side_of(band, np.stack([(1 + lean) * wave, (1 - lean) * wave]), SAMPLE_RATE, HZ)
    inside = slice(4000, -4000)
    np.testing.assert_allclose(side[inside], lean * band[inside], atol=0.01)


def test_what_is_wide_goes_on_as_wide_and_leans_nowhere():
    mid, own, band = (noise(8, seed=seed)[0] for seed in range(3))
    side = side_of(band, np.stack([mid + 0.5 * own, mid - 0.5 * own]), SAMPLE_RATE, HZ)
    assert power_db(side, band) == pytest.approx(20 * np.log10(0.5), abs=0.5)
    assert abs(np.corrcoef(side, band)[0, 1]) < 0.3


def test_a_single_channel_on_both_sides_has_no_side():
    wave, band = noise(1)[0], noise(1, seed=1)[0]
    assert np.abs(side_of(band, np.stack([wave, wave]), SAMPLE_RATE, HZ)).max() < 1e-9


def test_channels_that_do_not_fit_are_refused():
    with pytest.raises(ParameterError, match="'mid_side' is for recordings of 2 channels, got 6: choose 'linked'"):
        check_channels("mid_side", 6)
