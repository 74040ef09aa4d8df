"""Reports of restorations, read again."""

import json
from pathlib import Path

import pytest

from masktools.core.errors import ParameterError
from masktools.review import Repair, Work, read_work, repairs_of

GAP = {"start_s": 1.0, "end_s": 1.5, "channels": [0], "method": "model", "seam_db": 1.0}
REPAIR = Repair(1.0, 1.5, (0,), "model")


def report(tmp_path, content):
    path = tmp_path / "report.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def test_the_report_of_one_recording_is_about_it_whatever_it_is_called_now(tmp_path):
    path = report(tmp_path, {"input": "x.wav", "output": "y.wav", "gaps": [GAP], "cutoff_hz": 4000})
    assert read_work(path, Path("a.wav"), Path("b.wav")) == Work((REPAIR,), 4000.0)


def test_of_many_the_one_is_taken_that_made_the_file(tmp_path):
    others = [{"input": f"in/{n}.wav", "output": f"out/{n}.wav", "gaps": [], "cutoff_hz": n * 1000} for n in (1, 2)]
    path = report(tmp_path, {"masktools": "1", "files": [*others, {"input": "in/3.wav", "error": "broken"}]})
    assert read_work(path, Path("in/1.wav"), Path("out/2.wav")).cutoff_hz == 2000
    assert read_work(path, Path("in/1.wav"), Path("elsewhere.wav")).cutoff_hz == 1000
    assert read_work(path, Path("elsewhere.wav"), Path("moved/2.wav")).cutoff_hz == 2000
    with pytest.raises(ParameterError, match=r"must say what was done to make b\.wav of a\.wav"):
        read_work(path, Path("a.wav"), Path("b.wav"))


def test_a_report_without_repairs_has_none(tmp_path):
    assert read_work(report(tmp_path, {"status": "nothing_to_repair"}), Path("a"), Path("b")) == Work((), None)


def test_a_cutoff_from_which_nothing_was_extended_is_none(tmp_path):
    path = report(tmp_path, {"cutoff_hz": 9900.0, "bandwidth_status": "too_high"})
    assert read_work(path, Path("a"), Path("b")).cutoff_hz is None


def test_bands_of_repairs_are_kept():
    (repair,) = repairs_of([{"start_s": 0, "end_s": 1, "low_hz": 100, "high_hz": 200}])
    assert repair == Repair(0.0, 1.0, None, "", 100.0, 200.0)
    assert repair.to_json()["low_hz"] == 100


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "must be a report in JSON"),
        ("3", "must be a report, or a list"),
        ({"gaps": [{"start_s": 1}]}, 'a gap of a report must have "start_s" before "end_s"'),
        ({"gaps": [{"start_s": 2, "end_s": 1}]}, 'a gap of a report must have "start_s" before "end_s"'),
        ({"gaps": [3]}, 'a gap of a report must have "start_s" before "end_s"'),
        ({"gaps": 3}, "the gaps of a report must be a list"),
        ({"cutoff_hz": "high"}, "the cutoff of a report must be a number, got 'high'"),
    ],
)
def test_what_is_no_report_is_refused(tmp_path, content, message):
    with pytest.raises(ParameterError, match=message):
        read_work(report(tmp_path, content), Path("a"), Path("b"))


def test_a_report_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ParameterError, match=r"none\.json cannot be read as a report: No such file"):
        read_work(tmp_path / "none.json", Path("a"), Path("b"))


def test_a_repair_ends_after_it_starts():
    with pytest.raises(ParameterError, match="a repair must start before it ends, got 2-1 s"):
        Repair(2.0, 1.0)
