"""Half-written files: a live process keeps its own, a dead one leaves nothing that stays, and no name is in the way."""

import os
import resource
import signal
import subprocess
import sys

import numpy as np
import pytest

from masktools.core.errors import AudioError
from masktools.io import clear_parts, open_writer, replacing
from masktools.io.paths import JsonLines
from tests.house.source import ROOT

WRITING = """
import sys, time
from pathlib import Path
from masktools.io import replacing
with replacing(Path(sys.argv[1])) as part:
    part.write_text("half")
    print("writing", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def writer(tmp_path):
    """Another process that is in the midst of writing take-1.wav."""
    command = [sys.executable, "-c", WRITING, str(tmp_path / "take-1.wav")]
    streams = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, cwd=ROOT, **streams) as process:
        assert process.stdout.readline() == "writing\n"
        yield process
        if process.poll() is None:
            process.kill()


def test_what_a_live_process_writes_is_left_alone(tmp_path, writer):
    clear_parts(tmp_path)
    with replacing(tmp_path / "take-2.wav") as part:
        part.write_text("whole")
    writer.communicate("\n")
    assert writer.returncode == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["take-1.wav", "take-2.wav"]


def test_what_a_dead_process_left_goes_with_the_next_that_writes(tmp_path, writer):
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    assert len(list(tmp_path.iterdir())) == 2, "a part, and its lock"
    clear_parts(tmp_path)
    assert not list(tmp_path.iterdir())


def test_files_that_only_look_like_parts_stay(tmp_path):
    names = ["a.part", ".a.part", "a.12345678.part", ".a.1234567.part", ".masktools.lock", ".a.12345678.lock"]
    for name in names:
        (tmp_path / name).touch()
    clear_parts(tmp_path)
    assert sorted(os.listdir(tmp_path)) == sorted(names)


def test_names_that_begin_alike_are_written_side_by_side(tmp_path):
    one, other = (tmp_path / f"{'a' * 60}{n}.wav" for n in (1, 2))
    with replacing(one) as first, replacing(other) as second:
        assert first != second
        first.write_text("1")
        second.write_text("2")
    assert (one.read_text(), other.read_text()) == ("1", "2")
    assert len(list(tmp_path.iterdir())) == 2


@pytest.fixture
def little_room():
    """A limit of 50,000 bytes for each file, which libraries meet as they meet a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("ending", ["wav", "flac", "aiff"])
def test_what_the_disk_does_not_take_is_one_line_with_its_cause_and_its_file(tmp_path, little_room, ending):
    noise = np.random.default_rng(0).standard_normal((1, 200_000)) * 0.1

    def write():
        with open_writer(tmp_path / f"out.{ending}", 22_050, 1) as out:
            out.write(noise)

    with pytest.raises(AudioError, match=rf"out\.{ending} cannot be written: File too large"):
        write()
    assert not list(tmp_path.iterdir())


def test_notes_that_the_disk_does_not_take_are_told_likewise(tmp_path, little_room):
    notes = JsonLines(tmp_path / "notes.jsonl")
    notes.add({"a": 1})
    with pytest.raises(AudioError, match=r"notes\.jsonl cannot be written: "):
        notes.add({"b": "b" * 60_000})


def test_notes_of_several_writers_are_all_kept_behind_a_line_that_was_cut_off(tmp_path):
    one, other = JsonLines(tmp_path / "notes.jsonl"), JsonLines(tmp_path / "notes.jsonl")
    one.add({"n": 1})
    with one.path.open("ab") as file:
        file.write(b'{"n": 9, "cut o')
    other.add({"n": 2})
    one.add({"n": 3})
    assert [entry["n"] for entry in one.read()] == [1, 2, 3]
