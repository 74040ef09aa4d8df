"""The multi-scale quantiser: what encoding and decoding, dropout, gradients and codebooks must hold."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from masktools.core.errors import CheckpointError, ParameterError
from masktools.networks.scales import MultiScaleQuantiser, ScalePyramid, scale_usage
from masktools.networks.scales.pyramid import phi_groups
from masktools.networks.tokenizer.local import Codebook
from tests.networks.scales.small import latents, quantiser, scale_lists

PYRAMIDS = (
    ((1, 1), (1, 3), (2, 6), (4, 6)),
    ((5, 1), (5, 3), (5, 6), (5, 13)),
    ((3, 5),),
    tuple((n, n) for n in (1, 2, 3, 4, 5, 6, 7, 8, 9, 10)),
)
any_scales = scale_lists() | st.sampled_from(PYRAMIDS)
seeds = st.integers(0, 1000)


@settings(max_examples=25, deadline=None)
@given(
    any_scales,
    seeds,
    st.sampled_from(["shared", "per_scale", "none"]),
    st.sampled_from(["bicubic", "bilinear", "nearest"]),
    st.booleans(),
)
def test_decoding_gives_what_encoding_subtracted(scales, seed, phi, up, shared):
    pyramid = ScalePyramid(scales)
    made = quantiser(pyramid, seed, phi=phi, up=up, shared_codebook=shared)
    given_latents = latents(pyramid, 3)
    tokens = made.encode(given_latents)
    assert [tuple(grid.shape[1:]) for grid in tokens] == list(pyramid.scales)
    assert all(int(grid.min()) >= 0 and int(grid.max()) < 16 for grid in tokens)
    sums = made.partial_sums(tokens)
    for n_scales, vectors in enumerate(sums, start=1):
        assert torch.equal(made.decode(tokens[:n_scales]), vectors)
    residual = given_latents
    for before, after in zip([torch.zeros_like(sums[0]), *sums], sums, strict=False):
        residual = residual - (after - before)
    torch.testing.assert_close(sums[-1] + residual, given_latents, atol=1e-5, rtol=1e-5)
    assert [torch.equal(a, b) for a, b in zip(tokens, pyramid.unpack(pyramid.pack(tokens)), strict=True)]


@given(seeds)
def test_one_scale_is_the_plain_codebook(seed):
    torch.manual_seed(seed)
    pyramid = ScalePyramid(((4, 7),))
    made, plain = MultiScaleQuantiser(pyramid, 16, 5, phi="none").eval(), Codebook(16, 5)
    with torch.no_grad():
        plain.weight.copy_(torch.randn(16, 5))
    made.codebooks[0].load_state_dict(plain.state_dict())
    z = latents(pyramid, 2)
    assert torch.equal(made.encode(z)[0], plain.nearest(z))
    assert torch.equal(made.decode(made.encode(z)), plain.lookup(plain.nearest(z)))


@settings(deadline=None, max_examples=10)
@given(seeds, st.lists(st.sampled_from([(1, 2), (2, 1), (2, 2), (1, 3), (3, 2)]), min_size=1, max_size=3))
def test_each_scale_leaves_no_clip_worse_where_scales_nest_and_nothing_is_an_entry(seed, factors):
    scales = [(1, 1)]
    for rows, cols in factors:
        scales.append((scales[-1][0] * rows, scales[-1][1] * cols))
    pyramid = ScalePyramid(tuple(scales))
    made = quantiser(pyramid, seed, phi="none", up="nearest")
    with torch.no_grad():
        made.codebook(0).weight[0] = 0.0
    z = latents(pyramid, 8)
    errors = [(z - vectors).square().mean((1, 2, 3)) for vectors in made.partial_sums(made.encode(z))]
    for before, after in zip([z.square().mean((1, 2, 3)), *errors], errors, strict=False):
        assert (after <= before + 1e-6).all()


@settings(deadline=None, max_examples=20)
@given(any_scales, seeds, st.data())
def test_a_changed_scale_changes_that_scale_and_finer_ones_only(scales, seed, data):
    pyramid = ScalePyramid(scales)
    made = quantiser(pyramid, seed)
    tokens = made.encode(latents(pyramid, 2))
    scale = data.draw(st.integers(0, len(pyramid) - 1))
    changed = [grid.clone() for grid in tokens]
    changed[scale] = (changed[scale] + 1) % 16
    same = [torch.equal(a, b) for a, b in zip(made.partial_sums(tokens), made.partial_sums(changed), strict=True)]
    assert same == [number < scale for number in range(len(pyramid))]
    inputs, others = made.inputs(tokens), made.inputs(changed)
    assert [torch.equal(a, b) for a, b in zip(inputs, others, strict=True)] == [
        number <= scale for number in range(1, len(pyramid))
    ]


def test_inputs_are_the_sums_so_far_averaged_over_cells_and_time_major():
    pyramid = ScalePyramid(((1, 1), (1, 3), (2, 6), (4, 6)))
    made = quantiser(pyramid)
    tokens = made.encode(latents(pyramid, 2))
    given_inputs = made.inputs(tokens)
    pooled = F.adaptive_avg_pool2d(made.decode(tokens[:2]), (2, 6))
    assert torch.equal(given_inputs[1][:, 5], pooled[:, :, 1, 2])  # column 2, row 1 of two rows
    assert torch.equal(made.inputs(tokens[:1])[0], given_inputs[0]), "coarser scales suffice"


@settings(deadline=None, max_examples=10)
@given(any_scales, seeds)
def test_the_straight_through_value_and_gradient(scales, seed):
    pyramid = ScalePyramid(scales)
    made = quantiser(pyramid, seed)
    z = latents(pyramid, 2).requires_grad_()
    found = made(z)
    torch.testing.assert_close(found.vectors, made.decode(found.tokens))
    weights = torch.randn_like(z)
    (found.vectors * weights).sum().backward()
    assert torch.equal(z.grad, weights)


@pytest.mark.parametrize("kind", ["ema", "gradient"])
def test_the_loss_reaches_latents_and_phi_and_entries_only_where_they_learn_by_it(kind):
    pyramid = ScalePyramid(PYRAMIDS[0])
    made = quantiser(pyramid, kind=kind).train()
    z = latents(pyramid, 2).requires_grad_()
    made(z).loss.backward()
    assert z.grad.abs().sum() > 0
    assert all(convolution.weight.grad.abs().sum() > 0 for convolution in made.phi)
    weight = made.codebook(0).weight
    assert (weight.grad is not None and weight.grad.abs().sum() > 0) == (kind == "gradient")


@settings(deadline=None, max_examples=10)
@given(any_scales, seeds, st.data())
def test_scale_dropout_is_decoding_of_fewer_scales(scales, seed, data):
    pyramid = ScalePyramid(scales)
    made = quantiser(pyramid, seed)
    z = latents(pyramid, 3)
    kept = data.draw(st.lists(st.integers(1, len(pyramid)), min_size=3, max_size=3))
    found = made(z, torch.tensor(kept))
    for item, n_keep in enumerate(kept):
        own = made.decode([grid[item : item + 1] for grid in found.tokens[:n_keep]])
        torch.testing.assert_close(found.vectors[item : item + 1], own)


@pytest.mark.parametrize("shared", [True, False])
def test_entries_follow_and_restart_in_training_only(shared):
    pyramid = ScalePyramid(PYRAMIDS[0])
    made = quantiser(pyramid, shared_codebook=shared)
    before = [book.weight.clone() for book in made.codebooks]
    z = latents(pyramid, 4)
    made(z)
    assert all(torch.equal(book.weight, old) for book, old in zip(made.codebooks, before, strict=True))
    made.train()(z)
    assert all(not torch.equal(book.weight, old) for book, old in zip(made.codebooks, before, strict=True))
    with torch.no_grad():
        for book in made.codebooks:
            book.weight[3:] += 1e3  # nothing is ever so far away
            book.decay = 0.8
        for _ in range(40):
            made(z)
        assert made.restart(z) >= 13 * len(made.codebooks)
        assert all(book.weight.abs().max() < 1e2 for book in made.codebooks)


def test_usage_counts_every_token_of_every_scale():
    pyramid = ScalePyramid(PYRAMIDS[0])
    made = quantiser(pyramid)
    tokens = made.encode(latents(pyramid, 6))
    for grid, usage in zip(tokens, scale_usage(tokens, 16), strict=True):
        assert usage.n_used == len(grid.unique())
        assert 1 <= usage.perplexity <= usage.n_used + 1e-6


@pytest.mark.parametrize("shared", [True, False])
def test_placing_on_few_clips_fills_all_entries(shared):
    pyramid = ScalePyramid(PYRAMIDS[1])
    made = quantiser(pyramid, n_codes=64, n_items=2, shared_codebook=shared)
    for book in made.codebooks:
        assert book.weight.isfinite().all()
        assert len(book.weight.unique(dim=0)) == 64


def test_placed_entries_begin_with_the_hits_of_one_batch_and_are_soon_found_dead():
    pyramid = ScalePyramid(((2, 1), (2, 4)))
    quantiser = MultiScaleQuantiser(pyramid, 8, 4, shared_codebook=False).train()
    torch.manual_seed(0)
    quantiser.place(torch.randn(200, 4, 2, 4), batch_size=6)
    for scale, length in enumerate(pyramid.lengths):
        assert quantiser.codebook(scale).hits.tolist() == [6 * length / 8] * 8
    narrow = torch.randn(6, 4, 2, 4) * 1e-3 + 5.0  # far from where all but a few entries were placed
    for _ in range(300):
        quantiser(narrow)
    assert quantiser.restart(narrow) > 0


def test_phi_of_each_scale_is_a_table_of_whole_numbers():
    assert phi_groups(10, 4) == (0, 0, 1, 1, 1, 2, 2, 3, 3, 3)
    assert phi_groups(4, 4) == (0, 1, 2, 3)
    assert phi_groups(7, 4) == (0, 0, 1, 1, 2, 2, 3)


@settings(deadline=None, max_examples=20)
@given(scale_lists(), scale_lists())
def test_weights_of_other_scales_are_refused_by_name(scales, others):
    pyramid, other = ScalePyramid(scales), ScalePyramid(others)
    one, stored = MultiScaleQuantiser(pyramid, 8, 4), MultiScaleQuantiser(other, 8, 4)
    if pyramid == other:
        one.load_state_dict(stored.state_dict())
        return
    with pytest.raises(CheckpointError, match=f"has the scales {other}, the model {pyramid}$"):
        one.load_state_dict(stored.state_dict())


@pytest.mark.parametrize(
    ("scales", "what"),
    [
        ((), "at least one"),
        (((2, 2), (1, 3)), "2x2 is followed by 1x3"),
        (((2, 2), (2, 2)), "differ"),
        (((0, 1),), "1 x 1"),
    ],
)
def test_scales_that_do_not_grow_are_refused(scales, what):
    with pytest.raises(ParameterError, match=what):
        ScalePyramid(scales)


def test_tokens_of_other_sizes_are_refused():
    made = quantiser(ScalePyramid(PYRAMIDS[0]))
    with pytest.raises(ParameterError, match="must be of the scales 1x1, 1x3"):
        made.decode([torch.zeros(1, 1, 2, dtype=torch.long)])
    with pytest.raises(ParameterError, match="latents must be"):
        made.encode(torch.zeros(1, 5, 4, 7))
    with pytest.raises(ParameterError, match=r"one of \[1, 4, 16, 40\] long, got 5"):
        made.pyramid.unpack(torch.zeros(1, 5, dtype=torch.long))
