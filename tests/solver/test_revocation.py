"""Tokens accepted with little confidence are taken back; the counts of the plan still hold."""

import torch
from hypothesis import given, settings

from masktools.solver import POLICIES, SolverConfig, column_groups, solve
from masktools.solver.choice import choose_revoked, revocable_count
from tests.solver.toys import Toy, problems


def masks_of(problem, config, groups=None):
    seen = [problem.mask]

    def callback(step, total, tokens, mask, info):
        assert not tokens[mask].any(), "what was taken back is hidden again"
        seen.append(mask)

    result = solve(
        problem.toy(),
        problem.tokens,
        problem.mask,
        problem.seeds,
        config,
        groups=groups,
        callback=callback,
    )
    return seen, result


@settings(max_examples=20, deadline=None)
@given(problems(with_groups=False, revocations=(0.3, 0.9)))
def test_only_accepted_tokens_are_taken_back_and_as_many_as_the_trace_says(problem):
    masks, result = masks_of(problem, problem.config)
    for record, before, after in zip(result.trace, masks, masks[1:], strict=False):
        back = after & ~before
        assert not (back & ~problem.mask).any(), "known tokens are never touched"
        assert back.flatten(1).sum(dim=1)[list(record.items)].tolist() == list(record.n_revoked)
    assert not any(result.trace[-1].n_revoked if result.trace else [])


def test_the_share_of_what_was_accepted_is_taken_back():
    mask, tokens = torch.ones(1, 5, 53, dtype=torch.bool), torch.zeros(1, 5, 53, dtype=torch.int64)
    result = solve(Toy([0], 265, 8), tokens, mask, [0], SolverConfig(revocation=0.1))
    for record in result.trace:
        accepted = 265 - record.n_before[0]
        assert record.n_revoked[0] == (min(int(0.1 * accepted), record.n_after[0]))
    assert sum(record.n_revoked[0] for record in result.trace) > 50


def test_every_policy_can_take_back():
    mask, tokens = torch.ones(2, 3, 8, dtype=torch.bool), torch.zeros(2, 3, 8, dtype=torch.int64)
    for policy in POLICIES:
        result = solve(Toy([0, 1], 24, 8), tokens, mask, [0, 1], SolverConfig(policy=policy, revocation=0.3))
        assert sum(map(sum, (record.n_revoked for record in result.trace))) > 0
        assert result.trace[-1].n_after == (0, 0)


def test_whole_groups_are_taken_back():
    mask, tokens = torch.ones(1, 3, 8, dtype=torch.bool), torch.zeros(1, 3, 8, dtype=torch.int64)
    config = SolverConfig(revocation=0.5)
    result = solve(Toy([0], 24, 8), tokens, mask, [0], config, groups=column_groups(3, 8))
    assert sum(record.n_revoked[0] for record in result.trace) > 0
    assert all(record.n_revoked[0] % 3 == 0 for record in result.trace)


def test_the_worst_tokens_are_taken_back_by_the_confidence_of_their_acceptance():
    log_p = torch.tensor([[-1.0, -5.0, -0.1, -3.0, -9.0]])
    accepted = torch.tensor([[True, True, True, True, False]])
    back = choose_revoked(log_p, accepted, torch.tensor([2]), torch.zeros(1, 5))
    assert back.tolist() == [[False, True, False, True, False]]


def test_no_more_is_taken_back_than_the_plan_can_mask_again():
    accepted, masked = torch.tensor([[True] * 8 + [False] * 4]), torch.tensor([[False] * 8 + [True] * 4])
    counts = [revocable_count(0.9, accepted, masked, torch.tensor([n_after])).item() for n_after in (0, 1, 2, 9)]
    assert counts == [0, 1, 2, 3]
    assert revocable_count(0.25, accepted, masked, torch.tensor([3])).item() == 2
