"""Several grids one after the other: one stage is the solver itself, and later stages know the earlier ones."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from masktools.errors import ParameterError
from masktools.solver import (
    SolverConfig,
    derive_seed,
    preset,
    solve,
    solve_stages,
    span_groups,
    stage_forwards,
    stage_plan,
)
from tests.solver.toys import Toy, problems


class Tables:
    """A session whose stages read tables of their own, whatever was decided before."""

    def __init__(self, toys):
        self.toys, self.asked = toys, []

    def predictor(self, stage, decided):
        self.asked.append((stage, [tokens.clone() for tokens in decided]))
        return self.toys[stage]

    def rescorer(self, stage, decided):
        return None


@settings(max_examples=40, deadline=None)
@given(problems())
def test_one_stage_is_the_solver_bit_for_bit(problem):
    groups = None if problem.groups is None else [problem.groups]
    alone = solve(problem.toy(), problem.tokens, problem.mask, problem.seeds, problem.config, groups=problem.groups)
    session = Tables([problem.toy()])
    staged = solve_stages(session, [problem.tokens], [problem.mask], problem.seeds, problem.config, groups=groups)
    assert torch.equal(staged.tokens[0], alone.tokens)
    timeless = [[record.__dict__ | {"seconds": 0} for record in trace] for trace in (staged.trace, alone.trace)]
    assert timeless[0] == timeless[1]


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 4), st.integers(0, 1000))
def test_stages_that_do_not_listen_are_solved_apart(n_stages, seed):
    toys = [Toy([stage, stage + 10], 9, 6) for stage in range(n_stages)]
    masks = [torch.rand(2, 1, 9, generator=torch.Generator().manual_seed(seed + k)) < 0.8 for k in range(n_stages)]
    grids = [torch.full((2, 1, 9), stage) for stage in range(n_stages)]
    config = SolverConfig(n_steps=4)
    session = Tables(toys)
    result = solve_stages(session, grids, masks, [seed, seed + 1], config)
    for stage, (toy, grid, mask) in enumerate(zip(toys, grids, masks, strict=True)):
        seeds = [seed, seed + 1] if stage == 0 else [derive_seed(word, stage) for word in (seed, seed + 1)]
        assert torch.equal(result.tokens[stage], solve(toy, grid, mask, seeds, config).tokens)
        asked, decided = session.asked[stage]
        assert asked == stage
        assert all(torch.equal(given, done) for given, done in zip(decided, result.tokens, strict=False))
        assert len(decided) == stage


def test_settings_are_one_for_all_stages_or_one_for_each():
    one = SolverConfig()
    assert stage_plan(one, 3) == (one, one, one)
    with pytest.raises(ParameterError, match="one for all stages or one for each of 3, got 2"):
        stage_plan([one, one], 3)
    with pytest.raises(ParameterError, match="each stage needs its mask, got 2 grids, 1 masks"):
        solve_stages(Tables([]), [torch.zeros(1, 1, 1).long()] * 2, [torch.ones(1, 1, 1).bool()], [0], one)


def test_the_forwards_of_the_public_settings():
    def plan(*steps):
        return [SolverConfig(n_steps=n, pace="closed", guidance=10, guidance_schedule="share_down") for n in steps]

    assert stage_forwards(plan(20, 10, 10, 10), 166) == 96
    assert stage_forwards(plan(60, 10, 10, 10), 500) == 174, "two passes of the 176 belong to a step that keeps nothing"
    assert stage_forwards(plan(20, 10, 10, 10), 166, conditional=False) == 50


def test_spans_of_a_full_stage_are_accepted_whole_and_in_the_published_numbers():
    wanted = [166, 165, 163, 160, 157, 152, 145, 138, 130, 122, 112, 101, 90, 79, 66, 53, 40, 27, 13, 1]
    toy, mask = Toy([0], 498, 5), torch.ones(1, 1, 498, dtype=torch.bool)
    seen = []
    result = solve(
        toy,
        torch.zeros(1, 1, 498, dtype=torch.int64),
        mask,
        [0],
        preset("magnet"),
        groups=span_groups(1, 498),
        callback=lambda step, total, tokens, left, record: seen.append(left.view(-1, 3)),
    )
    assert [record.n_before[0] // 3 for record in result.trace] == wanted
    assert all((left.any(dim=1) == left.all(dim=1)).all() for left in seen)
