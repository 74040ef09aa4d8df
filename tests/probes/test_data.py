import numpy as np
import pytest

from masktools.core.errors import ParameterError
from probes.data import Clip, TaggedData


def clip(key, split="train", fold=None, labels=(0,), group=""):
    return Clip(key, f"{key}.wav", split, fold, labels, group)


def splits(**changes):
    clips = [clip("a", labels=(0, 2)), clip("b", "valid", labels=()), clip("c", "test", labels=(1,))]
    return TaggedData(
        **({"name": "toy", "clips": tuple(clips), "labels": ("x", "y", "z"), "multilabel": True} | changes)
    )


def folds(n_folds=4):
    clips = tuple(clip(f"{fold}{i}", "", fold, (i,)) for fold in range(1, n_folds + 1) for i in range(2))
    return TaggedData("folded", clips, ("x", "y"), False)


def test_targets_say_which_labels_each_clip_has():
    assert splits().targets().tolist() == [[True, False, True], [False] * 3, [False, True, False]]
    assert folds(3).targets().tolist() == [0, 1] * 3


def test_splits_are_one_round():
    (only,) = splits().rounds()
    assert [part.tolist() for part in only[1:]] == [[0], [1], [2]]


def test_of_folds_each_is_the_test_once_and_the_next_one_validates():
    rounds = list(folds().rounds())
    assert [one.name for one in rounds] == ["fold 1", "fold 2", "fold 3", "fold 4"]
    assert np.concatenate([one.test for one in rounds]).tolist() == list(range(8))
    assert rounds[3].valid.tolist() == [0, 1]
    for one in rounds:
        assert sorted(np.concatenate(one[1:]).tolist()) == list(range(8))


def test_clips_without_a_known_group_are_groups_of_their_own():
    of_groups = [clip("a", group="Ann"), clip("b", "valid"), clip("c", "test"), clip("d", group="Ann")]
    found = splits(clips=tuple(of_groups)).groups()
    assert found[0] == found[3]
    assert len(set(found)) == 3
    assert splits().groups() is None


def test_some_clips_alone_keep_their_order():
    assert [one.key for one in splits().only(["c", "a", "unheard of"]).clips] == ["a", "c"]


def test_shuffled_labels_are_those_of_other_clips():
    many = TaggedData("many", tuple(clip(str(i), labels=(i % 5,)) for i in range(50)), tuple("abcde"), False)
    shuffled = many.shuffled(0)
    assert sorted(shuffled.targets()) == sorted(many.targets())
    assert (shuffled.targets() != many.targets()).mean() > 0.5
    assert [one.key for one in shuffled.clips] == [one.key for one in many.clips]
    assert "shuffled" in shuffled.notes


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: clip(""), "a clip must have a key, got none for '.wav'"),
        (lambda: clip("a", "dev"), "the split of a must be train, valid, test or nothing, got 'dev'"),
        (lambda: clip("a", "test", 1), "a must have a split or a fold, got both: test and 1"),
        (lambda: splits(clips=()), "the data set toy must have clips, got none"),
        (lambda: splits(labels=("x", "x")), "the labels of toy must be at least two and all different"),
        (lambda: splits(clips=(clip("a"), clip("a", "test"))), "must have a key of its own, got 'a' twice"),
        (lambda: splits(clips=(clip("a", labels=(3,)),)), r"the labels of a must lie in \[0, 2\]: \(3,\)"),
        (lambda: splits(multilabel=False), "a must have one label, got 2"),
        (lambda: splits(clips=(clip("a"), clip("b", "", 1))), "all clips of toy must have folds, or none of them"),
        (
            lambda: list(splits(clips=(clip("a"),)).rounds()),
            "to validate and to test, got none for valid and",
        ),
        (lambda: list(folds(2).rounds()), "a cross-validation of folded needs at least three folds, got 2"),
        (lambda: splits().only(["d"]), "the data set toy must have clips, got none"),
    ],
)
def test_data_that_do_not_fit_together_are_refused(make, message):
    with pytest.raises(ParameterError, match=message):
        make()
