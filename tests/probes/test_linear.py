import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator

from masktools.core.errors import ParameterError
from probes.linear import LinearProbe
from probes.presets import PRESETS, ProbeSettings, grid
from probes.scores import score_tags
from probes.training import train


def tags(n_clips, seed=0, noise=0.1, n_labels=8, width=16):
    """Return vectors whose labels lie on the right side of planes, and the labels."""
    rng = np.random.default_rng(seed)
    planes = np.random.default_rng(99).standard_normal((width, n_labels))
    vectors = rng.standard_normal((n_clips, width)).astype(np.float32)
    return vectors, vectors @ planes + noise * rng.standard_normal((n_clips, n_labels)) > 2


@pytest.mark.filterwarnings("ignore:Can't check dok sparse matrix")
def test_the_probe_passes_the_checks_of_scikit_learn():
    failed = [
        (one["check_name"], one["exception"])
        for one in check_estimator(LinearProbe(max_epochs=60), on_fail=None, on_skip=None)
        if one["status"] == "failed"
    ]
    assert not failed


def test_tags_that_planes_divide_are_told_apart():
    (train, wanted), (valid, of_valid), (test, of_test) = tags(600, 0), tags(150, 1), tags(300, 2)
    probe = LinearProbe(max_epochs=200).fit(train, wanted, valid, of_valid)
    scores = score_tags(of_test, probe.decision_function(test))
    assert scores.roc_auc > 0.99
    assert probe.valid_score_ > 0.99
    assert score_tags(of_test, probe.predict_proba(test)).roc_auc == pytest.approx(scores.roc_auc)
    assert (probe.predict(test) == (probe.predict_proba(test) > 0.5)).all()
    assert list(probe.classes_) == list(range(8))
    assert probe.n_features_in_ == 16


def test_shuffled_labels_are_told_apart_by_chance_only():
    (train, wanted), (valid, of_valid), (test, of_test) = tags(600, 0), tags(200, 1), tags(3000, 2)
    rng = np.random.default_rng(0)
    probe = LinearProbe().fit(train, rng.permutation(wanted), valid, rng.permutation(of_valid))
    scores = score_tags(rng.permutation(of_test), probe.decision_function(test))
    assert abs(scores.roc_auc - 0.5) < 0.02
    assert scores.average_precision == pytest.approx(of_test.mean(), abs=0.03)


def test_a_seed_gives_the_same_bits_and_leaves_the_random_state_alone():
    vectors, wanted = tags(100)
    valid = tags(50, 1)
    before = torch.get_rng_state()
    first, again, other = (
        LinearProbe(seed=seed, max_epochs=5).fit(vectors, wanted, *valid).decision_function(vectors)
        for seed in (3, 3, 4)
    )
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert torch.equal(torch.get_rng_state(), before)


def test_the_number_of_threads_changes_no_bit():
    vectors, wanted = tags(200, width=64)
    before = torch.get_num_threads()
    found = []
    for n_threads in (1, 2):
        torch.set_num_threads(n_threads)
        found.append(LinearProbe(max_epochs=3).fit(vectors, wanted).decision_function(vectors))
    torch.set_num_threads(before)
    assert np.array_equal(*found)


def test_the_scaler_sees_training_vectors_only():
    vectors, wanted = tags(80)
    valid, _ = tags(40, 1)
    for shown in (valid, valid * 100 + 7):
        network = train(ProbeSettings(standardise=True, max_epochs=1), vectors, wanted, 0, lambda _: 0.0, shown).network
        assert np.allclose(network.mean, vectors.mean(axis=0), atol=1e-6)
        assert np.allclose(network.scale, vectors.std(axis=0), atol=1e-6)


def test_presets_are_those_of_their_sources():
    (paper,) = grid("paper")
    assert (paper.batch_norm, paper.input_dropout, paper.n_hidden, paper.standardise) == (True, 0.1, 0, False)
    jukemir = grid("jukemir")
    assert len(jukemir) == len(set(jukemir)) == 216
    for name, values in {
        "standardise": {False, True},
        "n_hidden": {0, 512},
        "batch_size": {64, 256},
        "learning_rate": {1e-5, 1e-4, 1e-3},
        "input_dropout": {0.25, 0.5, 0.75},
        "weight_decay": {0.0, 1e-4, 1e-3},
        "check_steps": {8},
        "patience": {256},
        "batch_norm": {False},
    }.items():
        assert {getattr(settings, name) for settings in jukemir} == values
    assert all(one.hidden_dropout == (one.input_dropout if one.n_hidden else 0) for one in jukemir)
    marble = grid("marble")
    assert [one.learning_rate for one in marble] == [1e-2, 5e-3, 1e-3, 5e-4, 1e-4]
    one = marble[0]
    assert (one.n_hidden, one.hidden_dropout, one.batch_size, one.max_epochs) == (512, 0.2, 64, 100)
    assert (one.patience, one.plateau, one.weigh_layers) == (10, 3, True)
    assert all(preset.about for preset in PRESETS.values())


def test_a_training_ends_when_the_validation_split_learns_no_more():
    vectors, wanted = tags(64)
    looks = iter([0.5, 0.7, 0.6, 0.6, 0.6, 0.9])
    trained = train(ProbeSettings(patience=3, least_check_steps=1), vectors, wanted, 0, lambda _: next(looks), vectors)
    assert (trained.score, trained.n_steps) == (0.7, 2)


def test_the_best_of_a_grid_on_the_validation_split_is_the_probe():
    vectors, wanted = tags(200)
    valid = tags(80, 1)
    probe = LinearProbe("marble", max_epochs=2).fit(vectors, wanted, *valid)
    assert probe.settings_.learning_rate > 1e-4  # two epochs of it learn next to nothing
    one = LinearProbe("jukemir", n_trainings=1, max_epochs=1).fit(vectors, wanted, *valid)
    assert one.settings_.n_hidden in (0, 512)


def test_layers_that_say_nothing_get_little_weight():
    vectors, wanted = tags(300)
    of_valid = tags(100, 1)
    rng = np.random.default_rng(1234)

    def layered(one):
        return np.stack([rng.standard_normal(one.shape), one, rng.standard_normal(one.shape)], axis=1)

    probe = LinearProbe("marble", max_epochs=15).fit(layered(vectors), wanted, layered(of_valid[0]), of_valid[1])
    weights = probe.network_.layer_weights.softmax(0)
    assert weights.argmax() == 1
    assert probe.decision_function(layered(vectors)).shape == wanted.shape
    with pytest.raises(ParameterError, match="vectors must have 3 layers of 16 as in training, got 2 of 16"):
        probe.predict(layered(vectors)[:, :2])


def test_one_label_each_is_learned_with_names():
    vectors, wanted = tags(400, n_labels=3)
    names = np.array(["bird", "cat", "dog"])[vectors[:, :3].argmax(axis=1)]
    probe = LinearProbe(max_epochs=100).fit(vectors, names)
    assert list(probe.classes_) == ["bird", "cat", "dog"]
    assert (probe.predict(vectors) == names).mean() > 0.95
    assert np.allclose(probe.predict_proba(vectors).sum(axis=1), 1)
    two = LinearProbe(max_epochs=5).fit(vectors, wanted[:, 0])
    assert two.decision_function(vectors).shape == (400,)


def test_predictions_of_the_vectors_of_a_clip_are_averaged_before_they_are_scored():
    vectors, wanted = tags(200)
    valid, of_valid = tags(60, 1)
    rng = np.random.default_rng(0)
    twice = np.concatenate([valid, rng.standard_normal(valid.shape)])
    clip_of = np.tile(np.arange(60), 2)
    probe = LinearProbe(max_epochs=20).fit(vectors, wanted, twice, of_valid, clip_of)
    by_clip = (probe.predict_proba(twice[:60]) + probe.predict_proba(twice[60:])) / 2
    assert probe.valid_score_ == pytest.approx(score_tags(of_valid, by_clip).roc_auc)


def test_the_probe_stands_in_a_pipeline_and_is_cloned():
    vectors, wanted = tags(100)
    probe = make_pipeline(StandardScaler(), LinearProbe(max_epochs=2)).fit(vectors, wanted)
    assert probe.predict_proba(vectors).shape == wanted.shape
    assert clone(LinearProbe("jukemir", seed=7)).get_params()["seed"] == 7


def test_the_probe_refuses_what_it_cannot_learn_from():
    vectors, wanted = tags(20)
    with pytest.raises(ParameterError, match="unknown preset 'papre': choose from paper, jukemir, marble"):
        LinearProbe("papre").fit(vectors, wanted)
    with pytest.raises(ParameterError, match="the preset jukemir chooses between trainings: give X_val and Y_val"):
        LinearProbe("jukemir").fit(vectors, wanted)
    with pytest.raises(ParameterError, match="must have vectors and labels, got one of the two"):
        LinearProbe().fit(vectors, wanted, vectors)
    with pytest.raises(ParameterError, match="at least 2 vectors, got n_samples = 1"):
        LinearProbe().fit(vectors[:1], wanted[:1])
    with pytest.raises(ParameterError, match="at least 2 classes, got one class"):
        LinearProbe().fit(vectors, np.ones(20))
    with pytest.raises(ParameterError, match="labels for each of 20 vectors, got them for 3"):
        LinearProbe().fit(vectors, wanted[:3])
    with pytest.raises(ParameterError, match=r"labels of shape \(n, labels\) must be zeros and ones"):
        LinearProbe().fit(vectors, wanted * 3)
    with pytest.raises(ParameterError, match=r"the preset paper reads one layer, \(n, d\)"):
        LinearProbe().fit(np.stack([vectors, vectors], axis=1), wanted)
    with pytest.raises(ParameterError, match="n_trainings must be at least 1, got 0"):
        LinearProbe(n_trainings=0).fit(vectors, wanted)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"input_dropout": 1.0}, r"input_dropout must lie in \[0, 1\), got 1"),
        ({"learning_rate": 0.0}, r"learning_rate must lie in \(0, 1\], got 0"),
        ({"weight_decay": -1.0}, "weight_decay must be at least 0, got -1"),
        ({"n_hidden": -1}, "n_hidden must be at least 0, got -1"),
        ({"batch_size": 1}, "batch_size must be at least 2, got 1"),
        ({"patience": 0}, "patience must be at least 1, got 0"),
    ],
)
def test_settings_out_of_range_are_refused(changes, message):
    with pytest.raises(ParameterError, match=message):
        ProbeSettings(**changes)
