"""Where results go: one file where it is named, many into a folder, none over its own source."""

from pathlib import Path

import pytest

from masktools.batch import plan_tasks
from masktools.core.errors import AudioError, ParameterError
from masktools.io import find_recordings


@pytest.fixture
def collection(tmp_path):
    """A folder of recordings, with other things among them."""
    for name in ("b.wav", "a.MP3", "notes.txt", ".hidden.wav", "live/c.flac", "live/deep/d.ogg", ".git/e.wav"):
        file = tmp_path / "in" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    return tmp_path / "in"


def targets(tasks, root):
    return {task.source.name: task.target.relative_to(root).as_posix() for task in tasks}


def test_recordings_are_found_in_the_order_of_their_names(collection):
    assert [path.name for path, _ in find_recordings([collection])] == ["a.MP3", "b.wav"]
    found = find_recordings([collection], recursive=True)
    assert [path.name for path, _ in found] == ["a.MP3", "b.wav", "c.flac", "d.ogg"]
    assert [folder.as_posix() for _, folder in found] == [".", ".", "live", "live/deep"]


def test_one_file_goes_where_it_is_named(tmp_path):
    (task,) = plan_tasks([Path("x.wav")], tmp_path / "y.flac")
    assert task.target == tmp_path / "y.flac"


@pytest.mark.parametrize("output", ["is there.d", "is to be made"])
def test_one_file_goes_into_a_folder_under_its_own_name(tmp_path, output):
    (tmp_path / "is there.d").mkdir()
    (task,) = plan_tasks([Path("x.mp3")], tmp_path / output)
    assert task.target == tmp_path / output / "x.flac"


def test_folders_keep_their_structure(collection, tmp_path):
    tasks = plan_tasks([collection], tmp_path / "out", recursive=True)
    assert targets(tasks, tmp_path / "out") == {
        "a.MP3": "a.flac",
        "b.wav": "b.wav",
        "c.flac": "live/c.flac",
        "d.ogg": "live/deep/d.flac",
    }


def test_without_an_output_results_lie_beside_their_sources_and_are_not_restored_again(collection):
    tasks = plan_tasks([collection], None)
    assert targets(tasks, collection) == {"a.MP3": "a_restored.flac", "b.wav": "b_restored.wav"}
    for task in tasks:
        task.target.touch()
    assert [task.source.name for task in plan_tasks([collection], None)] == ["a.MP3", "b.wav"]


def test_an_ending_can_be_asked_for(collection, tmp_path):
    tasks = plan_tasks([collection], tmp_path, suffix="-new", ending=".ogg")
    assert targets(tasks, tmp_path) == {"a.MP3": "a-new.ogg", "b.wav": "b-new.ogg"}


def test_recordings_of_one_name_get_outputs_of_their_own(tmp_path):
    tasks = plan_tasks([Path("x/a.wav"), Path("x/a.mp3"), Path("x/a.flac")], tmp_path)
    assert targets(tasks, tmp_path) == {"a.wav": "a.wav", "a.mp3": "a.mp3.flac", "a.flac": "a.flac.flac"}


def test_what_cannot_be_told_apart_is_refused(tmp_path):
    with pytest.raises(ParameterError, match=r"an output of its own, got .*a\.wav\.wav for two"):
        plan_tasks([Path("x/a.wav"), Path("y/a.wav")], tmp_path)


def test_a_recording_is_never_its_own_output(tmp_path):
    with pytest.raises(ParameterError, match=r"a file of its own, got .*a\.wav for two files"):
        plan_tasks([tmp_path / "a.wav", tmp_path / "b.wav"], tmp_path)
    with pytest.raises(ParameterError, match="outputs beside their sources need a suffix"):
        plan_tasks([tmp_path / "a.wav"], None, suffix="")


def test_a_folder_without_recordings_says_where_to_look(collection, tmp_path):
    (tmp_path / "outer").mkdir()
    collection.rename(tmp_path / "outer" / "in")
    with pytest.raises(AudioError, match=r"holds no recordings .*say --recursive"):
        find_recordings([tmp_path / "outer"])


@pytest.mark.parametrize("suffix", ["/x", "s3://x", "../", "a\0b"])
def test_a_suffix_is_a_part_of_a_name(collection, suffix):
    with pytest.raises(ParameterError, match="the suffix must be a part of a name"):
        plan_tasks([collection], None, suffix=suffix)
