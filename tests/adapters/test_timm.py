"""The encoder as timm holds it: the same numbers, timm's own ways of asking for them; blocks of other models here."""

import numpy as np
import pytest
import timm
import torch
from torch import nn

import masktools
from masktools.adapters.timm import register
from masktools.core.errors import BundleError, CheckpointError, ParameterError
from masktools.core.shapes import flatten
from masktools.pipeline import hub
from masktools.pipeline.bundles import stored_part
from masktools.pipeline.convert import convert_checkpoint
from tests.tiny import noise, states_of, tiny_pipeline

RATE = 22_050


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return hub.save_bundle(tiny_pipeline(), tmp_path_factory.mktemp("timm") / "tiny", "A card.")


@pytest.fixture(scope="module")
def encoder(folder):
    return masktools.Encoder.from_pretrained(folder, device="cpu")


@pytest.fixture
def name(folder):
    assert register(folder) == ["specmaskgit_tiny"]
    return "specmaskgit_tiny"


def mel_of(encoder, seconds):
    return encoder.pipeline.to_mel(torch.from_numpy(noise(seconds))).clone()


def test_timm_knows_the_models_at_hand():
    assert "specmaskgit_mini" in register()
    assert timm.list_models("specmaskgit_mini", pretrained=True) == ["specmaskgit_mini"]
    assert register("mini") == register("mini") == ["specmaskgit_mini"], "nobody is warned"


@pytest.mark.parametrize("seconds", [0.5, 2.9])  # the second fills the window
def test_every_block_gives_what_it_gives_in_masktools(name, encoder, seconds):
    model = timm.create_model(name, pretrained=True).eval()
    mel = mel_of(encoder, seconds)
    tokens = flatten(encoder.pipeline.tokenise(mel))
    ours = states_of(encoder.pipeline.transformer, tokens)
    with torch.no_grad():
        last, found = model.forward_intermediates(mel[:, None])
        features = model.forward_features(mel[:, None])
    assert len(found) == len(ours) - 1
    for theirs, mine in zip(found, ours[1:], strict=True):
        by_row = mine[:, 1:].unflatten(1, (-1, 5)).permute(0, 3, 2, 1)
        torch.testing.assert_close(theirs, by_row, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(features, last)
    expected = encoder.encode(noise(seconds)[0], RATE).clip
    np.testing.assert_allclose(found[-1].mean(dim=(2, 3))[0].numpy(), expected, atol=1e-4)


def test_tokens_are_taken_in_place_of_the_spectrogram(name, encoder):
    model = timm.create_model(name, pretrained=True).eval()
    mel = mel_of(encoder, 1.0)
    tokens = encoder.pipeline.tokenise(mel)
    with torch.no_grad():
        torch.testing.assert_close(model(tokens[:, None]), model(mel[:, None]))
        ragged = model.forward_features(mel[:, None, :, :-3])
    assert ragged.shape == (1, 1 + 5 * tokens.shape[-1], 32), "the last column is filled up"


def test_pyramids_and_heads_are_had_as_of_any_model(name, encoder):
    pyramid = timm.create_model(name, pretrained=True, features_only=True, out_indices=(0, 1))
    assert pyramid.feature_info.channels() == [32, 32]
    assert pyramid.feature_info.reduction() == [16, 16]
    mel = mel_of(encoder, 1.0)[:, None]
    assert [tuple(level.shape) for level in pyramid(mel)] == [(1, 32, 5, 6)] * 2
    model = timm.create_model(name, pretrained=True, num_classes=7, drop_path_rate=0.1).train()
    assert not model.patch_embed.tokenizer.training
    scores = model(mel)
    assert scores.shape == (1, 7)
    scores.sum().backward()
    taught = {name for name, weight in model.named_parameters() if weight.grad is not None}
    assert {"head.weight", "blocks.0.attn.qkv.weight", "patch_embed.token_embedding.weight", "cls_token"} <= taught
    assert not any("tokenizer" in name for name in taught)


def test_without_weights_the_transformer_begins_anew_and_the_tokens_stay(name, encoder):
    fresh, trained = (timm.create_model(name, pretrained=pretrained) for pretrained in (False, True))
    mel = mel_of(encoder, 1.0)[:, None]
    assert torch.equal(fresh.patch_embed.tokens(mel), trained.patch_embed.tokens(mel))
    assert not torch.equal(fresh.blocks[0].attn.qkv.weight, trained.blocks[0].attn.qkv.weight)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (torch.zeros(1, 1, 64, 32), r"a mel spectrogram of floats \(b, 1, 80, frames\) or tokens \(b, 1, 5, columns\)"),
        (torch.zeros(1, 1, 80, 32, dtype=torch.int64), "got torch.int64 of shape"),
        (torch.zeros(1, 1, 80, 16 * 17), "an image must have 1 to 16 columns of tokens, got 17"),
    ],
)
def test_what_is_no_image_is_refused(name, image, message):
    with pytest.raises(ParameterError, match=message):
        timm.create_model(name)(image)


def test_models_that_timm_cannot_hold_are_refused(tmp_path):
    with pytest.raises(BundleError, match="no model 'tinny'"):
        register("tinny")


@pytest.fixture
def audiomae(tmp_path):
    """Write a checkpoint as AudioMAE does: a timm ViT under `model`, with a decoder and patches of its own."""
    torch.manual_seed(0)
    made = timm.models.vision_transformer.VisionTransformer(
        img_size=(64, 32), patch_size=16, in_chans=1, embed_dim=128, depth=2, num_heads=2, num_classes=0, fc_norm=False
    )
    state = made.state_dict() | {"decoder_embed.weight": torch.zeros(4, 4), "mask_token": torch.zeros(1, 1, 4)}
    torch.save({"model": state, "epoch": 32}, tmp_path / "pretrained.pth")
    return tmp_path / "pretrained.pth", made.eval()


def test_the_blocks_of_a_vision_transformer_are_taken_over_and_compute_the_same(audiomae):
    path, theirs = audiomae
    ours = convert_checkpoint("vit", path)
    assert (ours.config.width, ours.config.depth, ours.config.n_heads, ours.config.mlp_ratio) == (128, 2, 2, 4.0)
    assert (ours.config.n_rows, ours.config.n_codes) == (5, 1024)
    sequence = torch.randn(2, 11, 128)
    with torch.no_grad():
        mine = sequence
        for block in ours.blocks:
            mine = block(mine)
        torch.testing.assert_close(ours.norm(mine), theirs.norm(theirs.blocks(sequence)), atol=1e-5, rtol=1e-5)


def test_a_checkpoint_without_such_blocks_is_refused(tmp_path, audiomae):
    path, _ = audiomae
    torch.save({"model": {"conv.weight": torch.zeros(2, 2)}}, tmp_path / "other.pth")
    with pytest.raises(CheckpointError, match="must be a vision transformer in timm's layout.* got the entries conv"):
        convert_checkpoint("vit", tmp_path / "other.pth")
    state = torch.load(path, weights_only=True)["model"]
    torch.save({"model": {**state, "blocks.1.norm1.weight": torch.zeros(3)}}, tmp_path / "odd.pth")
    with pytest.raises(CheckpointError, match=r"blocks.1.norm1.weight \(3,\) instead of \(128,\)"):
        convert_checkpoint("vit", tmp_path / "odd.pth")
    with pytest.raises(ParameterError, match="a vit checkpoint must come without a config file"):
        convert_checkpoint("vit", path, tmp_path / "config.json")


def test_blocks_of_the_bundled_model_load_into_a_vit_of_timms():
    _, state = stored_part("mini", "transformer")
    theirs = timm.models.vision_transformer.VisionTransformer(
        img_size=(80, 848),
        patch_size=16,
        in_chans=1,
        embed_dim=192,
        depth=16,
        num_heads=3,
        num_classes=0,
        fc_norm=False,
    )
    blocks = {name: value for name, value in state.items() if name.startswith(("blocks.", "norm."))}
    missing, unexpected = theirs.load_state_dict(blocks, strict=False)
    assert not unexpected
    assert {name.split(".")[0] for name in missing} == {"cls_token", "pos_embed", "patch_embed"}
    assert isinstance(theirs.blocks, nn.Sequential)
