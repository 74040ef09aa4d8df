"""`python -m recipes.renders` renders training audio, and says how much there is or what is missing."""

import shutil

import pytest

pytest.importorskip("lightning", reason="training needs the extra masktools[train]")

from masktools.training.shards import AudioCache, build_cache
from masktools.training.sources import read_source
from recipes.renders.__main__ import main
from recipes.renders.music import SOUNDFONT

installed = shutil.which("fluidsynth") and shutil.which("espeak-ng") and SOUNDFONT.is_file()


@pytest.mark.skipif(not installed, reason="fluidsynth, its bank or espeak-ng is not installed")
def test_a_folder_of_renders_can_be_cached(capsys, tmp_path):
    amounts = ("--music-minutes", "0.1", "--speech-minutes", "0.1", "--mixture-minutes", "0.1", "--seed", "3")
    assert main(["-o", str(tmp_path / "renders"), *amounts]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:3] for line in lines[:3]] == [[k, "1", "renders"] for k in ("music", "speech", "mixture")]
    assert lines[3] == str(tmp_path / "renders" / "manifest.csv")
    build_cache(tmp_path / "cache", read_source(tmp_path / "renders" / "manifest.csv"), 22050)
    assert len(AudioCache(tmp_path / "cache").recordings) == 3


def test_a_missing_bank_is_one_line(capsys, tmp_path, monkeypatch):
    for name in ("fluidsynth", "espeak-ng"):
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    bank = tmp_path / "gone.sf2"
    assert main(["-o", str(tmp_path / "renders"), "--soundfont", str(bank)]) == 2
    assert capsys.readouterr().err == (
        f"recipes.renders: error: no General MIDI bank at {bank}: apt-get install fluid-soundfont-gm, or name another\n"
    )


def test_minutes_below_nothing_are_refused(capsys, tmp_path):
    with pytest.raises(SystemExit, match="2"):
        main(["-o", str(tmp_path / "renders"), "--music-minutes", "-1"])
    assert "--music-minutes: must be a number of at least 0, got '-1'" in capsys.readouterr().err
