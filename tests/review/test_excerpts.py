"""Of a long recording one hears where something was done."""

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from masktools.review.comparison import Repair
from masktools.review.picture import Excerpt, choose_excerpts


def test_a_short_recording_is_heard_as_a_whole():
    assert choose_excerpts(59.0, [Repair(1.0, 2.0)], (), 60.0) == [Excerpt(0.0, 59.0)]


def test_around_repairs_there_is_something_to_compare_with():
    repairs = [Repair(100.0, 101.0), Repair(104.0, 104.5), Repair(1.0, 1.1)]
    assert choose_excerpts(3600.0, repairs, (), 60.0) == [Excerpt(0.0, 3.6), Excerpt(97.5, 107.0)]


def test_the_longest_repairs_come_first_when_there_are_too_many():
    repairs = [Repair(10.0 * n, 10.0 * n + n / 100) for n in range(1, 100)]
    chosen = choose_excerpts(3600.0, repairs, (), 60.0)
    assert chosen[-1].end_s > 990
    assert chosen[0].start_s > 500


def test_a_repair_longer_than_the_budget_is_heard_from_its_beginning():
    assert choose_excerpts(3600.0, [Repair(100.0, 300.0)], (), 60.0) == [Excerpt(97.5, 157.5)]


def test_without_repairs_one_hears_where_most_has_changed():
    profile = [0.0] * 7200
    profile[2000] = profile[2001] = 3.0
    profile[4000] = 5.0
    assert choose_excerpts(3600.0, [], profile, 60.0) == [Excerpt(990.25, 1010.25), Excerpt(1990.25, 2010.25)]


def test_where_nothing_changed_one_hears_the_beginning():
    assert choose_excerpts(3600.0, [], [0.0] * 7200, 60.0) == [Excerpt(0.0, 60.0)]


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.tuples(st.floats(0, 500), st.floats(0.001, 30)), max_size=20),
    st.lists(st.floats(0, 1), min_size=1, max_size=1000),
    st.floats(0.6, 100),
)
def test_excerpts_keep_to_the_budget_and_to_the_recording(spans, profile, budget_s):
    repairs = [Repair(start_s, start_s + length_s) for start_s, length_s in spans]
    chosen = choose_excerpts(400.0, repairs, profile, budget_s)
    assert chosen
    assert sum(excerpt.seconds for excerpt in chosen) <= budget_s + 1e-6
    assert all(0 <= one.start_s < one.end_s <= 400 for one in chosen)
    assert all(one.end_s < other.start_s for one, other in pairwise(chosen))
