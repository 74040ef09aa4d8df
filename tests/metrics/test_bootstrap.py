"""Intervals by resampling."""

import numpy as np
import pytest

from masktools.core.errors import ParameterError
from masktools.metrics import bootstrap


def test_equal_values_have_an_interval_of_no_width():
    assert bootstrap(np.full(7, 3.0)) == (3.0, 3.0, 3.0)


def test_the_interval_of_a_mean_is_that_of_the_normal_law():
    values = np.random.default_rng(0).standard_normal(400)
    found = bootstrap(values, np.mean, n_resamples=2000)
    half = 1.96 * values.std() / 20
    assert found.value == values.mean()
    assert found.high - found.value == pytest.approx(half, rel=0.15)
    assert found.value - found.low == pytest.approx(half, rel=0.15)


def test_the_same_seed_gives_the_same_interval():
    values = np.arange(10.0)
    assert bootstrap(values, seed=1) == bootstrap(values, seed=1) != bootstrap(values, np.mean, seed=2)


@pytest.mark.parametrize("statistic", [np.mean, np.median])
@pytest.mark.parametrize("n", [1, 6, 3001])
def test_many_draws_at_once_are_those_of_one_at_a_time(statistic, n):
    values = np.random.default_rng(1).standard_normal(n)
    assert bootstrap(values, statistic) == bootstrap(values, lambda rows: statistic(rows))


@pytest.mark.parametrize(
    ("values", "options", "message"),
    [
        (np.zeros(0), {}, "needs at least one value, got none"),
        (np.array([np.nan]), {}, "must be finite, got NaN"),
        (np.zeros(3), {"level": 1.0}, r"level must lie in \(0, 1\), got 1"),
        (np.zeros(3), {"n_resamples": 0}, "n_resamples must be at least 1, got 0"),
    ],
)
def test_what_cannot_be_resampled_is_refused(values, options, message):
    with pytest.raises(ParameterError, match=message):
        bootstrap(values, **options)
