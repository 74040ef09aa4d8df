"""What the solver makes of a predictor that is right about everything."""

import pytest
import torch

from masktools.solver import PRESETS, SolverConfig, item_seeds, solve

N_DRAWS = 20_000
JOINT = torch.tensor([0.28, 0.02, 0.01, 0.19, 0.03, 0.17, 0.26, 0.04])  # of three bits, strongly dependent
CELLS = torch.tensor([[a, b, c] for a in (0, 1) for b in (0, 1) for c in (0, 1)])


def perfect(tokens, mask, items, conditional):
    """Return log p(bit at each slot | visible bits) under JOINT."""
    fits = ((tokens[:, None] == CELLS) | mask[:, None]).all(dim=2)  # (a, 8)
    weight = fits * JOINT
    one = weight @ CELLS.float()  # (a, 3)
    both = torch.stack([weight.sum(dim=1, keepdim=True) - one, one], dim=2)
    return both.clamp_min(1e-12).log()


def drawn(config, known=None, n=N_DRAWS):
    """Return the frequency of each of the 8 cells over many decodings."""
    tokens, mask = torch.zeros(n, 1, 3, dtype=torch.int64), torch.ones(n, 1, 3, dtype=torch.bool)
    for place, bit in (known or {}).items():
        tokens[..., place], mask[..., place] = bit, False
    result = solve(perfect, tokens, mask, item_seeds(1, n), config, use_condition=[False] * n)
    cells = (result.tokens[:, 0] * torch.tensor([4, 2, 1])).sum(dim=1)
    return torch.bincount(cells, minlength=8) / n


def distance(first, second):
    return (first - second).abs().sum().item() / 2  # total variation


@pytest.mark.parametrize("policy", ["random", "halton", "raster"])
def test_one_token_per_step_in_an_order_that_ignores_the_tokens_samples_the_joint(policy):
    config = PRESETS["unbiased"] if policy == "random" else SolverConfig(n_steps=3, policy=policy)
    assert distance(drawn(config), JOINT) < 0.02


def test_known_tokens_condition_the_joint():
    given_middle = JOINT * (CELLS[:, 1] == 1)
    assert distance(drawn(PRESETS["unbiased"], known={1: 1}), given_middle / given_middle.sum()) < 0.02


def test_all_tokens_in_one_step_sample_the_product_of_the_marginals():
    marginal = JOINT @ CELLS.float()
    product = torch.where(CELLS == 1, marginal, 1 - marginal).prod(dim=1)
    got = drawn(SolverConfig(n_steps=1))
    assert distance(got, product) < 0.02
    assert distance(got, JOINT) > 0.3


def test_confidence_is_biased_and_more_so_without_noise():
    noisy = distance(drawn(SolverConfig(n_steps=3, temperature=1.5), n=5000), JOINT)
    greedy = distance(drawn(SolverConfig(n_steps=3, temperature=0.0), n=5000), JOINT)
    assert 0.05 < noisy < greedy


TASKS = {
    "generate": lambda mask: mask.fill_(True),
    "gap": lambda mask: mask[:, 25:35].fill_(True),
    "bandwidth": lambda mask: mask[3:].fill_(True),
    "continue": lambda mask: mask[:, 26:].fill_(True),
    "backwards": lambda mask: mask[:, :26].fill_(True),
    "variation": lambda mask: mask.fill_(True)[:, ::4].fill_(False),
    "rectangle": lambda mask: mask[1:3, 10:20].fill_(True),
}


@pytest.mark.parametrize("policy", ["confidence", "moment", "halton"])
@pytest.mark.parametrize("task", sorted(TASKS))
def test_a_predictor_that_knows_the_answer_gets_it_back_for_every_task(task, policy):
    truth = torch.randint(0, 16, (2, 5, 53), generator=torch.Generator().manual_seed(0))
    answer = 50.0 * torch.nn.functional.one_hot(truth.transpose(1, 2).flatten(1), 16)
    mask = torch.zeros(5, 53, dtype=torch.bool)
    TASKS[task](mask)
    mask = mask.expand(2, -1, -1)
    config = SolverConfig(policy=policy, revocation=0.1, temperature=6.0)
    result = solve(lambda tokens, mask, items, conditional: answer[items], truth * ~mask, mask, [1, 2], config)
    assert torch.equal(result.tokens, truth)
