"""Whatever cannot be used: one clear line, exit code 2, and no file left behind."""

import hashlib
import json
import re
import shutil

import numpy as np
import pytest
import soundfile

from tests.cli.conftest import RATE, recording


@pytest.fixture
def refused(command, tmp_path):
    """Run a command line that must be refused, and return its one line."""

    def run(*words, **options):
        before = sorted(tmp_path.rglob("*"))
        code, said, errors = command(*words, **options)
        assert code == 2, errors
        assert said == ""
        assert errors.startswith("masktools: error: ")
        assert errors.count("\n") == 1
        assert "Traceback" not in errors
        assert sorted(tmp_path.rglob("*")) == before, "a file was left behind"
        return errors

    return run


def missing(folder):
    return folder / "missing.wav"


def a_folder(folder):
    (folder / "folder.wav").mkdir()
    return folder / "folder.wav"


def empty_file(folder):
    (folder / "empty.wav").write_bytes(b"")
    return folder / "empty.wav"


def no_audio(folder):
    (folder / "notes.wav").write_text("this is a shopping list\n" * 40)
    return folder / "notes.wav"


def no_samples(folder):
    soundfile.write(folder / "none.wav", np.zeros((0, 1)), RATE)
    return folder / "none.wav"


def cut_off(folder):
    soundfile.write(folder / "whole.wav", recording(1.0), RATE)
    (folder / "cut.wav").write_bytes((folder / "whole.wav").read_bytes()[:20_000])
    return folder / "cut.wav"


def not_a_number(folder):
    samples = recording(1.0).astype(np.float32)
    samples[1_000] = np.nan
    soundfile.write(folder / "nan.wav", samples, RATE, "FLOAT")
    return folder / "nan.wav"


BAD_FILES = {
    missing: "missing.wav does not exist",
    a_folder: "folder.wav (is a folder, not an audio file|holds no recordings)",
    empty_file: "empty.wav is empty",
    no_audio: "notes.wav cannot be read as audio",
    no_samples: "none.wav holds no samples",
    cut_off: "cut.wav is cut off",
    not_a_number: r"nan.wav: samples must be finite.* (NaN at sample 1000|\(sample 1000\)|is NaN)",
}
JOBS = {
    "inpaint": ("--gaps", "0.1-0.2"),
    "bwe": ("--cutoff", "4000"),
    "embed": (),
    "encode": (),
}


@pytest.mark.parametrize("make", BAD_FILES, ids=lambda make: make.__name__)
@pytest.mark.parametrize("job", JOBS)
def test_audio_that_cannot_be_used(refused, tmp_path, make, job):
    source = make(tmp_path)
    out = tmp_path / ("out.npz" if job in ("embed", "encode") else "out.wav")
    line = refused(job, source, "-o", out, *JOBS[job])
    assert re.search(BAD_FILES[make], line)


def test_embedding_nothing_but_bad_files(command, tmp_path):
    code, said, errors = command("embed", missing(tmp_path), empty_file(tmp_path), "-o", tmp_path / "out.npz")
    assert (code, said) == (2, "")
    assert errors.splitlines()[-1] == "masktools: error: none of the 2 recordings could be embedded"
    assert not (tmp_path / "out.npz").exists()


@pytest.mark.parametrize(
    ("gaps", "reason"),
    [
        ("1-2", r"a gap must lie within the recording, 0-1.5 s, got 1-2 s"),
        ("5-6", r"a gap must lie within the recording"),
        ("0.2-0.6,0.5-0.7", r"gaps must not overlap, got 0.2-0.6 s and 0.5-0.7 s"),
        ("0-1.5", r"the gaps cover the whole recording"),
        ("0.5-0.5", r"a gap must end after its start"),
        ("0.7-0.5", r"a gap must end after its start"),
        ("now", r"gaps must be written start-end in seconds"),
        ("", r"gaps must be written start-end in seconds"),
        ("0.1-nan", r"gaps must be written start-end in seconds"),
    ],
)
def test_gaps_that_are_none_of_the_recording(refused, wav, tmp_path, gaps, reason):
    line = refused("inpaint", wav, "-o", tmp_path / "out.wav", "--gaps", gaps)
    assert re.search(reason, line)


def test_gaps_that_are_negative(refused, wav, tmp_path):
    line = refused("inpaint", wav, "-o", tmp_path / "out.wav", "--gaps=-0.5-0.2")
    assert "the times of a gap must not be negative" in line


@pytest.mark.parametrize(
    ("cutoff", "reason"),
    [
        ("12000", r"cutoff must lie in \(0, 11025\] Hz"),
        ("11000", r"cutoff must be at most \d+ Hz"),
        ("20", r"cutoff must be at least \d+ Hz"),
        ("0", r"--cutoff: must be a number above 0 Hz, got '0'"),
        ("-4000", r"--cutoff"),
        ("nan", r"--cutoff: must be a number above 0 Hz, got 'nan'"),
        ("high", r"--cutoff: must be a number above 0 Hz, got 'high'"),
    ],
)
def test_a_cutoff_that_the_recording_does_not_have(refused, wav, tmp_path, cutoff, reason):
    line = refused("bwe", wav, "-o", tmp_path / "out.wav", "--cutoff", cutoff)
    assert re.search(reason, line)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("--steps", "0"), "--steps: must be a whole number of at least 1, got '0'"),
        (("--steps", "many"), "--steps: must be a whole number of at least 1, got 'many'"),
        (("--seed", "-1"), "--seed"),
        (("--seed", "1.5"), "--seed: must be a whole number from 0 to"),
        (("--temperature", "-1"), "--temperature"),
        (("--guidance", "inf"), "--guidance: must be a number of at least 0, got 'inf'"),
        (("--seconds", "0"), "--seconds: must be a number above 0 s, got '0'"),
        (("--seconds", "1e9"), r"seconds must lie in \(0, 600\]"),
        (("-n", "0"), "-n: must be a whole number of at least 1, got '0'"),
        (("--preset", "paper9"), "unknown preset 'paper9': .*did you mean 'paper'"),
        (("--precision", "int4"), "--precision: invalid choice: 'int4'"),
        (("--threads", "0"), "--threads: must be a whole number of at least 1"),
        (("--batch-size", "0"), "--batch-size: must be a whole number of at least 1"),
        (("--speed", "9"), "unrecognized arguments: --speed 9"),
    ],
)
def test_option_values_that_are_out_of_range(refused, tmp_path, options, reason):
    assert re.search(reason, refused("generate", "rain", "-o", tmp_path / "out.wav", *options))


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("--layer", "9"), r"layer must lie in \[-3, 2\], got 9"),
        (("--layer", "top"), "unknown layer 'top'"),
        (("--pool", "median"), "unknown pool 'median': choose from mean"),
    ],
)
def test_embedding_options_that_the_model_does_not_have(refused, wav, tmp_path, options, reason):
    assert re.search(reason, refused("embed", wav, "-o", tmp_path / "out.npz", *options))


@pytest.mark.parametrize(
    ("device", "reason"), [("tpu", "unknown device 'tpu'"), ("cuda:99", "no GPU"), ("cpu:3", "unknown device 'cpu:3'")]
)
def test_devices_that_are_not_there(refused, wav, tmp_path, tiny, device, reason):
    line = refused("encode", wav, "-o", tmp_path / "a.npz", "--model", tiny, "--device", device, model=None)
    assert reason in line


@pytest.mark.parametrize("text", ["", "   ", "zzzz qqqq"])
def test_texts_that_say_nothing(refused, tmp_path, text):
    refused("generate", text, "-o", tmp_path / "out.wav", "--seconds", 1)


def test_vectors_that_are_not_there_or_of_another_size(refused, tmp_path):
    assert "no embeddings at" in refused("generate", tmp_path / "rain.npy", "-o", tmp_path / "out.wav")
    np.save(tmp_path / "rain.npy", np.ones(7))
    assert "embeddings must be" in refused("generate", tmp_path / "rain.npy", "-o", tmp_path / "out.wav")
    np.save(tmp_path / "two.npy", np.ones((2, 16)))
    line = refused("generate", tmp_path / "two.npy", "-o", tmp_path / "out.wav", "--seconds", 1, "--steps", 1)
    assert "two.npy must hold one vector, got 2" in line


def test_an_unknown_model(refused, wav, tmp_path):
    line = refused("encode", wav, "-o", tmp_path / "out.npz", model="giant")
    assert "no model 'giant': available are" in line


@pytest.mark.parametrize("name", ["config.json", "tokenizer.safetensors", "checksums.json", "MODEL_CARD.md"])
@pytest.mark.parametrize("damage", ["missing", "altered", "empty"])
def test_a_bundle_with_a_damaged_part(refused, tiny, wav, tmp_path, name, damage):
    bundle = shutil.copytree(tiny, tmp_path / "bundle")
    if damage == "missing":
        (bundle / name).unlink()
    elif damage == "empty":
        (bundle / name).write_bytes(b"")
    else:
        content = bytearray((bundle / name).read_bytes())
        content[len(content) // 2] ^= 1
        (bundle / name).write_bytes(bytes(content))
    line = refused("encode", wav, "-o", tmp_path / "out.npz", model=bundle)
    assert str(bundle) in line


def test_a_bundle_whose_parts_are_of_two_models(refused, tiny, wav, tmp_path):
    bundle = shutil.copytree(tiny, tmp_path / "bundle")
    config = json.loads((bundle / "config.json").read_text())
    config["vocoder"]["mel"]["f_max"] = 8_000.0
    (bundle / "config.json").write_text(json.dumps(config))
    sums = json.loads((bundle / "checksums.json").read_text())
    sums["config.json"] = hashlib.sha256((bundle / "config.json").read_bytes()).hexdigest()
    (bundle / "checksums.json").write_text(json.dumps(sums))
    line = refused("encode", wav, "-o", tmp_path / "out.npz", model=bundle)
    assert "f_max 11025 and 8000" in line


@pytest.mark.parametrize(
    ("output", "reason"),
    [
        ("nowhere/out.wav", "the output's folder must exist"),
        ("", "the output must be a file of its own"),
        (".", "the output must be a file of its own"),
        ("in.wav", "the output must be a file of its own"),
        ("out.xyz", "unknown audio suffix '.xyz'"),
    ],
)
def test_outputs_that_cannot_be_written(refused, wav, tmp_path, monkeypatch, output, reason):
    monkeypatch.chdir(tmp_path)
    before = wav.read_bytes()
    assert reason in refused("inpaint", "in.wav", "-o", output, "--gaps", "0.2-0.4")
    assert wav.read_bytes() == before


def test_a_report_in_the_place_of_the_recording(refused, wav, tmp_path):
    words = ("inpaint", wav, "-o", tmp_path / "a.wav", "--gaps", "0.2-0.4", "--report")
    assert "a file of its own" in refused(*words, tmp_path / "a.wav")
    assert "a file of its own" in refused(*words, wav)


def test_vectors_go_into_files_of_known_formats(refused, wav, tmp_path):
    line = refused("embed", wav, "-o", tmp_path / "out.csv")
    assert "the output must end in .npz, .npy, .parquet or .h5, or be a folder" in line
    assert "got 'out.csv'" in line


def test_tokens_that_no_model_made(refused, wav, tiny, tmp_path):
    out = tmp_path / "out.wav"
    whole = {"tokens": np.zeros((1, 5, 3), np.int32), "sample_rate": RATE, "n_samples": 10_000, "model": "tiny"}
    assert "does not exist" in refused("decode", tmp_path / "none.npz", "-o", out)
    assert "must be a .npz file of arrays" in refused("decode", wav, "-o", out)
    for changes, reason in (
        ({"tokens": np.full((1, 5, 3), 99)}, r"tokens must lie in \[0, 16\), got 99"),
        ({"tokens": np.zeros((1, 4, 3), int)}, r"tokens must be integers of shape \(5, columns\)"),
        ({"tokens": np.zeros((1, 5, 3))}, "tokens must be integers"),
        ({"tokens": np.int32(1)}, "n_samples must be what the tokens reach to"),
        ({"n_samples": 10**12}, "n_samples must be what the tokens reach to, at most 12288"),
        ({"n_samples": 0}, "n_samples must be one positive whole number"),
        ({"sample_rate": 22_050.5}, "sample_rate must be one positive whole number"),
        ({"model": "giant"}, "tokens must be decoded by the model that made them, got --model tiny"),
    ):
        np.savez(tmp_path / "tokens.npz", **(whole | changes))
        assert re.search(reason, refused("decode", tmp_path / "tokens.npz", "-o", out))
    np.savez(tmp_path / "tokens.npz", tokens=whole["tokens"])
    assert "must hold the arrays tokens, sample_rate" in refused("decode", tmp_path / "tokens.npz", "-o", out)


@pytest.mark.parametrize("words", [[], ["paint"], ["inpaint"], ["generate", "rain"], ["embed", "-o", "a.npz"]])
def test_command_lines_that_are_none(refused, words):
    assert "--help)" in refused(*words, model=None)
