import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, average_precision_score, roc_auc_score

from masktools.core.errors import ParameterError
from probes.intervals import HeldOut, bootstrap_scores, percentiles
from probes.scores import LabelRanking, accuracy, macro_roc_auc, score_tags


def tagging(n_clips, n_labels, seed, n_values=None):
    """Return targets with both kinds of clip for each label, and predictions; few values make many ties."""
    rng = np.random.default_rng(seed)
    targets = rng.random((n_clips, n_labels)) < 0.3
    targets[0], targets[1] = True, False
    predicted = rng.standard_normal((n_clips, n_labels)) + targets
    return targets, predicted if n_values is None else np.round(predicted * n_values) / n_values


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 60), st.integers(1, 6), st.integers(0, 99), st.sampled_from([None, 1, 3]))
def test_macro_scores_are_those_of_scikit_learn(n_clips, n_labels, seed, n_values):
    targets, predicted = tagging(n_clips, n_labels, seed, n_values)
    ours = score_tags(targets, predicted)
    roc_auc = np.mean([roc_auc_score(targets[:, k], predicted[:, k]) for k in range(n_labels)])
    precision = np.mean([average_precision_score(targets[:, k], predicted[:, k]) for k in range(n_labels)])
    assert abs(ours.roc_auc - roc_auc) < 1e-12
    assert abs(ours.average_precision - precision) < 1e-12
    assert abs(macro_roc_auc(targets, predicted) - roc_auc) < 1e-12
    assert ours.n_scored == ours.n_labels == n_labels


def test_macro_scores_of_many_labels_are_scikit_learns_own_macro():
    targets, predicted = tagging(500, 50, 0)
    ours = score_tags(targets, predicted)
    assert abs(ours.roc_auc - roc_auc_score(targets, predicted, average="macro")) < 1e-12
    assert abs(ours.average_precision - average_precision_score(targets, predicted, average="macro")) < 1e-12


def test_a_label_that_no_clip_or_every_clip_has_counts_in_neither_average():
    targets, predicted = tagging(40, 3, 1)
    alone = score_tags(targets, predicted)
    more = np.column_stack([targets, np.zeros(40, bool), np.ones(40, bool)])
    with_more = score_tags(more, np.column_stack([predicted, predicted[:, :2]]))
    assert with_more.roc_auc == alone.roc_auc
    assert with_more.average_precision == alone.average_precision
    assert (with_more.n_scored, with_more.n_labels) == (3, 5)
    assert np.isnan(with_more.by_label_average_precision[3:]).all()
    assert macro_roc_auc(more, np.column_stack([predicted, predicted[:, :2]])) == pytest.approx(alone.roc_auc)


def test_weights_count_a_clip_so_many_times():
    targets, predicted = tagging(30, 1, 2, n_values=1)
    times = np.random.default_rng(0).integers(0, 4, 30)
    repeated = np.repeat(np.arange(30), times)
    ours = LabelRanking(targets[:, 0], predicted[:, 0]).scores(times[None].astype(float))
    theirs = [
        measure(targets[repeated, 0], predicted[repeated, 0]) for measure in (roc_auc_score, average_precision_score)
    ]
    assert np.ravel(ours) == pytest.approx(theirs, abs=1e-12)


def test_accuracy_is_that_of_scikit_learn():
    rng = np.random.default_rng(3)
    targets, predicted = rng.integers(0, 4, 100), rng.random((100, 4))
    assert accuracy(targets, predicted) == accuracy_score(targets, predicted.argmax(axis=1))


def test_scores_refuse_what_tells_nothing():
    targets, predicted = tagging(10, 2, 0)
    with pytest.raises(
        ParameterError, match=r"must both have the shape \(clips, labels\), got \(10, 2\) and \(10, 1\)"
    ):
        score_tags(targets, predicted[:, :1])
    with pytest.raises(ParameterError, match="predictions must be finite, got NaN or infinity: the training diverged"):
        score_tags(targets, predicted * np.inf)
    for measure in (score_tags, macro_roc_auc):
        with pytest.raises(ParameterError, match="no label can be scored: each is absent from these clips"):
            measure(np.zeros((10, 2), bool), predicted)


def test_intervals_hold_the_score_and_narrow_with_more_clips():
    widths = []
    for n_clips in (60, 2000):
        targets, predicted = tagging(n_clips, 5, 4)
        found = bootstrap_scores([HeldOut(targets, [predicted], None)], n_resamples=250)
        scores = score_tags(targets, predicted)
        assert set(found) == {"roc_auc", "average_precision"}
        assert found["roc_auc"].low < scores.roc_auc < found["roc_auc"].high
        widths.append(found["roc_auc"].high - found["roc_auc"].low)
    assert widths[1] < widths[0] / 3


def test_the_interval_of_accuracy_is_that_of_a_coin():
    rng = np.random.default_rng(5)
    targets = rng.integers(0, 2, 1000)
    predicted = np.eye(2)[np.where(rng.random(1000) < 0.8, targets, 1 - targets)]
    found = bootstrap_scores([HeldOut(targets, [predicted], None)], n_resamples=400)["accuracy"]
    half = 1.96 * np.sqrt(0.8 * 0.2 / 1000)
    assert (found.high - found.low) / 2 == pytest.approx(half, rel=0.2)


def test_intervals_over_groups_are_wider_where_the_clips_of_a_group_are_alike():
    rng = np.random.default_rng(6)
    groups = np.repeat(np.arange(40), 10)
    targets = np.repeat(rng.random((40, 4)) < 0.4, 10, axis=0)
    predicted = targets + np.repeat(rng.standard_normal((40, 4)), 10, axis=0)
    tested = [HeldOut(targets, [predicted], groups)]
    by_clip, by_group = (bootstrap_scores(tested, 200, by_group=one)["roc_auc"] for one in (False, True))
    assert by_group.high - by_group.low > 2 * (by_clip.high - by_clip.low)


def test_the_same_seed_draws_the_same_interval():
    targets, predicted = tagging(50, 3, 7)
    tested = [HeldOut(targets, [predicted], None)]
    assert bootstrap_scores(tested, 50, seed=1) == bootstrap_scores(tested, 50, seed=1)
    assert bootstrap_scores(tested, 50, seed=1) != bootstrap_scores(tested, 50, seed=2)


def test_intervals_refuse_settings_out_of_range():
    targets, predicted = tagging(10, 2, 0)
    tested = [HeldOut(targets, [predicted], None)]
    with pytest.raises(ParameterError, match="n_resamples must be at least 1, got 0"):
        bootstrap_scores(tested, 0)
    with pytest.raises(ParameterError, match="the groups of clips must be known to draw them, got none"):
        bootstrap_scores(tested, 10, by_group=True)


def test_resamples_that_have_nothing_to_score_do_not_count():
    targets = np.array([[True], [False]])
    tested = [HeldOut(targets, [np.array([[0.9], [0.1]])], None)]
    found = bootstrap_scores(tested, 60)
    assert found["roc_auc"] == (1.0, 1.0)
    with pytest.raises(ParameterError, match="none of 2 resamples of the test has a label that can be scored"):
        percentiles(np.full(2, np.nan))
