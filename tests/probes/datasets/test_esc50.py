"""ESC-50 in its real layout: folds, groups, ESC-10, and what is said of an incomplete copy."""

import csv
from argparse import ArgumentParser
from pathlib import Path

import numpy as np
import pytest
import soundfile

from masktools.core.errors import ParameterError
from probes.datasets import dataset, esc50

HEAD = ("filename", "fold", "target", "category", "esc10", "src_file", "take")


def write_esc50(root: Path, n_classes: int = 4, n_each: int = 2, audio: bool = False) -> list[dict[str, str]]:
    """Write a data set of five folds, two clips of each recording, the first half of the classes in ESC-10."""
    (root / "meta").mkdir(parents=True)
    (root / "audio").mkdir()
    rows = []
    for fold in range(1, 6):
        for target in range(n_classes):
            for take in range(n_each):
                source = f"{fold}{target:02d}{take // 2}"
                name = f"{fold}-{source}-{'ABCDEFGH'[take]}-{target}.wav"
                is_esc10 = str(target < n_classes / 2)
                rows.append(
                    dict(zip(HEAD, (name, fold, target, f"class_{target}", is_esc10, source, take), strict=True))
                )
                if audio:
                    soundfile.write(root / "audio" / name, np.zeros(64), 44_100)
    write_table(root, rows)
    return rows


def write_table(root: Path, rows: list[dict], head: tuple[str, ...] = HEAD) -> None:
    with (root / "meta" / "esc50.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, head, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)


def test_every_fold_is_the_test_once_and_no_recording_is_on_both_sides(tmp_path):
    rows = write_esc50(tmp_path)
    data = esc50.read_esc50(tmp_path)
    assert (len(data.clips), data.labels, data.multilabel) == (len(rows), tuple(f"class_{i}" for i in range(4)), False)
    tested = []
    for one in data.rounds():
        parts = [{data.clips[place].group for place in part} for part in one[1:]]
        assert not parts[0] & parts[1]
        assert not (parts[0] | parts[1]) & parts[2]
        tested += list(one.test)
    assert sorted(tested) == list(range(len(rows)))


def test_esc10_is_the_clips_that_are_marked_so(tmp_path):
    write_esc50(tmp_path)
    data = esc50.read_esc50(tmp_path, esc10=True)
    assert data.labels == ("class_0", "class_1")
    assert len(data.clips) == 20


def test_the_command_line_reads_it(tmp_path):
    write_esc50(tmp_path)
    parser = ArgumentParser()
    dataset("esc50").add_arguments(parser)
    assert esc50.read(parser.parse_args([str(tmp_path), "--esc10"])).name == "esc10"
    assert not esc50.verify(parser.parse_args([str(tmp_path)])).is_complete


def test_a_copy_of_the_true_size_is_the_published_one(tmp_path):
    write_esc50(tmp_path, n_classes=50, n_each=8)
    states = {one.what: one.state for one in esc50.verify_esc50(tmp_path).findings}
    assert states.pop("audio files") == "missing"
    assert states.pop("clips of ESC-10") == "differs"
    assert set(states.values()) == {"ok"}


def test_a_recording_whose_clips_lie_in_two_folds_is_told(tmp_path):
    rows = write_esc50(tmp_path, audio=True)
    rows[0]["src_file"] = rows[-1]["src_file"]
    write_table(tmp_path, rows)
    found = {one.what: one.found for one in esc50.verify_esc50(tmp_path).findings}
    assert found["recordings whose clips lie in several folds"].startswith("1, ")
    assert found["audio files"] == "40"


@pytest.mark.parametrize(
    ("head", "change", "message"),
    [
        (HEAD[:-2], {}, "must have the columns .* it lacks .'src_file'."),
        (HEAD, {"fold": "x"}, r"esc50\.csv:2 must have .* a number as fold and True or False as esc10"),
        (HEAD, {"esc10": "yes"}, r"esc50\.csv:2 must have .* True or False as esc10"),
    ],
)
def test_a_table_of_another_layout_is_refused(tmp_path, head, change, message):
    rows = write_esc50(tmp_path)
    rows[0] |= change
    write_table(tmp_path, rows, head)
    with pytest.raises(ParameterError, match=message):
        esc50.read_esc50(tmp_path)


def test_a_missing_or_empty_table_is_refused(tmp_path):
    with pytest.raises(ParameterError, match="must be there, as ESC-50 has it"):
        esc50.read_esc50(tmp_path)
    write_esc50(tmp_path / "a")
    write_table(tmp_path / "a", [])
    with pytest.raises(ParameterError, match="must hold clips of ESC-10, got none"):
        esc50.read_esc50(tmp_path / "a", esc10=True)
