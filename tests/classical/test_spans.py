"""Gaps in seconds as samples, and what is known around them."""

import numpy as np
import pytest

from masktools.classical.spans import Damaged, Span, check_recording, gap_spans
from masktools.core.errors import ParameterError

RATE = 1000


def test_every_sample_that_a_gap_touches_is_in_it():
    assert gap_spans([(0.1004, 0.2006)], 1000, RATE) == (Span(100, 201),)


def test_times_that_were_computed_from_samples_are_those_samples():
    for start in range(0, 40_000, 997):
        assert gap_spans([(start / 22_050, (start + 1) / 22_050)], 41_000, 22_050) == (Span(start, start + 1),)


def test_gaps_that_touch_are_one():
    assert gap_spans([(0.2, 0.3), (0.1, 0.2), (0.5, 0.6)], 1000, RATE) == (Span(100, 300), Span(500, 600))
    assert gap_spans([(0.1, 0.2004), (0.2006, 0.3)], 1000, RATE) == (Span(100, 300),)


def test_the_shortest_gap_at_the_very_end_is_the_last_sample():
    assert gap_spans([(0.9999999, 1.0)], 1000, RATE) == (Span(999, 1000),)


@pytest.mark.parametrize(
    ("gaps", "message"),
    [
        ([], "at least one gap, got none: give"),
        ([(0.2, 0.1)], "must have finite times and end after its start, at 0 or later, got 0.2-0.1 s"),
        ([(0.2, 0.2)], "end after its start"),
        ([(-0.1, 0.2)], "at 0 or later, got -0.1-0.2 s"),
        ([(float("nan"), 0.2)], "finite times"),
        ([(0.2, float("inf"))], "finite times"),
        ([(0.2, 1.5)], "must lie within the recording, 0-1 s, got 0.2-1.5 s: cut it there"),
        ([(0.1, 0.3), (0.2, 0.4)], "must not overlap, got 0.2-0.4 s and one to 0.3 s: write them as one"),
        ([(0.0, 0.5), (0.5, 1.0)], "cover the whole recording of 1 s: leave something"),
    ],
)
def test_what_is_no_gap_is_refused(gaps, message):
    with pytest.raises(ParameterError, match=message):
        gap_spans(gaps, 1000, RATE)


def test_shoulders_end_at_the_next_gap_and_at_the_edges():
    wave = np.arange(1000, dtype=np.float32)[None]
    damaged = Damaged.of(wave, RATE, [(0.05, 0.1), (0.12, 0.2), (0.9, 1.0)])
    first, second, last = damaged.spans
    before, after = damaged.shoulders(first, 0.1)
    np.testing.assert_array_equal(before[0], np.arange(50))
    np.testing.assert_array_equal(after[0], np.arange(100, 120))
    before, after = damaged.shoulders(second, 0.1)
    np.testing.assert_array_equal(before[0], np.arange(100, 120))
    np.testing.assert_array_equal(after[0], np.arange(200, 300))
    assert damaged.shoulders(last, 0.1)[1].shape == (1, 0)


@pytest.mark.parametrize(
    ("samples", "rate", "message"),
    [
        (np.zeros(10, np.float32), RATE, r"float32 or float64 of shape \(channels, t\), got float32 of shape \(10,\)"),
        (np.zeros((1, 10), np.int16), RATE, "got int16"),
        (np.zeros((1, 0), np.float32), RATE, r"at least one sample, got shape \(1, 0\)"),
        (np.zeros((0, 5), np.float32), RATE, "at least one sample"),
        (np.zeros((1, 5), np.float32), 0, "sample_rate must be positive, got 0 Hz"),
        (
            np.array([[0, 1, np.nan, np.inf]]),
            RATE,
            "must be finite, got NaN or Inf in 2 of them, the first at 0.0020 s",
        ),
    ],
)
def test_what_is_no_recording_is_refused(samples, rate, message):
    with pytest.raises(ParameterError, match=message):
        check_recording(samples, rate)
