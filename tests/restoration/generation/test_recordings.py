"""Generation: everything is masked, lengths are exact, seeds are kept."""

import numpy as np
import pytest

from masktools.core.errors import ParameterError
from masktools.restoration.generation import generate
from masktools.solver import SolverConfig
from tests.tiny import COLUMN, SAMPLE_RATE, tiny_pipeline

PIPELINE = tiny_pipeline()
FEW = SolverConfig(n_steps=4)


def test_a_full_window_is_the_usual_length():
    made = generate(PIPELINE, solver=FEW)
    assert made.samples.shape == (1, 16 * COLUMN)
    assert made.sample_rate == SAMPLE_RATE
    assert made.tokens.shape == (1, 5, 16)
    assert made.report["prompted"] is False
    assert made.report["guidance"] == 0


def test_what_would_go_beyond_full_scale_is_made_quieter_as_a_whole():
    loud = tiny_pipeline()
    usual = generate(loud, "rain", n=2, solver=FEW)
    factor = 2.0 / np.abs(usual.samples[0]).max()
    rendered = loud.vocoder.forward
    loud.vocoder.forward = lambda mel: factor * rendered(mel)
    made = generate(loud, "rain", n=2, solver=FEW)
    assert np.abs(made.samples).max() <= 0.9901
    assert made.report["gains_db"][0] == pytest.approx(20 * np.log10(0.99 / 2), abs=0.02)
    np.testing.assert_allclose(made.samples[0], usual.samples[0] * factor * 0.99 / 2, atol=1e-3)
    assert usual.report["gains_db"] == [0.0, 0.0]


@pytest.mark.parametrize("seconds", [0.00001, 0.5, 2.9, 3.2, 11.0])
def test_any_length_is_met_to_the_sample(seconds):
    made = generate(PIPELINE, "rain", seconds=seconds, solver=FEW)
    assert made.samples.shape == (1, max(1, round(seconds * SAMPLE_RATE)))


def test_a_shorter_recording_is_the_start_of_a_longer_one():
    short, full = generate(PIPELINE, "rain", seconds=1, solver=FEW), generate(PIPELINE, "rain", solver=FEW)
    np.testing.assert_allclose(short.samples, full.samples[:, :SAMPLE_RATE], atol=1e-6)


def test_a_continuation_keeps_what_came_before():
    window = generate(PIPELINE, "rain", solver=FEW)
    longer = generate(PIPELINE, "rain", seconds=10, solver=FEW)
    np.testing.assert_array_equal(longer.tokens[..., :16], window.tokens)


def test_the_first_recordings_stay_the_same_when_more_are_asked_for():
    few, more = generate(PIPELINE, "rain", n=2, solver=FEW), generate(PIPELINE, "rain", n=5, solver=FEW)
    np.testing.assert_array_equal(few.tokens, more.tokens[:2])
    assert not np.array_equal(more.tokens[0], more.tokens[1])
    assert more.report["seeds"][:2] == few.report["seeds"]


def test_seeds_and_not_batches_decide():
    reference = generate(PIPELINE, "rain", n=3, seed=7, solver=FEW)
    again = generate(tiny_pipeline(batch_size=2), "rain", n=3, seed=7, solver=FEW)
    np.testing.assert_array_equal(reference.tokens, again.tokens)
    np.testing.assert_allclose(reference.samples, again.samples, atol=1e-5)
    assert not np.array_equal(generate(PIPELINE, "rain", n=3, seed=8, solver=FEW).tokens, reference.tokens)


def test_each_prompt_gets_its_recordings_in_order():
    both = generate(PIPELINE, ["rain", "dogs bark"], n=2, solver=FEW)
    assert len(both.samples) == 4
    np.testing.assert_array_equal(both.tokens[:2], generate(PIPELINE, "rain", n=2, solver=FEW).tokens)
    vectors = PIPELINE.condition(["rain", "dogs bark"]).numpy()
    np.testing.assert_array_equal(generate(PIPELINE, vectors, n=2, solver=FEW).tokens, both.tokens)


def test_progress_ends_at_its_total():
    seen = []
    generate(tiny_pipeline(batch_size=1), n=2, solver=FEW, progress=lambda *step: seen.append(step))
    assert seen == [(done, 8) for done in range(1, 9)]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n": 0}, "n must be a whole number of at least 1, got 0"),
        ({"seconds": 0.0}, r"seconds must lie in \(0, 600\], got 0"),
        ({"seconds": float("nan")}, "seconds must lie in .* got nan"),
        ({"seconds": 601.0}, "seconds must lie in .* got 601"),
        ({"prompts": " "}, "prompts?|text"),
    ],
)
def test_what_cannot_be_generated_is_refused(arguments, message):
    with pytest.raises(ParameterError, match=message):
        generate(PIPELINE, **arguments)
