"""Folders, manifests, AudioSet and AudioCaps: what each is read as, and what is said of what it is not."""

import csv
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from masktools.core.errors import ParameterError
from masktools.training.sources import (
    hashed_share,
    read_audiocaps,
    read_audioset,
    read_folder,
    read_manifest,
    read_source,
)

SEGMENTS = """# Segments csv created Sun Mar  5 10:54:31 2017
# num_ytids=3, num_segs=3, num_unique_labels=3, num_positive_labels=4
# YTID, start_seconds, end_seconds, positive_labels
-0RWZT-miFs, 420.000, 430.000, "/m/03v3yw,/m/0k4j"
_abcdefghij, 30.000, 40.000, "/m/0k4j"
vanished_yz, 0.000, 10.000, "/m/09x0r"
"""
CLASSES = 'index,mid,display_name\n0,/m/09x0r,"Male speech, man speaking"\n1,/m/0k4j,Car\n2,/m/03v3yw,"Keys jangling"\n'


def audio(path):
    """Write a very short recording."""
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.zeros(100), 8000)
    return str(path)


@pytest.fixture
def audioset(tmp_path):
    """AudioSet with two of three training clips, under two ways of naming them, and an evaluation clip."""
    (tmp_path / "balanced_train_segments.csv").write_text(SEGMENTS)
    lines = [*SEGMENTS.splitlines()[:3], 'evaluation0, 5.000, 15.000, "/m/0k4j"']
    (tmp_path / "eval_segments.csv").write_text("\n".join(lines))
    (tmp_path / "class_labels_indices.csv").write_text(CLASSES)
    audio(tmp_path / "audio" / "train" / "-0RWZT-miFs_420.wav")
    audio(tmp_path / "audio" / "Y_abcdefghij.flac")
    audio(tmp_path / "audio" / "evaluation0_5000_15000.ogg")
    return tmp_path


@pytest.fixture
def audiocaps(tmp_path):
    """AudioCaps with a training clip, and two test clips of which one has vanished."""
    (tmp_path / "train.csv").write_text("audiocap_id,youtube_id,start_time,caption\n1,trainvideo0,10,A dog barks\n")
    rows = [f'{9 + i},testvideo00,150,"Caption {i}, long"' for i in range(5)] + ["99,vanished000,0,Nothing"]
    (tmp_path / "test.csv").write_text("audiocap_id,youtube_id,start_time,caption\n" + "\n".join(rows) + "\n")
    audio(tmp_path / "wavs" / "trainvideo0.wav")
    audio(tmp_path / "wavs" / "testvideo00_150.wav")
    return tmp_path


def test_audioset_names_its_labels_and_counts_what_has_vanished(audioset):
    source = read_source(audioset)
    assert (source.kind, source.n_missing) == ("audioset", 1)
    found = {row.path.rsplit("/", 1)[1]: (row.split, row.labels) for row in source.rows}
    assert found["-0RWZT-miFs_420.wav"][1] == "Keys jangling;Car"
    assert found["Y_abcdefghij.flac"][1] == "Car"
    assert found["evaluation0_5000_15000.ogg"] == ("test", "Car")
    assert {split for split, _ in found.values()} <= {"train", "valid", "test"}


def test_one_list_of_audioset_is_a_source_too_and_knows_identifiers_without_the_names(audioset):
    (audioset / "class_labels_indices.csv").unlink()
    source = read_source(audioset / "balanced_train_segments.csv")
    assert [row.labels for row in source.rows] == ["/m/03v3yw;/m/0k4j", "/m/0k4j"]


def test_a_hundredth_of_audioset_is_valid(tmp_path):
    videos = [f"video{i:06d}" for i in range(1000)]
    shares = [hashed_share(video) < 0.01 for video in videos]
    assert 2 <= sum(shares) <= 25
    video = videos[shares.index(True)]
    (tmp_path / "train.csv").write_text(f'# YTID, start_seconds\n{video}, 0, 10, "/m/a"\n')
    audio(tmp_path / f"{video}.wav")
    assert read_audioset(tmp_path).rows[0].split == "valid"


def test_audiocaps_keeps_the_captions_of_a_clip_together(audiocaps):
    source = read_source(audiocaps)
    assert (source.kind, source.n_missing) == ("audiocaps", 1)
    test, train = source.rows
    assert (train.split, train.caption, train.other_captions) == ("train", "A dog barks", ())
    assert (test.split, test.caption, len(test.other_captions)) == ("test", "Caption 0, long", 4)


def test_a_folder_is_split_by_its_own_folders(tmp_path):
    for name in ("train/a.wav", "Validation/b/c.flac", "test/d.ogg", "e.wav", "train/.hidden.wav", ".git/f.wav"):
        audio(tmp_path / name)
    (tmp_path / "train" / "notes.txt").write_text("no audio")
    rows = read_source(tmp_path).rows
    found = {row.path.rsplit("/", 1)[1]: row.split for row in rows}
    assert found == {"a.wav": "train", "c.flac": "valid", "d.ogg": "test", "e.wav": "train"}


@given(st.lists(st.text("abcdef", min_size=1, max_size=6), min_size=2, max_size=14, unique=True))
def test_a_folder_of_two_files_or_more_has_one_to_train_with_and_one_to_validate_with(names):
    with TemporaryDirectory() as folder:
        for name in names:
            (Path(folder) / f"{name}.wav").write_bytes(b"")
        splits = [row.split for row in read_folder(Path(folder)).rows]
    assert len(splits) == len(names)
    assert {"train", "valid"} <= set(splits)


def test_a_folder_that_is_split_without_validation_gives_one_of_its_files_for_it(tmp_path):
    for name in ("train/a.wav", "train/b.wav", "train/c.wav"):
        audio(tmp_path / name)
    assert sorted(row.split for row in read_folder(tmp_path).rows) == ["train", "train", "valid"]


def test_a_folder_without_splits_is_split_by_the_names_alone(tmp_path):
    for copy in ("one", "two"):
        for number in range(60):
            audio(tmp_path / copy / "music" / f"{number}.wav")
    one, two = (read_folder(tmp_path / copy).rows for copy in ("one", "two"))
    assert [row.split for row in one] == [row.split for row in two]
    assert {row.split for row in one} >= {"train", "test"}
    assert sum(row.split == "train" for row in one) > 40


@given(st.text())
@settings(max_examples=50, deadline=None)
def test_a_share_is_a_number_below_one_that_depends_on_the_text_alone(text):
    assert 0 <= hashed_share(text) < 1
    assert hashed_share(text) == hashed_share(str(text))


def test_a_manifest_says_more_where_it_can(tmp_path):
    with (tmp_path / "manifest.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "split", "origin", "bandwidth_hz", "measured", "nc"])
        writer.writerows([["a.wav", "val", "rendered", "4000", "slow;dark", ""], ["b.wav", "train", "", "", "", "1"]])
    (row,) = read_source(tmp_path).rows
    assert (row.path, row.split, row.origin) == (str(tmp_path / "a.wav"), "valid", "rendered")
    assert (row.bandwidth_hz, row.measured) == (4000.0, "slow;dark")
    assert len(read_source(tmp_path / "manifest.csv", non_commercial=True).rows) == 2


def test_rows_of_non_commercial_licences_are_left_out_unless_asked_for(manifest):
    assert len(read_manifest(manifest)) == 9
    assert len(read_manifest(manifest, non_commercial=True)) == 10


def test_what_is_no_source_is_told_what_one_is(tmp_path, audioset):
    with pytest.raises(ParameterError, match=r"no source at .*nowhere: it must be a folder of audio files; or a CSV"):
        read_source(tmp_path / "nowhere")
    (tmp_path / "other.csv").write_text("name,length\na,1\n")
    with pytest.raises(ParameterError, match="other.csv is no list of recordings: a source must be a folder of audio"):
        read_source(tmp_path / "other.csv")
    with pytest.raises(ParameterError, match="unknown kind of source 'audiocap'.*did you mean 'audiocaps'"):
        read_source(tmp_path, kind="audiocap")
    with pytest.raises(ParameterError, match="no list of audiocaps at .*: it must be its lists .audiocap_id"):
        read_source(audioset, kind="audiocaps")
    with pytest.raises(ParameterError, match="a source of the kind folder must be a folder, got .*other.csv"):
        read_source(tmp_path / "other.csv", kind="folder")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ParameterError, match=r"no audio file below .*empty: files must end in .wav"):
        read_source(tmp_path / "empty")


def test_lists_of_two_collections_in_one_folder_must_be_told_apart(audioset):
    (audioset / "train.csv").write_text("audiocap_id,youtube_id,start_time,caption\n")
    with pytest.raises(ParameterError, match="holds lists of AudioSet and of AudioCaps: name the list, or the kind"):
        read_source(audioset)
    assert len(read_source(audioset, kind="audioset").rows) == 3


def test_manifests_that_are_none_are_refused(tmp_path):
    with pytest.raises(ParameterError, match=r"no manifest at .*nothing.csv"):
        read_manifest(tmp_path / "nothing.csv")
    bad = tmp_path / "bad.csv"
    bad.write_text("file,split\na,train\n")
    with pytest.raises(ParameterError, match="must have the columns path and split, missing: path"):
        read_manifest(bad)
    bad.write_text("path,split\na.wav,trian\n")
    with pytest.raises(ParameterError, match="unknown split in row 2 of .*bad.csv 'trian'.*did you mean 'train'"):
        read_manifest(bad)
    bad.write_text("path,split,bandwidth_hz\na.wav,train,wide\n")
    with pytest.raises(ParameterError, match="bandwidth_hz must be a number, got 'wide' in row 2 of"):
        read_manifest(bad)


def test_lists_that_are_damaged_are_refused(audioset, audiocaps):
    clips = audioset / "balanced_train_segments.csv"
    clips.write_text("# YTID, start_seconds, end_seconds, positive_labels\nabc, 1\n")
    with pytest.raises(ParameterError, match="line 2 of .* must be: YTID, start_seconds, end_seconds, positive_labels"):
        read_audioset(clips)
    (audioset / "class_labels_indices.csv").write_text("mid\n/m/a\n")
    with pytest.raises(ParameterError, match="class_labels_indices.csv must have the columns index, mid and display"):
        read_audioset(clips)
    captions = audiocaps / "test.csv"
    captions.write_text("audiocap_id,youtube_id,start_time,caption\n1,a,soon,A dog\n")
    with pytest.raises(ParameterError, match="start_time must be a number, got 'soon' in row 2 of"):
        read_audiocaps(captions)
    captions.rename(audiocaps / "mine.csv")
    with pytest.raises(ParameterError, match="must be named train.csv, val.csv or test.csv, got .*mine.csv"):
        read_audiocaps(audiocaps / "mine.csv")


def test_a_collection_of_which_nothing_is_left_is_an_error(audiocaps):
    for path in (audiocaps / "wavs").iterdir():
        path.unlink()
    with pytest.raises(ParameterError, match="none of the 3 clips is below .*: files must be named YTID.wav"):
        read_source(audiocaps)
