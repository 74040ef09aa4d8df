"""`masktools generate --prompts` fills a folder, and a second run makes only what is missing."""

import json

import numpy as np
import pytest
import soundfile

from masktools.cli import files, generate
from masktools.core.errors import AudioError

FAST = ("--seconds", 0.5, "--steps", 2)


@pytest.fixture
def prompts(tmp_path):
    path = tmp_path / "prompts.txt"
    path.write_text("rain falls\na dog\nrain falls\n")
    return path


def test_each_prompt_becomes_a_file_called_after_it(command, prompts, tmp_path):
    out, report = tmp_path / "out", tmp_path / "report.json"
    code, said, errors = command("generate", "--prompts", prompts, "-o", out, *FAST, "--report", report)
    assert (code, errors) == (0, "")
    names = ["rain-falls.wav", "a-dog.wav", "rain-falls-2.wav"]
    assert said.splitlines() == [*(str(out / name) for name in names), "3 made, 0 finished before"]
    sounds = [soundfile.read(out / name)[0] for name in names]
    assert all(len(sound) == 11_025 for sound in sounds)
    assert (sounds[0] != sounds[2]).any()
    assert [one["file"] for one in json.loads(report.read_text())["made"]] == names


def test_a_second_run_makes_only_what_is_missing(command, prompts, tmp_path):
    words = ("generate", "--prompts", prompts, "-o", tmp_path / "out", *FAST)
    command(*words)
    lost = tmp_path / "out" / "a-dog.wav"
    before, _ = soundfile.read(lost)
    lost.unlink()
    with prompts.open("a") as file:
        file.write("a dog falls\n")
    code, said, _ = command(*words, "--resume")
    assert code == 0
    assert said.splitlines()[-1] == "2 made, 2 finished before"
    assert np.abs(soundfile.read(lost)[0] - before).max() < 1e-3
    assert command(*words, "--resume")[1] == "0 made, 4 finished before\n"


def test_nothing_is_replaced_unasked(command, prompts, tmp_path):
    words = ("generate", "--prompts", prompts, "-o", tmp_path / "out", *FAST)
    command(*words)
    code, _, errors = command(*words)
    assert code == 2
    assert "3 of 3 results are there already" in errors
    assert "rain-falls.wav first: say --resume to go on with an earlier run, --overwrite to replace them" in errors
    assert "cannot be resumed, made with other settings" in command(*words, "--resume", "--seed", 1)[2]
    assert command(*words, "--overwrite")[0] == 0


def test_several_of_each_and_another_format(command, prompts, tmp_path):
    code, _, _ = command("generate", "--prompts", prompts, "-o", tmp_path / "out", *FAST, "-n", 2, "--format", "flac")
    assert code == 0
    assert len(list((tmp_path / "out").glob("*-[12].flac"))) == 6


def test_the_best_of_several_candidates_is_written_with_its_nearness_to_the_text(command, prompts, tmp_path):
    out, report = tmp_path / "out", tmp_path / "report.json"
    words = ("generate", "--prompts", prompts, "-o", out, *FAST, "--candidates", 3, "--report", report)
    assert command(*words)[0] == 0
    assert len(list(out.glob("*.wav"))) == 3
    assert all(-1 <= one["similarity"] <= 1 for one in json.loads(report.read_text())["made"])
    assert command(*words[:-2], "--resume")[1] == "0 made, 3 finished before\n"
    single = json.loads(report.read_text())["made"][0]
    alone = tmp_path / "alone.json"
    words = ("generate", "rain falls", "-o", tmp_path / "alone.wav", *FAST, "--candidates", 3, "--report", alone)
    assert command(*words)[0] == 0
    assert json.loads(alone.read_text())["similarities"] == [single["similarity"]]


def test_candidates_without_a_text_are_refused(command, tmp_path):
    code, _, errors = command("generate", "-o", tmp_path / "any.wav", *FAST, "--candidates", 2)
    assert code == 2
    assert "n_candidates must be 1 without a text" in errors
    words = ("generate", "a clarinet, C4", "-o", tmp_path / "c.wav", "--candidates", 2)
    code, _, errors = command(*words, model="mini-mars")
    assert code == 2
    assert "reads no sounds" in errors
    assert not list(tmp_path.glob("*.wav"))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("rain", "--prompts", "p.txt", "-o", "out"), "a text and --prompts must not be given together"),
        (("rain", "-o", "out.wav", "--resume"), "--format and --resume go with --prompts"),
        (("--prompts", "none.txt", "-o", "out"), "the file of prompts must exist, got none.txt"),
    ],
)
def test_what_does_not_belong_together_is_refused(command, words, message):
    code, said, errors = command("generate", *words)
    assert (code, said) == (2, "")
    assert message in errors


def test_a_text_that_cannot_be_read_is_told_before_anything_is_made(command, prompts, tmp_path):
    with prompts.open("a") as file:
        file.write("xyz\n")
    code, said, errors = command("generate", "--prompts", prompts, "-o", tmp_path / "out", *FAST, "--batch-size", 1)
    assert (code, said) == (2, "")
    assert "none of 'xyz' can be spelt" in errors


def test_the_output_must_be_a_folder(command, prompts, tmp_path):
    assert "must be a folder, got the file" in command("generate", "--prompts", prompts, "-o", prompts)[2]
    missing = tmp_path / "no" / "where"
    assert "the folder to hold where must exist" in command("generate", "--prompts", prompts, "-o", missing)[2]


def test_a_run_killed_between_a_file_and_its_note_is_resumed(command, prompts, tmp_path):
    out = tmp_path / "out"
    words = ("generate", "--prompts", prompts, "-o", out, *FAST)
    command(*words)
    whole = {path.name: path.read_bytes() for path in out.iterdir()}
    notes = out / ".masktools-generated.jsonl"
    lines = notes.read_text().splitlines(keepends=True)
    assert len(lines) == 6, "one before each file, one behind it"
    notes.write_text("".join(lines[:3]) + lines[3][:20])  # a-dog.wav is there, and was not noted
    (out / "rain-falls-2.wav").unlink()
    code, said, errors = command(*words, "--resume", "--batch-size", 1)
    assert (code, errors) == (0, "")
    assert said.splitlines()[-1] == "2 made, 1 finished before"
    assert {path.name: path.read_bytes() for path in out.iterdir() if path != notes} == {
        name: content for name, content in whole.items() if name != notes.name
    }


def test_what_was_changed_since_is_not_replaced_by_a_resumed_run(command, prompts, tmp_path):
    words = ("generate", "--prompts", prompts, "-o", tmp_path / "out", *FAST)
    command(*words)
    (tmp_path / "out" / "a-dog.wav").write_bytes(b"mine")
    code, said, errors = command(*words, "--resume")
    assert (code, said) == (2, "")
    assert "a-dog.wav cannot be resumed, made with other settings or changed since" in errors
    assert (tmp_path / "out" / "a-dog.wav").read_bytes() == b"mine"


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (AudioError("a-dog.wav cannot be written: No space left on device"), 2, "No space left on device"),
        (OSError(28, "No space left on device", "a-dog.wav"), 2, "No space left on device: a-dog.wav"),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
)
def test_a_writer_that_fails_ends_the_run_in_one_line_and_what_was_written_stays(
    command, prompts, tmp_path, monkeypatch, error, code, message
):
    write = files.write_audio

    def failing(target, samples, sample_rate):
        if target.name == "a-dog.wav":
            raise error
        write(target, samples, sample_rate)

    words = ("generate", "--prompts", prompts, "-o", tmp_path / "out", *FAST, "--batch-size", 1)
    with monkeypatch.context() as patched:
        patched.setattr(files, "write_audio", failing)
        got, _, errors = command(*words)
    assert got == code
    assert errors.splitlines() == [f"masktools: error: {message}" if code == 130 else errors.strip()]
    assert message in errors
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert "rain-falls.wav" in names
    assert "a-dog.wav" not in names
    assert not any(name.endswith(".part") for name in names)
    assert command(*words, "--resume")[0] == 0


def test_a_closed_folder_is_told_before_anything_is_made(command, prompts, tmp_path, monkeypatch):
    monkeypatch.setattr(generate.os, "access", lambda place, mode: place != tmp_path)
    code, said, errors = command("generate", "--prompts", prompts, "-o", tmp_path, *FAST)
    assert (code, said) == (2, "")
    assert "the output's folder must be open for writing" in errors
