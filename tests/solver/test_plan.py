"""The plan is numbers that one can print: counts, guidance and temperature of each step."""

import dataclasses
import math
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from masktools.core.errors import ParameterError
from masktools.solver import SCHEDULES, SolverConfig, make_plan, remaining_counts
from masktools.solver.config import guidance_at


def mage_counts(n_unknown, n_steps):
    """Count as MAGE's loop does, which returns the merged tokens after its last step."""
    counts, unknown = [], n_unknown
    for step in range(n_steps):
        n = math.floor(n_unknown * math.cos(math.pi / 2 * (step + 1) / n_steps))
        unknown = max(1, min(unknown - 1, n))
        counts.append(unknown)
    return (*counts[:-1], 0)


def test_the_paper_leaves_these_numbers_masked():
    wanted = (263, 259, 253, 244, 233, 220, 204, 187, 168, 147, 124, 101, 76, 51, 25, 0)
    assert remaining_counts(265, 16) == wanted


@pytest.mark.parametrize(("n_unknown", "n_steps"), [(256, 12), (256, 20), (265, 16)])
def test_counts_equal_those_of_mage(n_unknown, n_steps):
    assert remaining_counts(n_unknown, n_steps) == mage_counts(n_unknown, n_steps)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 600), st.integers(1, 700), st.sampled_from(sorted(SCHEDULES)))
def test_counts_fall_strictly_to_zero_in_as_many_steps_as_there_can_be(n_unknown, n_steps, schedule):
    counts = (n_unknown, *remaining_counts(n_unknown, n_steps, schedule))
    assert len(counts) - 1 == min(n_steps, n_unknown)
    assert counts[-1] == 0
    assert all(after < before for before, after in pairwise(counts))


def test_few_tokens_are_taken_one_by_one():
    assert remaining_counts(10, 16) == tuple(range(9, -1, -1))


@pytest.mark.parametrize("name", sorted(SCHEDULES))
def test_a_schedule_falls_from_one_to_zero(name):
    values = [SCHEDULES[name](i / 50) for i in range(51)]
    assert values[0] == pytest.approx(1)
    assert values[-1] == pytest.approx(0, abs=1e-12)
    assert values == sorted(values, reverse=True)


def test_the_noise_falls_linearly_to_nothing_at_the_last_step():
    temperatures = [step.temperature for step in make_plan(265, 265, SolverConfig())]
    assert temperatures == pytest.approx([1.5 * (1 - (i + 1) / 16) for i in range(16)])
    assert temperatures[-1] == 0


def test_the_guidance_rises_linearly_from_nothing():
    guidance = [step.guidance for step in make_plan(265, 265, SolverConfig())]
    assert guidance == pytest.approx([3 * i / 15 for i in range(16)])


@pytest.mark.parametrize(
    ("schedule", "wanted"),
    [
        ("linear_up", [0, 2, 4]),
        ("constant", [4, 4, 4]),
        ("cosine", [0, 2, 4]),
        ("linear_down", [4, 2.5, 1]),
    ],
)
def test_guidance_schedules_start_and_end_where_they_should(schedule, wanted):
    config = SolverConfig(guidance=4.0, guidance_schedule=schedule)
    assert [guidance_at(at, config) for at in (0, 0.5, 1)] == pytest.approx(wanted)


@pytest.mark.parametrize("schedule", ["interval", "constant"])
def test_outside_its_interval_guidance_is_one(schedule):
    config = SolverConfig(guidance=4.0, guidance_schedule=schedule, guidance_interval=(0.2, 0.6))
    plan = make_plan(100, 100, dataclasses.replace(config, n_steps=11))
    assert [step.guidance for step in plan] == [1.0] * 2 + [4.0] * 5 + [1.0] * 4


def test_a_single_step_is_fully_guided_and_free_of_noise():
    (step,) = make_plan(265, 265, SolverConfig(n_steps=1))
    assert step == (265, 0, 3.0, 0.0, 1.0)


def test_the_token_temperature_can_fall():
    plan = make_plan(8, 8, SolverConfig(n_steps=4, token_temperature=2.0, token_annealing="over_steps"))
    assert [step.token_temperature for step in plan] == [2.0, 1.5, 1.0, 0.5]


def test_resuming_enters_the_plan_of_the_whole_grid_where_as_much_is_left():
    config = SolverConfig(scaling="resume")
    whole = make_plan(265, 265, config)
    assert whole == make_plan(265, 265, SolverConfig())
    assert make_plan(50, 265, config) == (whole[-2]._replace(n_before=50), whole[-1])
    assert make_plan(3, 265, config) == (whole[-1]._replace(n_before=3),)


def test_counts_of_the_user_replace_the_schedule():
    config = SolverConfig(counts=(200, 80, 0))
    assert [step.n_after for step in make_plan(265, 265, config)] == [200, 80, 0]
    assert [step.n_after for step in make_plan(201, 265, config)] == [200, 80, 0]
    resumed = make_plan(150, 265, dataclasses.replace(config, scaling="resume"))
    assert [(step.n_before, step.n_after) for step in resumed] == [(150, 80), (80, 0)]


def test_a_plan_for_groups_has_no_more_steps_than_groups():
    assert len(make_plan(265, 265, SolverConfig(), n_units=5)) == 5
    assert len(make_plan(265, 265, SolverConfig(counts=(200, 100, 50, 0)), n_units=2)) == 2


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: make_plan(100, 265, SolverConfig(counts=(200, 80, 0))),
            "counts must start below the 100 unknown tokens of an item, got 200",
        ),
        (
            lambda: make_plan(100, 150, SolverConfig(counts=(200, 80, 0), scaling="resume")),
            "counts must start below the 150 slots of the grid, got 200",
        ),
        (lambda: remaining_counts(-1, 4), "n_unknown must be at least 0, got -1"),
        (lambda: make_plan(11, 10, SolverConfig()), r"n_unknown must lie in \[0, 10\], got 11"),
        (
            lambda: remaining_counts(10, 4, "cosinus"),
            r"unknown schedule 'cosinus': choose from .*did you mean 'cosine'",
        ),
    ],
)
def test_what_cannot_be_is_refused_in_words(call, message):
    with pytest.raises(ParameterError, match=message):
        call()
