"""URLs: what fsspec reaches is read as if it lay here."""

import sys

import numpy as np
import pytest

from masktools import io
from masktools.errors import AudioError, ParameterError
from masktools.extraction import Item, find_items, read_item, write_manifest

fsspec = pytest.importorskip("fsspec")


@pytest.fixture
def bucket(recordings, shard):
    """Return the URL of a folder in memory that holds the recordings and a shard."""
    memory = fsspec.filesystem("memory")
    for path in (*recordings.rglob("*.*"), shard):
        if path.is_file():
            memory.pipe_file(f"/bucket/{path.relative_to(shard.parents[1]).as_posix()}", path.read_bytes())
    yield "memory://bucket"
    memory.rm("/bucket", recursive=True)


def test_a_folder_behind_a_url_is_the_folder(bucket, recordings):
    items = find_items([f"{bucket}/music"])
    assert [item.key for item in items] == [item.key for item in find_items([recordings])]
    for item in items:
        np.testing.assert_array_equal(read_item(item)[0], io.read(recordings / item.key).samples)
    assert [item.key for item in find_items([f"{bucket}/music"], recursive=False)] == ["a.flac", "b.wav"]


def test_shards_behind_urls_are_read_by_their_bytes(bucket, shard):
    here, there = find_items([shard]), find_items([f"{bucket}/shards/*.tar"])
    assert [item.key for item in there] == [item.key for item in here]
    for one, other in zip(here, there, strict=True):
        assert other.location == f"{bucket}/shards/train-000.tar".replace("memory://", "memory:///")
        np.testing.assert_array_equal(read_item(one)[0], read_item(other)[0])


def test_a_manifest_behind_a_url_names_files_beside_it(bucket, recordings):
    memory = fsspec.filesystem("memory")
    memory.pipe_file("/bucket/music/list.csv", b"path,start\nlive/c.wav,0.1\n")
    (item,) = find_items([f"{bucket}/music/list.csv"])
    assert item.location == f"{bucket}/music/live/c.wav"
    np.testing.assert_array_equal(read_item(item)[0], io.read(recordings / "live/c.wav").samples[:, 2205:])


def test_a_list_of_urls_is_written_as_it_is(bucket, tmp_path):
    items = find_items([f"{bucket}/music"])
    write_manifest(tmp_path / "list.jsonl", items)
    assert find_items([tmp_path / "list.jsonl"]) == items


def test_what_is_not_there_is_told(bucket):
    with pytest.raises(AudioError, match=r"memory://bucket/gone\.wav does not exist"):
        read_item(Item("g", f"{bucket}/gone.wav"))
    with pytest.raises(AudioError, match="memory://bucket/empty holds no recordings"):
        find_items([f"{bucket}/empty"])


def test_a_kind_of_url_that_nobody_knows_is_refused():
    with pytest.raises(ParameterError, match=r"nonsense://a/b\.wav cannot be reached: Protocol not known"):
        read_item(Item("n", "nonsense://a/b.wav"))


def test_without_fsspec_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "fsspec.core", None)
    with pytest.raises(ParameterError, match=r'pip install "masktools\[remote\]"'):
        read_item(Item("n", "s3://a/b.wav"))
