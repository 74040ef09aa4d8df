"""Guidance costs only the passes that it needs, and mixes them as Equation 2 says."""

import dataclasses

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from masktools.errors import ParameterError
from masktools.solver import SolverConfig, forward_count, make_plan, solve
from masktools.solver.prediction import combine, needed_passes, predict_guided
from tests.solver.toys import Toy, problems

few = settings(max_examples=20, deadline=None)
FULL = torch.ones(1, 5, 53, dtype=torch.bool)
EMPTY = torch.zeros(1, 5, 53, dtype=torch.int64)


def decode(config, use_condition=None):
    toy = Toy([0], 265, 6)
    return toy, solve(toy, EMPTY, FULL, [11], config, use_condition=use_condition)


@pytest.mark.parametrize(
    ("config", "use_condition", "wanted"),
    [
        (SolverConfig(), [True], 30),  # guidance is 0 at the first step, and 1 at the sixth
        (SolverConfig(), [False], 16),
        (SolverConfig(guidance=0.0), [True], 16),
        (SolverConfig(guidance=1.0, guidance_schedule="constant"), [True], 16),
        (SolverConfig(guidance=3.0, guidance_schedule="constant"), [True], 32),
        (SolverConfig(guidance_schedule="interval", guidance_interval=(0.2, 0.6)), [True], 16 + 7),
        (SolverConfig(n_steps=8), [True], 15),
    ],
)
def test_forwards_are_as_few_as_the_guidance_allows(config, use_condition, wanted):
    toy, result = decode(config, use_condition)
    assert result.n_forwards == len(toy.calls) == wanted
    assert forward_count(make_plan(265, 265, config), conditional=use_condition[0]) == wanted


@few
@given(problems())
def test_guidance_zero_is_unconditional_and_never_asks_for_a_condition(problem):
    config = dataclasses.replace(problem.config, guidance=0.0, guidance_schedule="constant")
    toy = problem.toy()
    args = (problem.tokens, problem.mask, problem.seeds)
    zero = solve(toy, *args, config, groups=problem.groups)
    assert not any(conditional for _, conditional, *_ in toy.calls)
    without = solve(problem.toy(), *args, problem.config, use_condition=[False] * problem.b, groups=problem.groups)
    assert torch.equal(zero.tokens, without.tokens)


def test_guidance_one_is_conditional_only():
    toy, result = decode(SolverConfig(guidance=1.0, guidance_schedule="constant"))
    assert all(conditional for _, conditional, *_ in toy.calls)
    swapped = Toy([0], 265, 6)
    swapped.tables[0] = swapped.tables[0].flip(0)
    alone = solve(swapped, EMPTY, FULL, [11], use_condition=[False])
    assert torch.equal(result.tokens, alone.tokens)


def test_a_scale_that_is_one_up_to_rounding_counts_as_one():
    assert needed_passes(3 * (1 / 3)) == needed_passes(0.1 * 3 / 0.3) == (False, True)
    assert needed_passes(1e-9) == (True, False)
    assert needed_passes(1.01) == (True, True)


@few
@given(st.floats(0, 20), st.integers(0, 1000))
def test_guided_logits_are_linear_in_the_scale(scale, seed):
    draw = torch.Generator().manual_seed(seed)
    first, second = 5 * torch.randn(2, 4, 7, generator=draw)
    got = combine(first, second, torch.full((4, 1), scale))
    torch.testing.assert_close(got, first + scale * (second - first), atol=1e-4, rtol=1e-5)


def test_items_with_and_without_conditions_share_a_batch_and_pay_for_themselves():
    names, with_condition = [0, 1, 2], [True, False, True]
    mask = torch.ones(3, 2, 10, dtype=torch.bool)
    mask[2, :, 4:] = False  # fewer steps, another guidance at the same step
    tokens = torch.ones(3, 2, 10, dtype=torch.int64)
    toy = Toy(names, 20, 5)
    result = solve(toy, tokens, mask, [5, 6, 7], use_condition=torch.tensor(with_condition))
    assert all(1 not in items for items, conditional, *_ in toy.calls if conditional)
    for item, has in enumerate(with_condition):
        alone = Toy([item], 20, 5)
        one = slice(item, item + 1)
        single = solve(alone, tokens[one], mask[one], [5 + item], use_condition=[has])
        assert torch.equal(single.tokens[0], result.tokens[item])
        evaluated = sum(items.count(item) for items, *_ in toy.calls)
        assert evaluated == len(alone.calls), "no item is evaluated more often than it would be alone"
    assert all(record.guidance[record.items.index(1)] == 0 for record in result.trace if 1 in record.items)


def test_one_item_at_a_time_gives_the_same_from_more_calls():
    mask = torch.ones(3, 2, 5, dtype=torch.bool)
    tokens = torch.zeros(3, 2, 5, dtype=torch.int64)
    together, apart = Toy([0, 1, 2], 10, 5), Toy([0, 1, 2], 10, 5)
    first = solve(together, tokens, mask, [1, 2, 3])
    second = solve(apart, tokens, mask, [1, 2, 3], SolverConfig(deterministic_batch=True))
    assert torch.equal(first.tokens, second.tokens)
    assert all(len(items) == 1 for items, *_ in apart.calls)
    assert second.n_forwards == len(apart.calls) == 3 * len(together.calls)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (torch.zeros(1, 3, 5), r"logits \(a, n, k\) with \(a, n\) = \(1, 4\), got \(1, 3, 5\)"),
        (torch.zeros(1, 4), r"got \(1, 4\)"),
        (torch.zeros(1, 4, 0), r"got \(1, 4, 0\)"),
        (
            torch.zeros(1, 4, 5, dtype=torch.int64),
            "must return a tensor of floating-point logits, got torch.int64",
        ),
        ([[0.0]], "must return a tensor of floating-point logits, got list"),
    ],
)
def test_an_answer_that_is_no_logits_is_refused(answer, message):
    tokens, mask = torch.zeros(1, 2, 2, dtype=torch.int64), torch.ones(1, 2, 2, dtype=torch.bool)
    with pytest.raises(ParameterError, match=message):
        solve(lambda *_: answer, tokens, mask, [0])


def test_passes_that_know_different_codebooks_are_refused():
    tokens, mask = torch.zeros(1, 4, dtype=torch.int64), torch.ones(1, 4, dtype=torch.bool)

    def predict(tokens, mask, items, conditional):
        return torch.zeros(1, 4, 6 if conditional else 5)

    with pytest.raises(ParameterError, match="as many codes with a condition as without, got 6 and 5"):
        predict_guided(predict, tokens, mask, torch.tensor([0]), [3.0])
