"""What is found behind paths: everything that is a recording, always in one order, each with a name of its own."""

import gzip
from pathlib import Path

import pytest

from masktools.errors import AudioError, ParameterError
from masktools.extraction import find_items


def keys(items):
    return [item.key for item in items]


def test_a_folder_gives_its_recordings_by_name_with_keys_below_it(recordings):
    items = find_items([recordings])
    assert keys(items) == ["a.flac", "b.wav", "live/c.wav", "live/deep/d.wav"]
    assert [Path(item.location) for item in items] == [recordings / item.key for item in items]
    assert keys(find_items([recordings], recursive=False)) == ["a.flac", "b.wav"]


def test_files_are_called_as_they_were_given(recordings, monkeypatch):
    monkeypatch.chdir(recordings)
    assert keys(find_items(["b.wav", Path("live/c.wav")])) == ["b.wav", "live/c.wav"]
    (item,) = find_items([f"file://{recordings}/b.wav"])
    assert item.key == item.location == f"{recordings}/b.wav"


def test_of_several_inputs_each_recording_is_called_by_its_whole_path(recordings, monkeypatch):
    monkeypatch.chdir(recordings)
    assert keys(find_items(["live/deep", "b.wav"])) == ["live/deep/d.wav", "b.wav"]


def test_a_file_need_not_exist_to_be_an_item_so_that_it_can_be_told_as_failed():
    (item,) = find_items(["gone.wav"])
    assert item.location == "gone.wav"


def test_shards_are_taken_from_folders_from_braces_and_from_patterns(shard, recordings):
    (shard.parent / "train-001.tar").write_bytes(shard.read_bytes())
    names = [f"train-{number:03d}.tar/{name}" for number in (0, 1) for name in ("b.wav", "live/c.wav")]
    assert keys(find_items([shard.parent])) == names
    folder = shard.parent.as_posix()
    assert keys(find_items([f"{folder}/train-{{000..001}}.tar"])) == [f"{folder}/{name}" for name in names]
    assert keys(find_items([f"{folder}/train-*.tar"])) == [f"{folder}/{name}" for name in names]


def test_one_recording_twice_is_refused(recordings):
    with pytest.raises(ParameterError, match=r"a key of its own, got '.*b\.wav' for .*b\.wav and .*b\.wav"):
        find_items([recordings, recordings / "b.wav"])


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("empty", r"holds no recordings, and no shards \(\.tar\) of them"),
        ("gone.tar", "gone.tar does not exist"),
        ("gone.csv", "gone.csv does not exist"),
        ("none.txt", "none.txt names no recordings"),
    ],
)
def test_an_input_without_recordings_is_refused(tmp_path, name, message):
    (tmp_path / "empty").mkdir()
    (tmp_path / "none.txt").touch()
    with pytest.raises(AudioError, match=message):
        find_items([tmp_path / name])


def test_a_folder_whose_folders_were_not_searched_says_so(recordings):
    for name in ("a.flac", "b.wav"):
        (recordings / name).unlink()
    with pytest.raises(AudioError, match="folders in it were not searched"):
        find_items([recordings], recursive=False)


def test_a_bad_shard_among_good_ones_is_an_item_that_fails_and_stops_nothing(shard):
    (shard.parent / "train-001.tar").write_bytes(gzip.compress(shard.read_bytes()))
    assert keys(find_items([shard.parent]))[-1] == "train-001.tar"
