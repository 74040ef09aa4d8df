"""Weights in a file are what they were when the model was loaded, or they are refused."""

import pickle

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from masktools.errors import BundleError
from masktools.packing import PackedLinear, StoredWeights, has_lost_weights, keep_stored


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
