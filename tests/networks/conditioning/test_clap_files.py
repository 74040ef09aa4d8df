"""LAION's names for CLAP's weights."""

import pytest
import torch

from masktools.core.errors import CheckpointError
from masktools.networks.conditioning.clap import check_keys, describe_layout, from_laion

BLOCK = "audio_branch.layers.2.blocks.5"
THERE = "audio_model.audio_encoder.layers.2.blocks.5"


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("audio_branch.bn0.running_mean", "audio_model.audio_encoder.batch_norm.running_mean"),
        ("audio_branch.patch_embed.norm.weight", "audio_model.audio_encoder.patch_embed.norm.weight"),
        ("audio_branch.layers.0.downsample.norm.bias", "audio_model.audio_encoder.layers.0.downsample.norm.bias"),
        ("audio_branch.norm.weight", "audio_model.audio_encoder.norm.weight"),
        (f"{BLOCK}.norm1.weight", f"{THERE}.layernorm_before.weight"),
        (f"{BLOCK}.norm2.bias", f"{THERE}.layernorm_after.bias"),
        (f"{BLOCK}.attn.proj.bias", f"{THERE}.attention.output.dense.bias"),
        (f"{BLOCK}.attn.relative_position_bias_table", f"{THERE}.attention.self.relative_position_bias_table"),
        (f"{BLOCK}.mlp.fc1.weight", f"{THERE}.intermediate.dense.weight"),
        (f"{BLOCK}.mlp.fc2.weight", f"{THERE}.output.dense.weight"),
        (
            "text_branch.encoder.layer.3.attention.self.query.weight",
            "text_model.encoder.layer.3.attention.self.query.weight",
        ),
        ("text_branch.embeddings.LayerNorm.bias", "text_model.embeddings.LayerNorm.bias"),
        ("text_projection.0.weight", "text_projection.linear1.weight"),
        ("audio_projection.2.bias", "audio_projection.linear2.bias"),
        ("logit_scale_a", "logit_scale_a"),
    ],
)
def test_each_name_has_its_counterpart(theirs, ours):
    assert list(from_laion({theirs: torch.zeros(1)})) == [ours]


@pytest.mark.parametrize(
    "name",
    [
        "text_transform.sequential.0.weight",
        "audio_transform.sequential.3.bias",
        "audio_branch.spectrogram_extractor.stft.conv_real.weight",
        "audio_branch.logmel_extractor.melW",
        "audio_branch.tscam_conv.weight",
        "audio_branch.head.bias",
        f"{BLOCK}.attn_mask",
    ],
)
def test_what_has_no_counterpart_is_dropped(name):
    assert from_laion({name: torch.zeros(1)}) == {}


def test_queries_keys_and_values_come_apart_in_this_order():
    mixed = torch.arange(6.0)
    parts = from_laion({f"{BLOCK}.attn.qkv.bias": mixed})
    assert {name.split(".")[-2]: value.tolist() for name, value in parts.items()} == {
        "query": [0, 1],
        "key": [2, 3],
        "value": [4, 5],
    }


def test_only_buffers_that_sizes_determine_may_be_missing_or_too_many():
    expected = {"a.weight": torch.zeros(2), "a.position_ids": torch.zeros(1, 5)}
    check_keys({"a.weight": torch.zeros(2)}, expected, "clap.pt")
    check_keys({"a.weight": torch.zeros(2), "b.token_type_ids": torch.zeros(1, 5)}, expected, "clap.pt")
    with pytest.raises(CheckpointError, match=r"clap.pt must hold the weights of this CLAP .* missing: a\.weight"):
        check_keys({}, expected, "clap.pt")


def test_a_misfit_is_told_by_names_and_shapes():
    expected = {"a": torch.zeros(2), "b": torch.zeros(1)}
    with pytest.raises(
        CheckpointError, match=r"missing: b; unexpected: c; of another shape: a \(3,\) instead of \(2,\)"
    ):
        check_keys({"a": torch.zeros(3), "c": torch.zeros(1)}, expected, "clap.pt")


@pytest.mark.parametrize(
    ("name", "shape", "words"),
    [
        ("audio_model.audio_encoder.patch_embed.proj.weight", (96, 1, 4, 4), "HTSAT-tiny"),
        ("audio_model.audio_encoder.patch_embed.proj.weight", (128, 1, 4, 4), "HTSAT-base"),
        ("audio_model.audio_encoder.patch_embed.mel_conv2d.weight", (96, 1, 4, 12), "fusion model"),
        ("caption_encoder.base.weight", (1,), "msclap"),
        ("audio_model.audio_encoder.conv_block1.conv1.weight", (1,), "PANN"),
        ("encoder.conv.weight", (1,), "no CLAP at all; its first names are encoder.conv.weight"),
    ],
)
def test_a_strange_checkpoint_is_called_by_its_name(name, shape, words):
    assert words in describe_layout({name: torch.zeros(shape)})
