"""Seconds and hertz find their columns and rows, and masks obey the algebra of sets."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from masktools.errors import ParameterError
from masktools.grid import GridMask, TokenGrid
from masktools.mel import MelConfig, MelFrontEnd, mel_edges_hz

GRID = TokenGrid.from_mel(MelConfig())
WIDE = TokenGrid.from_mel(MelConfig(f_max=11_025.0))
TOP_HZ = 8000.0


def masks(rows=5, cols=12):
    cells = st.lists(st.booleans(), min_size=rows * cols, max_size=rows * cols)
    return cells.map(lambda flat: GridMask(torch.tensor(flat).view(rows, cols)))


times = st.floats(0, 9.8).flatmap(lambda start: st.tuples(st.just(start), st.floats(start + 1e-3, 9.84)))
bands = st.floats(0, TOP_HZ - 1).flatmap(lambda low: st.tuples(st.just(low), st.floats(low + 0.5, TOP_HZ)))


def test_the_paper_has_five_rows_and_fifty_three_columns():
    assert GRID.n_rows == 5
    assert 848 * GRID.hop_length == 217_088
    assert GRID.n_columns(217_088) == 53
    assert GRID.n_columns(217_089) == 54
    assert GRID.n_columns(0) == 0
    assert GRID.n_rows * 53 == GridMask.full(GRID, 53).count == 265


def test_a_column_is_4096_samples_or_186_milliseconds():
    assert GRID.column_samples == 4096
    assert GRID.column_s == pytest.approx(0.18576, abs=5e-6)


def test_the_gap_of_the_paper_is_ten_columns():
    start_s, end_s = GRID.seconds(range(25, 35))
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
    start_s, end_s = GRID.seconds(columns)
    assert start_s <= interval[0] + 1e-6
    assert end_s >= interval[1] - 1e-6
    assert len(columns) <= (interval[1] - interval[0]) / GRID.column_s + 2


@given(bands)
@settings(max_examples=50, deadline=None)
def test_rows_cover_their_band_and_no_more(band):
    rows = GRID.rows(*band)
    low_hz, high_hz = GRID.hertz(rows)
    assert low_hz <= band[0]
    assert high_hz >= band[1]
    assert all(GRID.row_edges_hz[row] < band[1] and GRID.row_edges_hz[row + 1] > band[0] for row in rows)


@given(st.integers(0, 20_000), st.integers(1, 300))
@settings(max_examples=50, deadline=None)
def test_columns_walk_through_seconds_and_back(start, n):
    columns = range(start, start + n)
    assert GRID.columns(*GRID.seconds(columns)) == columns


def test_rows_walk_through_hertz_and_back():
    for start in range(5):
        for stop in range(start + 1, 6):
            assert GRID.rows(*GRID.hertz(range(start, stop))) == range(start, stop)


@given(masks(), masks(), masks())
@settings(max_examples=30, deadline=None)
def test_masks_obey_the_laws_of_sets(a, b, c):
    assert ~(a & b) == ~a | ~b
    assert ~(a | b) == ~a & ~b
    assert ~~a == a
    assert a & (b | c) == (a & b) | (a & c)
    assert (a | ~a).count == 60
    assert not (a & ~a).any()
    assert a.count + b.count == (a | b).count + (a & b).count
    assert len({a, GridMask(a.tensor), a | a}) == 1


@given(masks(), masks(), st.integers(0, 3), st.integers(0, 3))
@settings(max_examples=30, deadline=None)
def test_dilation_grows_and_keeps_unions(a, b, rows, cols):
    assert a.dilate(0, 0) == a
    assert a.dilate(rows, cols) & a == a
    assert (a | b).dilate(rows, cols) == a.dilate(rows, cols) | b.dilate(rows, cols)
    assert a.dilate(rows, 0).dilate(0, cols) == a.dilate(rows, cols)


def test_dilation_of_one_token_is_a_block_that_stays_on_the_grid():
    one = GridMask.rectangle(GRID, 12, *GRID.seconds(range(5, 6)), *GRID.hertz(range(4, 5)))
    assert one.count == 1
    assert one.dilate(1, 2) == GridMask.rectangle(GRID, 12, *GRID.seconds(range(3, 8)), *GRID.hertz(range(3, 5)))
    assert one.dilate(9, 99) == GridMask.full(GRID, 12)
    assert not GridMask.empty(GRID, 12).dilate(2, 2).any()


@given(times, bands)
@settings(max_examples=50, deadline=None)
def test_a_rectangle_is_where_a_gap_and_a_band_meet(interval, band):
    gap = GridMask.gaps(GRID, 53, [interval])
    row_mask = GridMask.band(GRID, 53, *band)
    assert GridMask.rectangle(GRID, 53, *interval, *band) == gap & row_mask
    assert gap.count == 5 * len(GRID.columns(*interval))
    assert row_mask.count == 53 * len(GRID.rows(*band))


@given(times, st.floats(0.01, 0.99))
@settings(max_examples=50, deadline=None)
def test_stricter_rules_mask_less(interval, share):
    touched, part, covered = (GridMask.gaps(GRID, 53, [interval], rule=rule) for rule in ("any", share, "all"))
    assert touched & part == part
    assert part & covered == covered
    assert covered == GridMask.gaps(GRID, 53, [interval], rule=1.0)


def test_rules_look_at_the_share_that_is_touched():
    column = GRID.column_s
    gaps = [(0.0, column), (1.1 * column, 1.3 * column), (1.5 * column, 1.8 * column)]  # half of column 1, in two gaps

    def masked(rule):
        return GridMask.gaps(GRID, 4, gaps, rule=rule).tensor[0].tolist()

    assert masked("any") == masked(0.49) == [True, True, False, False]
    assert masked("all") == masked(0.51) == [True, False, False, False]
    overlapping = [(0.0, 0.4 * column), (0.1 * column, 0.5 * column)]
    assert GridMask.gaps(GRID, 1, overlapping, rule=0.49).any()
    assert not GridMask.gaps(GRID, 1, overlapping, rule=0.51).any()
    assert GridMask.band(GRID, 2, 4100.0, 8000.0).count == 4
    assert GridMask.band(GRID, 2, 4100.0, 8000.0, rule=0.5).count == 2
    assert GridMask.rectangle(GRID, 1, 0.0, 0.5 * column, 4164.4, 8000.0, rule=0.4).count == 1
    assert GridMask.rectangle(GRID, 1, 0.0, 0.5 * column, 6000.0, 8000.0, rule=0.4).count == 0


def test_no_gaps_mask_nothing():
    assert GridMask.gaps(GRID, 53, []) == GridMask.empty(GRID, 53) == ~GridMask.full(GRID, 53)


@given(masks())
@settings(max_examples=20, deadline=None)
def test_the_preview_is_the_mask(mask):
    rows = [line.split()[-1] for line in str(mask).splitlines()]
    assert GridMask(torch.tensor([[cell == "#" for cell in row] for row in reversed(rows)])) == mask


def test_the_preview_has_the_highest_row_on_top():
    mask = GridMask.band(GRID, 6, 4327.0, 8000.0) | GridMask.gaps(GRID, 6, [GRID.seconds(range(1, 3))])
    assert str(mask) == "row 4 ######\nrow 3 .##...\nrow 2 .##...\nrow 1 .##...\nrow 0 .##..."
    assert repr(mask) == "GridMask(5 rows, 6 columns, 14 masked)"


def test_a_mask_does_not_change_with_the_tensors_around_it():
    cells = torch.zeros(5, 3, dtype=torch.bool)
    mask = GridMask(cells)
    cells[:] = True
    mask.tensor[:] = True
    assert not mask.any()
    assert (mask.n_rows, mask.n_cols) == (5, 3)
    assert mask != "another kind of thing"


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
        (lambda: GRID.hertz(range(4, 6)), r"rows must lie in \[0, 5\), got \[4, 6\)"),
        (
            lambda: GridMask.gaps(GRID, 5, [(0.9, 0.93)]),
            "end within the 5 columns, at 0.928798 s or before, got 0.93 s",
        ),
        (lambda: GridMask.full(GRID, 0), "n_cols must be at least 1, got 0"),
        (lambda: GridMask.band(GRID, 0, 1.0, 2.0), "n_cols must be at least 1, got 0"),
        (lambda: GridMask.band(GRID, 5, 1.0, 2.0, rule=0.0), r"must lie in \(0, 1\], got 0"),
        (lambda: GridMask.full(GRID, 5).dilate(-1, 0), "rows and cols must not be negative, got -1 and 0"),
        (lambda: GridMask.full(GRID, 5) & GridMask.full(GRID, 6), "masks must be of one grid, got 5 x 5 and 5 x 6"),
        (lambda: TokenGrid.from_mel(MelConfig(), patch=15), "n_mels must be a multiple of the patch, got 80 and 15"),
        (lambda: TokenGrid(0, row_edges_hz=(0.0,)), "n_rows must be at least 1, got 0"),
        (lambda: TokenGrid(2, row_edges_hz=(0.0, 1.0)), "row_edges_hz must have 3 edges, got 2"),
        (lambda: TokenGrid(2, row_edges_hz=(0.0, 2.0, 1.0)), "row_edges_hz must rise from 0 Hz or more"),
    ],
)
def test_what_is_out_of_range_is_named_with_its_limits(build, message):
    with pytest.raises(ParameterError, match=message):
        build()


def test_only_masks_combine_with_masks():
    with pytest.raises(TypeError):
        GridMask.full(GRID, 2) & True
    with pytest.raises(TypeError):
        GridMask.full(GRID, 2) | 1
