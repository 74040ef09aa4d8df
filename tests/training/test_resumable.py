"""Work in several processes, and files that are made part by part: kills and crowds leave no trace in the result."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from masktools.core.errors import AudioError, MasktoolsError, ParameterError
from masktools.training.builds import ResumableBuild, chunked, unordered, write_json
from tests.training.works import JoinedBytes, die, double, refuse


class InterruptionError(Exception):
    """What stops a build in the tests."""


def build(folder, jobs, stop_after=None, names=("a", "b"), key="same"):
    """Build, and stop when so many progress calls were made."""
    calls = []

    def progress(done, total):
        calls.append((done, total))
        if len(calls) == stop_after:
            raise InterruptionError

    return ResumableBuild(folder, key, names), calls, progress


def test_every_job_is_done_once_whatever_the_number_of_processes():
    assert list(unordered(double, range(5))) == [0, 2, 4, 6, 8]
    assert sorted(unordered(double, range(5), n_workers=2)) == [0, 2, 4, 6, 8]
    assert sorted(unordered(double, range(1), n_workers=3)) == [0]
    assert list(unordered(double, [], n_workers=2)) == []


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: list(unordered(refuse, [1, 1], n_workers=2)), AudioError, "one is not to be heard"),
        (
            lambda: list(unordered(refuse, [0, 0], n_workers=2)),
            MasktoolsError,
            "a worker failed with IndexError: list index out of range",
        ),
        (
            lambda: list(unordered(die, [0, 0], n_workers=2)),
            MasktoolsError,
            "a worker process died, perhaps for want of memory",
        ),
        (lambda: list(unordered(double, [1], n_workers=0)), ParameterError, "n_workers must be at least 1, got 0"),
    ],
)
def test_what_cannot_be_is_refused_in_words(call, error, message):
    with pytest.raises(error, match=message):
        call()


@given(
    items=st.lists(st.lists(st.binary(max_size=5), min_size=1, max_size=3), max_size=8),
    stops=st.lists(st.integers(1, 4), max_size=5),
    rest=st.binary(max_size=4),
)
@settings(max_examples=40, deadline=None)
def test_a_build_that_was_stopped_anywhere_ends_as_one_that_was_not(tmp_path_factory, items, stops, rest):
    folder = tmp_path_factory.mktemp("build")
    for stop in stops:
        begun, _, progress = build(folder, items, stop)
        try:
            begun.run(items, JoinedBytes(), 1, progress)
        except InterruptionError:
            with (folder / "a").open("ab") as file:  # as a kill leaves a part half appended
                file.write(rest)
    begun, calls, progress = build(folder, items)
    notes = begun.run(items, JoinedBytes(), 1, progress)
    assert [note["n_items"] for note in notes] == [len(job) for job in items]
    for name in ("a", "b"):
        whole = b"".join(name.encode() + item for job in items for item in job)
        assert (folder / name).read_bytes() == whole
    assert all(call[1] == sum(map(len, items)) for call in calls)
    begun.close()
    assert sorted(path.name for path in folder.iterdir()) == ["a", "b"]


def test_a_part_that_was_written_but_not_noted_is_done_again(tmp_path):
    begun, *_ = build(tmp_path, [])
    (tmp_path / "parts" / "000000.a").write_bytes(b"half of it")
    begun.run([[b"1"], [b"2"]], JoinedBytes())
    assert (tmp_path / "a").read_bytes() == b"a1a2"


def test_finished_parts_are_not_done_again(tmp_path):
    begun, _, progress = build(tmp_path, [], stop_after=1)
    with pytest.raises(InterruptionError):
        begun.run([[b"1"], [b"2"]], JoinedBytes(), 1, progress)
    before = (tmp_path / "parts" / "000000.json").stat().st_mtime_ns
    again, calls, progress = build(tmp_path, [])
    again.run([[b"1"], [b"2"]], JoinedBytes(), 1, progress)
    assert (tmp_path / "parts" / "000000.json").stat().st_mtime_ns == before
    assert calls == [(1, 2), (2, 2)]


def test_the_beginning_of_another_build_is_refused(tmp_path):
    build(tmp_path, [])
    with pytest.raises(ParameterError, match="holds the beginning of another build"):
        build(tmp_path, [], key="other")


def test_parts_that_somebody_removed_are_missed(tmp_path):
    begun, *_ = build(tmp_path, [])
    begun.run([[b"1"], [b"2"]], JoinedBytes())
    (tmp_path / "a").write_bytes(b"")
    with pytest.raises(ParameterError, match="lacks parts that were finished: remove .* and start again"):
        build(tmp_path, [])


@given(st.integers(0, 100_000))
@settings(max_examples=30, deadline=None)
def test_parts_are_few_and_hold_everything_in_order(n):
    parts = chunked(range(n))
    assert [number for part in parts for number in part] == list(range(n))
    assert len(parts) <= 4096
    assert all(len(part) >= 8 for part in parts[:-1])


def test_json_is_written_whole(tmp_path):
    write_json(tmp_path / "a.json", {"b": 1})
    assert json.loads((tmp_path / "a.json").read_text()) == {"b": 1}
    assert len(list(tmp_path.iterdir())) == 1
