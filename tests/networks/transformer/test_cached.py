"""Computing only some slots against kept keys and values is what a literal, slow reading of that sentence gives."""

from contextlib import nullcontext

import pytest
import torch

from masktools.core.errors import ParameterError
from masktools.networks.transformer import MaskedTransformer, TransformerConfig
from masktools.networks.transformer.cached import CachedPredictor
from masktools.solver import POLICIES, RecallingPredict, SolverConfig, solve

N, K, DIM = 24, 16, 8


@pytest.fixture
def transformer():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        config = TransformerConfig(n_codes=K, n_rows=3, n_cols=8, width=32, depth=3, n_heads=4, condition_dim=DIM)
        made = MaskedTransformer(config).double().eval().requires_grad_(False)
        for block in made.blocks:  # as it is after training: not all slots alike
            torch.nn.init.normal_(block.attn.qkv.weight, std=0.5)
    return made


def conditions(b, seed=1):
    return torch.randn(b, DIM, generator=torch.Generator().manual_seed(seed)).double()


def drawn(b, seed, share=0.5):
    draw = torch.Generator().manual_seed(seed)
    return torch.randint(0, K, (b, N), generator=draw), torch.rand(b, N, generator=draw) < share


def predictor(transformer, condition, batch_size=2):
    return CachedPredictor(transformer, condition, batch_size, nullcontext)


class Literal:
    """One clip, one slot and one head at a time, with the keys and values in a dictionary."""

    def __init__(self, transformer):
        self.net, self.kept = transformer, {}

    def compute(self, tokens, mask, condition, places):
        """Let some places (0 is the prefix) pass through the blocks, and return the logits of their slots."""
        entered = self.net.enter(tokens[None], mask[None], None if condition is None else condition[None], None)[0]
        hidden = {place: entered[place] for place in places}
        for depth, block in enumerate(self.net.blocks):
            heads, width = block.attn.num_heads, block.attn.head_dim
            queries = {}
            for place, vector in hidden.items():
                query, key, value = block.attn.qkv(block.norm1(vector)).chunk(3)
                queries[place], self.kept[depth, place] = query, (key, value)
            for place, vector in hidden.items():
                read = []
                for head in range(heads):
                    part = slice(head * width, (head + 1) * width)
                    keys = torch.stack([self.kept[depth, other][0][part] for other in range(len(entered))])
                    values = torch.stack([self.kept[depth, other][1][part] for other in range(len(entered))])
                    weights = (keys @ queries[place][part] / width**0.5).softmax(0)
                    read.append(weights @ values)
                middle = vector + block.attn.proj(torch.cat(read))
                hidden[place] = middle + block.mlp(block.norm2(middle))
        return {place - 1: self.net.predict_head(self.net.norm(hidden[place])) for place in places if place}


def test_it_is_what_the_solver_takes_for_a_predictor_that_remembers(transformer):
    assert isinstance(predictor(transformer, None), RecallingPredict)


@pytest.mark.parametrize("conditional", [False, True])
def test_a_full_call_is_the_transformer_itself(transformer, conditional):
    condition = conditions(3)
    tokens, mask = drawn(3, 0)
    got = predictor(transformer, condition)(tokens, mask, torch.arange(3), conditional)
    want = transformer.logits(tokens, mask, condition if conditional else None)
    torch.testing.assert_close(got, want.float())


def test_recalling_nothing_is_a_full_call(transformer):
    tokens, mask = drawn(3, 0)
    cached = predictor(transformer, None)
    cached(tokens, mask, torch.arange(3), False)
    others, other_mask = drawn(3, 5)
    got = cached.recall(others, other_mask, torch.arange(3), False, torch.ones_like(mask))
    torch.testing.assert_close(got, transformer.logits(others, other_mask).float())


def test_a_call_from_memory_equals_the_literal_reading(transformer):
    b, condition = 3, conditions(3)
    tokens, mask = drawn(b, 0, 0.9)
    cached = predictor(transformer, condition)
    literal = {(item, kind): Literal(transformer) for item in range(b) for kind in (False, True)}
    for kind in (False, True):
        cached(tokens, mask, torch.arange(b), kind)
        for item in range(b):
            literal[item, kind].compute(tokens[item], mask[item], condition[item] if kind else None, range(N + 1))
    draw = torch.Generator().manual_seed(9)
    for step in range(3):
        items = torch.tensor([[0, 1, 2], [2, 0], [1]][step])
        kind = step != 1
        filled = torch.rand(b, N, generator=draw) < 0.3
        tokens, mask = tokens.where(~filled, torch.randint(0, K, (b, N), generator=draw)), mask & ~filled
        slots = torch.rand(b, N, generator=draw) < torch.tensor([0.2, 0.5, 0.9])[:, None]
        got = cached.recall(tokens[items], mask[items], items, kind, slots[items])
        for row, item in enumerate(items.tolist()):
            places = [0, *(1 + slots[item].nonzero()[:, 0]).tolist()]
            want = literal[item, kind].compute(tokens[item], mask[item], condition[item] if kind else None, places)
            for slot, logits in want.items():
                torch.testing.assert_close(got[row, slot], logits.float())
            assert not got[row, ~slots[item]].any()


def test_an_item_without_anything_to_compute_may_share_a_call(transformer):
    tokens, mask = drawn(2, 0)
    cached = predictor(transformer, None)
    cached(tokens, mask, torch.arange(2), False)
    slots = torch.zeros_like(mask)
    slots[1, 4] = True
    got = cached.recall(tokens, mask, torch.arange(2), False, slots)
    torch.testing.assert_close(got[1, 4], transformer.logits(tokens, mask)[1, 4].float())
    assert not got[0].any()


@pytest.mark.parametrize("policy", ["confidence", "halton", "moment"])
@pytest.mark.parametrize("scope", ["masked", "chosen"])
def test_a_batch_with_a_cache_decodes_as_its_clips_do_alone(transformer, policy, scope):
    assert policy in POLICIES
    condition = conditions(3)
    tokens, mask = drawn(3, 2, 0.7)
    mask[2] = True
    config = SolverConfig(n_steps=8, policy=policy, cache_every=3, cache_scope=scope)
    grids = tokens.view(3, 8, 3).transpose(1, 2), mask.view(3, 8, 3).transpose(1, 2)
    together = solve(predictor(transformer, condition), *grids, [1, 2, 3], config)
    for item in range(3):
        one = slice(item, item + 1)
        alone = solve(predictor(transformer, condition[one]), grids[0][one], grids[1][one], [item + 1], config)
        assert torch.equal(alone.tokens[0], together.tokens[item])


def test_one_memory_serves_several_decodings_of_other_lengths(transformer):
    config = SolverConfig(n_steps=4, cache_every=4)
    cached = predictor(transformer, None)
    for n_items, n_cols in ((1, 8), (3, 5), (2, 5), (2, 8)):
        tokens = torch.zeros(n_items, 3, n_cols, dtype=torch.int64)
        given = tokens, torch.ones_like(tokens, dtype=torch.bool), list(range(n_items)), config, [False] * n_items
        assert torch.equal(solve(cached, *given).tokens, solve(predictor(transformer, None), *given).tokens)


def test_what_computes_in_half_precision_is_remembered_in_it(transformer):
    tokens, mask = drawn(2, 0)
    low = transformer.float()
    cached = CachedPredictor(low, None, 8, lambda: torch.autocast("cpu", torch.bfloat16))
    cached(tokens, mask, torch.arange(2), False)
    got = cached.recall(tokens, mask, torch.arange(2), False, mask)
    assert got.dtype == torch.float32
    torch.testing.assert_close(got[mask], low.logits(tokens, mask)[mask], atol=0.3, rtol=0.1)


def test_every_prediction_is_told(transformer):
    told = []
    tokens, mask = drawn(3, 0)
    cached = CachedPredictor(transformer, None, 2, nullcontext, lambda: told.append(1))
    cached(tokens, mask, torch.arange(3), False)
    cached.recall(tokens, mask, torch.arange(3), False, mask)
    assert len(told) == 2


def test_a_recall_of_what_was_never_seen_is_refused(transformer):
    tokens, mask = drawn(2, 0)
    cached = predictor(transformer, None)
    message = "recall must follow a call for the same items, with as many tokens: call it first"
    with pytest.raises(ParameterError, match=message):
        cached.recall(tokens, mask, torch.arange(2), False, mask)
    cached(tokens[:1], mask[:1], torch.arange(1), False)
    with pytest.raises(ParameterError, match=message):
        cached.recall(tokens, mask, torch.arange(2), False, mask)
    with pytest.raises(ParameterError, match=message):
        cached.recall(tokens[:1, :9], mask[:1, :9], torch.arange(1), False, mask[:1, :9])
