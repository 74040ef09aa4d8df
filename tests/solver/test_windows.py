"""Long grids are filled window by window, and no decision is taken twice."""

from itertools import pairwise

import pytest
import torch

from masktools.errors import ParameterError
from masktools.solver import SolverConfig, item_seeds, solve, solve_windows
from masktools.solver.decode import window_starts
from tests.solver.toys import Toy, only

CONFIG = SolverConfig(n_steps=4)


def problem(n_cols, b=2, k=6):
    tokens = torch.randint(0, k, (b, 3, n_cols), generator=torch.Generator().manual_seed(n_cols))
    return tokens, torch.ones(b, 3, n_cols, dtype=torch.bool), item_seeds(0, b)


@pytest.mark.parametrize("n_cols", [1, 9, 10])
def test_one_window_is_the_plain_solver(n_cols):
    tokens, mask, seeds = problem(n_cols)
    mask[1, :, ::2] = False
    plain, windowed = Toy([0, 1], 3 * n_cols, 6), Toy([0, 1], 3 * n_cols, 6)
    one = solve(plain, tokens, mask, seeds, CONFIG)
    long = solve_windows(windowed, tokens, mask, seeds, CONFIG, window_cols=10, overlap_cols=4)
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
    result = solve_windows(toy, tokens, mask, seeds, CONFIG, window_cols=10, overlap_cols=4)
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
    result = solve_windows(toy, tokens, mask, seeds, CONFIG, window_cols=10, overlap_cols=2)
    assert torch.equal(result.tokens[~mask], tokens[~mask])
    assert all(items == [0] for items, *_ in toy.calls)
    assert len(result.trace) == 4


def test_labels_and_biases_follow_the_window():
    tokens, mask, seeds = problem(25, b=1)
    wanted = torch.randint(0, 6, (1, 3, 25), generator=torch.Generator().manual_seed(1))
    bias = torch.stack([only(6, code) for code in wanted.transpose(1, 2).flatten().tolist()])[None]
    result = solve_windows(
        Toy([0], 30, 6),
        tokens,
        mask,
        seeds,
        CONFIG,
        10,
        groups=torch.arange(25).expand(3, -1),
        logit_bias=bias,
    )
    assert torch.equal(result.tokens, wanted)


def test_windows_do_not_repeat_each_other():
    tokens, mask, seeds = problem(20, b=1)
    flat = torch.zeros(1, 30, 6)
    result = solve_windows(lambda *_: flat, tokens, mask, seeds, CONFIG, window_cols=10, overlap_cols=0)
    assert (result.tokens[..., :10] != result.tokens[..., 10:]).float().mean() > 0.5


def test_windows_that_cannot_join_are_refused():
    tokens, mask, seeds = problem(25)
    with pytest.raises(ParameterError, match=r"overlap_cols must lie in \[0, 10\), got 10"):
        solve_windows(Toy([0, 1], 30, 6), tokens, mask, seeds, CONFIG, 10, 10)
