"""Distances between sets of embeddings, against closed forms and against torchmetrics."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchmetrics.image.fid import FrechetInceptionDistance
from torchmetrics.image.inception import InceptionScore
from torchmetrics.image.kid import KernelInceptionDistance

from masktools.core.errors import ParameterError
from masktools.metrics import (
    frechet_distance,
    inception_score,
    kernel_distance,
    kl_divergence,
    multiquadric_distance,
    ndb,
    ranks,
)


def vectors(n, d, seed=0, scale=1.0, shift=0.0):
    return scale * np.random.default_rng(seed).standard_normal((n, d)) + shift


class PassThrough(torch.nn.Module):
    """Stands for the network of torchmetrics: what comes in are vectors already."""

    def __init__(self, n):
        super().__init__()
        self.num_features = n

    def forward(self, rows):
        return rows


def torchmetrics_of(measure, one, other):
    measure.update(torch.from_numpy(one), real=True)
    measure.update(torch.from_numpy(other), real=False)
    return measure.compute()


@pytest.mark.parametrize(("n", "m", "d"), [(300, 200, 16), (50, 40, 8), (12, 15, 64)], ids=["many", "some", "few"])
def test_the_frechet_distance_is_that_of_torchmetrics(n, m, d):
    one, other = vectors(n, d), vectors(m, d, 1, 1.3, 0.4)
    oracle = torchmetrics_of(FrechetInceptionDistance(PassThrough(d)).set_dtype(torch.float64), one, other)
    assert frechet_distance(one, other) == pytest.approx(float(oracle), rel=1e-5)


def test_few_vectors_are_measured_as_their_covariances_are():
    one, other = vectors(10, 32), vectors(14, 32, 1)
    first, second = (np.cov(rows.T) for rows in (one, other))
    root = np.sqrt(np.linalg.eigvals(first @ second).real.clip(0)).sum()
    gap = one.mean(axis=0) - other.mean(axis=0)
    whole = gap @ gap + np.trace(first) + np.trace(second) - 2 * root
    assert frechet_distance(one, other) == pytest.approx(whole, rel=1e-5)


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


@pytest.mark.parametrize(
    ("one", "other", "message"),
    [
        (np.full((4, 2), np.nan), np.zeros((4, 2)), "vectors must be finite, got NaN or infinity"),
        (np.zeros((4, 2)), np.zeros((4, 3)), "both sets must be of one dimension, got 2 and 3"),
        (np.zeros((1, 2)), np.zeros((4, 2)), "a distance needs at least 2 vectors a side, got 1 and 4"),
        (np.zeros((0, 2)), np.zeros((4, 2)), r"must be of shape \(n, d\) and not empty, got \(0, 2\)"),
    ],
)
def test_sets_that_cannot_be_compared_are_refused(one, other, message):
    with pytest.raises(ParameterError, match=message):
        frechet_distance(one, other)


@pytest.mark.filterwarnings("ignore:Metric `.*` will save all extracted features")
def test_the_kernel_distance_is_that_of_torchmetrics_on_the_whole_sets():
    one, other = vectors(40, 6), vectors(40, 6, 1, 1.2)
    oracle = KernelInceptionDistance(PassThrough(6), subsets=3, subset_size=40).set_dtype(torch.float64)
    expected, spread = torchmetrics_of(oracle, one, other)
    found = kernel_distance(one, other, n_subsets=3, subset_size=40)
    assert found.mean == pytest.approx(float(expected), rel=1e-6)
    assert found.std == pytest.approx(float(spread), abs=1e-9)


def test_kernel_distances_are_near_zero_for_one_distribution_and_large_for_two():
    one, same, far = vectors(200, 8), vectors(200, 8, 1), vectors(200, 8, 2, shift=1.0)
    near, there = (kernel_distance(one, other, subset_size=200, n_subsets=2).mean for other in (same, far))
    assert abs(near) < 0.05 * there


def test_a_kernel_distance_needs_two_vectors_a_side():
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


@pytest.mark.filterwarnings("ignore:Metric `.*` will save all extracted features")
def test_the_inception_score_is_that_of_torchmetrics():
    logits = torch.from_numpy(vectors(60, 7, scale=2.0))
    oracle = InceptionScore(PassThrough(7), splits=1).set_dtype(torch.float64)
    oracle.update(logits)
    with pytest.warns(UserWarning, match="degrees of freedom"):  # it gives the deviation of a single split
        expected, _ = oracle.compute()
    assert inception_score(logits.softmax(dim=1).numpy(), n_splits=1).mean == pytest.approx(float(expected), rel=1e-9)


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
    with pytest.raises(ParameterError, match="5 bins need as many vectors that differ, the reference has 4"):
        ndb(np.repeat(centres, 3, axis=0), same, k=5)


def test_of_one_distribution_about_as_many_bins_differ_as_the_level_of_the_test_says():
    shares = [ndb(vectors(600, 3, seed), vectors(600, 3, 50 + seed), k=20, seed=seed).share for seed in range(10)]
    assert np.mean(shares) == pytest.approx(0.05, abs=0.05)
    assert ndb(vectors(600, 3), vectors(600, 3, 1, 2.0), k=20).share > 0.5


def test_ranks_count_from_one_and_ties_count_against():
    table = np.array([[0.9, 0.1, 0.5], [0.2, 0.2, 0.1], [0.0, 1.0, 0.5]])
    assert ranks(table, np.array([0, 1, 2])).tolist() == [1, 2, 2]
    with pytest.raises(ParameterError, match=r"targets must lie in 0..2, got 0..3"):
        ranks(table, np.array([0, 1, 3]))
    with pytest.raises(ParameterError, match=r"targets must be of shape \(3,\)"):
        ranks(table, np.array([0, 1]))


def test_bins_of_one_half_of_the_reference_do_not_fit_themselves():
    pairs = [(vectors(1000, 256, seed), vectors(1000, 256, 90 + seed)) for seed in range(3)]
    own = np.mean([ndb(one, other, k=50).share for one, other in pairs])
    halves = np.mean([ndb(one, other, k=50, split=True).share for one, other in pairs])
    assert halves <= 0.1 < own
    assert ndb(vectors(600, 3), vectors(600, 3, 1, 2.0), k=20, split=True).share > 0.4
    with pytest.raises(ParameterError, match=r"k must lie in 2..50"):
        ndb(vectors(100, 3), vectors(100, 3), k=51, split=True)


@pytest.mark.parametrize("n", [20, 75])
def test_the_multiquadric_distance_of_one_distribution_is_nothing_and_published_figures_are_too_large(n):
    found = [multiquadric_distance(vectors(n, 8, seed), vectors(n, 8, 500 + seed)) for seed in range(40)]
    assert abs(np.mean(found)) < 3 * np.std(found) / np.sqrt(40)
    assert multiquadric_distance(vectors(n, 8), vectors(n, 8, 1, 3.0)) > 0.1
    biased = multiquadric_distance(vectors(n, 8), vectors(n, 8, 1), biased=True)
    assert biased - multiquadric_distance(vectors(n, 8), vectors(n, 8, 1)) == pytest.approx(2 / (n - 1))
