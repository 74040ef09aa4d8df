import os

import numpy as np
import pytest

from masktools.core.errors import ParameterError
from masktools.extraction.items import Row
from probes.cache import VectorCache, stamp_of

KEYS = [f"k{i}" for i in range(10)]


def row(key, n_layers=2, width=3, n_windows=None):
    start = 100 * int(key[1:])
    shape = (n_layers, width) if n_windows is None else (n_windows, n_layers, width)
    array = start + np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    return Row(key, clip=array) if n_windows is None else Row(key, clip=array[0], frames=array)


def cache(folder, keys=KEYS, stamp="s"):
    return VectorCache(folder, dict.fromkeys(keys, stamp), {"model": "toy"})


def test_vectors_are_read_back_layer_by_layer_in_the_order_that_is_asked_for(tmp_path):
    store = cache(tmp_path)
    store.add([row("k2"), row("k0")])
    store.flush()
    store.add([row("k1")])
    vectors = store.vectors("toy", ["k0", "k1", "k2"])
    assert vectors.keys == ("k0", "k1", "k2")
    assert vectors.n_layers == 2
    assert vectors.read(1).tolist() == [[3, 4, 5], [103, 104, 105], [203, 204, 205]]
    assert vectors.read(0).dtype == np.float32


def test_the_next_run_finds_what_an_earlier_one_stored(tmp_path):
    first = cache(tmp_path / "new")
    assert first.finished() == set()
    first.add([row(key) for key in KEYS[:4]])
    first.flush()
    again = cache(tmp_path / "new")
    assert again.finished() == set(KEYS[:4])
    again.add([row(key) for key in KEYS[4:]])
    vectors = again.vectors("toy", KEYS)
    assert (vectors.read(0)[:, 0] == 100 * np.arange(10)).all()
    assert (tmp_path / "new" / "about.json").read_text() == '{\n "model": "toy"\n}'


def test_several_vectors_of_a_clip_stand_together(tmp_path):
    store = cache(tmp_path)
    store.add([row("k0", n_windows=2), row("k1", n_windows=1), row("k2", n_windows=3)])
    vectors = store.vectors("toy", ["k2", "k0", "k1"])
    assert vectors.starts.tolist() == [0, 3, 5, 6]
    assert vectors.read(1)[:, 0].tolist() == [203, 209, 215, 3, 9, 103]
    rows, clip_of = vectors.rows_of(np.array([2, 0]))
    assert rows.tolist() == [5, 0, 1, 2]
    assert clip_of.tolist() == [0, 1, 1, 1]


def test_a_file_that_changed_is_read_anew(tmp_path):
    store = cache(tmp_path)
    store.add([row("k0"), row("k1")])
    store.flush()
    stamps = dict.fromkeys(KEYS, "s") | {"k0": "another"}
    changed = VectorCache(tmp_path, stamps)
    assert changed.finished() == {"k1"}
    changed.add([Row("k0", clip=np.full((2, 3), 7, np.float32))])
    assert changed.vectors("toy", ["k0", "k1"]).read(0)[:, 0].tolist() == [7, 100]
    assert VectorCache(tmp_path, stamps).finished() == {"k0", "k1"}


def test_what_failed_is_told_and_tried_again(tmp_path):
    store = cache(tmp_path)
    store.add([row("k0"), Row("k1", error="no audio")])
    vectors = store.vectors("toy", ["k0", "k1", "k2"])
    assert [(one.key, one.reason) for one in vectors.left_out] == [("k1", "no audio"), ("k2", "not computed")]
    assert cache(tmp_path).finished() == {"k0"}
    with pytest.raises(ParameterError, match="none of the 1 recordings has vectors: no audio"):
        store.vectors("toy", ["k1"])


def test_a_part_without_its_index_does_not_count(tmp_path):
    store = cache(tmp_path)
    store.add([row("k0")])
    store.flush()
    (index,) = tmp_path.glob("part-*.json")
    index.unlink()
    assert cache(tmp_path).finished() == set()


def test_damaged_parts_are_told(tmp_path):
    store = cache(tmp_path)
    store.add([row("k0")])
    store.flush()
    (part,) = tmp_path.glob("part-*.npy")
    part.write_bytes(b"nothing")
    with pytest.raises(ParameterError, match=r"\.npy cannot be read: delete its folder and begin anew"):
        cache(tmp_path).vectors("toy", ["k0"])
    part.with_suffix(".json").write_text("{")
    with pytest.raises(ParameterError, match="cannot be read: delete the folder .* and begin anew"):
        cache(tmp_path)


def test_vectors_of_several_sizes_are_refused(tmp_path):
    store = cache(tmp_path)
    store.add([row("k0")])
    store.flush()
    store.add([row("k1", width=5)])
    with pytest.raises(ParameterError, match=r"must be of one size, got \(layers, d\)"):
        store.vectors("toy", ["k0", "k1"])


def test_a_stamp_changes_with_the_file(tmp_path):
    path = tmp_path / "a.wav"
    assert stamp_of(str(path)) == ""
    path.write_bytes(b"one")
    before = stamp_of(str(path))
    os.utime(path, ns=(1, 1))
    assert stamp_of(str(path)) != before
