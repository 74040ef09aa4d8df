"""The call itself: callbacks, types, devices, and arguments that do not fit."""

import copy

import pytest
import torch

from masktools.core.errors import ParameterError
from masktools.solver import SolverConfig, solve
from tests.solver.toys import Toy

TOKENS = torch.arange(12).view(1, 3, 4) % 5
MASK = torch.tensor([[[0, 1, 1, 1], [1, 1, 0, 1], [0, 1, 1, 1]]], dtype=torch.bool)


def toy(b=1, k=5):
    return Toy(list(range(b)), 12, k)


@pytest.mark.parametrize("stop_after", [0, 2, 6])
@pytest.mark.parametrize("policy", ["confidence", "moment", "halton"])
def test_a_callback_that_says_stop_gets_complete_tokens_in_one_more_step(policy, stop_after):
    mask = torch.cat([MASK, MASK & (torch.arange(4) < 2)])
    tokens = TOKENS.expand(2, -1, -1)
    config = SolverConfig(policy=policy)
    result = solve(toy(2), tokens, mask, [1, 2], config, callback=lambda step, *_: step < stop_after)
    assert len(result.trace) == stop_after + 2
    assert [record.filled for record in result.trace] == [False] * (stop_after + 1) + [True]
    assert result.stopped
    assert not any(result.trace[-1].n_after)
    assert torch.equal(result.tokens[~mask], tokens[~mask])
    assert result.tokens.max() < 5


def test_stopping_after_the_last_step_adds_nothing():
    result = solve(toy(), TOKENS, MASK, [1], SolverConfig(n_steps=1), callback=lambda *_: False)
    assert len(result.trace) == 1
    assert not result.stopped


@pytest.mark.parametrize("answer", [None, 0, "", True])
def test_only_false_itself_stops(answer):
    assert not solve(toy(), TOKENS, MASK, [1], callback=lambda *_: answer).stopped


def test_a_callback_cannot_change_the_decoding():
    def vandal(step, total, tokens, mask, info):
        assert total == 9
        tokens.fill_(0)
        mask.fill_(True)

    assert torch.equal(solve(toy(), TOKENS, MASK, [1], callback=vandal).tokens, solve(toy(), TOKENS, MASK, [1]).tokens)


def test_a_predictor_cannot_change_the_decoding():
    inner = toy()

    def vandal(tokens, mask, items, conditional):
        logits = inner(tokens, mask, items, conditional)
        for tensor in (tokens, mask, items):
            tensor.zero_()
        return logits

    assert torch.equal(solve(vandal, TOKENS, MASK, [1]).tokens, solve(toy(), TOKENS, MASK, [1]).tokens)


@pytest.mark.parametrize("policy", ["confidence", "moment", "entropy"])
def test_nothing_that_was_given_is_modified(policy):
    logits, bias = torch.randn(2, 1, 12, 5), torch.zeros(5)
    groups = torch.arange(12).view(3, 4) // 2
    given = [TOKENS.clone(), MASK.clone(), logits, bias, groups]
    before = copy.deepcopy(given)
    solve(
        lambda tokens, mask, items, conditional: logits[int(conditional)],
        given[0],
        given[1],
        [1],
        SolverConfig(policy=policy, top_p=0.9, revocation=0.3),
        groups=groups,
        logit_bias=bias,
    )
    assert all(torch.equal(first, second) for first, second in zip(given, before, strict=True))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int32, torch.int64])
def test_tokens_come_back_in_the_type_they_came_in(dtype):
    result = solve(toy(), TOKENS.to(dtype), MASK, [1])
    assert result.tokens.dtype == dtype
    assert torch.equal(result.tokens.long(), solve(toy(), TOKENS, MASK, [1]).tokens)


def test_tensors_need_not_be_contiguous():
    tokens = TOKENS.transpose(1, 2).contiguous().transpose(1, 2)
    mask = torch.stack([MASK, ~MASK], dim=-1)[..., 0]
    assert not tokens.is_contiguous()
    assert not mask.is_contiguous()
    assert torch.equal(solve(toy(), tokens, mask, [1]).tokens, solve(toy(), TOKENS, MASK, [1]).tokens)
    double = Toy([0], 12, 5, dtype=torch.float64)
    assert torch.equal(solve(double, tokens, mask, [1]).tokens, solve(toy(), TOKENS, MASK, [1]).tokens)


@pytest.mark.gpu
def test_a_gpu_gives_the_tokens_of_the_cpu():
    inner = toy()

    def predict(tokens, mask, items, conditional):
        return inner(tokens.cpu(), mask.cpu(), items.cpu(), conditional).cuda()

    for policy in ("confidence", "moment", "halton", "entropy"):
        config = SolverConfig(policy=policy, revocation=0.3)
        result = solve(predict, TOKENS.cuda(), MASK.cuda(), [1], config)
        assert result.tokens.is_cuda
        assert torch.equal(result.tokens.cpu(), solve(toy(), TOKENS, MASK, [1], config).tokens)


def test_logits_that_want_gradients_leave_none_behind():
    weights = torch.zeros(5, requires_grad=True)
    result = solve(lambda tokens, *_: weights.expand(*tokens.shape, 5) * 2, TOKENS, MASK, [1])
    assert not result.tokens.requires_grad
    assert weights.grad is None


def test_a_predictor_may_answer_in_inference_mode():
    inner = toy()

    @torch.inference_mode()
    def predict(*args):
        return inner(*args) * 1.0

    assert torch.equal(solve(predict, TOKENS, MASK, [1]).tokens, solve(toy(), TOKENS, MASK, [1]).tokens)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tokens": TOKENS.float()}, "tokens must be integers of shape .* got torch.float32"),
        (
            {"tokens": TOKENS[0]},
            r"tokens must be integers of shape \(b, r, w\), got torch.int64 of shape \(3, 4\)",
        ),
        (
            {"tokens": TOKENS[:, :0], "mask": MASK[:, :0]},
            r"at least one row and one column, got shape \(1, 0, 4\)",
        ),
        ({"mask": MASK.int()}, r"mask must be boolean \(True = predict\) of the tokens' shape \(1, 3, 4\)"),
        ({"mask": MASK[:, :2]}, r"mask must be boolean .* got torch.bool of shape \(1, 2, 4\)"),
        ({"tokens": TOKENS - 1}, "known tokens must be 0 or more, got -1; mask what is unknown"),
        ({"tokens": TOKENS + 3}, "known tokens must lie below the 5 codes of the logits, got 6"),
        ({"seeds": [1, 2]}, "seeds must be one per item, 1 in all, got 2"),
        ({"use_condition": [True, False]}, "use_condition must be one boolean per item, 1 in all"),
        ({"use_condition": torch.tensor([1])}, "use_condition must be one boolean per item"),
        ({"logit_bias": torch.zeros(4)}, "logit_bias must have the 5 codes of the logits, got 4"),
        (
            {"logit_bias": torch.zeros(2, 5)},
            r"logit_bias must be floating-point of shape \(k,\), \(1, k\) or",
        ),
        ({"logit_bias": torch.zeros(5).int()}, "logit_bias must be floating-point .* got torch.int32"),
        ({"logit_bias": torch.full((5,), torch.nan)}, "logit_bias must hold finite numbers or -inf, got NaN"),
        ({"logit_bias": torch.full((5,), -torch.inf)}, "logit_bias must leave at least one code possible"),
    ],
)
def test_an_argument_that_does_not_fit_is_refused(change, message):
    arguments = {"tokens": TOKENS, "mask": MASK, "seeds": [1]} | change
    with pytest.raises(ParameterError, match=message):
        solve(toy(), **arguments)


def test_tokens_too_narrow_for_the_codebook_are_refused():
    with pytest.raises(ParameterError, match=r"tokens of type torch.uint8 cannot hold 300 codes: pass torch.int64"):
        solve(toy(k=300), TOKENS.to(torch.uint8), MASK, [1])
