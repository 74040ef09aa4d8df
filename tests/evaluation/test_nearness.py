"""How near recordings come to others: copies are at no distance, silence does not count."""

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from masktools.core.errors import ParameterError
from masktools.evaluation.generation_scores import audible_parts, mel_space, nearest_medians, ratio_of_medians
from tests.tiny import COLUMN, noise, tiny_pipeline

RNG = np.random.default_rng(0)


def test_the_distance_of_a_sample_is_the_median_of_its_parts():
    training = [RNG.standard_normal((n, 4)) for n in (3, 5)]
    samples = [RNG.standard_normal((n, 4)) for n in (1, 4)]
    wanted = [np.median(cdist(vectors, np.concatenate(training)).min(axis=1)) for vectors in samples]
    np.testing.assert_allclose(nearest_medians(samples, training), wanted, atol=1e-9)
    assert nearest_medians([training[1][2:4]], training)[0] == pytest.approx(0, abs=1e-7)


def test_a_sample_of_silence_has_no_distance():
    found = nearest_medians([np.zeros((0, 4)), RNG.standard_normal((2, 4))], [np.zeros((1, 4))])
    assert np.isnan(found).tolist() == [True, False]
    wave = np.concatenate([np.zeros(1000), np.ones(1000)]).astype(np.float32)
    assert audible_parts(np.array([[1.0], [2.0]]), wave).tolist() == [[2.0]]


def test_a_copy_is_found_wherever_in_a_recording_it_was_taken():
    pipeline, recording = tiny_pipeline(), noise(6)[0]
    copy = recording[3 * COLUMN : 12 * COLUMN]
    finely, space = mel_space(pipeline, hop_cols=1), mel_space(pipeline)
    known = finely(recording)
    copied, new = nearest_medians([space(copy), space(noise(2, seed=1)[0])], [known])
    assert copied < 0.2 * new  # the edges of a spectrogram know nothing of what is beyond
    assert mel_space(pipeline)(np.zeros(9 * COLUMN, np.float32)).shape == (0, 640)
    assert mel_space(pipeline)(noise(0.1)[0]).shape == (1, 640)


def test_a_ratio_of_medians_has_an_interval_around_it():
    one, other = RNG.normal(10, 1, 60), RNG.normal(5, 1, 60)
    ratio = ratio_of_medians(one, np.append(other, np.nan), n_resamples=200)
    assert ratio.value == pytest.approx(np.median(one) / np.median(other))
    assert 1.5 < ratio.low < ratio.value < ratio.high < 2.5


def test_what_cannot_be_compared_is_refused():
    with pytest.raises(ParameterError, match="a ratio of medians needs values on both sides, got 1 and 0"):
        ratio_of_medians(np.ones(1), np.full(2, np.nan))
    with pytest.raises(ParameterError, match="both sets must be of one dimension, got 4 and 3"):
        nearest_medians([np.ones((1, 4))], [np.ones((1, 3))])
    with pytest.raises(ParameterError, match="at least one training recording that is not silent"):
        nearest_medians([np.ones((1, 4))], [np.ones((0, 4))])
