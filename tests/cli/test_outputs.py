"""What commands write: where it must not go, what is replaced, and what becomes of a command that is told to end."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import soundfile

from masktools.cli import files
from masktools.cli.files import GrowingReport, is_report
from tests.cli.conftest import RATE, recording

GAPS = ("--gaps", "0.3-0.31")


def sums(folder):
    return {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir() if path.is_file()}


@pytest.fixture
def takes(tmp_path):
    """Recordings whose names are those of each other's candidates."""
    (tmp_path / "in").mkdir()
    for number, name in enumerate(("take.wav", "take-2.wav", "take-3.wav")):
        soundfile.write(tmp_path / "in" / name, np.roll(recording(0.8), 100 * number), RATE)
    return tmp_path / "in"


JOBS = {
    "inpaint": GAPS,
    "restore": (*GAPS, "--cutoff", "4000"),
    "bwe": ("--cutoff", "4000"),
    "repair": ("--region", "0.2-0.3,1000-3000"),
    "continue": ("--seconds", "0.2"),
    "loop": (),
}


@pytest.mark.parametrize("job", JOBS)
@pytest.mark.parametrize("link", [os.link, os.symlink, None])
def test_no_job_writes_over_its_source(command, takes, tmp_path, job, link):
    source, before = takes / "take.wav", sums(takes)
    out = tmp_path / "out.wav" if link else source
    if link:
        link(source, out)
    code, _, errors = command(job, source, "-o", out, *JOBS[job], "--overwrite")
    assert code == 2
    assert "a file of its own" in errors
    assert sums(takes) == before


@pytest.mark.parametrize("job", JOBS)
def test_no_job_replaces_what_is_there_unasked(command, takes, tmp_path, job):
    out = tmp_path / "out.wav"
    out.write_bytes(b"mine")
    code, _, errors = command(job, takes / "take.wav", "-o", out, *JOBS[job])
    assert (code, out.read_bytes()) == (2, b"mine")
    assert "out.wav is there already" in errors
    assert "--overwrite" in errors


@pytest.mark.parametrize("n_inputs", [1, 2])
def test_results_beside_their_sources_are_kept_too_for_one_input_and_for_several(command, takes, n_inputs):
    inputs = sorted(takes.iterdir())[:n_inputs]
    words = ("inpaint", *inputs, *GAPS, "--method", "burg")
    assert command(*words)[0] == 0
    before = sums(takes)
    assert command(*words)[0] == 2
    assert sums(takes) == before
    assert command(*words, "--overwrite")[0] == 0


def test_a_candidate_is_neither_its_source_nor_the_result_of_another(command, takes, tmp_path):
    before = sums(takes)
    words = ("-n", 3, *GAPS, "--method", "model", "--steps", 2, "--overwrite")
    code, _, errors = command("inpaint", takes / "take-2.wav", "-o", takes / "take.wav", *words)
    assert code == 2
    assert "take-2.wav for two files" in errors
    code, _, errors = command("inpaint", takes, "-o", tmp_path / "out", *words)
    assert code == 2
    assert "take-2.wav for two files" in errors
    assert not (tmp_path / "out").exists()
    assert sums(takes) == before


def test_pages_and_reports_are_files_of_their_own(command, takes, tmp_path):
    before = sums(takes)
    out = tmp_path / "out"
    for words in (
        ("-o", out, "--report", takes / "take.wav", "--overwrite"),
        ("-o", out, "--report", out / "take.wav"),
        ("-o", out, "--report", out / ".masktools-journal.jsonl"),
        ("-o", out, "--ab", "png", "--report", out / "take.wav.png"),
    ):
        assert command("inpaint", takes, *words, *GAPS, "--method", "burg")[0] == 2
    assert not out.exists()
    assert sums(takes) == before


def test_options_that_are_read_are_not_written_over(command, takes, tmp_path):
    gaps = tmp_path / "gaps.json"
    gaps.write_text('[{"start_s": 0.3, "end_s": 0.31}]')
    words = ("inpaint", takes / "take.wav", "-o", tmp_path / "out.wav", "--gaps", gaps, "--report", gaps)
    assert command(*words, "--overwrite")[0] == 2
    assert gaps.read_text().startswith("[")


def test_a_resumed_run_replaces_what_it_made_and_nothing_else(command, takes, tmp_path):
    out = tmp_path / "out"
    words = ("inpaint", takes, "-o", out, *GAPS, "--method", "burg", "--resume")
    assert command(*words)[0] == 0
    (out / "take.wav").unlink()
    (out / ".masktools-journal.jsonl").unlink()
    (out / "take-2.wav").write_bytes(b"mine")
    code, _, errors = command(*words)
    assert code == 2
    assert "no earlier run made them" in errors
    assert (out / "take-2.wav").read_bytes() == b"mine"


def test_a_folder_of_results_may_get_folders_and_another_name_and_its_results_stay_finished(command, takes, tmp_path):
    words = ("inpaint", takes, "-r", *GAPS, "--method", "burg", "--resume", "-o")
    assert command(*words, tmp_path / "out.v2")[0] == 0
    (takes / "deep").mkdir()
    soundfile.write(takes / "deep" / "more.wav", recording(0.8), RATE)
    assert "1 restored, 3 finished before" in command(*words, tmp_path / "out.v2")[1]
    (tmp_path / "out.v2").rename(tmp_path / "elsewhere")
    assert "4 finished before" in command(*words, tmp_path / "elsewhere")[1]


def test_candidates_with_their_bands_extended_are_each_told_of(command, takes, tmp_path):
    out, report = tmp_path / "out.wav", tmp_path / "report.json"
    words = ("restore", takes / "take.wav", "-o", out, "--gaps", "0.3-0.45", "--cutoff", "4000", "-n", 2)
    code, _, errors = command(*words, "--steps", 2, "--method", "model", "--report", report)
    assert code == 0
    told = json.loads(report.read_text())
    assert told["outputs"] == [str(out), str(tmp_path / "out-2.wav")]
    assert [one["output"] for one in told["candidates"]] == [str(tmp_path / "out-2.wav")]
    assert "extension" in told["candidates"][0]
    assert told["extension"] != told["candidates"][0]["extension"], "each has a band of its own"
    assert len(errors.splitlines()) == len(set(errors.splitlines())) == len(told["warnings"])


def test_a_recording_that_is_told_to_end_leaves_nothing(tmp_path, tiny):
    soundfile.write(tmp_path / "in.wav", recording(600.0, 8_000), 8_000)
    out = tmp_path / "out"
    out.mkdir()
    words = [sys.executable, "-m", "masktools", "bwe", tmp_path / "in.wav", "-o", out / "a.wav", "--cutoff", "2000"]
    process = subprocess.Popen([*words, "--model", tiny, "--device", "cpu"], stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while not list(out.glob(".*.part")) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate()
    assert (process.returncode, errors) == (143, "masktools: error: ended by SIGTERM\n")
    assert not list(out.iterdir())


@pytest.mark.filterwarnings("default")
def test_one_folder_without_recordings_among_several_is_warned_of(command, takes, tmp_path):
    (tmp_path / "empty").mkdir()
    code, told, errors = command("inpaint", tmp_path / "empty", takes, "-o", tmp_path / "out", *GAPS, "--dry-run")
    assert code == 0
    assert "3 recordings" in told
    assert "warning" in errors
    assert "empty holds no recordings" in errors
    assert command("inpaint", tmp_path / "empty", "-o", tmp_path / "out", *GAPS)[0] == 2


@pytest.mark.filterwarnings("default")
def test_one_shard_without_recordings_among_several_is_warned_of(command, takes, tmp_path, monkeypatch):
    import tarfile

    monkeypatch.chdir(takes)
    tarfile.open("s-0.tar", "w").close()
    with tarfile.open("s-1.tar", "w") as shard:
        shard.add("take.wav")
    code, told, errors = command("embed", "s-{0..1}.tar", "-o", tmp_path / "out.npz")
    assert (code, "1 embedded" in told) == (0, True)
    assert "s-0.tar holds no recordings" in errors


def test_shards_are_joined_where_one_of_them_holds_nothing_but_failures(command, takes, tmp_path):
    (takes / "a.wav").write_bytes(b"no music")  # the first of four
    shards = [tmp_path / f"{number}.npz" for number in range(4)]
    codes = [command("embed", takes, "-o", path, "--shard", f"{n}/4")[0] for n, path in enumerate(shards)]
    assert codes == [3, 0, 0, 0]
    code, told, _ = command("embed", *shards, "-o", tmp_path / "all.npz", "--merge", model=None)
    assert (code, "3 embedded" in told) == (3, True)


def test_a_report_grows_and_is_whole_at_any_time(tmp_path, monkeypatch):
    path, entries, n_written = tmp_path / "report.json", [{"file": f"{n}.wav", "é": [n]} for n in range(50)], 0
    monkeypatch.setattr(files, "_PAUSE_S", 0.0)
    report = GrowingReport(path, {"masktools": "1", "command": "inpaint"})
    for n, entry in enumerate(entries, 1):
        report.add(entry)
        assert json.loads(path.read_text())["files"] == entries[: len(json.loads(path.read_text())["files"])]
        n_written += len(json.loads(path.read_text())["files"]) == n
    report.write(failed=0)
    assert json.loads(path.read_text()) == {"masktools": "1", "command": "inpaint", "files": entries, "failed": 0}
    assert is_report(path)
    path.write_text("{}")
    assert not is_report(path)


def test_a_report_without_entries_is_whole_too(tmp_path):
    GrowingReport(tmp_path / "r.json", {"masktools": "1"}).write()
    assert json.loads((tmp_path / "r.json").read_text()) == {"masktools": "1", "files": []}
