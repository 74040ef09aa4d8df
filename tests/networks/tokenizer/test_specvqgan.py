"""SpecVQGAN has upstream's architecture and names, and its tokens are the nearest codes of a grid."""

import re

import pytest
import torch
import torch.nn.functional as F

from masktools.core.configs import from_dict, to_dict
from masktools.core.errors import ParameterError
from masktools.networks.packing import laid_out
from masktools.networks.tokenizer.specvqgan import AttentionBlock, SpecVqgan, SpecVqganConfig
from masktools.training.losses import codebook_loss

SMALL = SpecVqganConfig(n_codes=16, code_dim=6, channels=4, latent_channels=8, n_groups=2)


def small(seed=0, **changes):
    torch.manual_seed(seed)
    module = SpecVqgan(SpecVqganConfig(**{**vars(SMALL), **changes})).eval()
    with torch.no_grad():
        for weight in module.parameters():
            weight.add_(0.05 * torch.randn_like(weight))  # also what starts as zeros and ones
        module.codebook.weight.normal_()
    return module


def mels(n_clips, n_frames, seed=1):
    return 2.0 * torch.rand(n_clips, 80, n_frames, generator=torch.Generator().manual_seed(seed)) - 1.0


def n_parameters(module):
    return sum(weight.numel() for weight in module.parameters())


def test_the_paper_size_has_72_14_million_parameters():
    with torch.device("meta"):
        module = SpecVqgan(SpecVqganConfig())
    assert n_parameters(module) == 72_137_089
    assert round(n_parameters(module) / 1e6, 2) == 72.14
    assert round(n_parameters(module.encoder) / 1e6, 3) == 29.296
    assert round(n_parameters(module.decoder) / 1e6, 3) == 42.447
    assert n_parameters(module.codebook) == 1024 * 256
    assert n_parameters(module.quant_conv) + n_parameters(module.post_quant_conv) == 2 * (256 * 256 + 256)


def test_the_names_are_those_of_upstream():
    with torch.device("meta"):
        state = SpecVqgan(SpecVqganConfig(codebook="gradient")).state_dict()
        trained = SpecVqgan(SpecVqganConfig(codebook="ema")).state_dict()
    shapes = {name: tuple(value.shape) for name, value in state.items()}
    assert trained.keys() - shapes.keys() == {"quantize.embedding.hits"}  # what its moving average needs to go on
    assert len(shapes) == 343
    number = r"\d"
    block = r"(norm1|conv1|norm2|conv2|nin_shortcut)"
    attention = r"(norm|q|k|v|proj_out)"
    pattern = re.compile(
        rf"(encoder|decoder)\.(conv_in|conv_out|norm_out|mid\.block_[12]\.{block}|mid\.attn_1\.{attention}"
        rf"|(down|up)\.{number}\.(block\.{number}\.{block}|attn\.{number}\.{attention}|downsample\.conv|upsample\.conv))"
        r"\.(weight|bias)|(quant_conv|post_quant_conv)\.(weight|bias)|quantize\.embedding\.weight"
    )
    assert [name for name in shapes if not pattern.fullmatch(name)] == []
    assert shapes["quantize.embedding.weight"] == (1024, 256)
    assert shapes["encoder.conv_in.weight"] == (128, 1, 3, 3)
    assert shapes["encoder.down.2.block.0.nin_shortcut.weight"] == (256, 128, 1, 1)
    assert shapes["encoder.down.3.downsample.conv.weight"] == (256, 256, 3, 3)
    assert shapes["encoder.conv_out.weight"] == (256, 512, 3, 3)
    assert shapes["decoder.up.3.block.0.conv1.weight"] == (256, 512, 3, 3)
    assert shapes["decoder.up.4.upsample.conv.weight"] == (512, 512, 3, 3)
    assert shapes["decoder.conv_out.weight"] == (1, 128, 3, 3)
    assert "encoder.down.4.downsample.conv.weight" not in shapes
    assert "decoder.up.0.upsample.conv.weight" not in shapes


def test_attention_sits_at_the_grid_of_tokens_whatever_the_length():
    with torch.device("meta"):
        names = SpecVqgan(SpecVqganConfig()).state_dict()
    encoder = {name.split(".")[2] for name in names if ".attn." in name and name.startswith("encoder")}
    assert encoder == {"4"}
    assert sum(name.endswith("attn.2.q.weight") for name in names) == 1  # the third one is the decoder's
    module = small(attention_levels=(3, 4))
    assert "encoder.down.3.attn.1.v.bias" in module.state_dict()
    assert module.encode(mels(1, 32)).shape == (1, 5, 2)


@pytest.mark.parametrize("n_frames", [16, 48, 112])
def test_any_multiple_of_16_frames_makes_a_grid_of_five_rows(n_frames):
    module = small()
    tokens = module.encode(mels(2, n_frames))
    assert tokens.shape == (2, 5, n_frames // 16)
    assert tokens.dtype == torch.int64
    assert 0 <= tokens.min() <= tokens.max() < module.n_codes
    mel = module.decode(tokens)
    assert mel.shape == (2, 80, n_frames)
    assert mel.abs().max() <= 1.0
    assert (module.n_rows, module.patch, module.n_codes) == (5, 16, 16)


@pytest.mark.parametrize("n_frames", [0, 8, 40])
def test_other_lengths_are_refused(n_frames):
    with pytest.raises(ParameterError, match=f"positive multiple of 16 frames, got 80 bins and {n_frames} frames"):
        small().encode(torch.zeros(1, 80, n_frames))


def test_other_numbers_of_bins_are_refused():
    with pytest.raises(ParameterError, match="mel must have 80 bins .* got 64 bins and 16 frames"):
        small().encode(torch.zeros(1, 64, 16))


def test_a_token_is_the_code_nearest_to_its_vector():
    module = small()
    mel = mels(1, 48)
    vectors = module.to_latents(mel)[0].flatten(1).T  # (r * w, d)
    distances = (vectors[:, None] - module.codebook.weight[None]).square().sum(-1)
    assert torch.equal(module.encode(mel).flatten(), distances.argmin(dim=1))


def test_the_reconstruction_in_training_is_that_of_the_tokens():
    module = small(codebook="gradient")
    mel = mels(2, 32)
    quantised = module.codebook(module.to_latents(mel))
    reconstruction = module.from_latents(quantised.vectors)
    assert torch.equal(quantised.tokens, module.encode(mel))
    close = {"rtol": 1e-3, "atol": 1e-4}  # z + (v - z) is v up to rounding
    torch.testing.assert_close(reconstruction.clamp(-1.0, 1.0), module.decode(quantised.tokens), **close)
    loss = codebook_loss(quantised.vectors, module.codebook.lookup(quantised.tokens))
    ((reconstruction - mel).abs().mean() + loss).backward()
    without = [name for name, weight in module.named_parameters() if weight.grad is None]
    assert without == []


def test_a_clip_in_a_batch_is_encoded_as_alone():
    module = small()
    mel = mels(3, 48)
    torch.testing.assert_close(module.to_latents(mel)[1:2], module.to_latents(mel[1:2]), rtol=1e-3, atol=1e-4)


def test_every_token_hears_the_whole_clip():
    module = small()
    mel = mels(1, 320)
    erased = mel.clone()
    erased[..., :16] = -1.0
    change = (module.to_latents(mel) - module.to_latents(erased)).abs().amax(dim=(0, 1, 2))
    assert change[-1] > 1e-6


def test_attention_is_the_softmax_of_scaled_products():
    torch.manual_seed(0)
    block = AttentionBlock(8, 2)
    cells = torch.randn(2, 8, 3, 4)
    normed = block.norm(cells)
    query, key, value = (project(normed).flatten(2) for project in (block.q, block.k, block.v))
    share = torch.softmax(torch.einsum("bci,bcj->bij", query, key) / 8**0.5, dim=-1)
    gathered = torch.einsum("bij,bcj->bci", share, value).view_as(cells)
    torch.testing.assert_close(block(cells), cells + block.proj_out(gathered))


class Literal:
    """SpecVQGAN said once more, as functions over upstream's names."""

    def __init__(self, weights, n_groups):
        self.weights, self.n_groups = weights, n_groups

    def conv(self, name, cells, **how):
        return F.conv2d(cells, self.weights[f"{name}.weight"], self.weights[f"{name}.bias"], **how)

    def norm(self, name, cells):
        return F.group_norm(
            cells, self.n_groups, self.weights[f"{name}.weight"], self.weights[f"{name}.bias"], eps=1e-6
        )

    def res(self, name, cells):
        inner = self.conv(f"{name}.conv1", F.silu(self.norm(f"{name}.norm1", cells)), padding=1)
        inner = self.conv(f"{name}.conv2", F.silu(self.norm(f"{name}.norm2", inner)), padding=1)
        if f"{name}.nin_shortcut.weight" in self.weights:
            cells = self.conv(f"{name}.nin_shortcut", cells)
        return cells + inner

    def attend(self, name, cells):
        normed = self.norm(f"{name}.norm", cells)
        query, key, value = (self.conv(f"{name}.{part}", normed).flatten(2) for part in "qkv")
        share = torch.softmax(query.transpose(1, 2) @ key * query.shape[1] ** -0.5, dim=2)
        return cells + self.conv(f"{name}.proj_out", (value @ share.transpose(1, 2)).view_as(cells))

    def middle(self, name, cells):
        cells = self.attend(f"{name}.attn_1", self.res(f"{name}.block_1", cells))
        return self.res(f"{name}.block_2", cells)

    def encode(self, mel):
        cells = self.conv("encoder.conv_in", mel[:, None], padding=1)
        for level in range(5):
            for block in range(2):
                cells = self.res(f"encoder.down.{level}.block.{block}", cells)
                cells = self.attend(f"encoder.down.4.attn.{block}", cells) if level == 4 else cells
            if level < 4:
                cells = F.pad(cells, (0, 1, 0, 1))
                cells = self.conv(f"encoder.down.{level}.downsample.conv", cells, stride=2)
        cells = F.silu(self.norm("encoder.norm_out", self.middle("encoder.mid", cells)))
        return self.conv("quant_conv", self.conv("encoder.conv_out", cells, padding=1))

    def decode(self, vectors):
        cells = self.conv("decoder.conv_in", self.conv("post_quant_conv", vectors), padding=1)
        cells = self.middle("decoder.mid", cells)
        for level in (4, 3, 2, 1, 0):
            for block in range(3):
                cells = self.res(f"decoder.up.{level}.block.{block}", cells)
                cells = self.attend(f"decoder.up.4.attn.{block}", cells) if level == 4 else cells
            if level > 0:
                cells = cells.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
                cells = self.conv(f"decoder.up.{level}.upsample.conv", cells, padding=1)
        return self.conv("decoder.conv_out", F.silu(self.norm("decoder.norm_out", cells)), padding=1)[:, 0]


def test_it_computes_what_upstream_describes():
    module = small()
    literal = Literal(module.state_dict(), SMALL.n_groups)
    mel = mels(2, 48)
    vectors = module.to_latents(mel)
    torch.testing.assert_close(vectors, literal.encode(mel), rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(module.from_latents(vectors), literal.decode(vectors), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"multipliers": (1, 2, 4)}, "multipliers must be 5 positive numbers"),
        ({"n_mels": 72}, "n_mels must be a positive multiple of 16, got 72"),
        ({"n_codes": 0}, "n_codes must be at least 1, got 0"),
        ({"channels": 48}, "n_groups must divide the widths .* got 32"),
        ({"attention_levels": (5,)}, r"attention_levels must lie in \[0, 4\]"),
        ({"codebook": "emma"}, "unknown codebook 'emma': .*did you mean 'ema'"),
    ],
)
def test_settings_out_of_range_are_refused(change, message):
    with pytest.raises(ParameterError, match=message):
        SpecVqganConfig(**change)


def test_the_settings_survive_a_dictionary():
    assert from_dict(SpecVqganConfig, to_dict(SMALL)) == SMALL


@torch.inference_mode()
def test_packed_it_makes_the_same_tokens_and_nearly_the_same_mel():
    module, mel = small(), mels(2, 64)
    tokens = module.encode(mel)
    wanted = module.decode(tokens)
    for precision, tolerance in ((torch.float32, 1e-5), (torch.bfloat16, 0.1), (torch.int8, 0.1)):
        packed = small()
        packed.pack(precision)
        assert packed.packed
        assert torch.equal(packed.encode(mel), tokens)
        decoded = packed.decode(tokens)
        assert decoded.dtype == torch.float32
        assert (decoded - wanted).abs().mean() < tolerance


@torch.inference_mode()
def test_weights_that_come_one_by_one_make_the_same_tokenizer():
    module, mel = small(), mels(1, 32)
    with laid_out():
        other = SpecVqgan(SMALL).eval()
    other.pack(torch.float32, module.state_dict())
    module.pack(torch.float32)
    assert torch.equal(other.encode(mel), module.encode(mel))
    assert torch.equal(other.decode(other.encode(mel)), module.decode(module.encode(mel)))


def halves():
    """A tokenizer whose weights are numbers of half precision, as bundles have them."""
    module = small()
    module.load_state_dict({name: value.half() for name, value in module.state_dict().items()})
    return module


@torch.inference_mode()
def test_an_encoder_takes_half_the_memory_until_something_is_encoded():
    module, mel = halves(), mels(1, 32)
    wanted = module.encode(mel)
    module.pack(torch.float32)
    assert module.encoder.conv_in.weight.dtype == torch.float16
    module.decode(wanted)
    assert module.encoder.conv_in.weight.dtype == torch.float16
    assert torch.equal(module.encode(mel), wanted)
    assert module.encoder.conv_in.weight.dtype == torch.float32


def test_the_state_of_an_encoder_that_waits_is_in_single_precision():
    module, wanted = halves(), halves().state_dict()
    module.pack(torch.float32)
    state = module.state_dict()
    assert state.keys() == wanted.keys()
    assert all(torch.equal(state[name], value) and state[name].dtype == value.dtype for name, value in wanted.items())


@torch.inference_mode()
def test_what_is_packed_stays_as_it_is_and_refuses_weights():
    module, mel = small(), mels(1, 32)
    module.pack(torch.float32)
    wanted = module.decode(module.encode(mel))
    module.pack(torch.bfloat16)
    assert torch.equal(module.decode(module.encode(mel)), wanted)
    with pytest.raises(ParameterError, match="a packed part must keep its weights"):
        module.load_state_dict(small().state_dict())
