"""Folders, manifests and patterns become items, always in the same order."""

import gzip
import json
import sys
from pathlib import Path

import pytest

from masktools.core.errors import AudioError, ParameterError
from masktools.extraction import Columns, Item, find_items, write_manifest


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


ROWS = [
    {"path": "a.wav", "id": "one", "start": 1.5, "stop": 3.0},
    {"path": "/far/b.wav", "id": "two", "start": None, "stop": None},
    {"path": "s3://bucket/c.wav", "id": "3", "start": None, "stop": 2.0},
]


def written(folder, ending, rows):
    path = folder / f"list{ending}"
    if ending == ".parquet":
        pyarrow = pytest.importorskip("pyarrow")
        from pyarrow import parquet

        parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    elif ending == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        between = "\t" if ending == ".tsv" else ","
        lines = [rows[0], *(row.values() for row in rows)]
        cells = [["" if value is None else str(value) for value in line] for line in lines]
        path.write_text("".join(between.join(line) + "\n" for line in cells))
    return path


@pytest.mark.parametrize("ending", [".csv", ".tsv", ".jsonl", ".parquet"])
def test_all_forms_give_the_same_items(tmp_path, ending):
    assert find_items([written(tmp_path, ending, ROWS)]) == [
        Item("one", f"{tmp_path}/a.wav", start_s=1.5, stop_s=3.0),
        Item("two", "/far/b.wav"),
        Item("3", "s3://bucket/c.wav", stop_s=2.0),
    ]


def test_a_list_of_paths_is_a_manifest(tmp_path):
    (tmp_path / "list.txt").write_text("a.wav\n\nlive/b, c.wav\n")
    items = find_items([tmp_path / "list.txt"], root="/music")
    assert items == [Item("a.wav", "/music/a.wav"), Item("live/b, c.wav", "/music/live/b, c.wav")]


def test_without_ids_paths_and_times_are_the_keys(tmp_path):
    (tmp_path / "list.csv").write_text("path,start,stop\na.wav,,\na.wav,0.5,2\na.wav,2,\n")
    assert [item.key for item in find_items([tmp_path / "list.csv"])] == ["a.wav", "a.wav#0.5-2", "a.wav#2-"]


def test_columns_may_have_other_names_and_may_be_left_alone(tmp_path):
    (tmp_path / "list.tsv").write_text("clip_id\tmp3_path\tstart\n7\tf/a.mp3\tIntro\n")
    columns = Columns(path="mp3_path", key="clip_id", start="")
    assert find_items([tmp_path / "list.tsv"], columns=columns) == [Item("7", f"{tmp_path}/f/a.mp3")]


@pytest.mark.parametrize("ending", [".csv", ".tsv", ".jsonl", ".parquet"])
def test_a_list_that_was_written_is_read_back(tmp_path, ending):
    if ending == ".parquet":
        pytest.importorskip("pyarrow")
    items = [
        Item("a,b \u00e9", "/music/a, b.wav", start_s=0.1, stop_s=1 / 3),
        Item("c", "https://host/c.flac?x=1"),
        Item("t.tar/d.wav", "/shards/t.tar", "d.wav", first_byte=512, n_bytes=44),
    ]
    write_manifest(tmp_path / f"list{ending}", items)
    assert find_items([tmp_path / f"list{ending}"]) == items


def test_paths_from_here_are_written_so_that_they_hold_elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "lists").mkdir()
    write_manifest("lists/list.csv", [Item("a", "music/a.wav")])
    assert find_items(["lists/list.csv"]) == [Item("a", f"{tmp_path}/music/a.wav")]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("l.csv", "file,id\na.wav,1\n", r"must have a column 'path', got 'file', 'id': say which one is meant"),
        ("l.csv", "", "must have a column 'path', got none at all"),
        ("l.csv", "path,start,stop\na.wav,,\nb.wav,4,3\n", "row 3 of .*stop after its start, got 4 s to 3 s"),
        ("l.csv", "path,start\na.wav,soon\n", "row 2 of .*could not convert string to float: 'soon'"),
        ("l.csv", "id,path\n1,\n", "row 2 of .*it names no file"),
        ("l.csv", "path,id\na.wav,1\nb.wav,1\n", r"a key of its own, got '1' for .*a\.wav and .*b\.wav"),
        ("l.jsonl", '{"path": "a.wav"}\n{"file": "a.wav"}\n', "row 2 of .*must have a column 'path', got 'file'"),
        ("l.jsonl", "[1]\n", r"row 1 of .*must be a JSON object, got \[1\]"),
        ("l.jsonl", "{\n", "row 1 of .*must be JSON"),
    ],
)
def test_what_is_wrong_with_a_manifest_is_told(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(ParameterError, match=message):
        find_items([tmp_path / name])


def test_a_manifest_in_another_coding_is_told(tmp_path):
    (tmp_path / "list.csv").write_bytes("path\nm\xfcde.wav\n".encode("latin-1"))
    with pytest.raises(ParameterError, match="must be text in UTF-8"):
        find_items([tmp_path / "list.csv"])


def test_a_damaged_parquet_file_is_told(tmp_path):
    pytest.importorskip("pyarrow")
    (tmp_path / "list.parquet").write_bytes(b"PAR1 and nothing else")
    with pytest.raises(AudioError, match=r"list\.parquet must be a Parquet file"):
        find_items([tmp_path / "list.parquet"])


def test_without_pyarrow_the_extra_is_named(tmp_path, monkeypatch):
    (tmp_path / "list.parquet").touch()
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ParameterError, match=r'pip install "masktools\[parquet\]"'):
        find_items([tmp_path / "list.parquet"])


def test_columns_must_differ():
    with pytest.raises(ParameterError, match="must have a path, and each another name, got id, id"):
        Columns(path="id")


def test_a_manifest_has_one_of_its_endings(tmp_path):
    with pytest.raises(ParameterError, match=r"must end in \.csv, \.tsv, \.jsonl, \.parquet, got 'list\.xls'"):
        write_manifest(tmp_path / "list.xls", [Item("a", "a.wav")])


def test_a_cell_may_be_longer_than_csv_takes_by_itself(tmp_path):
    (tmp_path / "l.csv").write_text(f"path,lyrics\na.wav,{'la ' * 100_000}\n")
    assert find_items([tmp_path / "l.csv"]) == [Item("a.wav", f"{tmp_path}/a.wav")]


def test_remarks_in_a_list_of_paths_are_left_out_but_no_file(tmp_path):
    (tmp_path / "#1 hit.wav").touch()
    (tmp_path / "l.txt").write_text("# my list\n#a.wav\n#1 hit.wav\nb.wav\n")
    assert [item.key for item in find_items([tmp_path / "l.txt"])] == ["#1 hit.wav", "b.wav"]


def test_a_list_of_paths_may_name_what_is_no_utf_8(tmp_path):
    (tmp_path / "l.txt").write_bytes(b"caf\xe9.wav\n")
    items = find_items([tmp_path / "l.txt"])
    assert [item.key for item in items] == ["caf\udce9.wav"]
    write_manifest(tmp_path / "l.jsonl", items)
    assert find_items([tmp_path / "l.jsonl"]) == items
    with pytest.raises(ParameterError, match=r"cannot name .*caf\\udce9\.wav.*, which is no UTF-8: let it end in"):
        write_manifest(tmp_path / "l.csv", items)


def test_urls_of_files_are_their_paths_without_escapes(tmp_path):
    path = tmp_path / "a b ü 100%.wav"
    (tmp_path / "l.txt").write_text(f"{path.as_uri()}\n")
    assert find_items([path.as_uri(), tmp_path / "l.txt", f"file://localhost{tmp_path}/c.wav"])[0].location == str(path)
    assert find_items([tmp_path / "l.txt"])[0].location == str(path)
