"""The model over token streams in the package makes sound, fills gaps, says what it cannot do, and is small."""

import numpy as np
import pytest

import masktools
from masktools.core.errors import ParameterError
from masktools.metrics import level_db
from masktools.pipeline.bundles import list_models
from tests.tiny import SAMPLE_RATE, noise


@pytest.fixture(scope="module")
def model():
    return masktools.load("mini-magnet", device="cpu")


def sounds(model, *texts, **settings):
    return [made.samples for made in model.generate(list(texts), seconds=1.5, **settings)]


def test_a_text_becomes_a_sound_that_is_the_same_for_a_seed_and_another_for_another(model):
    (first,), (again,), (other,) = (sounds(model, "heavy rain falls", seed=seed) for seed in (1, 1, 2))
    assert level_db(first, SAMPLE_RATE) > -60
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_a_gap_is_filled_and_what_is_around_it_stays(model):
    recording = noise(3.0)[0]
    fixed = model.inpaint(recording, SAMPLE_RATE, [(1.2, 1.6)], method="model")
    start, stop = int(1.2 * SAMPLE_RATE), int(1.6 * SAMPLE_RATE)
    assert np.array_equal(fixed.samples[:start], recording[:start])
    assert np.array_equal(fixed.samples[stop:], recording[stop:])
    assert level_db(fixed.samples[start:stop], SAMPLE_RATE) > -60


def test_it_has_no_bands_to_extend_and_names_the_model_that_has(model):
    with pytest.raises(ParameterError, match=r"cannot extend the bandwidth .* use --model mini$"):
        model.bwe(noise(2.0)[0], SAMPLE_RATE, cutoff_hz=4000)


def test_the_causal_model_beside_it_rescores_and_begins(model):
    (plain,), (rescored,), (begun,) = (
        sounds(model, "rain", seed=1, solver=told)
        for told in ("prior_start=0,rescore_weight=0", "prior_start=0,rescore_weight=0.7", "prior_start=0.5")
    )
    assert not np.array_equal(plain, rescored)
    assert not np.array_equal(plain, begun)


def test_the_models_in_the_package_are_small():
    sizes = {name: sum(path.stat().st_size for path in folder.iterdir()) for name, folder in list_models().items()}
    assert sizes["mini-magnet"] <= 12e6
    assert sum(sizes.values()) <= 60e6
