"""Stores keep what they are given, in the order of the list, and refuse what does not belong to it."""

import json
import zipfile
from dataclasses import replace

import numpy as np
import pytest

from masktools.core.errors import AudioError, ParameterError
from masktools.extraction import (
    ExtractionSettings,
    Row,
    merge,
    open_store,
)
from masktools.extraction.formats import FORMATS as STORED
from masktools.extraction.formats import errors_of, format_of, parts_of, place_of
from masktools.extraction.store import read_failures
from tests.extraction.fakes import PLAIN, SETTINGS, contents, items, row

FORMATS = ("a.npz", "a.parquet", "a.h5", "a")


@pytest.fixture(autouse=True)
def _packages():
    pytest.importorskip("h5py")
    pytest.importorskip("pyarrow")


def opened(path, n=20, settings=SETTINGS, **options):
    return open_store(path, [item.key for item in items(n)], settings, "f" * 64, **options)


def filled(path, n=20, order=None, settings=SETTINGS, **options):
    store = opened(path, n, settings, **options)
    rows = [row(item, settings) for item in items(n)]
    for number in order if order is not None else range(n):
        store.add([rows[number]])
    return store.close()


def arrays_of(path):
    stored = STORED[format_of(path)](path)
    names = [name for name in ("clips", "frames", "times_s", "tokens") if stored.layout.has(name)]
    return {"keys": list(stored.keys()), "durations_s": stored.durations_s} | {
        name: np.concatenate(list(stored.pieces(name))) for name in names
    }


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_what_is_stored_comes_back_in_order_and_without_the_bad(tmp_path, name, dtype):
    settings = ExtractionSettings(layer="all", frames=True, tokens=True, dtype=dtype)
    summary = filled(tmp_path / name, settings=settings)
    good = [one for one in (row(item, settings) for item in items(20)) if one.error is None]
    found = arrays_of(tmp_path / name)
    assert (summary.n_items, summary.n_rows, summary.n_failed, summary.n_left) == (20, len(good), 20 - len(good), 0)
    assert found["keys"] == [one.key for one in good]
    np.testing.assert_array_equal(found["durations_s"], [one.duration_s for one in good])
    for array, of in (("clips", "clip"), ("frames", "frames"), ("times_s", "times_s"), ("tokens", "tokens")):
        given = [np.asarray(getattr(one, of)) for one in good]
        expected = np.stack(given) if array == "clips" else np.concatenate(given)
        np.testing.assert_array_equal(found[array], expected)
        assert found[array].dtype == expected.dtype


@pytest.mark.parametrize("name", [*FORMATS, "a.npy"])
def test_the_order_in_which_rows_come_changes_no_byte(tmp_path, name):
    settings = PLAIN if name == "a.npy" else SETTINGS
    made = []
    for folder, order in (("one", range(20)), ("two", np.random.default_rng(0).permutation(20))):
        (tmp_path / folder).mkdir()
        filled(tmp_path / folder / name, order=order, settings=settings)
        made.append(contents(tmp_path / folder))
    assert made[0] == made[1]


def test_failures_are_listed_beside_the_vectors(tmp_path):
    filled(tmp_path / "a.npz")
    assert errors_of(tmp_path / "a.npz") == tmp_path / "a.npz.errors.jsonl"
    lines = (tmp_path / "a.npz.errors.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == [
        {"key": row(item).key, "error": row(item).error} for item in items(20) if row(item).error
    ]
    filled(tmp_path / "a.npz", n=3, overwrite=True)
    assert not errors_of(tmp_path / "a.npz").exists()
    assert read_failures(tmp_path / "a.npz") == []


def test_what_is_unfinished_stays_in_parts(tmp_path):
    store = opened(tmp_path / "a.npz")
    store.add([row(item) for item in items(20)[4:9]])
    summary = store.close()
    assert (summary.n_left, summary.is_complete) == (15, False)
    assert not (tmp_path / "a.npz").exists()
    again = opened(tmp_path / "a.npz", resume=True)
    assert again.finished() == {item.key for item in items(20)[4:9]}
    again.add([row(item) for item in items(20)])  # what is there already is not stored twice
    assert again.close().is_complete
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["a.npz", "a.npz.errors.jsonl"]
    assert opened(tmp_path / "a.npz", resume=True).finished() == {item.key for item in items(20)}


def test_a_damaged_part_is_computed_anew(tmp_path):
    store = opened(tmp_path / "a.npz")
    store.add([row(item) for item in items(20)[:4]])
    store.add([row(item) for item in items(20)[4:8]])
    store.close()
    part = sorted(parts_of(tmp_path / "a.npz").glob("part-*"))[1]
    part.write_bytes(part.read_bytes()[:100])
    with opened(tmp_path / "a.npz", resume=True) as again:
        assert again.finished() == {item.key for item in items(20)[:4]}


def test_where_nothing_was_stored_nothing_stays(tmp_path):
    store = opened(tmp_path / "a.npz")
    assert parts_of(tmp_path / "a.npz").is_dir()
    store.release()
    assert not list(tmp_path.iterdir())


def test_where_everything_failed_there_are_no_vectors(tmp_path):
    store = opened(tmp_path / "a.npz", 2)
    store.add([Row(item.key, error="bad") for item in items(2)])
    summary = store.close()
    assert (summary.n_rows, summary.reason) == (0, "bad")
    assert [path.name for path in tmp_path.iterdir()] == ["a.npz.errors.jsonl"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (
            {"settings": ExtractionSettings(layer=3, frames=True, tokens=True), "fingerprint": "e" * 64},
            "layer all, now 3",
        ),
        ({"fingerprint": "e" * 64, "model": "other"}, r"another model \(, now other\)"),
        ({"fingerprint": "e" * 64}, "other weights, or in another precision"),
        (
            {"order": ["0.wav", "live/2.wav", "live/1.wav"]},
            r"other recordings \(3, now 3; their names, places or order\)",
        ),
        ({"shard": (0, 2)}, r"another shard \(none, now 0/2\)"),
    ],
)
@pytest.mark.parametrize("complete", [True, False])
def test_going_on_with_something_else_is_refused(tmp_path, change, reason, complete):
    options = {"order": [item.key for item in items(3)], "settings": SETTINGS, "fingerprint": "f" * 64}
    store = open_store(tmp_path / "a.h5", **options)
    store.add([row(item) for item in items(3)[: 3 if complete else 1]])
    store.close()
    before = contents(tmp_path)
    with pytest.raises(ParameterError, match=f"was {'made' if complete else 'begun'} with .*{reason}"):
        open_store(tmp_path / "a.h5", **(options | change), resume=True)
    assert contents(tmp_path) == before


def test_two_processes_do_not_share_a_store(tmp_path):
    store = opened(tmp_path / "a.npz")
    store.add([row(items(20)[0])])
    with pytest.raises(ParameterError, match="another process is at work on .*a.npz.parts: wait for it, or end it"):
        opened(tmp_path / "a.npz", resume=True)
    store.release()
    opened(tmp_path / "a.npz", resume=True).release()


def test_rows_that_do_not_belong_are_refused(tmp_path):
    with opened(tmp_path / "a.npz") as store:
        with pytest.raises(ParameterError, match="rows must be of recordings of the list, got 'x.wav'"):
            store.add([Row("x.wav", error="bad")])
        store.add([row(items(20)[0])])
        with pytest.raises(ParameterError, match="vectors must all be of one shape"):
            store.add([Row(items(20)[1].key, clip=np.zeros(3, np.float32))])
    with pytest.raises(ParameterError, match="must have a name of its own, got 'a' twice"):
        open_store(tmp_path / "b.npz", ["a", "b", "a"], PLAIN, "f")
    with pytest.raises(ParameterError, match="at least one recording, got none"):
        open_store(tmp_path / "b.npz", [], PLAIN, "f")


def test_files_of_others_are_no_vectors(tmp_path):
    for name in ("a.npz", "a.npy", "a.parquet", "a.h5"):
        (tmp_path / name).write_bytes(b"something else")
        settings = PLAIN if name == "a.npy" else SETTINGS
        with pytest.raises(ParameterError, match=f"{name} must be what masktools embed has written"):
            opened(tmp_path / name, settings=settings, resume=True)
    np.savez(tmp_path / "a.npz", clips=np.zeros(3))
    with pytest.raises(ParameterError, match="must be what masktools embed has written"):
        opened(tmp_path / "a.npz", resume=True)


@pytest.mark.parametrize(
    ("path", "format", "expected"),
    [
        ("a.NPZ", None, "npz"),
        ("a.hdf5", None, "h5"),
        ("out", None, "dir"),
        ("out.v2", "dir", "dir"),
        ("a.x", "npy", "npy"),
    ],
)
def test_the_format_is_that_of_the_ending_or_the_one_that_is_named(tmp_path, path, format, expected):
    assert format_of(tmp_path / path, format) == expected


def test_formats_that_are_none(tmp_path):
    with pytest.raises(ParameterError, match=r"must end in .npz, .npy, .parquet or .h5, or be a folder .* got 'a.csv'"):
        format_of(tmp_path / "a.csv")
    with pytest.raises(ParameterError, match="unknown format 'csv': choose from npz"):
        format_of(tmp_path / "a", "csv")


def test_a_missing_package_is_named_with_its_extra(tmp_path, monkeypatch):
    import sys

    for package, name in (("pyarrow.parquet", "a.parquet"), ("h5py", "a.h5")):
        monkeypatch.setitem(sys.modules, package, None)
        with pytest.raises(ParameterError, match=r'pip install "masktools\[(parquet|h5)\]"'):
            opened(tmp_path / name)


def test_a_tree_keeps_what_is_not_its_own(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "notes.txt").write_text("mine")
    filled(tmp_path / "a")
    filled(tmp_path / "a", n=4, overwrite=True)
    made = {name for name in contents(tmp_path / "a") if name.endswith(".npz")}
    assert made == {"0.wav.npz", "live/1.wav.npz", "live/2.wav.npz", "3.wav.npz"}
    assert (tmp_path / "a" / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize("key", ["../a.wav", "/etc/a.wav", "s3://bucket/a.wav", 'a:"b".wav', "a//b.wav", "a\\b.wav"])
def test_no_name_leads_out_of_the_tree(tmp_path, key):
    place = place_of(key)
    assert (tmp_path / place).resolve().is_relative_to(tmp_path)
    assert place not in (place_of("a.wav"), place_of("a/b.wav"))
    store = open_store(tmp_path / "t", [key], SETTINGS, "f")
    store.add([replace(row(items(1)[0]), key=key)])
    assert store.close().n_rows == 1
    assert arrays_of(tmp_path / "t")["keys"] == [key]


def test_names_that_are_no_text_are_stored_as_text_that_shows_them(tmp_path):
    key = b"caf\xe9.wav".decode("utf-8", "surrogateescape")
    for name in (*FORMATS, "a.npy"):
        store = open_store(tmp_path / name, [key], PLAIN, "f")
        store.add([Row(key, clip=np.zeros(3, np.float32))])
        assert store.close().n_rows == 1
        assert arrays_of(tmp_path / name)["keys"] == ["caf\\udce9.wav"]


def test_an_npz_file_has_no_compressed_vectors_and_no_time(tmp_path):
    filled(tmp_path / "a.npz")
    with zipfile.ZipFile(tmp_path / "a.npz") as file:
        kinds = {member.filename: (member.compress_type, member.date_time[0]) for member in file.infolist()}
    assert kinds["clips.npy"] == (zipfile.ZIP_STORED, 1980)
    assert kinds["keys.npy"] == (zipfile.ZIP_DEFLATED, 1980)


def test_a_full_disk_is_told_in_one_line(tmp_path, monkeypatch):
    store = opened(tmp_path / "a.npz", 3)
    store.add([row(item) for item in items(3)])

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("masktools.extraction.table.os.replace", full)
    with pytest.raises(AudioError, match="a.npz cannot be written: No space left on device"):
        store.close()
    monkeypatch.undo()
    store.release()
    assert opened(tmp_path / "a.npz", 3, resume=True).close().n_rows == 3


def shards(folder, name="a.npz", n=20, count=3, settings=SETTINGS, fingerprint="f" * 64):
    from masktools.extraction import take_shard

    places = []
    for index in range(count):
        places.append(folder / f"{index}-{name}")
        wanted = take_shard(items(n), index, count)
        keys = [item.key for item in wanted]
        store = open_store(places[-1], keys, settings, fingerprint, items_hash="all", shard=(index, count))
        store.add([row(item, settings) for item in wanted])
        store.close()
    return places


@pytest.mark.parametrize("name", [*FORMATS, "a.npy"])
def test_shards_merged_are_byte_for_byte_what_one_run_makes(tmp_path, name):
    settings = PLAIN if name == "a.npy" else SETTINGS
    (tmp_path / "one").mkdir()
    (tmp_path / "merged").mkdir()
    filled(tmp_path / "one" / name, settings=settings, items_hash="all")
    summary = merge(shards(tmp_path, name, settings=settings)[::-1], tmp_path / "merged" / name)
    assert (summary.n_items, summary.n_failed) == (20, 3)
    assert contents(tmp_path / "merged") == contents(tmp_path / "one")


def test_merging_turns_one_format_into_another(tmp_path):
    places = shards(tmp_path, "a.parquet")
    for name in FORMATS:
        merge(places, tmp_path / name)
        found, expected = arrays_of(tmp_path / name), arrays_of(tmp_path / "a.npz")
        assert found.keys() == expected.keys()
        for array in found:
            np.testing.assert_array_equal(found[array], expected[array])


def test_only_all_shards_of_one_run_are_merged(tmp_path):
    places, other = shards(tmp_path), tmp_path / "other"
    other.mkdir()
    with pytest.raises(ParameterError, match="all 3 shards must be given, but there is no shard 0, 2"):
        merge(places[1:2], tmp_path / "m.npz")
    with pytest.raises(ParameterError, match="shard 1 must be given once"):
        merge([*places, places[1]], tmp_path / "m.npz")
    with pytest.raises(ParameterError, match="shards must be of one run.*other weights"):
        merge([places[0], *shards(other, fingerprint="e" * 64)[1:]], tmp_path / "m.npz")
    with pytest.raises(ParameterError, match=r"another number of shards \(3, now 4\)"):
        merge([*places[:2], shards(other, "four.npz", count=4)[2]], tmp_path / "m.npz")
    filled(tmp_path / "whole.npz")
    with pytest.raises(ParameterError, match="is no shard: only what --shard I/N has made"):
        merge([tmp_path / "whole.npz"], tmp_path / "m.npz")
    with pytest.raises(ParameterError, match="nothing.npz must hold vectors of masktools embed: it does not exist"):
        merge([tmp_path / "nothing.npz"], tmp_path / "m.npz")
    begun = open_store(tmp_path / "begun.npz", ["a", "b"], SETTINGS, "f", shard=(0, 2))
    begun.add([Row("a", error="bad")])
    begun.close()
    with pytest.raises(ParameterError, match="shards must be complete, got .*begun.npz"):
        merge([tmp_path / "begun.npz"], tmp_path / "m.npz")
    with pytest.raises(ParameterError, match="is there already: say --overwrite"):
        merge(places, places[0])
    with pytest.raises(ParameterError, match="a file of its own"):
        merge(places, places[0], overwrite=True)
    assert not (tmp_path / "m.npz").exists()
    assert not list(tmp_path.glob("m.npz*"))
