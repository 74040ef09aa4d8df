"""Gaps become tasks of channels, and windows that the model reads."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from masktools.core.errors import ParameterError
from masktools.core.gaps import Gap
from masktools.core.settings import GAP_METHODS
from masktools.core.shapes import Window
from masktools.mel.spectrogram import TokenGrid
from masktools.restoration.gap_plan import (
    GapTask,
    channel_spans,
    gap_spans,
    hidden_in,
    plan_gaps,
    plan_windows,
    shoulders,
)
from tests.restoration.jobs import model_only
from tests.tiny import MEL

GRID = TokenGrid.from_mel(MEL)
WINDOW_S = 53 * 4096 / 22_050


def windows_of(gaps, seconds, rate=22_050, window_cols=53):
    n_samples = round(seconds * rate)
    return plan_windows(gap_spans(gaps, n_samples, rate), n_samples, rate, GRID, window_cols)


def test_spans_cover_their_gaps_and_touching_gaps_are_one():
    assert gap_spans([(3, 3.2), (1, 1.5), (1.5, 2)], 44_100, 10_000) == [Window(10_000, 20_000), Window(30_000, 32_000)]
    assert gap_spans([(0.00005, 0.00012)], 100, 10_000) == [Window(0, 2)]
    assert gap_spans([(0.1, 0.1 + 1e-9)], 2000, 10_000) == [Window(1000, 1001)]
    assert gap_spans([(0.3, 1.0)], 10_000, 10_000) == [Window(3000, 10_000)]


def test_a_gap_lies_in_the_middle_of_its_window():
    (found,) = windows_of([(30, 31)], 60)
    middle = (found.window.start + found.window.stop) / 2
    assert abs(middle - 30.5 * 22_050) <= 1
    assert found.n_cols == 53
    assert found.window.length == 53 * 4096


@pytest.mark.parametrize("gap", [(0, 0.5), (59.2, 60)])
def test_a_window_stays_in_the_recording(gap):
    (found,) = windows_of([gap], 60)
    assert found.window.length == 53 * 4096
    assert found.window.start >= 0
    assert found.window.stop <= 60 * 22_050


def test_a_short_recording_is_one_window_of_its_own_length():
    (found,) = windows_of([(1, 1.2)], 3, rate=48_000)
    assert found.window == Window(0, 144_000)
    assert found.n_cols == 17


def test_near_gaps_share_a_window_and_far_ones_do_not():
    near, far = windows_of([(10, 10.2), (11, 11.2), (40, 40.3)], 60)
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
    (found,) = windows_of([(10, 30)], 60)
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


RATE = 1000


def plan(gaps, seconds=60, n_channels=2, **settings):
    return plan_gaps(gaps, seconds * RATE, n_channels, RATE, model_only(**settings))


def said(plan):
    return [(task.span.start, task.span.stop, task.channels) for task in plan.tasks]


def test_channels_that_share_a_gap_are_filled_together_unless_independent():
    gaps = [Gap(5, 6, (1,)), Gap(1, 2), Gap(4, 6, (0,)), Gap(8, 9, (0,)), Gap(8, 9, (1,))]
    together = [(1000, 2000, (0, 1)), (4000, 6000, (0,)), (5000, 6000, (1,)), (8000, 9000, (0, 1))]
    assert said(plan(gaps)) == together
    assert said(plan(gaps, channels="mid_side")) == together
    assert [task.mid_side for task in plan(gaps, channels="mid_side").tasks] == [True, False, False, True]
    apart = [(1000, 2000, (0,)), (1000, 2000, (1,)), *together[1:3], (8000, 9000, (0,)), (8000, 9000, (1,))]
    assert said(plan(gaps, channels="independent")) == apart
    assert plan(gaps).n_samples_changed == plan(gaps, channels="independent").n_samples_changed == 7000


def test_gaps_that_touch_in_a_channel_are_one():
    assert said(plan([(1, 2), (2, 3, (1,))])) == [(1000, 2000, (0,)), (1000, 3000, (1,))]


@pytest.mark.parametrize(
    ("length_s", "settings", "method"),
    [
        (0.01, {}, "janssen"),
        (0.06, {}, "janssen"),
        (0.07, {}, "blend"),
        (0.186, {}, "blend"),
        (0.2, {}, "model"),
        (4.0, {}, "model"),
        (0.08, {"classical_below_s": 0.1}, "janssen"),
        (0.15, {"classical_below_s": 0.2}, "burg"),  # Janssen's method has nothing to hold on to
        (0.01, {"classical_below_s": 0.0}, "blend"),
        (9.0, {"max_gap_s": 10.0}, "model"),
        (0.01, {"method": "model"}, "model"),
        (9.0, {"method": "model"}, "model"),
        (9.0, {"method": "copy"}, "copy"),
        (0.5, {"method": "janssen"}, "burg"),
    ],
)
def test_the_length_of_a_gap_decides_what_fills_it(length_s, settings, method):
    settings = {"method": "auto"} | settings
    (task,) = plan([(1.0, 1.0 + length_s)], **settings).tasks
    assert task.method == method


def test_gaps_that_become_one_are_filled_as_one():
    gaps = [(1.0, 1.04), (1.04, 1.09)]
    assert plan(gaps, method="auto").tasks[0].method == "blend"


def test_work_is_in_order_of_time_and_near_gaps_share_a_window():
    gaps = [Gap(1, 1.01), Gap(10, 11), Gap(12, 13, (0,)), Gap(12.5, 13, (1,)), Gap(11.5, 11.6), Gap(50, 51)]
    made = plan(gaps, method="auto")
    work = list(made.work(60 * RATE, RATE, GRID, 53))
    kinds = ["task" if isinstance(one, GapTask) else [task.span.start for task in one.tasks] for one in work]
    assert kinds == ["task", [10_000, 11_500], [12_000], [12_500], [50_000]]
    assert [one.number for one in work[1:]] == [0, 1, 2, 3]
    assert made.hidden[0] == (
        Window(1000, 1010), Window(10_000, 11_000), Window(11_500, 11_600), Window(12_000, 13_000),
        Window(50_000, 51_000),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"method": "magic"},
            "unknown method 'magic': choose from auto, model, zero, linear, burg, janssen, spectral_noise",
        ),
        ({"texture": "silk"}, "unknown texture 'silk'"),
        ({"n_candidates": 0}, r"n_candidates must lie in \[1, 64\], got 0"),
        ({"match_level_db": -1.0}, r"match_level_db must lie in \[0, 60\] dB, got -1 dB"),
        ({"classical_below_s": -0.1}, "classical_below_s must be at least 0 s, got -0.1 s"),
        ({"max_gap_s": float("nan")}, "max_gap_s must be at least 0 s, got nan s"),
        ({"channels": "each"}, "unknown channels 'each': choose from linked, independent, mid_side"),
        ({"channels": "mid_side", "n_channels": 3}, "channels 'mid_side' is for recordings of 2 channels, got 3"),
        ({"method": "auto", "gaps": [(1, 6)]}, r"gaps must be at most 4 s long, got one of .*max_gap_s \(--max-gap\)"),
        ({"gaps": [(1, 2, (2,))]}, "channels that the recording has, 0 to 1"),
        ({"gaps": [(0, 60, (1,))]}, "the whole of channel 1 of a recording of 60 s"),
    ],
)
def test_what_cannot_be_done_is_refused_before_anything_is_read(settings, message):
    with pytest.raises(ParameterError, match=message):
        plan(settings.pop("gaps", [(1, 2)]), n_channels=settings.pop("n_channels", 2), **settings)


def test_the_methods_are_the_classical_ones_and_two_more():
    assert GAP_METHODS[:2] == ("auto", "model")
    assert {"janssen", "burg", "copy", "spectral_noise"} < set(GAP_METHODS)
