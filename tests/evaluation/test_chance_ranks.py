"""Ranks of right answers: by hand for a few, and chance as it comes out of many shuffled tables."""

import numpy as np
import pytest

from masktools.core.errors import ParameterError
from masktools.evaluation.scores import blind_scores, rank_scores

RELEVANT = np.array([[1, 0, 0, 0, 0, 0, 0], [1, 1, 1, 0, 0, 0, 0], [0, 1, 0, 1, 0, 1, 0]], bool)


def test_scores_are_those_one_finds_by_hand():
    similarity = np.array([[0.1, 0.9, 0.8, 0, 0, 0, 0], [0.9, 0.1, 0.8, 0.5, 0, 0, 0], [7, 1, 6, 2, 5, 3, 4.0]])
    found = rank_scores(similarity, RELEVANT)
    np.testing.assert_allclose(found.average_precision, [1 / 3, (1 + 1 + 3 / 4) / 3, (1 / 5 + 2 / 6 + 3 / 7) / 3])
    assert found.r1.tolist() == [0, 1, 0]
    assert found.r5.tolist() == [1, 1, 1]


def test_equal_similarities_count_against_the_right_answer():
    assert rank_scores(np.zeros((3, 7)), RELEVANT).r1.tolist() == [0, 0, 0]
    assert rank_scores(np.zeros((3, 7)), RELEVANT).average_precision[0] == pytest.approx(1 / 7)


def test_chance_is_what_shuffled_tables_score():
    rng = np.random.default_rng(0)
    many = np.repeat(RELEVANT, 4000, axis=0)
    shuffled = rank_scores(rng.random(many.shape), many)
    for found, wanted in zip(shuffled, blind_scores(RELEVANT), strict=True):
        np.testing.assert_allclose(found.reshape(3, -1).mean(axis=1), wanted, atol=0.025)


@pytest.mark.parametrize(
    ("similarity", "relevant", "message"),
    [
        (np.zeros((2, 3)), np.ones((2, 2), bool), r"truth's shape \(n, m\), got \(2, 3\) and \(2, 2\)"),
        (np.full((1, 2), np.nan), np.ones((1, 2), bool), "similarities must be finite"),
        (np.zeros((1, 2)), np.zeros((1, 2), bool), "each query must have a right answer"),
        (np.zeros((1, 2)), np.ones((1, 2)), "the truth must be bool"),
    ],
)
def test_what_has_no_ranks_is_refused(similarity, relevant, message):
    with pytest.raises(ParameterError, match=message):
        rank_scores(similarity, relevant)
