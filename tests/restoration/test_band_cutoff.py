"""From where on a recording is extended, or why it is not."""

from typing import NamedTuple

import pytest

from masktools.core.errors import ParameterError
from masktools.restoration.band_level import Decision, choose_cutoff, choose_top


class Edge(NamedTuple):
    cutoff_hz: float | None
    drop_db: float = 40.0
    confidence: float = 1.0


def test_an_edge_within_reach_is_extended_from(pipeline):
    assert choose_cutoff(Edge(4000.0), pipeline, 44_100) == Decision(4000.0, "extendable")


def test_no_edge_is_a_full_band(pipeline):
    decision = choose_cutoff(Edge(None), pipeline, 44_100)
    assert (decision.cutoff_hz, decision.status) == (None, "full_band")
    assert "no edge was found" in decision.reason


@pytest.mark.parametrize(
    ("hertz", "reason"),
    [
        (500.0, "its band ends at 500 Hz, and below 657 Hz this model hears nothing"),
    ],
)
def test_an_edge_out_of_reach_is_refused_with_the_reason(pipeline, hertz, reason):
    decision = choose_cutoff(Edge(hertz), pipeline, 44_100)
    assert (decision.cutoff_hz, decision.status) == (None, "out_of_reach")
    assert decision.reason.startswith(reason)


def test_where_the_model_has_nothing_left_to_add_the_detail_goes_on(pipeline):
    assert choose_cutoff(Edge(16_000.0), pipeline, 44_100) == Decision(16_000.0, "extendable")
    decision = choose_cutoff(Edge(10_000.0), pipeline, 22_050)
    assert decision.status == "out_of_reach"
    assert decision.reason.startswith(
        "its band ends at 10000 Hz, and this model's band ends at 11025 Hz, so that above"
    )
    assert choose_cutoff(Edge(16_000.0), pipeline, 44_100, lfr=False).status == "out_of_reach"


def test_a_band_that_ends_where_bands_usually_end_is_a_full_one(pipeline):
    decision = choose_cutoff(Edge(19_800.0), pipeline, 48_000)
    assert decision == Decision(None, "full_band", "its band ends at 19800 Hz, as that of whole recordings does")
    assert choose_cutoff(Edge(19_800.0), pipeline, 96_000, to_hz=30_000.0).status == "extendable"


@pytest.mark.parametrize(
    ("rate", "to_hz", "top_hz"),
    [(8000, None, 11_025), (22_050, None, 11_025), (32_000, None, 16_000), (44_100, None, 20_000), (96_000, 3e4, 3e4)],
)
def test_the_top_is_where_bands_usually_end_or_as_far_as_there_is_room(pipeline, rate, to_hz, top_hz):
    assert choose_top(pipeline, rate, to_hz) == top_hz


@pytest.mark.parametrize("to_hz", [0.0, -1.0, 22_051.0, float("nan")])
def test_a_top_without_room_is_refused(pipeline, to_hz):
    with pytest.raises(ParameterError, match=r"to must lie in \(0, 22050\] Hz, half the sample rate of the result"):
        choose_top(pipeline, 44_100, to_hz)


def test_an_edge_is_never_above_half_the_rate(pipeline):
    assert choose_cutoff(Edge(4010.0), pipeline, 8000).cutoff_hz == 4000.0


def test_a_decision_has_a_cutoff_exactly_where_there_is_something_to_do():
    with pytest.raises(ParameterError, match="if and only if it is 'extendable', got None Hz and 'extendable'"):
        Decision(None, "extendable")
    with pytest.raises(ParameterError, match="got 4000.0 Hz and 'full_band'"):
        Decision(4000.0, "full_band")
    with pytest.raises(ParameterError, match="unknown status 'done': choose from extendable, full_band, out_of_reach"):
        Decision(None, "done")
