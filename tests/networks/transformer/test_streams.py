"""The stream transformer: what attends what, what a text adds, and what is packed."""

import pytest
import torch

from masktools.core.errors import ParameterError
from masktools.networks.transformer import StreamTransformerConfig
from masktools.networks.transformer.model import _by_blocks, attend_near, near_mask
from tests.pipeline.streams.small import prior, transformer

FULL = torch.nn.functional.scaled_dot_product_attention


@pytest.mark.parametrize("context", [0, 1, 5])
@pytest.mark.parametrize("n", [1, 5, 32, 33, 200])
def test_near_attention_by_blocks_is_that_by_a_mask(n, context):
    parts = torch.randn(3, 2, 2, n, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(n)).unbind(0)
    by_mask = FULL(*parts, attn_mask=near_mask(n, context))
    torch.testing.assert_close(_by_blocks(*parts, context), by_mask)
    torch.testing.assert_close(attend_near(*parts, context), by_mask)


def clip(n_cols=20, seed=3, **changes):
    tokens = torch.randint(0, 16, (2, 3, n_cols), generator=torch.Generator().manual_seed(seed))
    tokens[:, 2] = 16
    return tokens


@torch.no_grad()
def test_a_stream_is_predicted_from_itself_and_the_coarser_ones_that_are_shown():
    net, tokens = transformer(), clip()
    before = net.logits(tokens, 1)
    for stream in (0, 1):
        changed = tokens.clone()
        changed[:, stream] = (changed[:, stream] + 1) % 16
        assert not torch.allclose(net.logits(changed, 1), before)


def reach(net, stage, column):
    """Return which columns the logits of one column depend on, by their gradients."""
    tokens = clip(60)
    embedded = []

    def keep(module, given, made):
        made.retain_grad()
        embedded.append(made)

    handle = net.streams[0].register_forward_hook(keep)
    net.logits(tokens, stage)[0, column].square().sum().backward()
    handle.remove()
    return embedded[0].grad[0].abs().sum(dim=1) > 0


def test_later_stages_hear_five_columns_a_block_and_the_first_hears_all():
    net = transformer()
    assert reach(net, 0, 30).all()
    heard = reach(net, 1, 30).nonzero()[:, 0]
    assert (heard.min(), heard.max()) == (20, 40)
    assert reach(transformer(context=None), 1, 30).all()


@torch.no_grad()
def test_a_text_of_zeros_adds_exactly_nothing_and_its_attention_is_not_computed_without_one():
    net, tokens = transformer(), clip()
    assert torch.equal(net.logits(tokens, 0, net.read(torch.zeros(2, 4, 8))), net.logits(tokens, 0))
    for block in net.blocks:
        block.cross.forward = None  # would fail if it were called
    net.logits(tokens, 0)


@torch.no_grad()
@pytest.mark.parametrize("dtype", [torch.float64])
def test_a_text_gives_the_same_beside_a_longer_one(dtype):
    net, tokens = transformer().to(dtype), clip()
    short, long = (torch.randn(1, n, 8, dtype=dtype, generator=torch.Generator().manual_seed(n)) for n in (2, 6))
    both = torch.cat([torch.nn.functional.pad(short, (0, 0, 0, 4)), long])
    together = net.logits(tokens, 0, net.read(both))
    torch.testing.assert_close(together[:1], net.logits(tokens[:1], 0, net.read(short)), atol=1e-12, rtol=0)
    assert not torch.allclose(together, net.logits(tokens, 0))
    attending = transformer(attend_absent=True).to(dtype)
    there = attending.logits(tokens, 0, attending.read(both))
    assert not torch.allclose(there[:1], together[:1]), "where absent places are attended, they take weight"


@torch.no_grad()
def test_packed_it_gives_the_same_and_a_batch_is_its_clips_bit_for_bit():
    net, tokens = transformer(), clip()
    states = torch.randn(2, 3, 8, generator=torch.Generator().manual_seed(1))
    before = net.logits(tokens, 1, net.read(states))
    net.pack(torch.float32)
    text = net.read(states)
    after = net.logits(tokens, 1, text)
    torch.testing.assert_close(after, before, atol=1e-5, rtol=1e-5)
    alone = net.logits(tokens[1:], 1, text.select(slice(1, 2)))
    assert torch.equal(after[1:], alone)


@torch.no_grad()
def test_the_prior_is_causal_in_the_delayed_order():
    net, tokens = prior(), clip() % 16
    before = net.all_logits(tokens)
    changed = tokens.clone()
    changed[:, 0, 10] = (changed[:, 0, 10] + 1) % 16
    differs = (net.all_logits(changed) != before).any(dim=-1)[0]
    for stream in range(3):
        assert not differs[stream, : 11 - stream].any(), "places up to the token's own"
        assert differs[stream, 11 - stream :].any()
    assert before.isfinite().all()
    log_p = net.log_p(tokens, 2)
    torch.testing.assert_close(log_p, before[:, 2].log_softmax(-1).gather(2, tokens[:, 2, :, None])[..., 0])


def test_sizes_out_of_range_are_refused():
    with pytest.raises(ParameterError, match="width must be even"):
        StreamTransformerConfig(width=15, n_heads=3)
    with pytest.raises(ParameterError, match=r"stage must lie in \[0, 3\), got 3"):
        transformer().logits(clip(), 3)
    with pytest.raises(ParameterError, match=r"tokens must have shape \(b, 3, w\)"):
        transformer().logits(clip()[:, :2], 0)
    with pytest.raises(ParameterError, match=r"states of shape \(b, l, 8\), got \(1, 2, 7\)"):
        transformer().read(torch.zeros(1, 2, 7))


@torch.no_grad()
def test_at_the_start_every_code_is_about_as_likely():
    logits = transformer(width=64, n_heads=4).logits(clip(), 0)
    loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), (clip()[:, 0]).flatten())
    assert loss == pytest.approx(2.77, abs=0.8)  # ln 16
