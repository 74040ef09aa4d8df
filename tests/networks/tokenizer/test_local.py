"""The local tokenizer: its grid, its locality, its freedom of length."""

import pytest
import torch

from masktools.core.errors import ParameterError
from masktools.networks.tokenizer import LocalTokenizer, LocalTokenizerConfig


@pytest.fixture
def tokenizer():
    torch.manual_seed(0)
    net = LocalTokenizer(LocalTokenizerConfig(n_codes=64, code_dim=16, widths=(8, 16, 24))).eval()
    with torch.no_grad():
        net.codebook.place(net.to_latents(torch.empty(8, 80, 256).uniform_(-1, 1)).movedim(1, -1).reshape(-1, 16))
    return net


def test_the_papers_clip_becomes_5_by_53_tokens_and_back(tokenizer):
    mel = torch.empty(2, 80, 848).uniform_(-1, 1)
    with torch.inference_mode():
        tokens = tokenizer.encode(mel)
        back = tokenizer.decode(tokens)
    assert tokens.shape == (2, 5, 53)
    assert tokens.dtype == torch.int64
    assert back.shape == mel.shape
    assert back.abs().max() <= 1


def test_erasing_a_gap_leaves_the_tokens_six_columns_away_untouched(tokenizer):
    mel = torch.empty(1, 80, 848).uniform_(-1, 1)
    erased = mel.clone()
    erased[:, :, 25 * 16 : 35 * 16] = -1
    with torch.inference_mode():
        changed = tokenizer.encode(mel) != tokenizer.encode(erased)
    assert changed[:, :, 25:35].any()
    assert not changed[:, :, :19].any()
    assert not changed[:, :, 41:].any()


def test_tokens_of_a_short_clip_are_those_it_has_within_a_long_one(tokenizer):
    mel = torch.empty(1, 80, 320).uniform_(-1, 1)
    with torch.inference_mode():
        assert torch.equal(tokenizer.encode(mel[:, :, :160])[:, :, :5], tokenizer.encode(mel)[:, :, :5])


def test_a_batch_is_its_clips(tokenizer):
    mel = torch.empty(3, 80, 64).uniform_(-1, 1)
    with torch.inference_mode():
        assert torch.equal(tokenizer.encode(mel)[1:2], tokenizer.encode(mel[1:2]))


def test_the_bundled_size_is_4_3_million_parameters():
    assert sum(p.numel() for p in LocalTokenizer(LocalTokenizerConfig()).parameters()) == 4_309_728


def test_training_moves_every_parameter(tokenizer):
    tokenizer.train()
    quantised = tokenizer.codebook(tokenizer.to_latents(torch.empty(2, 80, 64).uniform_(-1, 1)))
    estimate = tokenizer.from_latents(quantised.vectors)
    (estimate.square().mean() + quantised.loss).backward()
    still = [
        name for name, p in tokenizer.named_parameters() if p.requires_grad and (p.grad is None or not p.grad.any())
    ]
    assert not still


@pytest.mark.parametrize("shape", [(1, 80, 100), (1, 64, 160), (1, 80, 0)])
def test_a_mel_that_is_no_whole_grid_is_refused(tokenizer, shape):
    with pytest.raises(ParameterError, match="mel must have 80 bins and a positive multiple of 16 frames"):
        tokenizer.encode(torch.zeros(shape))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"widths": (8, 8)}, "widths must be three positive channel counts"),
        ({"n_mels": 81}, "n_mels must be a multiple of 16, got 81"),
        ({"n_codes": 0}, "n_codes must be at least 1, got 0"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message):
    with pytest.raises(ParameterError, match=message):
        LocalTokenizerConfig(**settings)
