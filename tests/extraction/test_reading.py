"""Items become waves, be they files, behind URLs, or in shards."""

import dataclasses
import sys
import tarfile

import numpy as np
import pytest

from masktools import io
from masktools.core.errors import AudioError, ParameterError
from masktools.extraction import Item, find_items, read_item, write_manifest
from masktools.extraction.reading import member_bytes


def test_a_part_is_the_samples_between_its_times(recordings):
    path = str(recordings / "live/deep/d.wav")
    whole = io.read(path).samples
    samples, rate = read_item(Item("d", path, start_s=0.1, stop_s=0.3))
    np.testing.assert_array_equal(samples, whole[:, 2205:6615])
    assert rate == 22_050
    np.testing.assert_array_equal(read_item(Item("d", path, start_s=0.1))[0], whole[:, 2205:])
    np.testing.assert_array_equal(read_item(Item("d", path, stop_s=99.0))[0], whole)


def test_a_part_behind_the_end_is_told(recordings):
    with pytest.raises(AudioError, match=r"b\.wav ends at 0\.500 s, before b starts: 0\.5 s"):
        read_item(Item("b", str(recordings / "b.wav"), start_s=0.5))


def test_a_part_is_never_empty(recordings):
    assert read_item(Item("b", str(recordings / "b.wav"), start_s=0.1, stop_s=0.100001))[0].shape == (1, 1)


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


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: read_item(Item("g", "gone.wav")), AudioError, r"gone\.wav does not exist"),
        (
            lambda: read_item(Item("n", "nonsense://a/b.wav")),
            ParameterError,
            r"nonsense://a/b\.wav cannot be reached: Protocol not known",
        ),
    ],
)
def test_what_cannot_be_is_refused_in_words(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_without_fsspec_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "fsspec.core", None)
    with pytest.raises(ParameterError, match=r'pip install "masktools\[remote\]"'):
        read_item(Item("n", "s3://a/b.wav"))


def test_a_member_is_the_file_that_went_in(shard, recordings):
    for item in find_items([shard]):
        samples, rate = read_item(item)
        original = io.read(recordings / item.member)
        assert rate == original.sample_rate
        np.testing.assert_array_equal(samples, original.samples)


def test_a_member_is_found_by_its_name_too(shard, recordings):
    whole = (recordings / "live/c.wav").read_bytes()
    assert member_bytes(Item("c", str(shard), "live/c.wav")) == whole
    with pytest.raises(AudioError, match=r"train-000\.tar holds no member live/x\.wav"):
        member_bytes(Item("x", str(shard), "live/x.wav"))
    with pytest.raises(AudioError, match="is a shard: say which of its members is meant"):
        read_item(Item("s", str(shard)))


def test_of_a_shard_that_is_cut_off_the_rest_is_read_and_the_damage_told(shard):
    second = find_items([shard])[1]
    with shard.open("r+b") as file:
        file.truncate(second.first_byte + second.n_bytes // 2)
    first, cut, rest = find_items([shard])
    assert read_item(first)[0].size
    with pytest.raises(AudioError, match=r"is cut off: it holds \d+ of the \d+ bytes of live/c\.wav"):
        read_item(cut)
    with pytest.raises(AudioError, match="behind its first 3 members: it is damaged or cut off"):
        read_item(rest)


def test_what_is_no_tar_file_is_told(tmp_path):
    (tmp_path / "a.tar").write_bytes(b"no tar file at all" * 100)
    (item,) = find_items([tmp_path / "a.tar"])
    with pytest.raises(AudioError, match="it must be a tar file that is not compressed"):
        read_item(item)
    with pytest.raises(AudioError, match="does not exist"):
        read_item(dataclasses.replace(item, location=str(tmp_path / "b.tar")))


def test_what_is_wrong_with_a_member_is_told_of_the_member_not_of_a_temporary_file(shard, tmp_path):
    offset = find_items([shard])[0].first_byte
    item = Item("k", str(shard), "bad.wav", first_byte=offset + 64, n_bytes=100)
    with pytest.raises(AudioError, match=r"train-000\.tar/bad\.wav cannot be read as audio"):
        read_item(item)


def sparse_shard(path, held, form):
    """Write a shard with one sparse member, of which only the first 512 bytes are stored, and one that is whole."""
    holes = b"\0" * 4_096
    if form == "GNU":
        info = tarfile.TarInfo("holes.wav")
        info.type, info.size = tarfile.GNUTYPE_SPARSE, 512
        head = bytearray(info.tobuf(tarfile.GNU_FORMAT))
        head[386:410] = b"%011o\0%011o\0" % (0, 512)
        head[483:495] = b"%011o\0" % (512 + len(holes))
        head[148:156] = b" " * 8
        head[148:156] = b"%06o\0 " % sum(head)
        first = bytes(head) + held[:512]
    else:
        told = {"GNU.sparse.major": "0", "GNU.sparse.minor": "1", "GNU.sparse.name": "holes.wav"}
        told |= {"GNU.sparse.size": str(512 + len(holes)), "GNU.sparse.map": "0,512", "GNU.sparse.numblocks": "1"}
        info = tarfile.TarInfo("GNUSparseFile.0/holes.wav")
        info.size, info.pax_headers = 512, told
        first = info.tobuf(tarfile.PAX_FORMAT) + held[:512]
    whole = tarfile.TarInfo("whole.wav")
    whole.size = len(held)
    path.write_bytes(first + whole.tobuf() + held + bytes(-len(held) % 512 + 1_024))
    return held[:512] + holes


@pytest.mark.parametrize("form", ["GNU", "PAX"])
def test_the_holes_of_a_sparse_member_are_zeros_and_not_its_neighbour(tmp_path, form):
    held = bytes(range(1, 256)) * 9
    expected = sparse_shard(tmp_path / "a.tar", held, form)
    items = find_items([tmp_path / "a.tar"])
    assert [item.member for item in items] == ["holes.wav", "whole.wav"]
    assert [member_bytes(item) for item in items] == [expected, held]


def test_a_member_that_is_a_link_is_what_it_names(tmp_path, recordings):
    with tarfile.open(tmp_path / "a.tar", "w") as shard:
        shard.add(recordings / "b.wav", "a.wav")
        link = tarfile.TarInfo("b.wav")
        link.type, link.linkname = tarfile.LNKTYPE, "a.wav"
        shard.addfile(link)
    one, two = (read_item(item)[0] for item in find_items([tmp_path / "a.tar"]))
    assert (one == two).all()
