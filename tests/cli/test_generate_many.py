"""`masktools generate --prompts` fills a folder, and a second run makes only what is missing."""

import json

import numpy as np
import pytest
import soundfile

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
    assert "rain-falls.wav and 2 more must not be there yet: give --overwrite, or --resume" in errors
    assert "must not be there yet" in command(*words, "--resume", "--seed", 1)[2], "of another seed: not finished"
    assert command(*words, "--overwrite")[0] == 0


def test_several_of_each_and_another_format(command, prompts, tmp_path):
    code, _, _ = command("generate", "--prompts", prompts, "-o", tmp_path / "out", *FAST, "-n", 2, "--format", "flac")
    assert code == 0
    assert len(list((tmp_path / "out").glob("*-[12].flac"))) == 6


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("rain", "--prompts", "p.txt", "-o", "out"), "a text and --prompts must not be given together"),
        (("rain", "-o", "out.wav", "--resume"), "--format, --resume and --overwrite go with --prompts"),
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
