"""A bound of entropies lets easy clips finish in fewer steps, and hard ones in as many as before."""

import dataclasses

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from masktools.solver import POLICIES, SolverConfig, forward_count, make_plan, solve
from masktools.solver.choice import bounded_count, choose
from tests.solver.toys import Toy, problems

few = settings(max_examples=20, deadline=None)
FULL = torch.ones(1, 4, 10, dtype=torch.bool)


def certain(tokens, mask, items, conditional):
    return 60.0 * torch.nn.functional.one_hot(torch.arange(tokens.shape[1]) % 5, 5).expand(len(tokens), -1, -1)


@pytest.mark.parametrize("policy", sorted(POLICIES))
def test_what_is_certain_is_taken_at_once(policy):
    config = SolverConfig(policy=policy, entropy_bound=0.01)
    result = solve(certain, FULL.long(), FULL, [0], config)
    assert len(result.trace) == 1
    exact = solve(certain, FULL.long(), FULL, [0], SolverConfig(policy=policy))
    assert torch.equal(result.tokens, exact.tokens)


@few
@given(problems(with_groups=False))
def test_a_bound_of_zero_leaves_uncertain_clips_to_the_plan(problem):
    assume(problem.k > 1)
    config = dataclasses.replace(problem.config, entropy_bound=0.0, top_k=None, top_p=None)
    without = dataclasses.replace(config, entropy_bound=None)
    args = (problem.tokens, problem.mask, problem.seeds)
    got, want = (solve(problem.toy(scale=0.2), *args, one) for one in (config, without))
    assert torch.equal(got.tokens, want.tokens)
    assert [record.n_after for record in got.trace] == [record.n_after for record in want.trace]


@few
@given(problems(with_groups=False), st.sampled_from([0.5, 3.0, 30.0]))
def test_a_bound_never_costs_a_step_and_each_clip_decides_alone(problem, bound):
    config = dataclasses.replace(problem.config, entropy_bound=bound)
    args = (problem.tokens, problem.mask, problem.seeds)
    result = solve(problem.toy(), *args, config)
    longest = max((len(make_plan(count, problem.n, config)) for count in problem.n_unknown), default=0)
    assert len(result.trace) <= longest
    assert torch.equal(result.tokens[~problem.mask], problem.tokens[~problem.mask])
    for item in range(problem.b):
        one = slice(item, item + 1)
        alone = solve(problem.toy([item]), problem.tokens[one], problem.mask[one], problem.seeds[one], config)
        assert torch.equal(alone.tokens[0], result.tokens[item])


def test_a_wide_bound_ends_early_and_its_forwards_are_at_most_the_plans():
    config = SolverConfig(entropy_bound=20.0)
    result = solve(Toy([0], 40, 6), FULL.long(), FULL, [1], config)
    most = forward_count(make_plan(40, 40, config))
    assert result.n_forwards < most
    assert result.trace[-1].n_after == (0,)


def test_the_count_is_that_of_a_literal_loop():
    draw = torch.Generator().manual_seed(0)
    values, entropies = torch.randn(6, 9, generator=draw), torch.rand(6, 9, generator=draw)
    eligible = torch.rand(6, 9, generator=draw) < 0.7
    for bound in (0.0, 0.4, 1.5, 100.0):
        for row, count in enumerate(bounded_count(values, eligible, entropies, bound).tolist()):
            best = sorted((-float(values[row, at]), at) for at in range(9) if eligible[row, at])
            wanted = 0
            for size in range(1, len(best) + 1):
                some = [float(entropies[row, at]) for _, at in best[:size]]
                if sum(some) - max(some) > bound:
                    break
                wanted = size
            assert count == max(1, wanted)


def test_what_is_counted_is_what_is_chosen():
    values, entropies = torch.tensor([[3.0, 1.0, 2.0]]), torch.tensor([[0.1, 9.0, 0.2]])
    everywhere = torch.ones(1, 3, dtype=torch.bool)
    count = bounded_count(values, everywhere, entropies, bound=0.15)
    assert choose(values, everywhere, count).tolist() == [[True, False, True]]
