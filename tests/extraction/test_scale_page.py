"""The command lines of docs/scale.md do what they say."""

import os
import re
from pathlib import Path

import pytest

from masktools import io
from masktools.cli.main import main
from masktools.extraction import find_items, write_manifest
from tests.tiny import noise

PAGE = (Path(__file__).parents[2] / "docs" / "scale.md").read_text(encoding="utf-8")
LINES = [line for block in re.findall(r"```(?:sh|sbatch)\n(.*?)```", PAGE, re.S) for line in block.splitlines()]
COMMANDS = [line.removeprefix("masktools ") for line in LINES if line.startswith("masktools ")]


@pytest.mark.parametrize("command", [line for line in COMMANDS if "--merge" not in line])
def test_each_command_would_do_what_the_page_says(command, tmp_path, monkeypatch, capsys):
    pytest.importorskip("pyarrow")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "parts").mkdir()
    (tmp_path / "music").mkdir()
    io.write(tmp_path / "music/a.wav", noise(0.1), 22_050)
    for number in range(100):
        os.link(tmp_path / "music/a.wav", tmp_path / f"music/{number:02d}.wav")
    (tmp_path / "music/a.wav").unlink()
    write_manifest("list.parquet", find_items(["music"]))
    words = command.replace("$SLURM_ARRAY_TASK_ID", "7").replace("$SLURM_CPUS_PER_TASK", "8").split()
    assert main([*words, "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("07.wav" if "--shard" in command else "00.wav")
    assert f"{1 if '--shard' in command else 100} recordings would be embedded" in said


def test_the_page_shows_one_machine_slurm_joining_and_ray():
    assert len(COMMANDS) == 5
    assert sum("--merge" in command for command in COMMANDS) == 1
    assert any("--engine ray --address" in command for command in COMMANDS)
