"""Packed layers give what the layers they were made from give, but for rounding, and clip by clip."""

import copy
import pickle

import pytest
import torch
from torch import nn

from masktools.core.errors import DeviceError, ParameterError
from masktools.networks import packing as packed_linear
from masktools.networks.packing import Int8Linear, PackedLinear, can_compute_int8, can_pack

TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 2e-2, torch.int8: 5e-2}
needs_int8 = pytest.mark.skipif(not can_compute_int8(), reason="this CPU does not compute in int8")
KINDS = [
    torch.float32,
    pytest.param(torch.bfloat16, marks=pytest.mark.skipif(not can_pack(torch.bfloat16), reason="no bf16 here")),
    pytest.param(torch.int8, marks=needs_int8),
]


@pytest.fixture
def layer():
    torch.manual_seed(0)
    return nn.Linear(48, 40)


@pytest.fixture
def rows():
    return torch.randn(3, 7, 48, generator=torch.Generator().manual_seed(1))


def packed(layer, kind, gelu=False):
    return Int8Linear(layer, gelu) if kind == torch.int8 else PackedLinear(layer, kind, gelu)


@pytest.mark.parametrize("gelu", [False, True])
@pytest.mark.parametrize("kind", KINDS)
@torch.inference_mode()
def test_sums_are_the_layers_but_for_rounding(layer, rows, kind, gelu):
    sums = layer(rows)
    wanted = nn.functional.gelu(sums) if gelu else sums
    torch.testing.assert_close(packed(layer, kind, gelu)(rows).float(), wanted, atol=TOLERANCE[kind], rtol=0)


@pytest.mark.parametrize("kind", KINDS[1:])
@torch.inference_mode()
def test_a_clip_alone_is_bit_for_bit_what_it_is_in_a_batch(layer, rows, kind):
    rows[0] *= 100  # a loud clip, the range of which must not become that of the others
    ours = packed(layer, kind)
    assert torch.equal(ours(rows)[1:2], ours(rows[1:2]))


@pytest.mark.parametrize("kind", KINDS)
@torch.inference_mode()
def test_the_state_has_the_layers_names_and_nearly_its_values(layer, kind):
    state, wanted = packed(layer, kind).state_dict(), layer.state_dict()
    assert state.keys() == wanted.keys()
    for name, value in wanted.items():
        torch.testing.assert_close(state[name].float(), value, atol=1e-3, rtol=0)


def test_single_precision_keeps_every_bit_of_the_weights(layer):
    assert torch.equal(PackedLinear(layer, torch.float32).state_dict()["weight"], layer.weight)


@torch.inference_mode()
def test_a_torch_that_cannot_pack_multiplies_as_ever(layer, rows, monkeypatch):
    monkeypatch.setattr(packed_linear, "can_pack", lambda dtype: False)
    for gelu in (False, True):
        ours = PackedLinear(layer, torch.bfloat16, gelu)
        assert ours.packed is None
        wanted = nn.functional.gelu(layer(rows)) if gelu else layer(rows)
        torch.testing.assert_close(ours(rows).float(), wanted, atol=2e-2, rtol=0)


def test_an_operator_that_is_missing_is_found_out(monkeypatch):
    def missing(weight):
        raise AttributeError

    monkeypatch.setattr(packed_linear, "_pack", missing)
    assert not can_pack.__wrapped__(torch.float32)
    assert not can_pack(torch.float16)


def test_a_packed_layer_lets_go_of_its_order_on_another_device(layer):
    ours = PackedLinear(layer, torch.float32).to("meta")
    assert ours.packed is None
    assert ours.weight.is_meta


@needs_int8
def test_whole_numbers_stay_on_the_cpu(layer):
    ours = Int8Linear(layer)
    assert ours.to("cpu") is ours
    with pytest.raises(DeviceError, match="int8 needs a CPU, the device is meta: use --precision bf16 or fp32"):
        ours.to("meta")


@needs_int8
@torch.inference_mode()
def test_whole_numbers_hold_for_silence_and_for_nothing(layer):
    ours = Int8Linear(layer)
    torch.testing.assert_close(ours(torch.zeros(2, 3, 48)), layer.bias.expand(2, 3, -1))
    assert ours(torch.zeros(0, 48)).shape == (0, 40)
    assert Int8Linear(layer, out_dtype=torch.bfloat16)(torch.zeros(1, 48)).dtype == torch.bfloat16


@needs_int8
@torch.inference_mode()
def test_whole_numbers_err_by_less_than_half_a_step(layer):
    levels = torch.randint(0, 256, (9, 48), generator=torch.Generator().manual_seed(2)).float() - 100
    levels[0, :2] = torch.tensor([-100.0, 155.0])  # the range of a clip is then 255 steps of 1
    scale = layer.weight.abs().amax(dim=1, keepdim=True) / 127
    layer.weight.data = (layer.weight / scale).round() * scale
    torch.testing.assert_close(Int8Linear(layer)(levels), layer(levels), atol=2e-4, rtol=1e-5)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda layer: pickle.loads(pickle.dumps(layer))])
@pytest.mark.parametrize("kind", KINDS)
@torch.inference_mode()
def test_a_copy_computes_bit_for_bit_what_the_packed_layer_computes(layer, rows, kind, copied):
    ours = packed(layer, kind)
    theirs = copied(ours)
    assert torch.equal(theirs(rows), ours(rows))
    assert torch.equal(theirs.state_dict()["weight"], ours.state_dict()["weight"])


@torch.inference_mode()
def test_a_copy_is_no_longer_packed_where_torch_cannot_pack(layer, rows, monkeypatch):
    written = pickle.dumps(PackedLinear(layer, torch.float32))
    monkeypatch.setattr(packed_linear, "can_pack", lambda dtype: False)
    read = pickle.loads(written)
    assert read.packed is None
    torch.testing.assert_close(read(rows), layer(rows))


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_are_refused_where_they_would_silently_be_zero(layer, rows, kind):
    ours = packed(layer, kind)
    assert not ours(rows).requires_grad
    with pytest.raises(ParameterError, match="gives no gradients: load the part's state_dict into one that is not"):
        ours(rows.requires_grad_(True))


@pytest.mark.parametrize("kind", KINDS)
@torch.inference_mode()
def test_a_packed_layer_keeps_the_number_type_it_was_packed_for(layer, rows, kind):
    ours = packed(layer, kind)
    wanted = ours(rows)
    for cast in (ours.half, ours.double, ours.bfloat16):
        assert torch.equal(cast()(rows), wanted)


def test_a_layer_that_moves_within_the_cpu_is_not_unpacked(layer, monkeypatch):
    ours = PackedLinear(layer, torch.float32)
    packed_before = ours.packed
    monkeypatch.setattr(packed_linear, "_pack", None)
    assert ours.to("cpu").packed is packed_before


@needs_int8
@torch.inference_mode()
def test_whole_numbers_of_no_clips_have_the_shape_of_no_clips(layer):
    assert Int8Linear(layer)(torch.zeros(0, 7, 48)).shape == (0, 7, 40)
    assert Int8Linear(layer)(torch.zeros(2, 0, 48)).shape == (2, 0, 40)


@needs_int8
@pytest.mark.parametrize("wrong", [float("nan"), float("inf"), -float("inf")])
@torch.inference_mode()
def test_a_clip_that_is_not_finite_has_no_sums_and_the_others_have_theirs(layer, rows, wrong):
    ours = Int8Linear(layer)
    wanted = ours(rows)
    rows[1, 2, 3] = wrong
    found = ours(rows)
    assert found[1].isnan().all()
    assert torch.equal(found[::2], wanted[::2])


def test_looking_for_whole_numbers_draws_no_random_number():
    before = torch.get_rng_state()
    can_compute_int8.__wrapped__()
    assert torch.equal(torch.get_rng_state(), before)
