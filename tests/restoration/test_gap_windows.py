"""Where the model listens: the gap in the middle, known audio around it, windows of the recording."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from masktools.gaps import Gap
from masktools.grid import TokenGrid
from masktools.restoration.gap_plan import channel_spans, gap_spans, hidden_in, plan_windows, shoulders
from masktools.segments import Window
from tests.tiny import MEL

GRID = TokenGrid.from_mel(MEL)
WINDOW_S = 53 * 4096 / 22_050


def plan(gaps, seconds, rate=22_050, window_cols=53):
    n_samples = round(seconds * rate)
    return plan_windows(gap_spans(gaps, n_samples, rate), n_samples, rate, GRID, window_cols)


def test_spans_cover_their_gaps_and_touching_gaps_are_one():
    assert gap_spans([(3, 3.2), (1, 1.5), (1.5, 2)], 44_100, 10_000) == [Window(10_000, 20_000), Window(30_000, 32_000)]
    assert gap_spans([(0.00005, 0.00012)], 100, 10_000) == [Window(0, 2)]
    assert gap_spans([(0.1, 0.1 + 1e-9)], 2000, 10_000) == [Window(1000, 1001)]
    assert gap_spans([(0.3, 1.0)], 10_000, 10_000) == [Window(3000, 10_000)]


def test_a_gap_lies_in_the_middle_of_its_window():
    (found,) = plan([(30, 31)], 60)
    middle = (found.window.start + found.window.stop) / 2
    assert abs(middle - 30.5 * 22_050) <= 1
    assert found.n_cols == 53
    assert found.window.length == 53 * 4096


@pytest.mark.parametrize("gap", [(0, 0.5), (59.2, 60)])
def test_a_window_stays_in_the_recording(gap):
    (found,) = plan([gap], 60)
    assert found.window.length == 53 * 4096
    assert found.window.start >= 0
    assert found.window.stop <= 60 * 22_050


def test_a_short_recording_is_one_window_of_its_own_length():
    (found,) = plan([(1, 1.2)], 3, rate=48_000)
    assert found.window == Window(0, 144_000)
    assert found.n_cols == 17


def test_near_gaps_share_a_window_and_far_ones_do_not():
    near, far = plan([(10, 10.2), (11, 11.2), (40, 40.3)], 60)
    assert len(near.spans) == 2
    assert len(far.spans) == 1


def test_gaps_that_reach_into_a_window_are_cut_at_its_edges_and_joined():
    spans = [Window(5, 20), Window(30, 40), Window(38, 50), Window(90, 120), Window(200, 210)]
    assert hidden_in(Window(10, 100), spans) == [Window(0, 10), Window(20, 40), Window(80, 90)]
    assert hidden_in(Window(50, 90), spans) == []


def test_each_channel_has_its_own_spans():
    gaps = [Gap(1, 2), Gap(2, 3, (1,)), Gap(5, 6, (0, 2))]
    assert channel_spans(gaps, 100, 3, 10) == [
        [Window(10, 20), Window(50, 60)],
        [Window(10, 30)],
        [Window(10, 20), Window(50, 60)],
    ]


def test_a_long_gap_gets_a_longer_window_with_two_seconds_at_each_side():
    (found,) = plan([(10, 30)], 60)
    assert found.n_cols > 53
    assert found.window.start < 8.1 * 22_050
    assert found.window.stop > 31.9 * 22_050


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.tuples(st.floats(0, 59), st.floats(0.001, 12)), min_size=1, max_size=12),
    st.sampled_from([8000, 22_050, 44_100, 48_000]),
    st.sampled_from([8, 16, 53]),
)
def test_every_gap_is_filled_once_from_a_window_that_holds_it(gaps, rate, window_cols):
    n_samples = 60 * rate
    spans = gap_spans([(start, min(start + length, 60)) for start, length in gaps], n_samples, rate)
    plans = plan_windows(spans, n_samples, rate, GRID, window_cols)
    assert [span for one in plans for span in one.spans] == spans
    column = 4096 * rate / 22_050
    for one in plans:
        assert 0 <= one.window.start < one.window.stop <= n_samples
        assert (one.n_cols - 1) * column < one.window.length < one.n_cols * column + 1
        assert all(one.window.start <= span.start < span.stop <= one.window.stop for span in one.spans)


def test_shoulders_end_at_the_next_gap_and_at_the_edges():
    spans = [Window(5, 10), Window(30, 40), Window(200, 210)]
    assert shoulders(spans[0], spans, 250, 100) == (Window(0, 5), Window(10, 30))
    assert shoulders(spans[1], spans, 250, 100) == (Window(10, 30), Window(40, 140))
    assert shoulders(spans[2], spans, 250, 100) == (Window(100, 200), Window(210, 250))
    assert shoulders(Window(0, 10), [Window(0, 10)], 10, 5) == (Window(0, 0), Window(10, 10))
