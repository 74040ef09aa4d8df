"""Gaps are read from text and checked against the recording before anything is computed."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from masktools.errors import ParameterError
from masktools.gaps import check_gaps, parse_gaps


@st.composite
def disjoint_gaps(draw):
    marks = draw(st.lists(st.integers(0, 10_000_000), min_size=2, max_size=12, unique=True).map(sorted))
    return [(a / 1000, b / 1000) for a, b in zip(marks[::2], marks[1::2], strict=False)]


@given(disjoint_gaps(), st.randoms())
@settings(max_examples=50, deadline=None)
def test_what_is_written_is_read_back_in_order_of_time(gaps, shuffler):
    shuffled = gaps.copy()
    shuffler.shuffle(shuffled)
    assert parse_gaps(" , ".join(f"{start} - {end}" for start, end in shuffled)) == gaps
    assert check_gaps(shuffled, duration_s=10_001) == gaps


@pytest.mark.parametrize(
    ("text", "gaps"),
    [
        ("1.20-1.55,3-3.2", [(1.2, 1.55), (3, 3.2)]),
        ("0-.5", [(0, 0.5)]),
        ("1.\u20132.", [(1, 2)]),
        ("1-2,2-3", [(1, 2), (2, 3)]),
        ("+1-2", [(1, 2)]),
    ],
)
def test_ways_to_write_gaps(text, gaps):
    assert parse_gaps(text) == gaps


@pytest.mark.parametrize("text", ["", "1", "1-", "1-2-3", "1-2,", "a-b", "1e1-20", "nan-1", "1:00-1:02", "1-2;3-4"])
def test_text_of_another_form_is_refused_with_an_example(text):
    with pytest.raises(ParameterError, match=r"start-end in seconds .* as in 1.20-1.55,3-3.2; got '"):
        parse_gaps(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("2-1", "a gap must end after its start, got 2-1 s"),
        ("1-1", "a gap must end after its start, got 1-1 s"),
        ("-1-2", "must not be negative, got -1-2 s"),
        ("1-2,1.5-3", "gaps must not overlap, got 1-2 s and 1.5-3 s: write them as one"),
        ("3-4,1-3.5", "gaps must not overlap, got 1-3.5 s and 3-4 s"),
        ("1-2,1-2", "gaps must not overlap, got 1-2 s and 1-2 s"),
    ],
)
def test_gaps_that_cannot_be_are_named(text, message):
    with pytest.raises(ParameterError, match=message):
        parse_gaps(text)


@pytest.mark.parametrize(
    ("gaps", "message"),
    [
        ([], "there must be at least one gap, got none"),
        ([(0.0, float("inf"))], "the times of a gap must be finite, got 0-inf s"),
        ([(float("nan"), 1.0)], "the times of a gap must be finite, got nan-1 s"),
        ([(9.0, 10.5)], "a gap must lie within the recording, 0-10 s, got 9-10.5 s"),
        ([(11.0, 12.0)], "a gap must lie within the recording, 0-10 s, got 11-12 s"),
        ([(0.0, 10.0)], "the gaps cover the whole recording of 10 s: something must remain"),
        ([(0.0, 4.0), (4.0, 10.0)], "the gaps cover the whole recording"),
    ],
)
def test_gaps_that_do_not_fit_the_recording_are_named(gaps, message):
    with pytest.raises(ParameterError, match=message):
        check_gaps(gaps, 10.0)


def test_a_gap_may_end_where_the_recording_ends():
    duration_s = 217_088 / 22_050
    assert check_gaps([(9, duration_s)], duration_s) == [(9.0, duration_s)]
    with pytest.raises(ParameterError, match=r"within the recording, 0-9\.8452\d* s, got 9-9\.846 s"):
        check_gaps([(9, 9.846)], duration_s)
    assert check_gaps([(9, 9.84526)], duration_s)


def test_without_a_duration_only_the_gaps_themselves_are_checked():
    assert check_gaps([(1, 2)]) == [(1.0, 2.0)]
