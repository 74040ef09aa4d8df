"""Weights are read one by one, put in place of those of training, and their memory is given back."""

import ctypes
import pickle
import sys
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from masktools.core.errors import BundleError
from masktools.networks.packing import (
    PackedLinear,
    StoredWeights,
    fill_rest,
    give_back,
    has_lost_weights,
    keep_stored,
    laid_out,
    swap_linear,
)


class Part(nn.Module):
    def __init__(self, layer, norm):
        super().__init__()
        self.packed, self.layer, self.norm = True, layer, norm


@pytest.fixture
def file(tmp_path):
    torch.manual_seed(0)
    state = nn.Linear(4, 4).state_dict()
    save_file({f"layer.{name}": value for name, value in state.items()}, tmp_path / "part.safetensors")
    return tmp_path / "part.safetensors"


@pytest.fixture
def rounded(file):
    """A part in bf16 whose weights are stored in single precision."""
    weights = StoredWeights(file)
    layer = nn.Linear(4, 4)
    layer.load_state_dict({name: weights[f"layer.{name}"] for name in ("weight", "bias")})
    return Part(PackedLinear(layer, torch.bfloat16), nn.LayerNorm(4)), weights


def test_a_file_that_was_replaced_since_is_refused(file):
    weights = StoredWeights(file)
    save_file({"layer.weight": torch.zeros(8, 8)}, file)
    with pytest.raises(BundleError, match="part.safetensors was replaced since the model was loaded: load the model"):
        weights["layer.weight"]


def test_a_file_that_was_removed_since_is_named(file):
    weights = StoredWeights(file)
    file.unlink()
    with pytest.raises(BundleError, match="part.safetensors is not readable .*: it was removed, altered, or cut off"):
        weights["layer.weight"]


def test_a_name_is_in_the_file_or_not(file):
    weights = StoredWeights(file)
    assert "layer.weight" in weights
    assert "weight" not in weights


def test_a_file_is_found_from_another_folder(file, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    weights = StoredWeights(file.relative_to(tmp_path))
    monkeypatch.chdir("/")
    assert pickle.loads(pickle.dumps(weights))["layer.weight"].shape == (4, 4)


def test_the_state_of_what_was_rounded_is_that_of_the_file(rounded):
    part, weights = rounded
    assert has_lost_weights(part)
    keep_stored(part, weights)
    assert not has_lost_weights(part)
    for name, value in part.layer.state_dict(prefix="layer.").items():
        assert value.dtype == torch.bfloat16
        assert torch.equal(part.state_dict()[name], weights[name])


def test_the_state_of_what_was_not_rounded_is_what_it_is_now(rounded):
    part, weights = rounded
    keep_stored(part, weights)
    nn.init.constant_(part.norm.weight, 3.0)
    assert (part.state_dict()["norm.weight"] == 3.0).all()


def test_nothing_is_lost_in_single_precision_nor_before_packing():
    layer = nn.Linear(4, 4)
    assert not has_lost_weights(Part(PackedLinear(layer, torch.float32), nn.LayerNorm(4)))
    assert not has_lost_weights(nn.Conv2d(1, 1, 1, dtype=torch.bfloat16))


@pytest.mark.parametrize(("platform", "wanted"), [("linux", [0]), ("darwin", [])])
def test_memory_is_given_back_on_linux(monkeypatch, platform, wanted):
    asked = []
    monkeypatch.setattr(ctypes, "CDLL", lambda _: SimpleNamespace(malloc_trim=asked.append))
    monkeypatch.setattr(sys, "platform", platform)
    give_back()
    assert asked == wanted


def test_a_c_library_without_it_is_no_error(monkeypatch):
    monkeypatch.setattr(ctypes, "CDLL", lambda _: SimpleNamespace())
    give_back()


class Small(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4))
        self.vector = nn.Parameter(torch.zeros(4))
        nn.init.normal_(self.vector)
        self.register_buffer("steps", torch.ones(2, dtype=torch.int64))


@pytest.fixture
def stored(tmp_path):
    torch.manual_seed(0)
    state = {name: value.half() if value.is_floating_point() else value for name, value in Small().state_dict().items()}
    save_file(state, tmp_path / "small.safetensors")
    return state, StoredWeights(tmp_path / "small.safetensors")


def test_a_file_is_a_mapping_of_its_weights(stored):
    state, weights = stored
    assert set(weights) == set(state)
    assert len(weights) == len(state)
    assert weights.shapes["layers.0.weight"] == (4, 4)
    assert torch.equal(weights["vector"], state["vector"])
    with pytest.raises(Exception, match="absent"):
        weights["absent"]


def test_what_is_laid_out_draws_no_random_number():
    torch.manual_seed(0)
    before = torch.get_rng_state()
    with laid_out():
        module = Small()
    assert all(value.is_meta for value in module.state_dict().values())
    assert torch.equal(torch.get_rng_state(), before)


def test_what_is_filled_is_in_single_precision_and_whole_numbers_stay(stored):
    state, weights = stored
    with laid_out():
        module = Small()
    fill_rest(module, weights)
    for name, value in module.state_dict().items():
        assert value.dtype == (torch.int64 if name == "steps" else torch.float32)
        assert torch.equal(value, state[name].to(value.dtype))


def test_a_layer_is_filled_before_it_is_swapped(stored):
    state, weights = stored
    with laid_out():
        module = Small()
    seen = []

    def make(layer):
        seen.append(layer.weight.detach().clone())
        return nn.Identity()

    swap_linear(module, "layers.0", make, weights)
    swap_linear(module, "layers.1", make, weights)  # none: it stays as it is
    assert torch.equal(seen[0], state["layers.0.weight"].float())
    assert isinstance(module.layers[0], nn.Identity)
    assert isinstance(module.layers[1], nn.LayerNorm)


def test_weights_of_another_type_come_in_the_type_of_their_place(tmp_path):
    state = {name: value.to(torch.int16) for name, value in Small().state_dict().items()}
    save_file(state, tmp_path / "small.safetensors")
    with laid_out():
        module = Small()
    fill_rest(module, StoredWeights(tmp_path / "small.safetensors"))
    assert module.vector.dtype == torch.float32
    assert module.steps.dtype == torch.int64
