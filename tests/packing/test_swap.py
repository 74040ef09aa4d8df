"""Modules are laid out without memory, filled from a file weight by weight, and swapped layer by layer."""

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from masktools.packing import StoredWeights, fill_rest, laid_out, swap_linear


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
