"""`masktools render` renders training audio, and says how much there is or what is missing."""

import shutil

import pytest

from masktools.training.renders.music import SOUNDFONT

installed = shutil.which("fluidsynth") and shutil.which("espeak-ng") and SOUNDFONT.is_file()


@pytest.mark.skipif(not installed, reason="fluidsynth, its bank or espeak-ng is not installed")
def test_a_folder_of_renders_can_be_cached(command, tmp_path):
    pytest.importorskip("lightning", reason="training needs the extra masktools[train]")
    amounts = ("--music-minutes", 0.1, "--speech-minutes", 0.1, "--mixture-minutes", 0.1, "--seed", 3)
    code, said, errors = command("render", "-o", tmp_path / "renders", *amounts, model=None)
    assert (code, errors) == (0, "")
    lines = said.splitlines()
    assert [line.split()[:3] for line in lines[:3]] == [[k, "1", "renders"] for k in ("music", "speech", "mixture")]
    assert lines[3] == str(tmp_path / "renders" / "manifest.csv")
    code, said, errors = command("cache", tmp_path / "renders" / "manifest.csv", "-o", tmp_path / "cache", model=None)
    assert (code, errors) == (0, "")
    assert ": 3 recordings, " in said


def test_a_missing_bank_is_one_line(command, tmp_path, monkeypatch):
    for name in ("fluidsynth", "espeak-ng"):
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    words = ("-o", tmp_path / "renders", "--soundfont", tmp_path / "gone.sf2")
    code, _, errors = command("render", *words, model=None)
    assert code == 2
    assert errors == (
        f"masktools: error: no General MIDI bank at {tmp_path / 'gone.sf2'}: "
        "apt-get install fluid-soundfont-gm, or name another\n"
    )


def test_minutes_below_nothing_are_refused(command, tmp_path):
    code, _, errors = command("render", "-o", tmp_path / "renders", "--music-minutes", "-1", model=None)
    assert code == 2
    assert "--music-minutes: must be a number of at least 0, got '-1'" in errors
