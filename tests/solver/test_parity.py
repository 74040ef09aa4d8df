"""The solver against a literal MaskGIT loop for one item, written with lists and the same noise."""

import math

import pytest
import torch

from masktools.solver import SolverConfig, item_seeds, solve
from masktools.solver.choice import Stream, as_seeds, gumbel, uniform
from tests.solver.toys import Toy


def literal_maskgit(predict, tokens, mask, uniforms, gumbels, n_steps, temperature, guidance):
    """Return the tokens of one item, decoded position by position as the loop of MaskGIT and MAGE reads.

    uniforms and gumbels hold one row of noise per step; guidance is the scale at the last step, or None.
    """
    ids, unknown = list(tokens), list(mask)
    at_start = sum(unknown)
    for step in range(n_steps):
        state = (torch.tensor([ids]), torch.tensor([unknown]), torch.tensor([0]))
        logits = predict(*state, False)[0].double()
        if guidance is not None:
            scale = guidance * step / (n_steps - 1)
            logits = logits + scale * (predict(*state, True)[0].double() - logits)
        probs = logits.softmax(dim=-1).tolist()
        sampled, confidence = list(ids), [math.inf] * len(ids)
        ratio = (step + 1) / n_steps
        for at in range(len(ids)):
            if not unknown[at]:
                continue
            total, code = probs[at][0], 0
            while total < uniforms[step][at]:
                code += 1
                total += probs[at][code]
            sampled[at] = code
            confidence[at] = math.log(probs[at][code]) + temperature * (1 - ratio) * gumbels[step][at]
        n_left = max(1, min(sum(unknown) - 1, math.floor(at_start * math.cos(math.pi / 2 * ratio))))
        if step == n_steps - 1:
            return sampled  # merged, before anything is masked again
        threshold = sorted(confidence)[n_left]
        unknown = [value < threshold for value in confidence]
        ids = [0 if hidden else token for hidden, token in zip(unknown, sampled, strict=True)]
    raise AssertionError("a loop without steps")


def noise_of(draw, seed, stream, n_steps, n):
    return [draw(as_seeds([seed]), step, stream, n)[0].tolist() for step in range(n_steps)]


@pytest.mark.parametrize("conditional", [False, True])
@pytest.mark.parametrize(("n_steps", "temperature"), [(16, 1.5), (8, 4.5), (20, 6.0)])
@pytest.mark.parametrize("task", ["full", "columns", "row", "anything"])
def test_tokens_equal_those_of_a_literal_loop_under_the_same_noise(task, n_steps, temperature, conditional):
    n_rows, n_cols, k = 5, 53, 7
    mask = torch.zeros(n_rows, n_cols, dtype=torch.bool)
    if task == "full":
        mask[:] = True
    elif task == "columns":
        mask[:, 25:35] = True
    elif task == "row":
        mask[4] = True
    else:
        mask = torch.rand(n_rows, n_cols, generator=torch.Generator().manual_seed(3)) < 0.5
    tokens = torch.randint(0, k, (n_rows, n_cols), generator=torch.Generator().manual_seed(4))
    toy, n = Toy([0], 265, k), n_rows * n_cols
    (seed,) = item_seeds(n_steps, 1)
    wanted = literal_maskgit(
        toy,
        tokens.masked_fill(mask, 0).T.flatten().tolist(),
        mask.T.flatten().tolist(),
        noise_of(uniform, seed, Stream.TOKEN, n_steps, n),
        noise_of(gumbel, seed, Stream.CHOICE, n_steps, n),
        n_steps,
        temperature,
        3.0 if conditional else None,
    )
    config = SolverConfig(n_steps=n_steps, temperature=temperature)
    got = solve(toy, tokens[None], mask[None], [seed], config, use_condition=[conditional])
    assert got.tokens[0].T.flatten().tolist() == wanted
