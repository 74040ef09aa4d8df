"""CLAP from files: a small random one stands for the real one, in each of the forms that are accepted."""

import json
import re
import sys

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from masktools.core.errors import CheckpointError, ParameterError
from masktools.networks.conditioning import ClapEncoder, ClapEncoderConfig, Conditioner
from masktools.networks.conditioning.clap import ClapFrontEnd

RATE = 48_000
BYTES = [chr(c) for c in range(ord("!"), ord("~") + 1)] + ["Ġ"]  # how RoBERTa writes single bytes; Ġ is the space
PIECES = ["<s>", "<pad>", "</s>", "<unk>", *BYTES]
SMALL = {
    "text_config": {
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 32,
        "vocab_size": len(PIECES),
        "max_position_embeddings": 82,
        "projection_dim": 12,
    },
    "audio_config": {
        "depths": [2, 1, 1, 1],
        "num_attention_heads": [1, 2, 2, 2],
        "patch_embeds_hidden_size": 8,
        "hidden_size": 64,
        "projection_dim": 12,
    },
    "projection_dim": 12,
}
THEIRS = {  # from transformers' names to LAION's, the way back of the converter, written apart from it
    "audio_model.audio_encoder.": "audio_branch.",
    "text_model.": "text_branch.",
    "batch_norm.": "bn0.",
    "layernorm_before.": "norm1.",
    "layernorm_after.": "norm2.",
    "_projection.linear1.": "_projection.0.",
    "_projection.linear2.": "_projection.2.",
}


def to_laion(state):
    """Write the weights as LAION's trainer does: its names, its own extra tensors, a data-parallel prefix."""
    named = {}
    for name, value in state.items():
        for ours, theirs in THEIRS.items():
            name = name.replace(ours, theirs)
        if name.startswith("audio_branch."):
            name = name.replace(".attention.output.dense.", ".attn.proj.").replace(".attention.self.", ".attn.")
            name = name.replace(".intermediate.dense.", ".mlp.fc1.").replace(".output.dense.", ".mlp.fc2.")
        named[name] = value
    for name in [name for name in named if ".attn.query." in name]:
        parts = [named.pop(name.replace(".query.", f".{part}.")) for part in ("query", "key", "value")]
        named[name.replace(".query.", ".qkv.")] = torch.cat(parts)
    named |= {
        "audio_branch.logmel_extractor.melW": torch.zeros(513, 64),
        "audio_branch.layers.0.blocks.1.attn_mask": torch.zeros(1),
        "audio_branch.head.weight": torch.zeros(527, 527),
        "text_transform.sequential.0.weight": torch.zeros(12, 12),
    }
    named.pop("text_branch.embeddings.token_type_ids", None)
    return {f"module.{name}": value.clone() for name, value in named.items()}


@pytest.fixture(scope="module")
def network():
    transformers = pytest.importorskip("transformers", reason="CLAP needs the package transformers")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = transformers.ClapModel(transformers.ClapConfig(**SMALL)).eval()
        for parameter in model.parameters():  # far from the near-zero start, so that every weight matters
            torch.nn.init.normal_(parameter, std=0.3)
        encoder = model.audio_model.audio_encoder
        torch.nn.init.uniform_(encoder.batch_norm.running_mean, -30.0, 10.0)
        torch.nn.init.uniform_(encoder.batch_norm.running_var, 50.0, 500.0)
    return model


@pytest.fixture(scope="module")
def folder(tmp_path_factory, network):
    """Hold LAION's file and its tokenizer."""
    place = tmp_path_factory.mktemp("clap")
    content = {"epoch": 3, "state_dict": to_laion(network.state_dict()), "loss": np.float64(0.5)}
    torch.save(content, place / "630k-audioset-best.pt")
    (place / "vocab.json").write_text(json.dumps({piece: i for i, piece in enumerate(PIECES)}))
    (place / "merges.txt").write_text("#version: 0.2\n")
    return place


@pytest.fixture(scope="module")
def clap(folder):
    return ClapEncoder.from_checkpoint(folder / "630k-audioset-best.pt", architecture=SMALL)


def noise(n_clips=1, seconds=1.0, rate=RATE, seed=0):
    return 0.1 * torch.randn(n_clips, int(seconds * rate), generator=torch.Generator().manual_seed(seed))


def test_clap_is_a_conditioner_that_trains_no_more(clap):
    assert isinstance(clap, Conditioner)
    assert not clap.train().training
    assert not any(parameter.requires_grad for parameter in clap.parameters())


def test_laions_file_gives_every_weight_its_place(clap, network):
    theirs = network.state_dict()
    for name, value in clap.model.state_dict().items():
        assert torch.equal(value, theirs[name]), name


def test_every_form_of_the_weights_embeds_alike(clap, folder, network, tmp_path):
    expected = clap.embed_audio(noise(), RATE)
    save_file(to_laion(network.state_dict()), tmp_path / "laion.safetensors")
    network.save_pretrained(tmp_path / "folder")
    torch.save(network.state_dict(), tmp_path / "bare.pt")
    for path, architecture in (("laion.safetensors", SMALL), ("bare.pt", SMALL), ("folder", None)):
        again = ClapEncoder.from_checkpoint(tmp_path / path, architecture=architecture)
        assert torch.equal(again.embed_audio(noise(), RATE), expected), path
        assert again.tokenizer is None


def test_sounds_equal_those_of_the_transformers_library(clap, network):
    transformers = pytest.importorskip("transformers")
    wave = noise(seconds=3.3)
    rounded = ((wave[0].numpy() * np.float32(32767)).astype(np.int16) / 32767).astype(np.float32)
    extractor = transformers.ClapFeatureExtractor(truncation="rand_trunc", frequency_min=50)
    inputs = extractor(rounded, sampling_rate=RATE, return_tensors="pt")
    theirs_mel = inputs["input_features"].float()
    torch.testing.assert_close(clap.front_end(wave), theirs_mel[:, 0], atol=2e-3, rtol=0)
    with torch.no_grad():
        heard = network.audio_model(input_features=theirs_mel).pooler_output
        theirs = torch.nn.functional.normalize(network.audio_projection(heard), dim=-1)
    torch.testing.assert_close(clap.embed_audio(wave, RATE), theirs, atol=1e-4, rtol=0)


def test_the_lowest_frequency_of_the_front_end_matters():
    lowest = [ClapFrontEnd(ClapEncoderConfig(f_min=f_min))(noise()) for f_min in (0.0, 50.0)]
    assert (lowest[0] - lowest[1]).abs().max() > 1.0


def test_embeddings_are_unit_vectors(clap):
    for vectors in (clap.embed_audio(noise(2), RATE), clap.embed_text(["a dog barking", "rain"])):
        assert vectors.shape == (2, clap.dim) == (2, 12)
        torch.testing.assert_close(vectors.norm(dim=1), torch.ones(2))


def test_a_clip_embeds_as_it_does_alone(clap):
    batch = noise(4, seconds=0.5)
    alone = torch.cat([clap.embed_audio(clip[None], RATE) for clip in batch])
    torch.testing.assert_close(clap.embed_audio(batch, RATE), alone, atol=1e-5, rtol=0)
    texts = ["rain", "a dog barking in the distance"]
    alone = torch.cat([clap.embed_text([text]) for text in texts])
    torch.testing.assert_close(clap.embed_text(texts), alone, atol=1e-5, rtol=0)


def test_long_audio_is_its_middle_ten_seconds_each_time(clap):
    wave = noise(seconds=12.0)
    middle = wave[:, RATE : 11 * RATE]
    assert torch.equal(clap.embed_audio(wave, RATE), clap.embed_audio(wave, RATE))
    assert torch.equal(clap.embed_audio(wave, RATE), clap.embed_audio(middle, RATE))


def test_short_audio_is_repeated_as_often_as_it_fits_and_then_silent():
    front_end = ClapFrontEnd(ClapEncoderConfig(window_samples=1000))
    wave = torch.arange(1.0, 301.0)[None]
    expected = torch.cat([wave, wave, wave, torch.zeros(1, 100)], dim=1)
    assert torch.equal(front_end.fit(wave), expected)


def test_other_rates_are_resampled(clap):
    hz = 2 * torch.pi * 440.0
    at_48, at_22 = (0.3 * torch.sin(hz * torch.arange(2 * rate) / rate)[None] for rate in (RATE, 22_050))
    assert (clap.embed_audio(at_48, RATE) * clap.embed_audio(at_22, 22_050)).sum() > 0.999


def test_different_texts_have_different_embeddings(clap):
    dog, rain = clap.embed_text(["a dog barking", "rain"])
    assert torch.dot(dog, rain) < 0.9999


def test_a_text_longer_than_the_network_reads_is_cut(clap):
    ids, attention = clap.tokenizer(["x" * 500])
    assert ids.shape == (1, 77)
    assert attention.all()
    assert ids[0, 0] == 0
    assert ids[0, -1] == 2


def test_the_environment_names_the_checkpoint(folder, monkeypatch):
    monkeypatch.setenv("MASKTOOLS_CLAP", str(folder / "630k-audioset-best.pt"))
    assert ClapEncoder.from_checkpoint(architecture=SMALL).tokenizer is not None


def test_without_a_tokenizer_sounds_embed_and_texts_say_what_is_missing(network, tmp_path):
    network.save_pretrained(tmp_path)
    clap = ClapEncoder.from_checkpoint(tmp_path)
    assert clap.embed_audio(noise(), RATE).shape == (1, 12)
    with pytest.raises(CheckpointError, match=r"needs its tokenizer.*vocab\.json and merges\.txt"):
        clap.embed_text(["a dog barking"])


def test_the_tokenizer_may_lie_elsewhere_and_in_one_file(network, folder, clap, tmp_path):
    tokenizers = pytest.importorskip("tokenizers")
    network.save_pretrained(tmp_path / "weights")
    whole = tokenizers.Tokenizer(
        tokenizers.models.BPE.from_file(str(folder / "vocab.json"), str(folder / "merges.txt"))
    )
    whole.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    whole.save(str(tmp_path / "tokenizer.json"))
    expected = clap.embed_text(["a dog barking"])
    for place in (folder, tmp_path, tmp_path / "tokenizer.json"):
        again = ClapEncoder.from_checkpoint(tmp_path / "weights", tokenizer=place)
        torch.testing.assert_close(again.embed_text(["a dog barking"]), expected)


@pytest.mark.parametrize(
    ("vocabulary", "message"),
    [
        (["<s>", "<pad>", "</s>", "<unk>", "<mask>"], f"must have {len(PIECES)} pieces, got 5"),
        ([*(f"word{i}" for i in range(len(PIECES) - 4)), "<s>", "</s>", "<pad>", "<unk>"], "the same tokens"),
        ([f"word{i}" for i in range(len(PIECES))], "lacks <s>, </s>, <pad>"),
    ],
)
def test_a_tokenizer_that_does_not_fit_is_refused(network, tmp_path, vocabulary, message):
    network.save_pretrained(tmp_path)
    (tmp_path / "vocab.json").write_text(json.dumps({piece: i for i, piece in enumerate(vocabulary)}))
    (tmp_path / "merges.txt").write_text("#version: 0.2\n")
    with pytest.raises(CheckpointError, match=re.escape(message)):
        ClapEncoder.from_checkpoint(tmp_path)


def test_a_damaged_tokenizer_is_named(network, tmp_path):
    network.save_pretrained(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"tokenizer in .*tokenizer\.json cannot be read"):
        ClapEncoder.from_checkpoint(tmp_path)


def test_a_tokenizer_that_is_asked_for_must_be_there(network, tmp_path):
    network.save_pretrained(tmp_path / "weights")
    with pytest.raises(CheckpointError, match="no tokenizer of CLAP at"):
        ClapEncoder.from_checkpoint(tmp_path / "weights", tokenizer=tmp_path)


def test_a_missing_checkpoint_is_told_with_all_that_helps_before_anything_is_imported(tmp_path, monkeypatch):
    monkeypatch.delenv("MASKTOOLS_CLAP", raising=False)
    monkeypatch.setitem(sys.modules, "transformers", None)  # importing it would fail
    with pytest.raises(CheckpointError) as missing:
        ClapEncoder.from_checkpoint(tmp_path / "clap.pt")
    for words in (str(tmp_path / "clap.pt"), "630k-audioset-best.pt", ".safetensors", "folder", "MASKTOOLS_CLAP"):
        assert words in str(missing.value)
    assert "inpaint, bwe, embed, encode and decode work without it" in str(missing.value)
    assert missing.value.exit_code == 2


def test_nothing_asked_for_is_told_apart_from_nothing_found(monkeypatch, tmp_path):
    monkeypatch.delenv("MASKTOOLS_CLAP", raising=False)
    with pytest.raises(CheckpointError, match="no path is given and MASKTOOLS_CLAP is not set"):
        ClapEncoder.from_checkpoint()
    monkeypatch.setenv("MASKTOOLS_CLAP", str(tmp_path / "gone"))
    with pytest.raises(CheckpointError, match="gone, named by MASKTOOLS_CLAP"):
        ClapEncoder.from_checkpoint()


class Harmful:
    """Stand for code that hides in a pickle."""

    def __reduce__(self):
        return (exec, ("raise SystemExit('code ran')",))


def test_a_checkpoint_with_code_in_it_is_refused_unread(tmp_path):
    torch.save({"state_dict": {}, "code": Harmful()}, tmp_path / "bad.pt")
    with pytest.raises(CheckpointError, match="without running code"):
        ClapEncoder.from_checkpoint(tmp_path / "bad.pt")


@pytest.mark.parametrize("name", ["clap.pt", "clap.safetensors"])
def test_a_file_that_is_no_checkpoint_is_refused(tmp_path, name):
    (tmp_path / name).write_bytes(b"not a checkpoint, but long enough for a header")
    with pytest.raises(CheckpointError, match="damaged"):
        ClapEncoder.from_checkpoint(tmp_path / name)


def test_a_folder_must_hold_settings_and_weights(tmp_path):
    with pytest.raises(CheckpointError, match=r"must hold config\.json and model\.safetensors"):
        ClapEncoder.from_checkpoint(tmp_path)


def test_a_folder_of_another_model_is_refused(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    save_file({"a": torch.zeros(1)}, tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match="of type 'clap'"):
        ClapEncoder.from_checkpoint(tmp_path)


def test_weights_of_another_size_are_told_by_name(network, folder):
    wider = SMALL | {"projection_dim": 16}
    with pytest.raises(CheckpointError, match=r"of another shape: .* with 8 channels"):
        ClapEncoder.from_checkpoint(folder / "630k-audioset-best.pt", architecture=wider)


def test_a_checkpoint_that_lacks_a_weight_is_told_by_name(network, tmp_path):
    state = to_laion(network.state_dict())
    del state["module.audio_branch.norm.weight"]
    save_file(state, tmp_path / "clap.safetensors")
    with pytest.raises(CheckpointError, match=r"missing: audio_model\.audio_encoder\.norm\.weight"):
        ClapEncoder.from_checkpoint(tmp_path / "clap.safetensors", architecture=SMALL)


def test_a_fusion_model_is_refused(folder):
    fusion = SMALL | {"audio_config": SMALL["audio_config"] | {"enable_fusion": True}}
    with pytest.raises(CheckpointError, match="is a fusion model"):
        ClapEncoder.from_checkpoint(folder / "630k-audioset-best.pt", architecture=fusion)


@pytest.mark.parametrize("wave", [torch.zeros(1, 0), torch.full((1, 100), torch.nan)])
def test_what_cannot_be_heard_is_refused(clap, wave):
    with pytest.raises(ParameterError, match="a wave to embed must"):
        clap.embed_audio(wave, RATE)


def test_an_empty_text_is_refused(clap):
    with pytest.raises(ParameterError, match="' ' is empty"):
        clap.embed_text([" "])


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"dim": 0}, "dim must be at least 1"), ({"f_max": 30_000.0}, "0 <= f_min < f_max <= 24000 Hz must hold")],
)
def test_settings_out_of_range_are_refused(settings, message):
    with pytest.raises(ParameterError, match=message):
        ClapEncoderConfig(**settings)
