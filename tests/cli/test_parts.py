"""From checkpoints to a model: `convert` and `bundle`."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from masktools.cli.parts import read_part, write_part
from masktools.core.configs import to_dict
from masktools.core.errors import CheckpointError
from masktools.mel import MelConfig
from masktools.networks.grain import Grain, GrainConfig
from masktools.networks.vocoder import Hifigan, HifiganConfig
from masktools.pipeline import Pipeline, hub
from tests.cli.conftest import MEL, PIECES, random_pipeline


@pytest.fixture
def card(tmp_path):
    (tmp_path / "card.md").write_text("# A model\n\nFor tests.\n")
    return tmp_path / "card.md"


@pytest.fixture
def checkpoints(tmp_path):
    """Checkpoints of the three trained parts, as training writes them."""
    pipeline, paths = random_pipeline(), []
    for part, kind in (("tokenizer", "local"), ("transformer", "masked"), ("vocoder", "light")):
        module = getattr(pipeline, part)
        described = {"part": part, "kind": kind, "config": to_dict(module.config), "mel": to_dict(MEL)}
        weights = {f"net.{name}": value for name, value in module.state_dict().items()}
        paths.append(tmp_path / f"{part}.ckpt")
        torch.save({"state_dict": weights | {"discriminator.weight": torch.ones(2)}, "masktools": described}, paths[-1])
    return paths


def test_a_model_is_made_of_checkpoints(command, checkpoints, card, tmp_path):
    bundle = tmp_path / "made"
    code, said, errors = command("bundle", *checkpoints, "-o", bundle, "--card", card, model=None)
    assert (code, errors) == (0, "")
    assert said == f"{bundle}: made, made of tokenizer, transformer, vocoder\n"
    assert (bundle / "MODEL_CARD.md").read_text().endswith(card.read_text())
    ours, loaded = random_pipeline(), hub.load_bundle(bundle, "cpu")
    assert loaded.name == "made"
    assert loaded.conditioner is None
    wave = torch.randn(1, 9_000) * 0.1
    assert torch.equal(loaded.encode(wave), ours.encode(wave))


def test_parts_left_out_come_from_the_base(command, tiny, checkpoints, card, tmp_path):
    words = ("bundle", checkpoints[2], "--base", tiny, "-o", tmp_path / "made", "--card", card, "--name", "better")
    assert command(*words, model=None)[0] == 0
    loaded = hub.load_bundle(tmp_path / "made", "cpu")
    assert loaded.name == "better"
    assert loaded.conditioner is not None
    assert loaded.condition("rain").shape == (1, 16)


def test_the_grain_of_a_base_goes_with_its_own_decoder_alone(command, checkpoints, card, tmp_path):
    plain = random_pipeline()
    own = {part: module for part, module in plain.parts.items() if module is not None}
    grainy = Pipeline(plain.mel, **own | {"grain": Grain(GrainConfig(n_mels=MEL.n_mels, width=4))})
    hub.save_bundle(grainy, tmp_path / "base", "# Grainy")
    tokenizer, _, vocoder = checkpoints
    for replaced, kept in ((vocoder, True), (tokenizer, False)):
        made = tmp_path / replaced.stem
        assert command("bundle", replaced, "--base", tmp_path / "base", "-o", made, "--card", card, model=None)[0] == 0
        assert (hub.load_bundle(made, "cpu").grain is not None) == kept


def test_a_text_audio_encoder_is_a_folder(command, checkpoints, card, tmp_path):
    encoder, folder = random_pipeline().conditioner, tmp_path / "encoder"
    folder.mkdir()
    save_file(encoder.state_dict(), folder / "conditioner.safetensors")
    (folder / "conditioner.json").write_text(json.dumps(to_dict(encoder.config)))
    assert command("bundle", *checkpoints, folder, "-o", tmp_path / "made", "--card", card, model=None)[0] == 0
    assert hub.load_bundle(tmp_path / "made", "cpu").conditioner.config.n_tokens == len(PIECES)


def test_the_word_clap_stands_for_an_encoder_outside_the_bundle():
    part = read_part("clap")
    assert (part.name, part.module.dim) == ("conditioner", 512)


def test_a_foreign_vocoder_becomes_a_part(command, checkpoints, card, tmp_path):
    hifigan = Hifigan(
        HifiganConfig(
            channels=32,
            upsample_rates=(8, 8, 2, 2),
            upsample_kernels=(16, 16, 4, 4),
            block_kind=2,
            block_kernels=(3,),
            block_dilations=((1, 3),),
        ),
        MEL,
    )
    torch.save({"generator": hifigan.state_dict()}, tmp_path / "g_001")
    settings = {
        "resblock": "2",
        "upsample_initial_channel": 32,
        "upsample_rates": [8, 8, 2, 2],
        "upsample_kernel_sizes": [16, 16, 4, 4],
        "resblock_kernel_sizes": [3],
        "resblock_dilation_sizes": [[1, 3]],
        "sampling_rate": 22_050,
        "n_fft": 1024,
        "hop_size": 256,
        "win_size": 1024,
        "num_mels": 80,
        "fmin": 0,
        "fmax": 11_025,
    }
    (tmp_path / "config.json").write_text(json.dumps(settings))
    out = tmp_path / "vocoder.safetensors"
    code, said, errors = command("convert", "hifigan", tmp_path / "g_001", "-o", out, model=None)
    assert (code, errors) == (0, "")
    assert said.startswith(f"{out}: a vocoder of kind hifigan, ")
    bundle = tmp_path / "made"
    assert command("bundle", *checkpoints[:2], out, "-o", bundle, "--card", card, model=None)[0] == 0
    mel = torch.zeros(1, 80, 16)
    assert torch.allclose(hub.load_bundle(bundle, "cpu").render(mel), hifigan(mel), atol=1e-2)


@pytest.mark.parametrize(
    ("kind", "reason"),
    [("vocos", "unknown kind of checkpoint 'vocos'"), ("hifigan", "config.json of the checkpoint must be given")],
)
def test_checkpoints_that_cannot_be_converted(command, tmp_path, kind, reason):
    torch.save({"generator": {}}, tmp_path / "g_001")
    out = tmp_path / "out.safetensors"
    code, _, errors = command("convert", kind, tmp_path / "g_001", "-o", out, model=None)
    assert code == 2
    assert reason in errors
    assert errors.count("\n") == 1
    assert not out.exists()


def test_a_model_lacks_no_part_and_has_none_twice(command, checkpoints, card, tmp_path):
    for parts, reason in (
        (checkpoints[:1], "a model needs a transformer and a vocoder"),
        ([checkpoints[0], checkpoints[0]], "a model has one tokenizer, got a second one"),
        ([tmp_path / "none.ckpt"], "no training checkpoint at"),
        ([tmp_path / "none.safetensors"], "no file"),
        ([card], "is not a readable training checkpoint"),
        ([tmp_path], "no text-audio encoder in"),
    ):
        code, said, errors = command("bundle", *parts, "-o", tmp_path / "made", "--card", card, model=None)
        assert (code, said) == (2, "")
        assert reason in errors
        assert errors.count("\n") == 1
        assert not (tmp_path / "made").exists()


def test_a_bundle_replaces_nothing_and_needs_a_card(command, checkpoints, card, tmp_path):
    (tmp_path / "made").mkdir()
    words = ("bundle", *checkpoints, "-o")
    assert "must not exist yet" in command(*words, tmp_path / "made", "--card", card, model=None)[2]
    assert "model card must be a text" in command(*words, tmp_path / "new", "--card", tmp_path, model=None)[2]
    np.save(tmp_path / "card.npy", np.full(4, np.nan))
    line = command(*words, tmp_path / "new", "--card", tmp_path / "card.npy", model=None)[2]
    assert "model card must be a text" in line


def test_parts_for_other_mel_settings_are_refused(command, tiny, card, tmp_path):
    pipeline = random_pipeline()
    write_part(tmp_path / "vocoder.safetensors", pipeline.vocoder, MelConfig(f_max=8_000.0))
    words = ("bundle", tmp_path / "vocoder.safetensors", "--base", tiny, "-o", tmp_path / "made", "--card", card)
    code, _, errors = command(*words, model=None)
    assert code == 2
    assert "f_max 11025 and 8000" in errors
    assert not (tmp_path / "made").exists()


def test_a_part_says_what_it_is_or_is_refused(tmp_path):
    save_file({"weight": torch.ones(1)}, tmp_path / "silent.safetensors")
    with pytest.raises(CheckpointError, match="does not say which part it holds"):
        read_part(str(tmp_path / "silent.safetensors"))
    (tmp_path / "cut.safetensors").write_bytes((tmp_path / "silent.safetensors").read_bytes()[:20])
    with pytest.raises(CheckpointError, match="is not readable"):
        read_part(str(tmp_path / "cut.safetensors"))
    described = {"part": "vocoder", "kind": "light", "config": {"width": 16}, "mel": to_dict(MEL)}
    save_file({"weight": torch.ones(1)}, tmp_path / "other.safetensors", {"masktools": json.dumps(described)})
    with pytest.raises(CheckpointError, match="must hold the weights of the part that it describes"):
        read_part(str(tmp_path / "other.safetensors"))
    with pytest.raises(CheckpointError, match="of a kind that bundles know, got Linear"):
        write_part(tmp_path / "linear.safetensors", torch.nn.Linear(1, 1), MEL)
