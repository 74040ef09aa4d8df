"""Distances between sets of embeddings, against closed forms and against torchmetrics."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchmetrics.image.fid import _compute_fid
from torchmetrics.image.kid import poly_mmd

from masktools.errors import ParameterError
from masktools.metrics import (
    Moments,
    frechet_distance,
    frechet_infinity,
    inception_score,
    kernel_audio_distance,
    kernel_distance,
    kl_divergence,
    mean_reciprocal_rank,
    ndb,
    nearest_distances,
    ranks,
    recall_at,
)


def vectors(n, d, seed=0, scale=1.0, shift=0.0):
    return scale * np.random.default_rng(seed).standard_normal((n, d)) + shift


def torchmetrics_fid(one, other):
    sides = [torch.from_numpy(x) for x in (one, other)]
    return float(_compute_fid(sides[0].mean(0), sides[0].T.cov(), sides[1].mean(0), sides[1].T.cov()))


@pytest.mark.parametrize(("n", "m", "d"), [(300, 200, 16), (50, 40, 8), (12, 15, 64)], ids=["many", "some", "few"])
def test_the_frechet_distance_is_that_of_torchmetrics(n, m, d):
    one, other = vectors(n, d), vectors(m, d, 1, 1.3, 0.4)
    assert frechet_distance(one, other) == pytest.approx(torchmetrics_fid(one, other), rel=1e-5)


def test_few_vectors_are_measured_as_their_covariances_are():
    one, other = vectors(10, 32), vectors(14, 32, 1)
    whole = frechet_distance(Moments.of(one), Moments.of(other))
    assert frechet_distance(one, other) == pytest.approx(whole, rel=1e-6)


def test_of_two_gaussians_in_one_dimension_the_distance_is_that_of_their_means_and_deviations():
    one, other = np.array([[-1.0], [1.0]]), np.array([[2.0], [8.0]])
    expected = (5.0 - 0.0) ** 2 + (np.sqrt(18) - np.sqrt(2)) ** 2
    assert frechet_distance(one, other) == pytest.approx(expected)


@settings(max_examples=25, deadline=None)
@given(n=st.integers(2, 40), d=st.integers(1, 24), seed=st.integers(0, 99))
def test_a_set_is_at_no_distance_from_itself_and_order_does_not_count(n, d, seed):
    one = vectors(n, d, seed)
    shuffled = one[np.random.default_rng(1).permutation(n)]
    assert frechet_distance(one, shuffled) == pytest.approx(0, abs=1e-9 * d)


@settings(max_examples=25, deadline=None)
@given(n=st.integers(3, 30), d=st.integers(2, 12), seed=st.integers(0, 99))
def test_the_distance_is_symmetric_and_no_rotation_changes_it(n, d, seed):
    one, other = vectors(n, d, seed), vectors(n + 2, d, seed + 1, 2.0)
    turn, _ = np.linalg.qr(vectors(d, d, 7))
    there = frechet_distance(one, other)
    assert frechet_distance(other, one) == pytest.approx(there, rel=1e-6, abs=1e-9)
    assert frechet_distance(one @ turn, other @ turn) == pytest.approx(there, rel=1e-6, abs=1e-9)


def test_moments_of_parts_add_up_to_those_of_the_whole_even_far_from_zero():
    rows = vectors(97, 5, shift=1e6)
    together = Moments.of(rows[:10]) + Moments.of(rows[10:11]) + Moments.of(rows[11:])
    np.testing.assert_allclose(together.mean, rows.mean(axis=0), rtol=1e-14)
    np.testing.assert_allclose(together.covariance, np.cov(rows.T), rtol=1e-7)


def test_statistics_are_read_as_they_were_written(tmp_path):
    moments = Moments.of(vectors(20, 4))
    moments.save(tmp_path / "a.npz", "vggish")
    with np.load(tmp_path / "a.npz") as stored:
        np.testing.assert_allclose(stored["vggish.cov"], moments.covariance)
    assert frechet_distance(Moments.load(tmp_path / "a.npz", "vggish"), moments) == pytest.approx(0, abs=1e-9)
    with pytest.raises(ParameterError, match=r"must hold clap.cov, clap.mu, clap.n, it has vggish"):
        Moments.load(tmp_path / "a.npz", "clap")
    with pytest.raises(ParameterError, match="no statistics at"):
        Moments.load(tmp_path / "b.npz")


def test_extrapolation_takes_the_bias_of_few_vectors_away():
    base, rows = vectors(20_000, 8), vectors(300, 8, 1)
    limit = frechet_infinity(base, rows, seed=3)
    assert abs(limit.value) < 0.5 * frechet_distance(base, rows)
    assert limit.r_squared > 0.5
    assert frechet_infinity(base, rows, seed=3) == limit


@pytest.mark.parametrize(
    ("one", "other", "message"),
    [
        (np.full((4, 2), np.nan), np.zeros((4, 2)), "vectors must be finite, got NaN or infinity"),
        (np.zeros((4, 2)), np.zeros((4, 3)), "both sets must be of one dimension, got 2 and 3"),
        (np.zeros((1, 2)), np.zeros((4, 2)), "a covariance needs at least 2 vectors, got 1"),
        (np.zeros((0, 2)), np.zeros((4, 2)), r"must be of shape \(n, d\) and not empty, got \(0, 2\)"),
    ],
)
def test_sets_that_cannot_be_compared_are_refused(one, other, message):
    with pytest.raises(ParameterError, match=message):
        frechet_distance(one, other)


def test_the_kernel_distance_is_that_of_torchmetrics_on_the_whole_sets():
    one, other = vectors(40, 6), vectors(40, 6, 1, 1.2)
    gram = [torch.from_numpy((a @ b.T / 6 + 1) ** 3) for a, b in ((one, one), (one, other), (other, other))]
    from torchmetrics.image.kid import maximum_mean_discrepancy

    expected = float(maximum_mean_discrepancy(*gram))
    assert kernel_distance(one, other, n_subsets=3, subset_size=40).mean == pytest.approx(expected, rel=1e-6)
    assert float(poly_mmd(torch.from_numpy(one), torch.from_numpy(other))) == pytest.approx(expected, rel=1e-6)


def test_kernel_distances_are_near_zero_for_one_distribution_and_large_for_two():
    one, same, far = vectors(200, 8), vectors(200, 8, 1), vectors(200, 8, 2, shift=1.0)
    for measure in (lambda a, b: kernel_distance(a, b, subset_size=200, n_subsets=2).mean, kernel_audio_distance):
        assert abs(measure(one, same)) < 0.05 * measure(one, far)


def test_a_kernel_distance_needs_vectors_that_differ():
    with pytest.raises(ParameterError, match="the vectors of the reference must differ"):
        kernel_audio_distance(np.ones((5, 2)), vectors(5, 2))
    with pytest.raises(ParameterError, match="needs at least 2 vectors a side, got 1 and 4"):
        kernel_distance(np.ones((1, 2)), np.ones((4, 2)))


def test_the_inception_score_counts_the_classes_that_are_clearly_there():
    sure = np.eye(5)[np.arange(50) % 5]
    assert inception_score(sure, n_splits=1).mean == pytest.approx(5)
    assert inception_score(np.full((50, 5), 0.2)).mean == pytest.approx(1)
    assert inception_score(np.eye(5)[np.zeros(50, int)]).mean == pytest.approx(1)
    with pytest.raises(ParameterError, match="must not be negative and sum to 1"):
        inception_score(np.ones((3, 2)))
    with pytest.raises(ParameterError, match=r"n_splits must lie in 1..3, got 10"):
        inception_score(np.eye(3))


def test_equal_probabilities_do_not_diverge_and_others_do_by_the_closed_form():
    one, other = np.array([[0.5, 0.5]]), np.array([[0.25, 0.75]])
    assert kl_divergence(one, one) == 0
    assert kl_divergence(one, other) == pytest.approx(0.5 * np.log(2) + 0.5 * np.log(2 / 3))


def test_bins_that_a_generator_forgets_are_counted():
    centres = 10 * np.eye(4)
    one = np.concatenate([c + 0.1 * vectors(100, 4, i) for i, c in enumerate(centres)])
    same = np.concatenate([c + 0.1 * vectors(100, 4, 10 + i) for i, c in enumerate(centres)])
    assert ndb(one, same, k=4).n_different == 0
    found = ndb(one, same[:200], k=4)
    assert found.n_different == 4  # two are empty, two hold twice as many
    assert 0 < found.jensen_shannon < np.log(2)
    with pytest.raises(ParameterError, match=r"k must lie in 2..400"):
        ndb(one, same, k=401)


def test_ranks_count_from_one_and_ties_count_against():
    table = np.array([[0.9, 0.1, 0.5], [0.2, 0.2, 0.1], [0.0, 1.0, 0.5]])
    assert ranks(table, np.array([0, 1, 2])).tolist() == [1, 2, 2]
    assert recall_at(table, np.array([0, 1, 2]), 1) == pytest.approx(1 / 3)
    assert recall_at(table, np.array([0, 1, 2]), 2) == 1
    assert mean_reciprocal_rank(table, np.array([0, 1, 2])) == pytest.approx((1 + 0.5 + 0.5) / 3)
    with pytest.raises(ParameterError, match=r"targets must lie in 0..2, got 0..3"):
        ranks(table, np.array([0, 1, 3]))
    with pytest.raises(ParameterError, match="k must be at least 1, got 0"):
        recall_at(table, np.array([0, 1, 2]), 0)
    with pytest.raises(ParameterError, match=r"targets must be of shape \(3,\)"):
        ranks(table, np.array([0, 1]))


def test_a_copy_is_at_no_distance_from_the_nearest():
    rows = vectors(30, 5)
    assert nearest_distances(rows[:4], rows).max() < 1e-12
    assert nearest_distances(rows[:1], rows[1:])[0] == pytest.approx(np.linalg.norm(rows[0] - rows[1:], axis=1).min())
