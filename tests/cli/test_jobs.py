"""Each job through the command line: what is read, what is written, and what stays as it was."""

import json
import os

import numpy as np
import pytest
import soundfile

from tests.cli.conftest import RATE


def test_inpaint_changes_the_gap_and_nothing_else(command, stereo, tmp_path):
    out, report = tmp_path / "out.flac", tmp_path / "report.json"
    code, said, errors = command("inpaint", stereo, "-o", out, "--gaps", "0.2-0.3,0.6-0.7", "--report", report)
    assert (code, errors) == (0, "")
    assert said == f"{out}: 2 gaps filled, 0.200 s in all\n"
    before, _ = soundfile.read(stereo, dtype="int32")
    after, rate = soundfile.read(out, dtype="int32")
    assert (rate, soundfile.info(out).subtype, after.shape) == (48_000, "PCM_24", before.shape)
    inside = np.zeros(len(before), bool)
    inside[9_600:14_400] = inside[28_800:33_600] = True
    assert np.array_equal(before[~inside], after[~inside])
    assert (before[inside] != after[inside]).mean() > 0.9
    told = json.loads(report.read_text())
    assert told["job"] == "inpaint"
    assert [gap["channels"] for gap in told["gaps"]] == [[0, 1], [0, 1]]


def test_inpaint_is_the_same_for_the_same_seed(command, wav, tmp_path):
    results = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        assert command("inpaint", wav, "-o", tmp_path / f"{name}.wav", "--gaps", "0.4-0.9", "--seed", seed)[0] == 0
        results.append((tmp_path / f"{name}.wav").read_bytes())
    assert results[0] == results[1] != results[2]


def test_bwe_keeps_rate_length_and_channels(command, stereo, tmp_path):
    out = tmp_path / "out.wav"
    code, said, _ = command("bwe", stereo, "-o", out, "--cutoff", "4000", "--steps", 2)
    assert code == 0
    assert said == f"{out}: extended above 4000 Hz, at 48000 Hz\n"
    assert soundfile.info(out).samplerate == 48_000
    assert soundfile.info(out).subtype == "PCM_24"
    assert soundfile.read(out)[0].shape == soundfile.read(stereo)[0].shape


def test_bwe_without_replacement_is_another_recording(command, wav, tmp_path):
    for name, choice in (("with", "--lfr"), ("without", "--no-lfr")):
        assert command("bwe", wav, "-o", tmp_path / f"{name}.wav", "--cutoff", "4000", "--steps", 2, choice)[0] == 0
    original = soundfile.read(wav)[0]
    kept, replaced = (soundfile.read(tmp_path / f"{name}.wav")[0] for name in ("with", "without"))
    assert np.abs(kept - original).mean() < np.abs(replaced - original).mean()


def test_generate_writes_one_recording_of_the_length_asked_for(command, tmp_path):
    out = tmp_path / "rain.wav"
    code, said, _ = command("generate", "rain", "-o", out, "--seconds", "1.5", "--steps", 3, "--guidance", 2)
    assert (code, said) == (0, f"{out}\n")
    samples, rate = soundfile.read(out)
    assert (rate, samples.shape) == (RATE, (round(1.5 * RATE),))


def test_generate_numbers_several_recordings(command, tmp_path):
    report = tmp_path / "report.json"
    code, _, _ = command("generate", "-o", tmp_path / "any.wav", "-n", 2, "--seconds", 1, "--report", report)
    assert code == 0
    made = [(tmp_path / f"any-{number}.wav").read_bytes() for number in (1, 2)]
    assert made[0] != made[1]
    assert not (tmp_path / "any.wav").exists()
    told = json.loads(report.read_text())
    assert told["prompted"] is False
    assert len(set(told["seeds"])) == 2


def test_generate_takes_a_stored_vector_for_a_text(command, tmp_path):
    np.save(tmp_path / "rain.npy", np.ones(16, np.float32))
    code, _, _ = command("generate", tmp_path / "rain.npy", "-o", tmp_path / "out.wav", "--seconds", 1, "--steps", 2)
    assert code == 0


def test_a_preset_sets_what_is_left_out(command, tmp_path):
    report = tmp_path / "report.json"
    command("generate", "-o", tmp_path / "a.wav", "--seconds", 1, "--preset", "fast8", "--report", report)
    assert json.loads(report.read_text())["n_steps"] == 8


@pytest.mark.parametrize(("name", "shape"), [("wav", (33_075,)), ("stereo", (48_000, 2))])
def test_tokens_come_back_as_a_recording_of_the_same_size(command, request, tmp_path, name, shape):
    source = request.getfixturevalue(name)
    code, said, _ = command("encode", source, "-o", tmp_path / "tokens.npz")
    assert code == 0
    assert said.endswith("tokens (channels, rows, columns)\n")
    assert command("decode", tmp_path / "tokens.npz", "-o", tmp_path / "out.wav")[0] == 0
    samples, rate = soundfile.read(tmp_path / "out.wav")
    assert (rate, samples.shape) == (soundfile.info(source).samplerate, shape)


def test_models_are_listed_by_name(command, tiny, monkeypatch):
    monkeypatch.setenv("MASKTOOLS_MODELS", str(tiny.parent))
    code, said, _ = command("models", model=None)
    assert code == 0
    assert f"tiny  {tiny}" in [" ".join(line.split()).replace(" ", "  ") for line in said.splitlines()]


def test_a_model_is_found_by_its_name(command, tiny, wav, tmp_path, monkeypatch):
    monkeypatch.setenv("MASKTOOLS_MODELS", os.pathsep.join((str(tmp_path / "nowhere"), str(tiny.parent))))
    code, *_ = command("encode", wav, "-o", tmp_path / "a.npz", "--model", "tiny", "--device", "cpu", model=None)
    assert code == 0


def test_an_output_is_replaced_only_when_the_new_one_is_complete(command, wav, tmp_path):
    out = tmp_path / "out.wav"
    out.write_bytes(b"the old one")
    assert command("inpaint", wav, "-o", out, "--gaps", "9-10")[0] == 2
    assert out.read_bytes() == b"the old one"
    assert command("inpaint", wav, "-o", out, "--gaps", "0.2-0.4", "--steps", 1, "--overwrite")[0] == 0
    assert soundfile.info(out).frames == soundfile.info(wav).frames
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.wav", "out.wav"]


def test_variations_are_written_with_their_seeds(command, wav, tmp_path):
    out, report = tmp_path / "other.wav", tmp_path / "report.json"
    words = ("vary", wav, "--keep", 2, "-n", 2, "--steps", 1, "-o", out, "--report", report)
    code, _, errors = command(*words, model="mini-mars")
    assert (code, errors) == (0, "")
    assert sorted(path.name for path in tmp_path.glob("other-*.wav")) == ["other-1.wav", "other-2.wav"]
    assert len(set(json.loads(report.read_text())["seeds"])) == 2
