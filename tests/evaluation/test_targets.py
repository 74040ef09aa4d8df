"""The figures by which models are compared stand side by side, and are found where the reports have them."""

import pytest

from docs.model_gates import TARGETS, Target, gates_of, targets_table
from masktools.evaluation.report import Figure, Report


def report(*figures):
    return Report("A report", {}, tuple(figures))


def inpaint(value):
    return report(Figure("music", "true_tokens", "third_octave_db", value, value - 1, value + 1, 9, case="1000 ms"))


def test_models_stand_side_by_side_with_their_intervals():
    table = targets_table({"mini": {"inpaint": inpaint(6.3)}, "second": {"inpaint": inpaint(4.9)}})
    head, _, *rows = table.splitlines()
    assert head == "| figure | wanted | mini | second |"
    assert len(rows) == 1
    assert rows[0].endswith("| <= 5 | 6.3 [5.3, 7.3] | 4.9 [3.9, 5.9], holds |")


def test_what_one_model_lacks_is_left_open():
    assert targets_table({"mini": {"inpaint": inpaint(6.3)}, "other": {}}).splitlines()[-1].endswith("| - |")


def test_embedders_are_told_apart_and_a_single_kind_is_all_there_is():
    target = Target("x", "generate", "model", "fad_clips", embedder="aisfx", at_most=35)
    ears = {"aisfx 1": 20.0, "musicnn 2": 5.0}
    found = report(*(Figure("music", "model", "fad_clips", v, None, None, 9, name) for name, v in ears.items()))
    assert target.figure(found).value == 20.0
    both = report(
        *(Figure(group, "model", "fad_clips", 1.0, None, None, 9, "aisfx 1") for group in ("music", "speech"))
    )
    assert target.figure(both) is None


@pytest.mark.parametrize(("value", "holds"), [(-3.1, False), (-3.0, True), (2.0, True), (3.1, False)])
def test_a_level_may_be_off_either_way(value, holds):
    levels = [target for target in TARGETS if target.metric == "level_error_db"]
    assert {target.group for target in levels} == {"music", "environment", "speech"}
    assert all(target.holds(value) == holds for target in levels)


def test_every_target_is_of_a_protocol_that_there_is():
    from masktools.evaluation.sweep import PROTOCOLS

    assert {target.protocol for target in TARGETS} <= set(PROTOCOLS)
    assert gates_of({}) == []
