"""Long grids are filled window by window, and several grids stage by stage, each knowing what came before."""

from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from masktools.core.errors import ParameterError
from masktools.solver import (
    SolverConfig,
    derive_seed,
    item_seeds,
    over_windows,
    preset,
    solve,
    solve_stages,
    span_groups,
    stage_forwards,
    stage_plan,
)
from masktools.solver.decode import window_starts
from tests.solver.toys import Toy, problems

CONFIG = SolverConfig(n_steps=4)


def solve_windows(predict, tokens, mask, seeds, window_cols, overlap_cols):
    def fill(columns, given, own, words):
        result = solve(predict, given, own, words, CONFIG)
        return result.tokens, result.trace

    return over_windows(fill, tokens, mask, seeds, window_cols, overlap_cols)


def problem(n_cols, b=2, k=6):
    tokens = torch.randint(0, k, (b, 3, n_cols), generator=torch.Generator().manual_seed(n_cols))
    return tokens, torch.ones(b, 3, n_cols, dtype=torch.bool), item_seeds(0, b)


@pytest.mark.parametrize("n_cols", [1, 9, 10])
def test_one_window_is_the_plain_solver(n_cols):
    tokens, mask, seeds = problem(n_cols)
    mask[1, :, ::2] = False
    plain, windowed = Toy([0, 1], 3 * n_cols, 6), Toy([0, 1], 3 * n_cols, 6)
    one = solve(plain, tokens, mask, seeds, CONFIG)
    long = solve_windows(windowed, tokens, mask, seeds, window_cols=10, overlap_cols=4)
    assert torch.equal(one.tokens, long.tokens)
    assert one.n_forwards == long.n_forwards


def test_windows_cover_the_grid_and_overlap_as_asked():
    assert window_starts(53, 53, 8) == (0,)
    assert window_starts(54, 53, 8) == (0, 1)
    assert window_starts(100, 10, 0) == tuple(range(0, 100, 10))
    for n_cols in range(1, 60):
        starts = window_starts(n_cols, 10, 3)
        covered = {col for start in starts for col in range(start, min(start + 10, n_cols))}
        assert covered == set(range(n_cols))
        assert all(0 < after - before <= 7 for before, after in pairwise(starts))


def test_what_a_window_has_decided_is_known_to_the_next_and_stays():
    tokens, mask, seeds = problem(28)
    toy = Toy([0, 1], 30, 6)
    result = solve_windows(toy, tokens, mask, seeds, window_cols=10, overlap_cols=4)
    first = solve(Toy([0, 1], 30, 6), tokens[..., :10], mask[..., :10], seeds, CONFIG).tokens
    assert torch.equal(result.tokens[..., :10], first)
    starts = window_starts(28, 10, 4)
    states = [(seen, hidden) for _, _, seen, hidden in toy.calls]
    firsts = [after for before, after in pairwise(states) if after[1].sum() > before[1].sum()]
    for start, (seen, hidden) in zip(starts[1:], firsts, strict=True):
        known = ~hidden.view(2, 10, 3).transpose(1, 2)
        assert known[..., :4].all()
        window = result.tokens[..., start : start + 10]
        assert torch.equal(seen.view(2, 10, 3).transpose(1, 2)[known], window[known])


def test_known_tokens_survive_and_windows_without_a_gap_cost_nothing():
    tokens, _, seeds = problem(40)
    mask = torch.zeros_like(tokens, dtype=torch.bool)
    mask[0, 1:, 21:24] = True
    toy = Toy([0, 1], 30, 6)
    result = solve_windows(toy, tokens, mask, seeds, window_cols=10, overlap_cols=2)
    assert torch.equal(result.tokens[~mask], tokens[~mask])
    assert all(items == [0] for items, *_ in toy.calls)
    assert len(result.trace) == 4


def test_windows_do_not_repeat_each_other():
    tokens, mask, seeds = problem(20, b=1)
    flat = torch.zeros(1, 30, 6)
    result = solve_windows(lambda *_: flat, tokens, mask, seeds, window_cols=10, overlap_cols=0)
    assert (result.tokens[..., :10] != result.tokens[..., 10:]).float().mean() > 0.5


def test_windows_that_cannot_join_are_refused():
    tokens, mask, seeds = problem(25)
    with pytest.raises(ParameterError, match=r"overlap_cols must lie in \[0, 10\), got 10"):
        solve_windows(Toy([0, 1], 30, 6), tokens, mask, seeds, 10, 10)


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
