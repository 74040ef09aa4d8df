"""The masked transformer: its size, its indifference to what is masked, its conditions and hidden states."""

import pytest
import timm.models.vision_transformer
import torch

from masktools.core.errors import DeviceError, ParameterError
from masktools.networks.packing import can_compute_int8, laid_out
from masktools.networks.transformer import MaskedTransformer, TransformerConfig
from masktools.networks.transformer.model import attend
from tests.tiny import states_of

SMALL = TransformerConfig(n_codes=32, n_cols=8, width=32, depth=3, n_heads=2, condition_dim=6)


@pytest.fixture
def model():
    torch.manual_seed(0)
    return MaskedTransformer(SMALL).eval()


def clip(n_clips=2, n_tokens=40, seed=0):
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randint(0, 32, (n_clips, n_tokens), generator=generator)
    return tokens, torch.rand(n_clips, n_tokens, generator=generator) < 0.5


def test_the_papers_blocks_have_170_1_million_parameters_and_the_whole_172():
    with torch.device("meta"):
        model = MaskedTransformer(TransformerConfig())
    assert sum(p.numel() for p in model.blocks.parameters()) == 170_108_928
    assert sum(p.numel() for p in model.parameters()) == 172_090_624


def test_the_blocks_are_timms_and_give_what_timms_give(model):
    theirs = timm.models.vision_transformer.Block(32, 2, 4.0, qkv_bias=True).eval()
    theirs.load_state_dict(model.blocks[0].state_dict())
    sequence = torch.randn(1, 9, 32)
    torch.testing.assert_close(model.blocks[0](sequence), theirs(sequence))


@pytest.mark.parametrize("mask_token", ["conditional", "learned"])
def test_values_under_the_mask_never_matter(mask_token):
    torch.manual_seed(0)
    model = MaskedTransformer(TransformerConfig(**(vars(SMALL) | {"mask_token": mask_token}))).eval()
    tokens, mask = clip()
    garbage = torch.where(mask, torch.randint_like(tokens, 32), tokens)
    wild = torch.where(mask, torch.full_like(tokens, 10**9), tokens)
    condition = torch.randn(2, 6)
    expected = model.logits(tokens, mask, condition)
    assert torch.equal(model.logits(garbage, mask, condition), expected)
    assert torch.equal(model.logits(wild, mask, condition), expected)


def test_known_tokens_matter(model):
    tokens, mask = clip()
    changed = torch.where(mask, tokens, (tokens + 1) % 32)
    assert not torch.allclose(model.logits(tokens, mask), model.logits(changed, mask))


def test_dropping_the_condition_of_one_clip_is_having_none(model):
    tokens, mask = clip()
    condition = torch.randn(2, 6)
    mixed = model.logits(tokens, mask, condition, torch.tensor([True, False]))
    torch.testing.assert_close(mixed[:1], model.logits(tokens[:1], mask[:1], condition[:1]), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(mixed[1:], model.logits(tokens[1:], mask[1:]), atol=1e-5, rtol=1e-4)
    assert not torch.allclose(mixed[:1], model.logits(tokens[:1], mask[:1]))


def test_the_conditional_mask_puts_the_condition_into_masked_slots(model):
    tokens, mask = clip()
    condition = torch.randn(2, 6)
    entered = states_of(model, tokens, mask, condition)[0]
    projected = model.condition(condition)
    slots = model.enter_norm(projected[:, None] + model.position[None, 1:41])
    torch.testing.assert_close(entered[:, 1:][mask], slots[mask])


def test_hidden_states_are_those_the_logits_come_from(model):
    tokens, mask = clip()
    states = states_of(model, tokens, mask)
    assert [tuple(s.shape) for s in states] == [(2, 41, 32)] * 4
    again = model.head(model.norm(states[-1][:, 1:]), model.token_embedding.weight)
    torch.testing.assert_close(again, model.logits(tokens, mask))


def test_shorter_clips_are_legal_and_batches_are_their_clips(model):
    tokens, mask = clip(3, 15)
    double = model.double()
    together = double.logits(tokens, mask)
    assert together.shape == (3, 15, 32)
    torch.testing.assert_close(together[1:2], double.logits(tokens[1:2], mask[1:2]), atol=1e-12, rtol=1e-10)


def test_one_batch_is_overfitted_to_near_zero_loss():
    torch.manual_seed(0)
    model = MaskedTransformer(SMALL)
    tokens, mask = clip()
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    for _ in range(120):
        loss = torch.nn.functional.cross_entropy(model.logits(tokens, mask)[mask], tokens[mask])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.05


def test_state_dict_names_are_frozen(model):
    names = set(model.state_dict())
    block = {
        f"blocks.0.{name}.{kind}"
        for name in ("norm1", "norm2", "attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2")
        for kind in ("weight", "bias")
    }
    outside = {"token_embedding.weight", "mask_vector", "position", "condition.weight", "condition.bias"}
    outside |= {f"{n}.{k}" for n in ("enter_norm", "norm", "head.dense", "head.norm") for k in ("weight", "bias")}
    assert {n for n in names if not n.startswith("blocks.")} == outside | {"head.bias"}
    assert {n for n in names if n.startswith("blocks.0.")} == block


def test_shapes_that_do_not_fit_are_refused(model):
    tokens, mask = clip()
    with pytest.raises(ParameterError, match=r"mask must have the shape of tokens \(2, 40\), got \(2, 39\)"):
        model._check(tokens, mask[:, :39], None)
    with pytest.raises(ParameterError, match="a clip must have 1 to 40 tokens, got 80"):
        model.logits(tokens.repeat(1, 2), mask.repeat(1, 2))
    with pytest.raises(ParameterError, match=r"condition must have shape \(2, 6\), got \(2, 5\)"):
        model.logits(tokens, mask, torch.zeros(2, 5))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"n_heads": 7}, "width must be a multiple of n_heads, got 768 and 7"),
        ({"mask_token": "conditionl"}, "did you mean 'conditional'"),
        ({"depth": 0}, "depth must be at least 1, got 0"),
        ({"dropout": 1.0}, r"dropout must lie in \[0, 1\), got 1"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message):
    with pytest.raises(ParameterError, match=message):
        TransformerConfig(**settings)


@torch.inference_mode()
def test_known_slots_can_be_spared_the_head(model):
    tokens, mask = clip()
    found = model.logits(tokens, mask, only_masked=True)
    torch.testing.assert_close(found[mask], model.logits(tokens, mask)[mask])
    assert not found[~mask].any()


KINDS = [("float32", 1e-5), ("bfloat16", 3e-2)] + [("int8", 6e-2)] * can_compute_int8()


@pytest.mark.parametrize(("precision", "tolerance"), KINDS)
@torch.inference_mode()
def test_packing_changes_predictions_by_rounding_only_and_no_name(model, precision, tolerance):
    tokens, mask = clip(3)
    condition = torch.randn(3, 6)
    wanted, states = model.logits(tokens, mask, condition), states_of(model, tokens, mask)
    names = model.state_dict().keys()
    model.pack(getattr(torch, precision))
    assert model.packed
    assert model.state_dict().keys() == names
    found = model.logits(tokens, mask, condition)
    torch.testing.assert_close(found, wanted, atol=tolerance, rtol=0)
    assert torch.equal(found[2:], model.logits(tokens[2:], mask[2:], condition[2:]))
    torch.testing.assert_close(states_of(model, tokens, mask)[-1], states[-1], atol=4 * tolerance, rtol=0)


@pytest.mark.parametrize(("precision", "tolerance"), KINDS)
@torch.inference_mode()
def test_weights_that_come_one_by_one_make_the_same_model(model, precision, tolerance):
    tokens, mask = clip()
    with laid_out():
        other = MaskedTransformer(SMALL).eval()
    other.pack(getattr(torch, precision), model.state_dict())
    model.pack(getattr(torch, precision))
    assert torch.equal(other.logits(tokens, mask), model.logits(tokens, mask))


def test_int8_is_refused_where_there_is_none(model, monkeypatch):
    monkeypatch.setattr("masktools.networks.transformer.model.can_compute_int8", lambda: False)
    with pytest.raises(DeviceError, match=r"does not compute in int8 \(VNNI is missing\): use --precision fp32"):
        model.pack(torch.int8)


def test_int8_is_refused_on_another_device_before_anything_is_changed(model):
    model.to("meta")
    with pytest.raises(DeviceError, match="int8 needs a CPU, the device is meta: use --precision bf16 or fp32"):
        model.pack(torch.int8)
    assert not model.packed


@torch.inference_mode()
def test_what_is_packed_stays_as_it_is(model):
    tokens, mask = clip()
    model.pack(torch.float32)
    wanted = model.logits(tokens, mask)
    model.pack(torch.bfloat16)
    assert torch.equal(model.logits(tokens, mask), wanted)


@pytest.mark.parametrize("strict", [True, False])
def test_a_packed_transformer_refuses_weights_and_is_not_changed_by_them(model, strict):
    model.pack(torch.float32)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(ParameterError, match="a packed part must keep its weights: load others into one that is not"):
        model.load_state_dict({name: value + 1 for name, value in before.items()}, strict=strict)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_a_packed_transformer_is_not_trained_by_mistake(model):
    model.pack(torch.float32)
    model.requires_grad_(True).train()
    with pytest.raises(ParameterError, match="a packed layer gives no gradients"):
        model.logits(*clip())


@torch.inference_mode()
def test_attention_in_few_bits_is_attention():
    queries, keys, values = torch.randn(3, 2, 4, 9, 8).unbind(0)
    found = attend(*(part.bfloat16() for part in (queries[:, :, :5], keys, values))).float()
    wanted = torch.nn.functional.scaled_dot_product_attention(queries[:, :, :5], keys, values)
    torch.testing.assert_close(found, wanted, atol=3e-2, rtol=0)
