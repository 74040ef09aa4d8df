"""How the command line ends when something goes wrong."""

import io
import os
import subprocess
import sys
from dataclasses import replace

import pytest
import soundfile

from masktools.cli.files import Watcher, percent
from masktools.cli.generate import numbered
from masktools.cli.main import COMMANDS, main
from masktools.core.errors import ParameterError
from masktools.io import replacing
from tests.cli.conftest import RATE, recording
from tests.house.source import ROOT


def ends_with(error, monkeypatch):
    def run(args):
        raise error

    monkeypatch.setitem(COMMANDS, "models", replace(COMMANDS["models"], run=run))
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
    assert percent() is None
    terminal = io.StringIO()
    terminal.isatty = lambda: True
    monkeypatch.setattr(sys, "stderr", terminal)
    show = percent()
    show(1, 2)
    show(2, 2)
    assert terminal.getvalue() == "\r 50%\r    \r"


def test_a_share_is_100_per_cent_only_when_all_is_done(capsys):
    show = Watcher("bar", 264_600)
    show._n_done = 264_591
    show.step(0, 1)
    assert " 99%" in capsys.readouterr().err


@pytest.fixture
def outside(tmp_path):
    """Run a command line in a process of its own, in the folder of a recording whose name few consoles can show."""
    name = os.fsencode(tmp_path) + b"/caf\xe9 \xf0\x9f\x8e\xb5 \xc3\xbc.wav"
    with open(name, "wb") as file:
        soundfile.write(file, recording(0.5), RATE, format="WAV")

    def run(command="inpaint", how=None, **environment):
        options = (b"-o", b"out", b"--gaps", b"0.2-0.21", b"--overwrite") if command == "inpaint" else ()
        words = [sys.executable, "-m", "masktools", command, name, *options]
        environment = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
        return subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, preexec_fn=how, check=False)

    return run


def test_any_name_is_worked_on_and_shown_where_the_locale_knows_no_letters(outside, tmp_path):
    done = outside(LC_ALL="C", PYTHONCOERCECLOCALE="0", PYTHONUTF8="0")
    assert (done.returncode, done.stderr) == (0, b"")
    assert rb"caf\udce9" in done.stdout
    assert os.listdir(os.fsencode(tmp_path / "out"))


@pytest.mark.parametrize("encoding", ["cp1252", "latin-1", "ascii", "utf-8"])
def test_any_name_is_worked_on_and_shown_on_any_console(outside, tmp_path, monkeypatch, encoding):
    (name,) = (path for path in tmp_path.iterdir() if path.suffix == ".wav")
    streams = [io.TextIOWrapper(io.BytesIO(), encoding) for _ in range(2)]
    monkeypatch.setattr(sys, "stdout", streams[0])
    monkeypatch.setattr(sys, "stderr", streams[1])
    code = main(["inpaint", str(name), "-o", str(tmp_path / "out"), "--gaps", "0.2-0.21"])
    said, errors = (stream.buffer.getvalue() for stream in streams)
    assert (code, errors) == (0, b"")
    assert rb"caf\udce9" in said


@pytest.mark.parametrize(("command", "closed"), [("probe", (1,)), ("probe", (2,)), ("inpaint", (0, 1, 2))])
def test_closed_streams_end_no_command(outside, tmp_path, command, closed):
    done = outside(command, how=lambda: [os.close(number) for number in closed])
    assert done.returncode == 0
    if command == "inpaint":
        (made,) = (tmp_path / "out").glob("caf*")
        assert soundfile.info(io.BytesIO(made.read_bytes())).frames == RATE // 2


def test_a_command_called_where_there_are_no_streams_runs(monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", None)
    assert main(["--version"]) == 0
    assert main(["probe", "missing.wav"]) == 2


@pytest.mark.parametrize(
    ("given", "found"),
    [({}, "1000"), ({"GOMP_SPINCOUNT": "7"}, "7"), ({"OMP_WAIT_POLICY": "active"}, "None")],
)
def test_waiting_threads_leave_their_core_to_others_unless_one_wants_it_otherwise(given, found):
    code = (
        "import os, sys; from masktools.cli.main import main; loaded = 'torch' in sys.modules; "
        "main(['--version']); print(loaded, os.environ.get('GOMP_SPINCOUNT'))"
    )
    environment = {k: v for k, v in os.environ.items() if k not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")} | given
    said = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert said.stdout.splitlines()[-1] == f"False {found}"
