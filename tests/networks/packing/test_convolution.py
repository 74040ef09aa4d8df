"""Convolutions for inference: their number type, their order, and blocks that compute in place."""

import copy

import torch
from torch import nn

from masktools.networks.tokenizer.specvqgan import (
    ResidualBlock,
    ResidualInPlace,
    halve_convolutions,
    order_convolutions,
    through,
)


def test_convolutions_change_their_type_and_norms_do_not():
    part = nn.Sequential(nn.Conv2d(4, 4, 3), nn.GroupNorm(2, 4))
    order_convolutions(part, "", torch.bfloat16)
    assert part[0].weight.dtype == part[0].bias.dtype == torch.bfloat16
    assert part[0].weight.is_contiguous(memory_format=torch.channels_last)
    assert part[1].weight.dtype == torch.float32


def test_only_convolutions_that_lose_nothing_are_halved():
    part = nn.Sequential(nn.Conv2d(4, 4, 3), nn.Conv2d(4, 4, 3))
    part[0].half().float()
    nn.init.constant_(part[1].weight, 1e6)
    wanted = copy.deepcopy(part.state_dict())
    halve_convolutions(part, "")
    assert [layer.weight.dtype for layer in part] == [torch.float16, torch.float32]
    order_convolutions(part, "", torch.float32)
    assert all(torch.equal(value, wanted[name]) for name, value in part.state_dict().items())


@torch.inference_mode()
def test_a_block_in_place_gives_what_the_block_gives_and_leaves_what_it_was_given():
    for n_out in (8, 16):
        block, cells = ResidualBlock(8, n_out, 4), torch.randn(2, 8, 6, 10)
        before, wanted = cells.clone(), block(cells)
        ours = ResidualInPlace(block)
        assert ours.state_dict().keys() == block.state_dict().keys()
        assert torch.equal(ours(cells), wanted)
        assert torch.equal(cells, before)


def test_gradients_pass_through_a_block_in_place():
    block, cells = ResidualBlock(8, 16, 4), torch.randn(2, 8, 6, 10)
    found = []
    for one in (block, ResidualInPlace(block)):
        given = cells.clone().requires_grad_(True)
        one(given).square().sum().backward()
        found.append(given.grad)
    torch.testing.assert_close(*found)


def test_steps_are_taken_in_order():
    assert through([nn.Flatten(0), nn.Unflatten(0, (3, 2))], torch.zeros(2, 3)).shape == (3, 2)
