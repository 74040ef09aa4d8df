"""MAGNeT's golden values: what audiocraft's modules compute, our stream transformer, stages and prior compute."""

from contextlib import nullcontext
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from masktools.networks.transformer import DelayedPrior, DelayedPriorConfig, StreamTransformer, StreamTransformerConfig
from masktools.networks.transformer.model import near_mask
from masktools.pipeline.convert.magnet import stream_weights
from masktools.pipeline.streams import StreamSession
from masktools.solver import preset, solve_stages, span_groups
from masktools.training.masking import span_masks, span_starts
from masktools.training.token_streams import stage_loss
from tests.pipeline.streams.golden import needs, read, under

pytestmark = needs("magnet_tiny")
CASES = "greedy max prod stride1 prompt_stride1 prompt_whole top_k plain unconditional one_step single"
ENDINGS = ("weight", "bias", "in_proj_weight")  # of weights; the other tensors are inputs and results


@pytest.fixture(scope="module")
def golden():
    return read("magnet_tiny")[0]


def built(golden, prefix, cls, config):
    network = cls(config).eval()
    weights = {name: value for name, value in under(golden, prefix).items() if name.split(".")[-1] in ENDINGS}
    network.load_state_dict(stream_weights(weights), strict=True)
    return network


@pytest.fixture(scope="module")
def magnet(golden):
    settings = StreamTransformerConfig(
        n_codes=32, n_cols=25, width=32, depth=2, n_heads=4, text_dim=24, attend_absent=True
    )
    return built(golden, "magnet.", StreamTransformer, settings)


@pytest.fixture(scope="module")
def musicgen(golden):
    settings = DelayedPriorConfig(n_codes=32, n_cols=25, width=16, depth=1, n_heads=2, text_dim=24, attend_absent=True)
    return built(golden, "musicgen.", DelayedPrior, settings)


def states_of(golden, texts):
    return golden["text.states"][texts] * golden["text.mask"][texts][:, :, None]


@torch.no_grad()
def test_golden_magnet_logits_of_every_stage(golden, magnet):
    tokens, text = golden["logits.tokens"].long(), magnet.read(states_of(golden, [0, 1]))
    for stage in range(4):
        torch.testing.assert_close(
            magnet.logits(tokens, stage, text), golden[f"logits.stage{stage}"], atol=2e-5, rtol=0
        )
    hidden = magnet.hidden(tokens, magnet.attention(1), text)
    every = torch.stack([head(hidden) for head in magnet.heads], dim=1)
    torch.testing.assert_close(every, golden["logits.stage1_all"], atol=2e-5, rtol=0)


@torch.no_grad()
def test_golden_magnet_logits_of_an_empty_text_are_those_without_text(golden, magnet):
    tokens, wanted = golden["logits.tokens"].long(), golden["logits.null_stage0"]
    torch.testing.assert_close(magnet.logits(tokens, 0), wanted, atol=2e-5, rtol=0)
    empty = magnet.read(torch.zeros(2, 6, 24))
    assert torch.equal(magnet.logits(tokens, 0, empty), magnet.logits(tokens, 0))


def test_golden_magnet_spans_and_loss_of_training(golden, magnet):
    for n_cols in (25, 500, 1500):
        assert torch.equal(span_starts(n_cols, 3), golden[f"training.starts_{n_cols}"].long())
    masks = span_masks(golden["training.share"].double(), golden["training.noise"], 3)
    assert torch.equal(masks, golden["training.mask"])
    given, targets = golden["training.input"].long(), golden["training.targets"].long()
    assert torch.equal(given[:, 2] == 32, masks[2:4])
    with torch.no_grad():
        loss = stage_loss(magnet, targets, 2, masks[2:4], magnet.read(states_of(golden, [0, 1])))
    torch.testing.assert_close(loss, golden["training.loss"][0], atol=2e-5, rtol=0)


def test_golden_magnet_attention_mask(golden):
    assert torch.equal(near_mask(25, 5), golden["attention.stage1"])


def configs_of(case):
    """Return the settings of the stages that stand for a case's."""
    base = replace(
        preset("magnet"),
        guidance=case["max_cfg_coef"],
        guidance_min=case["min_cfg_coef"],
        token_temperature=case["temp"],
        token_annealing="to_zero" if case["anneal_temp"] else "none",
        top_p=case["top_p"] or None,
        top_k=case["top_k"] or None,
        confidence="drawn" if case["top_k"] else "whole",  # there top-k changes the probabilities in place
        group_score="max" if case["span_scoring"] == "max" else "sum",
        overlap=case["span_len"] if case["span_arrangement"] == "stride1" else 0,
    )
    if not case["use_sampling"]:
        base = replace(base, top_k=1, top_p=None, confidence="whole")
    return [replace(base, n_steps=n) for n in case["decoding_steps"]]


class Recorder(StreamSession):
    """Notes what the network is given in the passes that golden inputs tell of, one per step.

    Differs: there what is known of finer streams is shown, though training hides it.
    """

    def __init__(self, transformer, condition, shown):
        walk = SimpleNamespace(transformer=transformer, prior=None, autocast=nullcontext)
        walk.in_batches = lambda compute, n: compute(slice(0, n))
        super().__init__(walk, condition)
        self.shown, self.inputs = shown, []

    def columns(self, stage, decided, row, items):
        grid = super().columns(stage, decided, row, items)
        tokens, mask = (part[items, stage + 1 :] for part in self.shown)
        grid[:, stage + 1 :] = tokens.masked_fill(mask, self.transformer.mask_id)
        self.inputs.append((stage, grid))
        return grid


def decoded(golden, magnet, name, monkeypatch):
    """Return the result of a case, and what the network was given at each step."""
    case = read("magnet_tiny")[1]["cases"][name]
    texts = [text for text in case["texts"] if text is not None]
    wanted = golden[f"case.{name}.tokens"]
    n_cols, prompt = wanted.shape[2], case["prompt"]
    tokens = torch.zeros(2, 4, n_cols, dtype=torch.long)
    mask = torch.ones(2, 4, n_cols, dtype=torch.bool)
    tokens[..., :prompt], mask[..., :prompt] = golden["prompt"][..., :prompt], False
    uniforms = golden.get(f"case.{name}.uniforms", torch.full((11, 2, 25), 0.5))  # none where nothing is drawn
    starts, steps = [0, 0], iter(case["decoding_steps"])

    def stored(seeds, step, stream, n):
        if step == 0:
            starts[0], starts[1] = starts[0] + starts[1], next(steps)
        return uniforms[starts[0] + step, :, :n].double()

    monkeypatch.setattr("masktools.solver.step.uniform", stored)
    session = Recorder(magnet, states_of(golden, texts) if texts else None, (tokens, mask))
    configs = configs_of(case)
    groups = None
    if not configs[0].overlap and case["span_len"] > 1:
        groups = [span_groups(1, n_cols, case["span_len"])] * 4
    grids, masks = tokens.split(1, dim=1), mask.split(1, dim=1)
    result = solve_stages(session, grids, masks, [0, 1], configs, [bool(texts)] * 2, groups)
    return torch.cat(result.tokens, dim=1), session.inputs, result


@pytest.mark.parametrize("name", CASES.split())
def test_golden_magnet_decoding_draws_the_same_tokens(golden, magnet, name, monkeypatch):
    tokens, inputs, _ = decoded(golden, magnet, name, monkeypatch)
    assert torch.equal(tokens, golden[f"case.{name}.tokens"].long())
    given = {key.numpy().tobytes() for _, key in inputs}
    for step in golden[f"case.{name}.inputs"].long():
        assert step.numpy().tobytes() in given


def test_golden_magnet_prompt_that_cuts_a_span_begins_alike(golden, magnet, monkeypatch):
    """Differs: there a span is judged by its known tokens, too, here by those that were drawn."""
    _, inputs, _ = decoded(golden, magnet, "prompt", monkeypatch)
    assert torch.equal(inputs[0][1], golden["case.prompt.inputs"][0].long())


@torch.no_grad()
def test_golden_magnet_prior_is_musicgen(golden, musicgen):
    text = musicgen.read(states_of(golden, [0, 1]))
    logits = musicgen.all_logits(golden["musicgen.tokens"].long(), text)
    torch.testing.assert_close(logits, golden["musicgen.logits"], atol=2e-5, rtol=0)
    candidate = golden["musicgen.candidate"].long()
    logits = musicgen.all_logits(candidate, text)[:, 1]
    torch.testing.assert_close(logits, golden["musicgen.candidate_logits"], atol=2e-5, rtol=0)
    log_p = musicgen.log_p(candidate, 1, text)
    wanted = golden["musicgen.candidate_logits"].log_softmax(dim=2).gather(2, candidate[:, 1, :, None])[..., 0]
    torch.testing.assert_close(log_p, wanted, atol=2e-5, rtol=0)
