import shutil
from collections import Counter

import numpy as np
import pytest

from masktools.core.errors import ParameterError
from probes.datasets import dataset, names
from probes.datasets._mtat_facts import BROKEN, SPLIT_SIZES, SYNONYMS, TOP_50, TOP_50_COUNTS
from probes.datasets.mtat import read_mtat, verify_mtat
from probes.protocol import ProtocolSettings, probe
from probes.vectors import Vectors
from tests.probes.mtat_miniature import SMALL, TAGS


def copied(miniature, tmp_path):
    """Return a copy of the miniature without audio, to be damaged."""
    root = tmp_path / "copy"
    root.mkdir()
    for name in ("annotations_final.csv", "clip_info_final.csv"):
        shutil.copy(miniature[0] / name, root)
    return root


def edit(root, old, new, name="annotations_final.csv", count=1):
    text = (root / name).read_text()
    assert old in text
    (root / name).write_text(text.replace(old, new, count))


def sizes(data):
    found = Counter(clip.split for clip in data.clips)
    return tuple(found[split] for split in ("train", "valid", "test"))


def state_of(root, what):
    return next(finding for finding in verify_mtat(root).findings if finding.what == what)


def test_the_50_tags_are_the_usual_ones_in_the_usual_order():
    assert len(TOP_50) == len(set(TOP_50)) == len(TOP_50_COUNTS) == 50
    assert (TOP_50[0], TOP_50[28:30], TOP_50[-1]) == ("guitar", ("no vocal", "pop"), "choral")
    assert list(TOP_50_COUNTS) == sorted(TOP_50_COUNTS, reverse=True)
    assert len(TAGS) == len(set(TAGS)) == 188
    assert set(TOP_50) < set(TAGS)


def test_splits_go_by_folder_and_leave_the_broken_files_out(miniature):
    root, lines = miniature
    full, clean = read_mtat(root, "full"), read_mtat(root, "clean")
    assert (sizes(full), sizes(clean)) == (SMALL.full, SMALL.clean)
    for clip in full.clips:
        folder = clip.path.removeprefix(f"{root}/")[0]
        assert clip.split == ("train" if folder in "0123456789ab" else "valid" if folder == "c" else "test")
    assert not {clip.key for clip in full.clips} & set(BROKEN)
    assert len(read_mtat(root, "full", without_broken=False).clips) == len(lines)


def test_the_true_size_has_the_published_counts(annotations):
    root, _ = annotations
    for split, wanted in SPLIT_SIZES.items():
        data = read_mtat(root, split)
        assert sizes(data) == wanted
        assert "as published" in data.notes
    assert state_of(root, "annotated clips").state == "ok"
    assert state_of(root, "clips with information").state == "ok"


def test_labels_are_the_tags_of_each_clip_and_groups_its_artist(miniature):
    root, lines = miniature
    data = read_mtat(root, "full")
    of_id = {line.clip_id: line for line in lines}
    assert data.labels == TOP_50
    for clip in data.clips:
        assert {TOP_50[label] for label in clip.labels} == of_id[clip.key].tags & set(TOP_50)
        assert clip.group == of_id[clip.key].artist


def test_merged_synonyms_are_one_label_and_change_no_split(miniature):
    root, lines = miniature
    kept, merged = read_mtat(root, "clean"), read_mtat(root, "clean", "merge")
    assert [clip.key for clip in merged.clips] == [clip.key for clip in kept.clips]
    assert len(merged.labels) == 37
    assert "merged into 37 labels" in merged.notes
    assert {"beat", "no vocals"} <= set(merged.labels)
    assert not {"beats", "no voice", "woman"} & set(merged.labels)
    place = merged.labels.index("female")
    of_id = {line.clip_id: line for line in lines}
    for clip in merged.clips:
        assert (place in clip.labels) == bool(of_id[clip.key].tags & {"female", *SYNONYMS["female"]})
    every = [tag for head, tags in SYNONYMS.items() for tag in (head, *tags)]
    assert len(every) == len(set(every))
    assert set(every) <= set(TAGS)
    assert set(SYNONYMS) <= set(TOP_50)


def test_names_that_copies_use_are_understood(miniature, tmp_path):
    root = copied(miniature, tmp_path)
    edit(root, '"no vocals"', '"noVocals"')
    edit(root, '"male voice"', '"maleVoice"')
    assert read_mtat(root).targets().sum() == read_mtat(miniature[0]).targets().sum()


def test_without_clip_info_there_are_no_artists(miniature, tmp_path):
    root = copied(miniature, tmp_path)
    (root / "clip_info_final.csv").unlink()
    data = read_mtat(root)
    assert data.groups() is None
    assert "no artists" in data.notes
    assert state_of(root, "clip_info_final.csv").state == "missing"


def test_audio_may_lie_in_a_folder_mp3(miniature, tmp_path):
    root = copied(miniature, tmp_path)
    shutil.copytree(miniature[0] / "0", root / "mp3" / "0")
    assert read_mtat(root).clips[0].path.startswith(f"{root}/mp3/")


def test_what_is_not_what_was_published_is_told(miniature):
    found = verify_mtat(miniature[0])
    assert found.is_complete
    assert not found.is_published
    told = [str(finding) for finding in found.findings]
    assert any(line.startswith("differs SHA-256 of annotations_final.csv:") for line in told)
    assert any("published 99b94e95" in line for line in told)
    assert any("111, published 25,863" in line for line in told)
    assert any(line.startswith("ok      broken files, by number and name: 3") for line in told)
    assert any("for 50 tags: guitar" in line for line in told)


def test_missing_audio_is_told(miniature, tmp_path):
    root = copied(miniature, tmp_path)
    for folder in "0123456789abcde":
        (root / folder).mkdir()
    found = verify_mtat(root)
    assert not found.is_complete
    assert "there is no f" in state_of(root, "audio folders").found
    assert "108 are missing or empty, the first is 0/" in state_of(root, "audio files").found


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"mp3_path"', '"path"', "must have a column for each of the 50 tags, with tabs between: it lacks mp3_path"),
        ('"guitar"', '"gitar"', "it lacks guitar"),
        ("\t", ",", "it lacks clip_id, mp3_path, guitar, classical, slow, ..."),
        ('"0"\t', "", r"annotations_final.csv:2 must have 190 fields as the head has, got 189"),
        ('"0"', '"2"', "annotations_final.csv:2 must have 0 or 1 for each tag, got another value for 'no voice'"),
        ('"0/', '"g/', "annotations_final.csv:2 must name a file in a folder 0 to f, got 'g/"),
    ],
)
def test_annotations_of_another_layout_are_refused(miniature, tmp_path, old, new, message):
    root = copied(miniature, tmp_path)
    edit(root, old, new, count=-1 if old == "\t" else 1)
    with pytest.raises(ParameterError, match=message):
        read_mtat(root)


def test_clip_info_of_another_layout_is_refused(miniature, tmp_path):
    root = copied(miniature, tmp_path)
    edit(root, '"artist"', '"singer"', "clip_info_final.csv")
    with pytest.raises(ParameterError, match="must have the columns clip_id and artist, with tabs between"):
        read_mtat(root)


def test_folders_without_the_data_set_and_unknown_names_are_refused(miniature, tmp_path):
    with pytest.raises(ParameterError, match=r"annotations_final.csv must be there, .* give the folder that holds it"):
        read_mtat(tmp_path)
    with pytest.raises(ParameterError, match="unknown split 'dirty': choose from full, clean"):
        read_mtat(miniature[0], "dirty")
    with pytest.raises(ParameterError, match="unknown rule for synonyms 'drop': choose from keep, merge"):
        read_mtat(miniature[0], "full", "drop")


def test_the_data_set_is_found_by_its_name():
    assert "mtat" in names()
    assert dataset("mtat").read_mtat is read_mtat
    assert not [name for name in names() if name.startswith("_")]
    with pytest.raises(ParameterError, match="unknown data set 'mtt': choose from"):
        dataset("mtt")


@pytest.mark.slow
def test_the_true_size_is_probed_in_little_memory(annotations):
    resource = pytest.importorskip("resource")
    data = read_mtat(annotations[0], "full")
    wanted = data.targets()
    rng = np.random.default_rng(0)
    told = (wanted @ rng.standard_normal((50, 768)) + 4 * rng.standard_normal((len(wanted), 768))).astype(np.float32)
    keys = [clip.key for clip in data.clips]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    result = probe(Vectors.from_array("random", keys, told), data, ProtocolSettings(n_seeds=1, max_epochs=1))
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    assert grown < 6 * told.nbytes
    assert result.scores["roc_auc"].mean > 0.9
    assert result.n_test == 5_329
