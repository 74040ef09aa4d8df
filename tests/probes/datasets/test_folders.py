"""Folders named after classes: splits or folds, the same on every machine, groups kept together."""

from argparse import ArgumentParser
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from masktools.core.errors import ParameterError
from probes.datasets import dataset
from probes.datasets.folders import _dealt, read_folders


def make(root: Path, *names: str) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return root


def test_folders_are_classes_and_folds_hold_about_as_many_of_each(tmp_path):
    make(tmp_path, *(f"{label}/{i}.wav" for label in ("cat", "dog") for i in range(10)), "dog/notes.txt", "lost.wav")
    data = read_folders(tmp_path)
    assert data.labels == ("cat", "dog")
    assert len(data.clips) == 20
    assert set(Counter((clip.fold, clip.labels) for clip in data.clips).values()) == {2}
    assert data.groups() is None
    assert data.clips == read_folders(tmp_path).clips


def test_splits_in_the_folders_are_respected(tmp_path):
    make(tmp_path, *(f"{split}/{label}/a.ogg" for split in ("train", "valid", "test") for label in ("x", "y")))
    data = read_folders(tmp_path)
    assert Counter(clip.split for clip in data.clips) == {"train": 2, "valid": 2, "test": 2}
    assert {clip.key for clip in data.clips if clip.split == "test"} == {"test/x/a.ogg", "test/y/a.ogg"}


def test_files_of_one_speaker_stay_in_one_fold(tmp_path):
    speakers = [f"s{i}" for i in range(9)]
    make(tmp_path, *(f"{word}/{who}_{take}.wav" for word in ("yes", "no") for who in speakers for take in range(2)))
    data = read_folders(tmp_path, 3, "_")
    folds = {who: {clip.fold for clip in data.clips if clip.group == who} for who in speakers}
    assert all(len(found) == 1 for found in folds.values())
    assert Counter(next(iter(found)) for found in folds.values()) == {1: 3, 2: 3, 3: 3}


@settings(max_examples=30, deadline=None)
@given(st.dictionaries(st.text("abc", min_size=1), st.sampled_from("xyz"), min_size=6), st.integers(3, 5))
def test_no_group_is_in_two_folds_and_folds_are_even(classes, n_folds):
    folds = _dealt(classes, dict.fromkeys(classes, ""), n_folds)
    assert set(folds) == set(classes)
    sizes = Counter(folds.values())
    assert max(sizes.values()) - min(sizes.get(fold, 0) for fold in range(1, n_folds + 1)) <= 1


def test_what_is_no_such_collection_is_refused(tmp_path):
    with pytest.raises(ParameterError, match="must be a folder that holds a folder for each class"):
        read_folders(tmp_path / "none")
    with pytest.raises(ParameterError, match="folds must be at least 3, .* got 2"):
        read_folders(tmp_path, 2)
    with pytest.raises(ParameterError, match="must hold recordings of at least two classes, .* got .'a',."):
        read_folders(make(tmp_path / "one", "a/1.wav"))
    with pytest.raises(
        ParameterError, match="must hold the folders train, valid and test, or none of them: got .'train'."
    ):
        read_folders(make(tmp_path / "half", "train/a/1.wav"))


def test_the_command_line_reads_them(tmp_path):
    make(tmp_path, *(f"{label}/{i}.wav" for label in "ab" for i in range(3)))
    parser = ArgumentParser()
    dataset("folders").add_arguments(parser)
    data = dataset("folders").read(parser.parse_args([str(tmp_path), "--folds", "3"]))
    assert len(list(data.rounds())) == 3
