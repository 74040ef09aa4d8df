import json
from dataclasses import replace

import numpy as np
import pytest

from masktools.core.errors import ParameterError
from probes.data import Clip, TaggedData
from probes.protocol import ProtocolSettings, probe
from probes.vectors import LeftOut, Vectors
from tests.probes.toys import folded, silent, tagged, telling, vectors_of_layers

QUICK = ProtocolSettings(n_seeds=2, n_resamples=50, max_epochs=150)


def test_the_layer_that_tells_the_labels_is_chosen_and_scores_well():
    data = tagged()
    result = probe(vectors_of_layers(data, silent(data), telling(data), silent(data, seed=1)), data, QUICK)
    assert result.layers == ("1",)
    assert result.scores["roc_auc"].mean > 0.99
    assert result.scores["average_precision"].mean > 0.98
    assert (result.n_train, result.n_valid, result.n_test) == (240, 80, 80)
    assert result.n_scored == len(result.labels) == 6
    by_layer = {one.layer: one.test["roc_auc"] for one in result.sweep}
    assert by_layer["1"] == pytest.approx(result.scores["roc_auc"].mean)
    assert max(by_layer["0"], by_layer["2"]) < 0.7


def test_the_test_chooses_no_layer():
    data = tagged()
    is_test = np.array([clip.split == "test" for clip in data.clips])[:, None]
    fair, tempting = telling(data, noise=2.0), np.where(is_test, telling(data), telling(data, noise=5.0, seed=1))
    result = probe(vectors_of_layers(data, fair, tempting), data, QUICK)
    assert result.layers == ("0",)
    sweep = {one.layer: one for one in result.sweep}
    assert sweep["1"].test["roc_auc"] > sweep["0"].test["roc_auc"]
    assert sweep["1"].valid < sweep["0"].valid


def test_labels_of_other_clips_are_predicted_by_chance():
    data = tagged(4000).shuffled(1)
    result = probe(vectors_of_layers(data, telling(tagged(4000))), data, replace(QUICK, n_resamples=0, max_epochs=5))
    assert abs(result.scores["roc_auc"].mean - 0.5) < 0.02


def test_seeds_are_told_one_by_one_with_their_spread_and_intervals_over_clips_and_groups():
    data = tagged()
    score = probe(vectors_of_layers(data, telling(data, noise=2.0)), data, QUICK).scores["roc_auc"]
    assert len(score.by_seed) == 2
    assert score.mean == pytest.approx(np.mean(score.by_seed))
    assert score.std == pytest.approx(np.std(score.by_seed, ddof=1))
    assert score.over_clips.low < score.mean < score.over_clips.high
    assert score.over_groups is not None
    assert score.over_groups != score.over_clips
    again = probe(vectors_of_layers(data, telling(data, noise=2.0)), data, QUICK).scores["roc_auc"]
    assert again == score


def test_without_groups_or_resamples_there_are_no_such_intervals():
    data = tagged(100)
    alone = replace(data, clips=tuple(replace(clip, group="") for clip in data.clips))
    settings = replace(QUICK, n_seeds=1, max_epochs=2)
    score = probe(vectors_of_layers(data, telling(data)), alone, settings).scores["roc_auc"]
    assert score.over_groups is None
    assert score.std is None
    score = probe(vectors_of_layers(data, telling(data)), data, replace(settings, n_resamples=0)).scores["roc_auc"]
    assert score.over_clips is None


def test_of_folds_every_clip_is_tested_once_and_each_round_chooses_its_layer():
    data = folded()
    result = probe(vectors_of_layers(data, silent(data), telling(data)), data, QUICK)
    assert result.layers == ("1", "1", "1")
    assert result.n_test == 150
    assert result.scores["accuracy"].mean > 0.95
    assert result.protocol["rounds"] == ["fold 1", "fold 2", "fold 3"]
    assert [one.round for one in result.sweep].count("fold 2") == 2
    assert "accuracy" in result.protocol["chosen_by"]


def test_a_class_that_the_training_split_lacks_is_never_predicted():
    clips = [Clip(f"k{i}", "", ("train", "valid", "test")[i % 3], None, (i // 3 % 2,)) for i in range(120)]
    clips += [Clip("only valid", "", "valid", None, (2,)), Clip("only test", "", "test", None, (2,))]
    data = TaggedData("lacking", tuple(clips), ("a", "b", "c"), False)
    result = probe(vectors_of_layers(data, telling(data)), data, QUICK)
    assert result.scores["accuracy"].mean == pytest.approx(40 / 41)
    assert [label.n_positive for label in result.labels] == [20, 20, 1]


def test_a_label_that_the_test_lacks_is_not_scored_and_told():
    data = tagged()
    clips = (
        replace(clip, labels=tuple(label for label in clip.labels if label != 2 or clip.split != "test"))
        for clip in data.clips
    )
    lacking = replace(data, clips=tuple(clips))
    result = probe(vectors_of_layers(data, telling(data)), lacking, replace(QUICK, n_seeds=1))
    assert result.n_scored == 5
    assert (result.labels[2].roc_auc, result.labels[2].average_precision, result.labels[2].n_positive) == (
        None,
        None,
        0,
    )
    assert np.isfinite(result.scores["average_precision"].mean)


def test_windows_train_each_and_are_averaged_in_prediction():
    data = tagged(300)
    told = telling(data, noise=3.0)
    n_windows = np.random.default_rng(0).integers(1, 5, len(told))
    starts = np.concatenate([[0], np.cumsum(n_windows)])
    rows = np.repeat(told - telling(data, noise=0.0), n_windows, axis=0)  # noise that windows of a clip share
    rows = np.repeat(telling(data, noise=0.0), n_windows, axis=0) + 0.1 * rows
    noisy = rows + 2 * np.random.default_rng(1).standard_normal(rows.shape)
    several = Vectors(
        "windows", tuple(clip.key for clip in data.clips), starts, 1, lambda layer: noisy.astype(np.float32)
    )
    first = vectors_of_layers(data, noisy[starts[:-1]].astype(np.float32))
    by_clip, by_first = (
        probe(one, data, replace(QUICK, max_epochs=30)).scores["roc_auc"].mean for one in (several, first)
    )
    assert by_clip > by_first + 0.02


def test_clips_without_vectors_are_left_out_and_listed():
    data = tagged(200)
    keys = [clip.key for clip in data.clips]
    all_vectors = telling(data)
    there = Vectors.from_array("some", keys[10:][::-1], all_vectors[10:][::-1])
    some = replace(there, left_out=tuple(LeftOut(key, "unreadable") for key in keys[:10]))
    result = probe(some, data, QUICK)
    assert result.n_train + result.n_valid + result.n_test == 190
    assert result.left_out[0] == {"key": "k0", "reason": "unreadable"}
    assert result.scores["roc_auc"].mean > 0.95  # the order of vectors is not that of clips


def test_the_preset_that_weighs_layers_reads_them_together():
    data = tagged(200)
    result = probe(
        vectors_of_layers(data, silent(data), telling(data)), data, replace(QUICK, preset="marble", max_epochs=5)
    )
    assert result.layers == ("weighted",)
    assert len(result.sweep) == 1
    alone = probe(vectors_of_layers(data, telling(data)), data, replace(QUICK, preset="marble", max_epochs=2))
    assert alone.layers == ("0",)


def test_some_layers_are_tried_if_they_are_named():
    data = tagged(100)
    layers = vectors_of_layers(data, *(silent(data, seed=seed) for seed in range(4)))
    result = probe(layers, data, replace(QUICK, layers=(1, -1, 3), max_epochs=2))
    assert [one.layer for one in result.sweep] == ["1", "3"]
    with pytest.raises(ParameterError, match=r"layers must lie in \[-4, 3\], got 4: toy vectors has 4"):
        probe(layers, data, replace(QUICK, layers=(4,)))


def test_progress_and_results_are_told_in_what_json_has():
    data = tagged(60)
    seen = []
    result = probe(
        vectors_of_layers(data, telling(data)), data, replace(QUICK, max_epochs=1), lambda *n: seen.append(n)
    )
    assert seen == [(1, 2), (2, 2)]
    told = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    assert told["scores"]["roc_auc"]["mean"] == result.scores["roc_auc"].mean
    assert told["protocol"]["data"] == "a toy"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"preset": "none"}, "unknown preset 'none': choose from paper"),
        ({"n_seeds": 0}, "n_seeds must be at least 1, got 0"),
        ({"n_resamples": -1}, "n_resamples must be at least 0, got -1"),
        ({"layers": ()}, "layers must name at least one layer, got none"),
        ({"level": 1.0}, r"level must lie in \(0, 1\), got 1"),
    ],
)
def test_settings_out_of_range_are_refused(changes, message):
    with pytest.raises(ParameterError, match=message):
        ProtocolSettings(**changes)


def test_vectors_that_do_not_fit_are_refused():
    with pytest.raises(ParameterError, match=r"\(clips, d\) or \(clips, layers, d\) for 2 clips, got \(3, 4\)"):
        Vectors.from_array("toy", ["a", "b"], np.zeros((3, 4)))
    with pytest.raises(ParameterError, match="each of 2 clips must have vectors of its own"):
        Vectors("toy", ("a", "b"), np.array([0, 1, 1]), 1, lambda layer: np.zeros((1, 2)))
    with pytest.raises(ParameterError, match="vectors must have at least one layer, got 0"):
        Vectors("toy", ("a",), np.array([0, 1]), 0, lambda layer: np.zeros((1, 2)))
