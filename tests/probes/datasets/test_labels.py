"""The labels of a manifest as tasks: which labels are asked for, and that nothing that is tested was trained on."""

import csv
from argparse import ArgumentParser
from pathlib import Path

import pytest

from masktools.core.errors import ParameterError
from probes.data import SPLITS
from probes.datasets import dataset
from probes.datasets.labels import TASKS, LabelTask, read_labels

HEAD = ("path", "split", "kind", "labels", "group", "bandwidth_hz", "source_repo")
ANY = LabelTask("anything", lambda line: True, n_train=2, n_tested=1)


def line(path: str, split: str, labels: str, kind: str = "music", group: str = "", hz: str = "11025", repo: str = ""):
    return dict(zip(HEAD, (path, split, kind, labels, group, hz, repo), strict=True))


def write(root: Path, lines: list[dict], head: tuple[str, ...] = HEAD) -> Path:
    path = root / "manifest.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, head, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(lines)
    return path


def splits_of(labels: str, n_train: int = 2, **columns) -> list[dict]:
    """Return recordings of each split with the same labels, each a group of its own."""
    names = ["train"] * n_train + ["valid", "test"]
    return [line(f"{labels}-{i}.ogg", split, labels, **columns) for i, split in enumerate(names)]


def test_labels_that_too_few_groups_have_are_not_asked_for(tmp_path):
    one_group = [dict(one, group="g") if one["split"] == "train" else one for one in splits_of("rare")]
    manifest = write(tmp_path, splits_of("piano;loud") + splits_of("drums") + one_group)
    data = read_labels(manifest, ANY)
    assert data.labels == ("drums", "loud")  # piano is the same recordings as loud
    assert len(data.clips) == 12
    assert [clip.labels for clip in data.clips if clip.key.startswith("rare")] == [()] * 4
    assert data.clips[0].path == str(tmp_path / "piano;loud-0.ogg")


def test_validation_and_test_are_each_tested_once_and_training_stays(tmp_path):
    manifest = write(tmp_path, splits_of("a") + splits_of("b"))
    first, second = read_labels(manifest, ANY).rounds()
    assert list(first.train) == list(second.train)
    assert (list(first.valid), list(first.test)) == (list(second.test), list(second.valid))
    (only,) = read_labels(manifest, ANY, both_ways=False).rounds()
    assert list(only.test) == list(first.test)


def test_rounds_stay_when_clips_are_left_out(tmp_path):
    data = read_labels(write(tmp_path, splits_of("a") + splits_of("b")), ANY)
    assert len(list(data.only([clip.key for clip in data.clips[1:]]).rounds())) == 2


def test_where_a_recording_has_one_class_others_are_left_out(tmp_path):
    task = LabelTask("one", lambda line: True, multilabel=False, labels=("a", "b"), n_train=1, n_tested=1)
    data = read_labels(write(tmp_path, splits_of("a") + splits_of("b") + splits_of("a;b") + splits_of("c")), task)
    assert {clip.key[0] for clip in data.clips} == {"a", "b"}
    assert len(data.clips) == 8


def test_kinds_are_told_among_recordings_of_full_band(tmp_path):
    lines = splits_of("x", kind="music") + splits_of("y", kind="speech") + splits_of("z", kind="speech", hz="4000")
    data = read_labels(write(tmp_path, lines), "kind")
    assert data.labels == ("music", "speech")
    assert {clip.key[0] for clip in data.clips} == {"x", "y"}


def test_groups_are_kept_only_if_there_are_enough_to_resample(tmp_path):
    few = splits_of("a", group="") + splits_of("b", group="")
    assert read_labels(write(tmp_path, few), ANY).groups() is None
    many = [
        line(f"{split}-{label}-{i}", split, label, group=f"{split}-{i}")
        for split in SPLITS
        for label in "ab"
        for i in range(10)
    ]
    data = read_labels(write(tmp_path, many), ANY)
    assert data.groups() is not None
    assert "too few groups" not in data.notes


def test_a_group_in_two_splits_is_refused(tmp_path):
    lines = [line("a", "train", "x", group="g"), line("b", "test", "x", group="g")]
    with pytest.raises(ParameterError, match=r"a group must lie in one split, but 'g' .* is in train and test"):
        read_labels(write(tmp_path, lines), ANY)


def test_what_cannot_be_read_is_refused_with_its_name(tmp_path):
    with pytest.raises(ParameterError, match="must be a manifest that can be read"):
        read_labels(tmp_path / "none.csv", ANY)
    with pytest.raises(ParameterError, match=r"must have the columns path, split and labels: it lacks .'labels'."):
        read_labels(write(tmp_path, splits_of("a"), HEAD[:3]), ANY)
    with pytest.raises(ParameterError, match="the split of a in .* must be train, valid or test, got 'dev'"):
        read_labels(write(tmp_path, [line("a", "dev", "x")]), ANY)
    with pytest.raises(ParameterError, match="must hold recordings of several classes of the task digits"):
        read_labels(write(tmp_path, splits_of("a")), "digits")
    with pytest.raises(ParameterError, match="unknown task 'musik': choose from .*did you mean 'music'"):
        read_labels(tmp_path / "none.csv", "musik")


def test_every_task_can_be_asked_on_the_command_line(tmp_path):
    digits = [part for digit in range(10) for part in splits_of(f"spoken_digit;digit_{digit}", kind="speech")]
    manifest = write(tmp_path, digits)
    parser = ArgumentParser()
    dataset("labels").add_arguments(parser)
    data = dataset("labels").read(parser.parse_args([str(manifest), "--task", "digits", "--one-way"]))
    assert (data.name, len(data.labels), len(list(data.rounds()))) == ("digits", 10, 1)
    assert set(TASKS) == {"kind", "esc10", "environment", "music", "instruments", "digits"}
