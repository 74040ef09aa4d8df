"""Batches: what fails alone fails alone, what dies takes nobody along, what is done stays done."""

import os
import signal
import time
from pathlib import Path

import pytest

from masktools.batch import Journal, Outcome, Task, run_tasks
from masktools.core.errors import AudioError


def task(folder, name):
    source = folder / f"{name}.wav"
    source.write_text(name)
    return Task(source, folder / f"{name}.out")


def work(one: Task):
    words = one.source.read_text()
    if words == "bad":
        raise AudioError(f"{one.source} is bad")
    if words == "locked":
        raise PermissionError(13, "Permission denied")
    if words == "deadly":
        time.sleep(0.2)
        os.kill(os.getpid(), signal.SIGKILL)
    one.target.write_text(words)
    return {"words": words}


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_a_bad_file_does_not_stop_the_others(tmp_path, n_jobs):
    tasks = [task(tmp_path, name) for name in ("one", "bad", "two", "locked", "three")]
    outcomes = list(run_tasks(tasks, work, n_jobs))
    assert {outcome.task for outcome in outcomes} == set(tasks)
    failed = {outcome.task.source.stem: outcome.error for outcome in outcomes if outcome.error}
    assert failed == {
        "bad": f"{tmp_path}/bad.wav is bad",
        "locked": f"{tmp_path}/locked.wav: Permission denied",
    }
    assert sorted(outcome.report["words"] for outcome in outcomes if not outcome.error) == ["one", "three", "two"]


def test_a_process_that_dies_fails_its_own_file_only(tmp_path):
    tasks = [task(tmp_path, name) for name in ("one", "deadly", "two", "three", "four")]
    outcomes = {outcome.task.source.stem: outcome.error for outcome in run_tasks(tasks, work, 2)}
    assert set(outcomes) == {"one", "deadly", "two", "three", "four"}
    assert "killed: too little memory?" in outcomes.pop("deadly")
    assert not any(outcomes.values())


def test_what_is_no_fault_of_the_file_is_told_with_its_kind(tmp_path):
    def broken(one: Task):
        raise ZeroDivisionError("nought")

    (outcome,) = run_tasks([task(tmp_path, "one")], broken)
    assert outcome == Outcome(outcome.task, error=f"{tmp_path}/one.wav: internal error (ZeroDivisionError: nought)")


def journal(folder, settings=None):
    return Journal(folder / "journal.jsonl", settings or {"seed": 0})


@pytest.fixture
def done(tmp_path):
    one = task(tmp_path, "one")
    journal(tmp_path).add(one, work(one))
    return one


def test_a_finished_task_is_known_to_a_later_journal(tmp_path, done):
    assert journal(tmp_path).report_of(done) == {"words": "one"}
    assert journal(tmp_path).report_of(task(tmp_path, "two")) is None


def test_with_other_settings_it_is_to_be_done_again(tmp_path, done):
    assert journal(tmp_path, {"seed": 1}).report_of(done) is None


@pytest.mark.parametrize("change", ["cut output", "no output", "other source"])
def test_what_has_changed_since_is_to_be_done_again(tmp_path, done, change):
    if change == "cut output":
        done.target.write_text("on")
    elif change == "no output":
        done.target.unlink()
    else:
        done.source.write_text("another")
    assert journal(tmp_path).report_of(done) is None


@pytest.mark.parametrize("tail", [b'{"target": "x', b"\xff\xfe", b"[]\n", b"3\n"])
def test_a_journal_that_was_cut_off_keeps_its_whole_lines(tmp_path, done, tail):
    path: Path = tmp_path / "journal.jsonl"
    path.write_bytes(path.read_bytes() + tail)
    two = task(tmp_path, "two")
    journal(tmp_path).add(two, work(two))
    assert journal(tmp_path).report_of(done) == {"words": "one"}
    assert journal(tmp_path).report_of(two) == {"words": "two"}
