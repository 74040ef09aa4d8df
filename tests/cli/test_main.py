"""How the command line ends when something goes wrong."""

import io
import os
import subprocess
import sys

import pytest

from masktools.cli import models
from masktools.cli.generate import numbered
from masktools.cli.main import main
from masktools.cli.options import progress
from masktools.errors import ParameterError
from masktools.io import replacing
from tests.house.source import ROOT


def ends_with(error, monkeypatch):
    def run(args):
        raise error

    monkeypatch.setattr(models, "run", run)
    return main(["models"])


def test_an_interrupted_command_says_so(monkeypatch, capsys):
    assert ends_with(KeyboardInterrupt(), monkeypatch) == 130
    assert capsys.readouterr().err == "masktools: error: interrupted\n"


def test_a_reader_that_went_away_is_no_error_message(monkeypatch, capsys):
    assert ends_with(BrokenPipeError(), monkeypatch) == 141
    assert capsys.readouterr().err == ""


def test_a_full_disk_is_one_line(monkeypatch, capsys):
    assert ends_with(OSError(28, "No space left on device", "out.wav"), monkeypatch) == 2
    assert capsys.readouterr().err == "masktools: error: No space left on device: out.wav\n"


def test_an_error_of_several_lines_is_told_in_one(monkeypatch, capsys):
    assert ends_with(ParameterError("one\ntwo"), monkeypatch) == 2
    assert capsys.readouterr().err == "masktools: error: one two\n"


def test_too_little_memory_is_told_with_a_way_out(monkeypatch, capsys):
    import torch

    assert ends_with(torch.OutOfMemoryError("CUDA out of memory"), monkeypatch) == 2
    assert "try a smaller --batch-size" in capsys.readouterr().err
    with pytest.raises(RuntimeError, match="a defect"):
        ends_with(RuntimeError("a defect"), monkeypatch)


def test_a_pipe_that_closes_early_leaves_no_traceback():
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "masktools", "--help"]
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    done = subprocess.run(
        command, stdout=writing, stderr=subprocess.PIPE, text=True, cwd=ROOT, env=buffered, check=False
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (141, "")


def test_several_results_are_numbered_in_the_order_of_their_names(tmp_path):
    assert numbered(tmp_path / "a.wav", 1) == [tmp_path / "a.wav"]
    names = [path.name for path in numbered(tmp_path / "a.wav", 10)]
    assert names == sorted(names)
    assert names[0] == "a-01.wav"


def test_what_is_half_written_vanishes(tmp_path):
    (tmp_path / "out").write_text("old")
    with pytest.raises(ZeroDivisionError), replacing(tmp_path / "out") as part:  # noqa: PT012
        part.write_text("half")
        raise ZeroDivisionError
    assert (tmp_path / "out").read_text() == "old"
    assert list(tmp_path.iterdir()) == [tmp_path / "out"]


def test_a_link_stays_a_link(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "target")
    with replacing(tmp_path / "link") as part:
        part.write_text("new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "target").read_text() == "new"


def test_progress_is_for_those_who_watch(monkeypatch):
    assert progress() is None
    terminal = io.StringIO()
    terminal.isatty = lambda: True
    monkeypatch.setattr(sys, "stderr", terminal)
    show = progress()
    show(1, 2)
    show(2, 2)
    assert terminal.getvalue() == "\r 50%\r    \r"
