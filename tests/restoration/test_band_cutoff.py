"""From where on a recording is extended, or why it is not."""

from typing import NamedTuple

import pytest

from masktools.errors import ParameterError
from masktools.restoration.band_cutoff import Decision, choose_cutoff


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
        (16_000.0, "its band ends at 16000 Hz, and this model's band ends at 11025 Hz, so that above 9482 Hz it has"),
        (500.0, "its band ends at 500 Hz, and below 657 Hz this model hears nothing"),
    ],
)
def test_an_edge_out_of_reach_is_refused_with_the_reason(pipeline, hertz, reason):
    decision = choose_cutoff(Edge(hertz), pipeline, 44_100)
    assert (decision.cutoff_hz, decision.status) == (None, "out_of_reach")
    assert decision.reason.startswith(reason)


def test_an_edge_is_never_above_half_the_rate(pipeline):
    assert choose_cutoff(Edge(4010.0), pipeline, 8000).cutoff_hz == 4000.0


def test_a_decision_has_a_cutoff_exactly_where_there_is_something_to_do():
    with pytest.raises(ParameterError, match="if and only if it is 'extendable', got None Hz and 'extendable'"):
        Decision(None, "extendable")
    with pytest.raises(ParameterError, match="got 4000.0 Hz and 'full_band'"):
        Decision(4000.0, "full_band")
    with pytest.raises(ParameterError, match="unknown status 'done': choose from extendable, full_band, out_of_reach"):
        Decision(None, "done")
