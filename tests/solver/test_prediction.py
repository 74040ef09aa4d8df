"""The predictor is called as often as guidance needs, and computes only what it does not remember."""

import dataclasses

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from masktools.core.errors import ParameterError
from masktools.solver import (
    POLICIES,
    SolverConfig,
    forward_count,
    make_plan,
    over_windows,
    solve,
)
from masktools.solver.request import combine, needed_passes, predict_guided
from tests.solver.planned import planned_slots, planned_work
from tests.solver.remembering import Ledger, RememberingToy
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


cached = st.tuples(st.sampled_from([2, 3, 5, 40]), st.sampled_from(["masked", "chosen"]))
plain = dict(with_groups=False, revocations=(0.0,))


def remembering(problem, names=None):
    return RememberingToy(list(range(problem.b)) if names is None else names, problem.n, problem.k)


def with_cache(config, cache):
    return dataclasses.replace(config, cache_every=cache[0], cache_scope=cache[1])


@few
@given(problems(), st.sampled_from(["masked", "chosen"]))
def test_a_cache_of_one_step_is_the_exact_decoding(problem, scope):
    args = (problem.tokens, problem.mask, problem.seeds)
    config = with_cache(problem.config, (1, scope))
    toy = remembering(problem)
    got = solve(toy, *args, config, groups=problem.groups)
    want = solve(problem.toy(), *args, problem.config, groups=problem.groups)
    assert torch.equal(got.tokens, want.tokens)
    assert not toy.recalled
    assert got.work * problem.b * problem.n == sum(len(items) * problem.n for items, *_ in toy.calls)


@few
@given(problems(), st.sampled_from([2, 3, 5]))
def test_an_exact_recall_of_all_masked_slots_changes_no_token(problem, every):
    args = (problem.tokens, problem.mask, problem.seeds)
    got = solve(remembering(problem), *args, with_cache(problem.config, (every, "masked")), groups=problem.groups)
    want = solve(problem.toy(), *args, problem.config, groups=problem.groups)
    assert torch.equal(got.tokens, want.tokens)


@few
@given(problems(**plain), cached)
def test_what_has_changed_is_never_recalled(problem, cache):
    result = solve(Ledger(problem.k), problem.tokens, problem.mask, problem.seeds, with_cache(problem.config, cache))
    assert all(record.slots for record in result.trace)


@few
@given(problems(with_groups=False, revocations=(0.6,)), st.sampled_from([2, 5]))
def test_what_was_taken_back_is_never_recalled(problem, every):
    solve(Ledger(problem.k), problem.tokens, problem.mask, problem.seeds, with_cache(problem.config, (every, "masked")))


@few
@given(problems(**plain), cached)
def test_counts_known_tokens_and_costs_are_those_of_the_plan(problem, cache):
    config = with_cache(problem.config, cache)
    toy = remembering(problem)
    result = solve(toy, problem.tokens, problem.mask, problem.seeds, config)
    known = ~problem.mask
    assert torch.equal(result.tokens[known], problem.tokens[known])
    spent = torch.zeros(problem.b, dtype=torch.int64)
    for record in result.trace:
        assert record.n_after == tuple(
            make_plan(n_unknown, problem.n, config)[record.step].n_after
            for n_unknown in (problem.n_unknown[item] for item in record.items)
        )
        spent[list(record.items)] += torch.tensor(record.slots)
    plans = [make_plan(n_unknown, problem.n, config) for n_unknown in problem.n_unknown]
    assert spent.tolist() == [planned_slots(plan, problem.n, config) for plan in plans]
    asked = sum(int(slots.sum()) for *_, slots in toy.recalled) + sum(len(call[0]) * problem.n for call in toy.calls)
    assert int(spent.sum()) == asked


@few
@given(problems(**plain), cached)
def test_a_batch_with_a_cache_decodes_as_its_clips_do_alone(problem, cache):
    config = with_cache(problem.config, cache)
    together = solve(remembering(problem), problem.tokens, problem.mask, problem.seeds, config)
    for item in range(problem.b):
        one = slice(item, item + 1)
        alone = solve(remembering(problem, [item]), problem.tokens[one], problem.mask[one], problem.seeds[one], config)
        assert torch.equal(alone.tokens[0], together.tokens[item])


@few
@given(problems(with_groups=False, revocations=(0.0,)), st.sampled_from([2, 4]))
def test_full_steps_choose_for_the_steps_that_follow(problem, every):
    config = with_cache(problem.config, (every, "chosen"))
    toy = remembering(problem)
    result = solve(toy, problem.tokens, problem.mask, problem.seeds, config)
    assert not result.stopped
    for *_, mask, slots in toy.recalled:
        assert bool((slots & mask).any(dim=1).all()), "each step computes something that it can accept"


def test_an_order_that_is_known_ahead_computes_only_what_it_accepts():
    config = SolverConfig(policy="halton", cache_every=4, cache_scope="chosen")
    dear = dataclasses.replace(config, policy="confidence")
    assert planned_work(265, 265, config, conditional=False) < planned_work(265, 265, dear, conditional=False) < 7
    assert planned_work(265, 265, SolverConfig(), conditional=False) == 16


def test_windows_forget_what_the_one_before_has_seen():
    tokens = torch.zeros(1, 2, 11, dtype=torch.int64)
    mask = torch.ones(1, 2, 11, dtype=torch.bool)
    config = SolverConfig(n_steps=6, cache_every=3)
    predict = Ledger(4)

    def fill(columns, given, own, words):
        result = solve(predict, given, own, words, config)
        return result.tokens, result.trace

    result = over_windows(fill, tokens, mask, [0], window_cols=5, overlap_cols=2)
    assert bool((result.tokens >= 0).all())


def test_a_stop_fills_all_that_is_left_whatever_was_chosen_ahead():
    tokens, mask = torch.zeros(1, 2, 10, dtype=torch.int64), torch.ones(1, 2, 10, dtype=torch.bool)
    config = SolverConfig(n_steps=10, cache_every=5, cache_scope="chosen")
    toy = RememberingToy([0], 20, 5)
    result = solve(toy, tokens, mask, [0], config, callback=lambda *_: False)
    assert result.stopped
    assert result.trace[-1].n_after == (0,)


def test_a_predictor_without_a_memory_is_refused():
    mask = torch.ones(1, 1, 4, dtype=torch.bool)
    with pytest.raises(ParameterError, match="cache_every=2 needs a predictor with a method recall, got function"):
        solve(lambda *_: torch.zeros(1, 4, 3), mask.long(), mask, [0], SolverConfig(cache_every=2))


@pytest.mark.parametrize("changes", [dict(entropy_bound=1.0), dict(cache_every=2, cache_scope="chosen")])
def test_groups_are_refused_where_slots_are_counted(changes):
    mask = torch.ones(1, 1, 4, dtype=torch.bool)
    groups = torch.tensor([[0, 0, 1, 1]])
    with pytest.raises(ParameterError, match="groups must go without entropy_bound and without cache_scope 'chosen'"):
        solve(RememberingToy([0], 4, 3), mask.long(), mask, [0], SolverConfig(**changes), groups=groups)


@pytest.mark.parametrize("policy", sorted(POLICIES))
def test_every_policy_can_choose_ahead(policy):
    mask = torch.ones(2, 3, 8, dtype=torch.bool)
    config = SolverConfig(policy=policy, cache_every=4, cache_scope="chosen", guidance_schedule="constant")
    result = solve(RememberingToy([0, 1], 24, 6), mask.long(), mask, [3, 4], config)
    assert result.trace[-1].n_after == (0, 0)
    assert result.work == pytest.approx(planned_work(24, 24, config))
