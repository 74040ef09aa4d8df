"""Groups are accepted and taken back whole, as near to the plan as their sizes allow."""

import dataclasses
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from masktools.errors import ParameterError
from masktools.solver import POLICIES, SolverConfig, column_groups, solve, span_groups
from masktools.solver.choice import Groups, at_most, nearest
from tests.solver.toys import Toy, problems


def masks_of(toy, problem, groups, config):
    """Return the masks before the first and after every step, and the result."""
    seen = [problem.mask]
    result = solve(
        toy,
        problem.tokens,
        problem.mask,
        problem.seeds,
        config,
        groups=groups,
        callback=lambda step, total, tokens, mask, info: seen.append(mask),
    )
    return seen, result


@settings(max_examples=20, deadline=None)
@given(
    problems(with_groups=False),
    st.integers(1, 12),
    st.integers(0, 1000),
    st.sampled_from(["mean", "max", "sum"]),
)
def test_a_group_is_never_split(problem, n_labels, seed, score):
    labels = torch.randint(-3, n_labels, problem.mask.shape, generator=torch.Generator().manual_seed(seed))
    config = dataclasses.replace(problem.config, group_score=score)
    masks, result = masks_of(problem.toy(), problem, labels, config)
    assert not masks[-1].any()
    for mask in masks:
        for item in range(problem.b):
            for label in labels[item].unique():
                own = problem.mask[item] & (labels[item] == label)
                assert mask[item][own].unique().numel() <= 1
    for before, after in pairwise(masks):
        n_before, n_after = before.flatten(1).sum(dim=1), after.flatten(1).sum(dim=1)
        assert ((n_after < n_before) | (n_before == 0)).all()
    assert torch.equal(result.tokens[~problem.mask], problem.tokens[~problem.mask])


@settings(max_examples=20, deadline=None)
@given(problems(with_groups=False, revocations=(0.0,)))
def test_every_step_is_used_as_long_as_there_are_groups(problem):
    groups = column_groups(*problem.mask.shape[1:])
    masks, _ = masks_of(problem.toy(), problem, groups, problem.config)
    for item in range(problem.b):
        n_groups = int(problem.mask[item].any(dim=0).sum())
        steps = sum(bool(mask[item].any()) for mask in masks[:-1])
        assert steps == min(problem.config.n_steps, n_groups)


@pytest.mark.parametrize("policy", sorted(POLICIES))
def test_groups_of_one_slot_change_nothing(policy):
    mask = torch.rand(2, 3, 8, generator=torch.Generator().manual_seed(0)) < 0.7
    tokens = torch.ones(2, 3, 8, dtype=torch.int64)
    single = torch.arange(24).view(8, 3).T  # time-major, as positions are numbered
    config = SolverConfig(n_steps=5, policy=policy, revocation=0.3)
    plain = solve(Toy([0, 1], 24, 6), tokens, mask, [3, 4], config)
    grouped = solve(Toy([0, 1], 24, 6), tokens, mask, [3, 4], config, groups=single)
    assert torch.equal(plain.tokens, grouped.tokens)
    assert [record.n_after for record in plain.trace] == [record.n_after for record in grouped.trace]


def test_columns_of_equal_size_follow_the_plan_to_the_nearest_column():
    mask = torch.ones(1, 5, 53, dtype=torch.bool)
    seen = []
    solve(
        Toy([0], 265, 4),
        torch.zeros(1, 5, 53, dtype=torch.int64),
        mask,
        [0],
        SolverConfig(),
        groups=column_groups(5, 53),
        callback=lambda step, total, tokens, left, info: seen.append(info.n_after[0]),
    )
    planned = (263, 259, 253, 244, 233, 220, 204, 187, 168, 147, 124, 101, 76, 51, 25, 0)
    assert all(left % 5 == 0 for left in seen)
    assert all(abs(left - wanted) <= 5 for left, wanted in zip(seen, planned, strict=True))


def test_the_nearest_count_is_taken_and_groups_are_left_for_later_steps():
    scores = torch.tensor([[3.0, 2.0, 1.0, 0.0]])
    sizes = torch.tensor([[4, 4, 4, 0]])

    def take(count, above=0, n_later=0):
        one = [torch.tensor([number]) for number in (count, above, n_later)]
        return nearest(scores, sizes, *one)[0].tolist()

    assert take(5) == [True, False, False, False]
    assert take(6) == [True, False, False, False], "of two as near, the fewer groups"
    assert take(7) == [True, True, False, False]
    assert take(1) == [True, False, False, False], "at least one group"
    assert take(12, n_later=2) == [True, False, False, False], "one group for each later step"
    assert take(1, above=4) == [True, True, False, False], "more than was taken back"
    assert at_most(scores, sizes, torch.tensor([9]))[0].tolist()[:3] == [True, True, False]


def test_groups_vote_by_mean_or_best_or_sum():
    groups = Groups(torch.tensor([[0, 0, 1, 2]]), 3)
    values, eligible = torch.tensor([[-1.0, -3.0, -2.5, -1.0]]), torch.tensor([[True, True, True, False]])
    assert groups.scores(values, eligible, "mean").tolist() == [[-2.0, -2.5, 0.0]]
    assert groups.scores(values, eligible, "sum").tolist() == [[-4.0, -2.5, 0.0]]
    assert groups.scores(values, eligible, "max").tolist() == [[-1.0, -2.5, -torch.inf]]
    assert groups.sizes(eligible).tolist() == [[2, 1, 0]]


def test_labels_of_the_wrong_shape_are_refused():
    tokens, mask = torch.zeros(1, 2, 3, dtype=torch.int64), torch.ones(1, 2, 3, dtype=torch.bool)
    with pytest.raises(ParameterError, match=r"groups must be integer labels of shape \(2, 3\) or \(1, 2, 3\)"):
        solve(Toy([0], 6, 3), tokens, mask, [0], groups=torch.zeros(3, 2, dtype=torch.int64))
    with pytest.raises(ParameterError, match="groups must be integer labels .* got torch.float32"):
        solve(Toy([0], 6, 3), tokens, mask, [0], groups=torch.zeros(2, 3))
    with pytest.raises(ParameterError, match="a span needs at least one column, got 0"):
        span_groups(2, 3, 0)
