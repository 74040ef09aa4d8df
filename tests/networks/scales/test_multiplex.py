"""Channel multiplexing loses nothing, and its channels are copies at low resolution."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from masktools.core.errors import ParameterError
from masktools.networks.scales import ChannelMultiplex, Truncation

sizes = st.integers(1, 17)
factors = st.integers(1, 5)
layouts = st.sampled_from(["polyphase", "block"])


@given(sizes, sizes, factors, factors, layouts, st.integers(1, 3), st.integers(0, 99))
def test_the_inverse_gives_back_every_value_of_any_size(height, width, rows, cols, layout, channels, seed):
    torch.manual_seed(seed)
    cells = torch.randn(2, channels, height, width)
    multiplex = ChannelMultiplex(rows, cols, layout)
    made = multiplex(cells)
    assert made.shape == (2, channels * rows * cols, -(-height // rows), -(-width // cols))
    assert torch.equal(multiplex.inverse(made, (height, width)), cells)
    n_padded = made.numel() - cells.numel()
    values = torch.cat([cells.flatten(), torch.full((n_padded,), -1.0)])
    assert torch.equal(made.flatten().sort().values, values.sort().values)


@given(st.sampled_from([2, 3, 4]), st.integers(1, 4), st.integers(1, 3))
def test_it_is_pixel_unshuffle_where_both_factors_are_one(factor, size, channels):
    cells = torch.randn(1, channels, size * factor, size * factor)
    assert torch.equal(ChannelMultiplex(factor, factor)(cells), F.pixel_unshuffle(cells, factor))


@given(factors, factors)
def test_a_channel_holds_every_so_many_bin_and_frame(rows, cols):
    cells = torch.randn(1, 1, rows * 3, cols * 4)
    made = ChannelMultiplex(rows, cols)(cells)
    for row in range(rows):
        for col in range(cols):
            assert torch.equal(made[:, row * cols + col], cells[:, 0, row::rows, col::cols])


def test_a_block_holds_neighbours():
    cells = torch.randn(1, 1, 6, 8)
    made = ChannelMultiplex(2, 4, "block")(cells)
    assert torch.equal(made[:, 5], cells[:, 0, 3:, 2:4])


def test_gradients_types_and_strides_pass():
    cells = torch.randn(1, 2, 5, 7, dtype=torch.float64).transpose(2, 3).requires_grad_()
    multiplex = ChannelMultiplex(2, 3)
    there_and_back = multiplex.inverse(multiplex(cells), (7, 5))
    assert there_and_back.dtype == torch.float64
    weights = torch.randn_like(there_and_back)
    (there_and_back * weights).sum().backward()
    assert torch.equal(cells.grad, weights)


def test_what_is_padded_is_silence():
    assert ChannelMultiplex(2, 2)(torch.zeros(1, 1, 3, 3)).min() == -1


def test_truncation_loses_the_top_and_the_end():
    cells = torch.rand(1, 1, 8, 6)
    truncation = Truncation(5, 4)
    back = truncation.inverse(truncation(cells), (8, 6))
    assert torch.equal(back[..., :5, :4], cells[..., :5, :4])
    assert (back[..., 5:, :] == -1).all()
    assert (back[..., 4:] == -1).all()


def test_wrong_factors_and_sizes_are_refused():
    with pytest.raises(ParameterError, match="at least 1, got 0 and 2"):
        ChannelMultiplex(0, 2)
    with pytest.raises(ParameterError, match="unknown layout"):
        ChannelMultiplex(2, 2, "chess")
    with pytest.raises(ParameterError, match="multiple of 4"):
        ChannelMultiplex(2, 2).inverse(torch.zeros(1, 3, 2, 2))
    with pytest.raises(ParameterError, match=r"within \(4, 4\)"):
        ChannelMultiplex(2, 2).inverse(torch.zeros(1, 4, 2, 2), (5, 4))
