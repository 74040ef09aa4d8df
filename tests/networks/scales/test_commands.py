"""Models over scales on the command line: notes by words, other versions of a sound, bundles of trained parts."""

import numpy as np
import pytest
import soundfile
import torch
from PIL import Image

from masktools.cli.main import main
from masktools.core.configs import to_dict
from masktools.networks.scales import NoteClassifier, NoteClassifierConfig
from masktools.networks.tokenizer import token_fingerprint
from masktools.pipeline import hub
from masktools.pipeline.bundles import read_config
from tests.networks.scales.small import SCALES, tokenizer, transformer
from tests.networks.scales.test_walk import CARD, CLIP, MEL, WORDS, small_walk


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return str(hub.save_bundle(small_walk(), tmp_path_factory.mktemp("models") / "small", CARD))


@pytest.fixture
def note(tmp_path):
    path = tmp_path / "note.wav"
    time = np.arange(7000) / 16_000
    soundfile.write(path, np.stack([0.4 * np.sin(2e3 * time), 0.2 * np.sin(3e3 * time)], axis=1), 16_000)
    return path


def test_a_note_is_made_of_words(bundle, tmp_path):
    assert main(["generate", "a clarinet, C4", "--model", bundle, "-o", str(tmp_path / "c4.wav")]) == 0
    wave, rate = soundfile.read(tmp_path / "c4.wav")
    assert (len(wave), rate) == (CLIP, 22_050)
    assert np.abs(wave).max() > 0


def test_what_cannot_be_made_is_one_line(bundle, tmp_path, capsys):
    for words, said in (
        (["generate", "a dog"], "names no note"),
        (["generate", "C4", "--seconds", "3"], "makes at most"),
        (["generate", "C4", "--steps", "4"], "draws all tokens of a scale at once"),
    ):
        assert main([*words, "--model", bundle, "-o", str(tmp_path / "out.wav")]) == 2
        assert said in capsys.readouterr().err
        assert not (tmp_path / "out.wav").exists()


def test_versions_of_a_sound_and_its_scales(bundle, note, tmp_path, capsys):
    words = ["vary", str(note), "--keep", "2", "-n", "2", "--prompt", "flute", "--model", bundle]
    assert main([*words, "-o", str(tmp_path / "other.wav"), "--report", str(tmp_path / "report.json")]) == 0
    waves = [soundfile.read(tmp_path / f"other-{number}.wav") for number in (1, 2)]
    assert all(wave.shape == (7000, 2) and rate == 16_000 for wave, rate in waves)
    assert not np.array_equal(waves[0][0], waves[1][0])
    picture = tmp_path / "scales.png"
    words = ["coarsen", str(note), "--scales", "1", "--picture", str(picture), "--model", bundle]
    assert main([*words, "-o", str(tmp_path / "coarse.wav")]) == 0
    assert soundfile.info(tmp_path / "coarse.wav").frames == 7000
    with Image.open(picture) as drawn:
        assert drawn.width > (len(SCALES) + 1) * 100
    assert main([*words, "-o", str(tmp_path / "more.wav")]) == 2
    assert "scales.png" in capsys.readouterr().err


def test_a_sound_becomes_tokens_and_a_sound_again(bundle, note, tmp_path):
    assert main(["encode", str(note), "-o", str(tmp_path / "t.npz"), "--model", bundle]) == 0
    with np.load(tmp_path / "t.npz") as stored:
        assert stored["tokens"].shape == (2, 2 + 6 + 24, 2)
    assert main(["decode", str(tmp_path / "t.npz"), "-o", str(tmp_path / "again.wav"), "--model", bundle]) == 0
    assert soundfile.info(tmp_path / "again.wav").frames == 7000


def test_models_of_other_families_refuse_and_name_those_that_can(bundle, note, tmp_path, capsys, monkeypatch):
    (tmp_path / "models").mkdir()
    hub.save_bundle(small_walk(), tmp_path / "models" / "small-mars", CARD)
    monkeypatch.setenv("MASKTOOLS_MODELS", str(tmp_path / "models"))
    assert main(["vary", str(note), "-o", str(tmp_path / "v.wav"), "--model", "mini"]) == 2
    said = capsys.readouterr().err
    assert "'mini' cannot draw other detail for a recording (vary)" in said
    assert "small-mars" in said


def test_trained_parts_become_a_bundle_with_their_words_and_classifier(tmp_path):
    codec, families = tokenizer(), ("flute", "reed")
    net = transformer(condition_dim=5 + 2 + 2)
    classifier = NoteClassifier(NoteClassifierConfig(16, 58, 5, families, (4,), accuracy=(0.9, 0.5)))
    words = {"kind": "notes", "config": to_dict(WORDS)}
    more = {"tokenizer": token_fingerprint(codec.state_dict()), "conditioner": words}
    parts = (
        ("tokenizer", "scales", codec, {}),
        ("transformer", "scales", net, more),
        ("classifier", "notes", classifier, {}),
    )
    paths = []
    for part, kind, module, extra in parts:
        told = {"part": part, "kind": kind, "config": to_dict(module.config), "mel": to_dict(MEL), **extra}
        state = {f"net.{name}": value for name, value in module.state_dict().items()}
        paths.append(str(tmp_path / f"{part}.ckpt"))
        torch.save({"state_dict": state, "masktools": told}, paths[-1])
    card = tmp_path / "card.md"
    card.write_text(CARD)
    assert main(["bundle", *paths, "--card", str(card), "-o", str(tmp_path / "made")]) == 0
    config = read_config(tmp_path / "made")
    assert (config["family"], config["conditioner"]["kind"]) == ("scales", "notes")
    assert config["classifier"]["config"]["accuracy"] == [0.9, 0.5]
    made = hub.load_bundle(tmp_path / "made", "cpu", "fp32")
    assert made.condition("a clarinet, C4").shape == (1, 9)
    assert made.parts["classifier"].config.families == families
