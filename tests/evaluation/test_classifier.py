"""The probe: classes that can be told apart are, whatever their sizes, and it does not learn what is not there."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import log_softmax

from masktools.core.errors import ParameterError
from masktools.evaluation.clips import class_of, common_classes
from masktools.evaluation.scores import Classifier
from tests.evaluation.sounding import clip


def blobs(sizes, d=6, spread=0.5, seed=0):
    rng = np.random.default_rng(seed)
    centres = rng.normal(0, 2, (len(sizes), d))
    rows = np.concatenate(
        [centre + spread * rng.standard_normal((n, d)) for centre, n in zip(centres, sizes, strict=True)]
    )
    return rows, [f"class {k}" for k, n in enumerate(sizes) for _ in range(n)]


def test_classes_that_lie_apart_are_told_apart():
    rows, labels = blobs((40, 40, 40))
    probe = Classifier.fit(rows[::2], labels[::2])
    likely = probe.probabilities(rows[1::2])
    assert [probe.classes[k] for k in likely.argmax(axis=1)] == labels[1::2]
    np.testing.assert_allclose(likely.sum(axis=1), 1)


def test_a_rare_class_weighs_as_much_as_a_frequent_one():
    rng = np.random.default_rng(1)
    rows = np.concatenate([rng.normal(0, 1, (190, 1)), rng.normal(2, 1, (10, 1))])
    probe = Classifier.fit(rows, ["often"] * 190 + ["seldom"] * 10)
    middle = probe.probabilities(np.array([[1.0]]))[0]
    assert middle[0] == pytest.approx(0.5, abs=0.2)  # by their numbers alone it would be 0.95


def test_noise_teaches_nothing():
    rng = np.random.default_rng(2)
    rows, labels = rng.standard_normal((60, 30)), list(rng.choice(["a", "b"], 60))
    likely = Classifier.fit(rows, labels).probabilities(rng.standard_normal((200, 30)))
    assert likely.max(axis=1).mean() < 0.75


def test_the_fit_does_not_depend_on_units():
    rows, labels = blobs((15, 15))
    one, other = (Classifier.fit(x, labels) for x in (rows, rows * 1000 + 7))
    np.testing.assert_allclose(one.probabilities(rows), other.probabilities(rows * 1000 + 7), atol=1e-4)


def test_the_fit_is_a_minimum_of_its_loss():
    rows, labels = blobs((12, 20), spread=2.0)
    probe = Classifier.fit(rows, labels)
    scaled = (rows - probe.mean) / probe.scale
    numbers = np.array([probe.classes.index(label) for label in labels])
    shares = 0.5 / np.bincount(numbers)[numbers]

    def loss(weights, decay):
        values = log_softmax(scaled @ weights + probe.bias, axis=1)[np.arange(len(rows)), numbers]
        return -shares @ values + 0.5 * decay * (weights**2).sum()

    rng = np.random.default_rng(0)
    steps = [0.05 * rng.standard_normal(probe.weights.shape) for _ in range(20)]
    fits = [all(loss(probe.weights + step, d) > loss(probe.weights, d) for step in steps) for d in (0.3, 0.03, 0.003)]
    assert any(fits)


@pytest.mark.parametrize(
    ("rows", "labels", "message"),
    [
        (np.ones((3, 2)), ["a"] * 3, "a classifier needs at least 2 classes, got 1"),
        (np.ones((3, 2)), ["a", "b"], r"vectors must be finite and \(2, d\)"),
        (np.full((2, 2), np.nan), ["a", "b"], "vectors must be finite"),
    ],
)
def test_what_cannot_be_learned_is_refused(rows, labels, message):
    with pytest.raises(ParameterError, match=message):
        Classifier.fit(rows, labels)


def test_the_class_of_a_clip_is_its_rarest_label():
    counts = {"animal": 100, "dog": 20, "pet": 20}
    assert class_of(("animal", "dog", "pet"), counts) == "dog"
    assert class_of(("tree",), counts) is None


def test_classes_that_are_too_small_join_the_next_larger_one():
    dogs = [replace(clip("hum", number), labels=("dog", "animal")) for number in range(5)]
    cats = [replace(clip("hum", number), labels=("cat", "animal")) for number in range(2)]
    cows = [replace(clip("hum", number), labels=("cow", "animal")) for number in range(2)]
    assert common_classes([*dogs, *cats, *cows], 3) == {"dog": 5, "animal": 4}
    assert common_classes([*dogs, *cats], 3) == {"dog": 5}
    assert common_classes([], 3) == {}
