"""What every decoding keeps: known tokens, planned counts, independence of neighbours and hidden values."""

import dataclasses
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from masktools.solver import SolverConfig, item_seeds, make_plan, solve
from tests.solver.toys import Problem, Toy, problems

few = settings(max_examples=20, deadline=None)


def run(problem, predict=None, **kwargs):
    predict = problem.toy() if predict is None else predict
    return solve(predict, problem.tokens, problem.mask, problem.seeds, problem.config, groups=problem.groups, **kwargs)


@few
@given(problems())
def test_known_tokens_survive_and_every_token_is_a_code(problem):
    result = run(problem)
    assert torch.equal(result.tokens[~problem.mask], problem.tokens[~problem.mask])
    assert result.tokens.min() >= 0
    assert result.tokens.max() < problem.k
    assert all(record.n_after == (0,) * len(record.items) for record in result.trace[-1:])


@few
@given(problems(with_groups=False))
def test_each_step_leaves_exactly_the_planned_number_masked(problem):
    seen = []
    run(
        problem,
        callback=lambda step, total, tokens, mask, info: seen.append(mask.flatten(1).sum(dim=1).tolist()),
    )
    plans = [make_plan(n, problem.n, problem.config) for n in problem.n_unknown]
    assert len(seen) == max(map(len, plans))
    for step, counts in enumerate(seen):
        assert counts == [plan[step].n_after if step < len(plan) else 0 for plan in plans]
    for n, plan in zip(problem.n_unknown, plans, strict=True):
        counts = [n, *(step.n_after for step in plan)]
        assert all(after < before for before, after in pairwise(counts))
        assert len(plan) == min(problem.config.n_steps, n)


@few
@given(problems())
def test_the_trace_tells_what_the_callback_saw(problem):
    seen = []

    def callback(step, total, tokens, mask, info):
        seen.append((step, info, mask.flatten(1).sum(dim=1).tolist()))
        assert not tokens[mask].any(), "what is still masked shows nothing"

    result = run(problem, callback=callback)
    assert [info for _, info, _ in seen] == list(result.trace)
    for number, (step, info, left) in enumerate(seen):
        assert step == info.step == number
        assert [left[item] for item in info.items] == list(info.n_after)
        assert all(after < before for before, after in zip(info.n_before, info.n_after, strict=True))
        assert all(
            low <= mean <= 0 or mean == pytest.approx(low, abs=1e-5)
            for low, mean in zip(info.min_log_p, info.mean_log_p, strict=True)
        )
        assert not info.filled
        assert info.seconds >= 0


@few
@given(problems(), st.integers(0, 10_000))
def test_garbage_under_the_mask_changes_nothing(problem, seed):
    junk = torch.randint(-(2**40), 2**40, problem.tokens.shape, generator=torch.Generator().manual_seed(seed))
    littered = dataclasses.replace(problem, tokens=torch.where(problem.mask, junk, problem.tokens))
    assert torch.equal(run(problem).tokens, run(littered).tokens)


@few
@given(problems())
def test_the_predictor_never_sees_a_value_under_the_mask(problem):
    toy = problem.toy()
    run(problem, toy)
    for _, _, tokens, mask in toy.calls:
        assert not tokens[mask].any()


@few
@given(problems(), st.randoms(use_true_random=False))
def test_a_batch_decodes_as_its_items_do_alone_and_in_any_order(problem, random):
    whole = run(problem).tokens
    for item in range(problem.b):
        alone = Problem(
            problem.tokens[item : item + 1],
            problem.mask[item : item + 1],
            problem.seeds[item : item + 1],
            problem.settings,
            problem.groups,
            problem.k,
        )
        assert torch.equal(run(alone, alone.toy(names=[item])).tokens[0], whole[item])
    order = random.sample(range(problem.b), problem.b)
    shuffled = dataclasses.replace(
        problem,
        tokens=problem.tokens[order],
        mask=problem.mask[order],
        seeds=[problem.seeds[i] for i in order],
    )
    assert torch.equal(run(shuffled, shuffled.toy(names=order)).tokens, whole[order])


@few
@given(problems())
def test_an_item_without_unknown_tokens_changes_nothing_and_is_never_predicted(problem):
    extra = dataclasses.replace(
        problem,
        tokens=torch.cat([problem.tokens[:1], problem.tokens]),
        mask=torch.cat([torch.zeros_like(problem.mask[:1]), problem.mask]),
        seeds=[0, *problem.seeds],
    )
    toy = extra.toy(names=[0, *range(problem.b)])
    result = run(extra, toy)
    assert torch.equal(result.tokens[1:], run(problem).tokens)
    assert torch.equal(result.tokens[0], problem.tokens[0])
    assert all(0 not in items for items, *_ in toy.calls)


@few
@given(problems())
def test_finished_items_are_no_longer_predicted(problem):
    toy = problem.toy()
    result = run(problem, toy)
    calls = iter(toy.calls)
    for record in result.trace:
        assert all(record.n_before)
        for _ in range(record.forwards):
            items, _, _, mask = next(calls)
            assert set(items) <= set(record.items)
            assert mask.any(dim=1).all()
    assert next(calls, None) is None


@few
@given(problems())
def test_the_same_seed_gives_the_same_tokens_and_touches_no_global_generator(problem):
    torch.manual_seed(3)
    before, numpy_before = torch.get_rng_state(), np.random.get_state()
    first = run(problem).tokens
    torch.manual_seed(4)
    torch.rand(5)
    second = run(problem).tokens
    torch.manual_seed(3)
    third = run(problem).tokens
    assert torch.equal(first, second)
    assert torch.equal(first, third)
    assert torch.equal(torch.get_rng_state(), before)
    after = np.random.get_state()
    assert np.array_equal(after[1], numpy_before[1])
    assert after[2:] == numpy_before[2:]


def test_different_seeds_give_different_tokens():
    tokens, mask = torch.zeros(1, 5, 53, dtype=torch.int64), torch.ones(1, 5, 53, dtype=torch.bool)
    first, second = (solve(Toy([0], 265, 64), tokens, mask, [seed]).tokens for seed in item_seeds(0, 2))
    assert (first != second).float().mean() > 0.5


def test_nothing_unknown_is_no_work():
    toy = Toy([0, 1], 6, 4)
    tokens = torch.randint(0, 4, (2, 2, 3))
    result = solve(toy, tokens, torch.zeros(2, 2, 3, dtype=torch.bool), [0, 1])
    assert torch.equal(result.tokens, tokens)
    assert result.tokens is not tokens
    assert result.trace == ()
    assert result.n_forwards == 0
    assert toy.calls == []


def test_an_empty_batch_is_no_work():
    result = solve(Toy([], 6, 4), torch.zeros(0, 2, 3, dtype=torch.int64), torch.zeros(0, 2, 3, dtype=torch.bool), [])
    assert result.tokens.shape == (0, 2, 3)


@pytest.mark.parametrize("policy", ["confidence", "moment", "halton"])
def test_items_of_one_batch_may_have_any_number_of_unknown_tokens(policy):
    counts = [0, 1, 2, 5, 16, 17, 50, 265]
    mask = torch.zeros(len(counts), 265, dtype=torch.bool)
    for row, count in zip(mask, counts, strict=True):
        row[torch.randperm(265, generator=torch.Generator().manual_seed(count))[:count]] = True
    mask = mask.view(-1, 5, 53)
    tokens = torch.full(mask.shape, 3)
    result = solve(
        Toy(list(range(len(counts))), 265, 8),
        tokens,
        mask,
        item_seeds(1, len(counts)),
        SolverConfig(policy=policy),
    )
    steps = [sum(item in record.items for record in result.trace) for item in range(len(counts))]
    assert steps == [min(16, count) for count in counts]
    assert torch.equal(result.tokens[~mask], tokens[~mask])


@pytest.mark.parametrize("n_steps", [1, 2, 12, 13])
@pytest.mark.parametrize("n_unknown", [1, 2, 12])
def test_one_token_and_one_step_and_more_steps_than_tokens_all_work(n_unknown, n_steps):
    mask = (torch.arange(12) < n_unknown).view(1, 3, 4)
    result = solve(Toy([0], 12, 5), torch.ones(1, 3, 4, dtype=torch.int64), mask, [7], SolverConfig(n_steps=n_steps))
    assert len(result.trace) == min(n_steps, n_unknown)


class TinyNetwork(torch.nn.Module):
    """Two blocks of attention over embedded tokens, as far from a table as a real predictor is."""

    def __init__(self, n, k, dtype):
        super().__init__()
        draw = torch.Generator().manual_seed(0)
        self.weights = [torch.randn(2, 32, 32, generator=draw).to(dtype) / 4 for _ in range(4)]
        self.tokens, self.places, self.head = (
            torch.randn(size, 32, generator=draw).to(dtype) for size in (k + 1, n, k)
        )

    def forward(self, tokens, mask, items, conditional):
        hidden = self.tokens[tokens.masked_fill(mask, len(self.tokens) - 1)] + self.places
        for layer in range(2):
            query, key, value, out = (hidden @ weight[layer] for weight in self.weights)
            hidden = hidden + torch.nn.functional.scaled_dot_product_attention(query, key, value) + out.tanh()
        return hidden @ self.head.T / 4


@pytest.mark.parametrize(("dtype", "equal"), [(torch.float64, 1.0), (torch.float32, 0.99)])
def test_a_network_decodes_a_batch_as_it_decodes_its_items_alone(dtype, equal):
    network = TinyNetwork(60, 16, dtype)
    mask = torch.rand(4, 3, 20, generator=torch.Generator().manual_seed(1)) < 0.8
    tokens = torch.randint(0, 16, mask.shape, generator=torch.Generator().manual_seed(2))
    seeds = item_seeds(9, 4)
    together = solve(network, tokens, mask, seeds).tokens
    alone = [solve(network, tokens[i : i + 1], mask[i : i + 1], seeds[i : i + 1]).tokens for i in range(4)]
    assert (together == torch.cat(alone)).double().mean() >= equal
