"""Seconds and hertz find their columns and rows, and masks are of those that are touched."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from masktools.core.errors import ParameterError
from masktools.mel import MelConfig, MelFrontEnd, mel_edges_hz
from masktools.mel.spectrogram import TokenGrid, band_mask, gap_mask

GRID = TokenGrid.from_mel(MelConfig())
WIDE = TokenGrid.from_mel(MelConfig(f_max=11_025.0))
TOP_HZ = 8000.0


times = st.floats(0, 9.8).flatmap(lambda start: st.tuples(st.just(start), st.floats(start + 1e-3, 9.84)))
bands = st.floats(0, TOP_HZ - 1).flatmap(lambda low: st.tuples(st.just(low), st.floats(low + 0.5, TOP_HZ)))


def test_the_paper_has_five_rows_and_fifty_three_columns():
    assert GRID.n_rows == 5
    assert 848 * GRID.hop_length == 217_088
    assert GRID.n_columns(217_088) == 53
    assert GRID.n_columns(217_089) == 54
    assert GRID.n_columns(0) == 0


def test_a_column_is_4096_samples_or_186_milliseconds():
    assert GRID.column_samples == 4096
    assert GRID.column_s == pytest.approx(0.18576, abs=5e-6)


def test_the_gap_of_the_paper_is_ten_columns():
    start_s, end_s = 25 * GRID.column_s, 35 * GRID.column_s
    assert end_s - start_s == pytest.approx(1.858, abs=5e-4)
    assert GRID.columns(start_s, end_s) == range(25, 35)


def test_rows_begin_at_the_corners_of_their_mel_bins():
    assert [round(hz, 1) for hz in GRID.row_edges_hz] == [0, 595.8, 1218.5, 2252.7, 4164.4, 8000]
    assert [round(hz, 1) for hz in WIDE.row_edges_hz] == [0, 657.3, 1383.1, 2724.2, 5365.5, 11_025]
    assert mel_edges_hz(MelConfig())[65] == pytest.approx(4327, abs=1)  # the centre of bin 64, the paper's 4.3 kHz
    assert GRID.rows(4327.0, TOP_HZ) == range(4, 5)


@pytest.mark.parametrize(("hz", "row"), [(300, 0), (900, 1), (1700, 2), (3000, 3), (5500, 4), (7500, 4)])
def test_a_tone_is_loudest_in_its_own_row(hz, row):
    tone = torch.sin(2 * torch.pi * hz * torch.arange(22_050) / 22_050)[None]
    energy = MelFrontEnd(MelConfig()).log_mel(tone).exp().square()
    assert energy.unflatten(1, (5, 16)).sum((0, 2, 3)).argmax() == row
    assert GRID.rows(hz - 1.0, hz + 1.0) == range(row, row + 1)


def test_a_click_is_loudest_in_its_own_column():
    for sample in (2000, 6000, 30_000, 60_000):
        wave = torch.zeros(1, 65_536)
        wave[0, sample] = 1.0
        energy = MelFrontEnd(MelConfig()).log_mel(wave).exp().square()
        column = int(energy.unflatten(2, (-1, 16)).sum((0, 1, 3)).argmax())
        assert column in GRID.columns(sample / 22_050, (sample + 1) / 22_050)


@given(times)
@settings(max_examples=50, deadline=None)
def test_columns_cover_their_interval_and_no_more(interval):
    columns = GRID.columns(*interval)
    start_s, end_s = columns.start * GRID.column_s, columns.stop * GRID.column_s
    assert start_s <= interval[0] + 1e-6
    assert end_s >= interval[1] - 1e-6
    assert len(columns) <= (interval[1] - interval[0]) / GRID.column_s + 2


@given(bands)
@settings(max_examples=50, deadline=None)
def test_rows_cover_their_band_and_no_more(band):
    rows = GRID.rows(*band)
    low_hz, high_hz = GRID.row_edges_hz[rows.start], GRID.row_edges_hz[rows.stop]
    assert low_hz <= band[0]
    assert high_hz >= band[1]
    assert all(GRID.row_edges_hz[row] < band[1] and GRID.row_edges_hz[row + 1] > band[0] for row in rows)


@given(st.integers(0, 20_000), st.integers(1, 300))
@settings(max_examples=50, deadline=None)
def test_columns_walk_through_seconds_and_back(start, n):
    columns = range(start, start + n)
    assert GRID.columns(start * GRID.column_s, (start + n) * GRID.column_s) == columns


def test_rows_walk_through_hertz_and_back():
    for start in range(5):
        for stop in range(start + 1, 6):
            assert GRID.rows(GRID.row_edges_hz[start], GRID.row_edges_hz[stop]) == range(start, stop)


@given(times, bands)
@settings(max_examples=50, deadline=None)
def test_masks_are_the_columns_and_the_rows_that_are_touched(interval, band):
    columns, rows = GRID.columns(*interval), GRID.rows(*band)
    gap, height = gap_mask(GRID, 53, [interval]), band_mask(GRID, 53, *band)
    assert gap.any(0).nonzero().flatten().tolist() == list(columns)
    assert height.any(1).nonzero().flatten().tolist() == list(rows)
    assert (int(gap.sum()), int(height.sum())) == (5 * len(columns), 53 * len(rows))


def test_gaps_that_overlap_mask_a_column_once_and_none_mask_nothing():
    column = GRID.column_s
    gaps = [(0.0, column), (1.1 * column, 1.3 * column), (1.2 * column, 1.8 * column)]
    assert gap_mask(GRID, 4, gaps)[0].tolist() == [True, True, False, False]
    assert not gap_mask(GRID, 4, []).any()


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: GRID.columns(1.0, 1.0), "0 <= start_s < end_s must hold, got 1 s and 1 s"),
        (lambda: GRID.columns(-0.1, 1.0), "0 <= start_s < end_s must hold, got -0.1 s and 1 s"),
        (lambda: GRID.columns(0.0, float("inf")), "0 <= start_s < end_s must hold, got 0 s and inf s"),
        (lambda: GRID.columns(0.0, float("nan")), "must hold, got 0 s and nan s"),
        (lambda: GRID.n_columns(-1), "n_samples must not be negative, got -1"),
        (lambda: GRID.rows(4000.0, 8001.0), r"0 <= low_hz < high_hz <= 8000 Hz must hold, got 4000 and 8001 Hz"),
        (lambda: GRID.rows(4000.0, 3000.0), "must hold, got 4000 and 3000 Hz"),
        (
            lambda: gap_mask(GRID, 5, [(0.9, 0.93)]),
            "end within the 5 columns, at 0.928798 s or before, got 0.93 s",
        ),
        (lambda: gap_mask(GRID, 0, []), "n_cols must be at least 1, got 0"),
        (lambda: band_mask(GRID, 0, 1.0, 2.0), "n_cols must be at least 1, got 0"),
        (lambda: TokenGrid.from_mel(MelConfig(), patch=15), "n_mels must be a multiple of the patch, got 80 and 15"),
        (lambda: TokenGrid(0, row_edges_hz=(0.0,)), "n_rows must be at least 1, got 0"),
        (lambda: TokenGrid(2, row_edges_hz=(0.0, 1.0)), "row_edges_hz must have 3 edges, got 2"),
        (lambda: TokenGrid(2, row_edges_hz=(0.0, 2.0, 1.0)), "row_edges_hz must rise from 0 Hz or more"),
    ],
)
def test_what_is_out_of_range_is_named_with_its_limits(build, message):
    with pytest.raises(ParameterError, match=message):
        build()
