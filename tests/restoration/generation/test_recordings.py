"""Generation: everything is masked, lengths are exact, seeds are kept."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from masktools.core.errors import ParameterError
from masktools.restoration.generation import generate
from masktools.restoration.generation.recordings import best_of, within_full_scale
from masktools.solver import SolverConfig, candidate_seeds
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


def with_a_louder_vocoder(factor):
    pipeline = tiny_pipeline()
    rendered = pipeline.vocoder.forward
    pipeline.vocoder.forward = lambda mel: factor * rendered(mel)
    return pipeline


def test_what_goes_far_beyond_full_scale_is_made_quieter_as_a_whole_by_all_but_3_db():
    usual = generate(PIPELINE, "rain", n=2, solver=FEW)
    factor = 2.0 / np.abs(usual.samples[0]).max()
    made = generate(with_a_louder_vocoder(factor), "rain", n=2, solver=FEW)
    assert np.abs(made.samples).max() <= 0.9901
    assert made.report["gains_db"][0] == pytest.approx(20 * np.log10(0.99 / 2) + 3, abs=0.02)
    assert usual.report["gains_db"] == [0.0, 0.0]


def test_a_single_peak_leaves_the_rest_as_loud_as_it_was():
    wave = 0.1 * np.sin(np.arange(SAMPLE_RATE) / 10)[None]
    wave[0, 5000] = 1.3
    made, gains_db = within_full_scale(wave, SAMPLE_RATE)
    reach = SAMPLE_RATE // 50
    np.testing.assert_allclose(made[0, : 5000 - reach], wave[0, : 5000 - reach], atol=1e-6)
    np.testing.assert_allclose(made[0, 5000 + reach :], wave[0, 5000 + reach :], atol=1e-6)
    assert gains_db == [0.0]
    assert np.abs(made).max() <= 0.9901


@given(arrays(np.float64, (2, 400), elements=st.floats(-50, 50)))
def test_no_sample_ever_exceeds_full_scale_and_none_changes_its_sign(waves):
    made, gains_db = within_full_scale(waves, 1000)
    assert np.abs(made).max() <= 0.9901
    assert max(gains_db) <= 0
    assert (made * waves >= -1e-9).all()


def test_of_several_candidates_the_nearest_to_the_text_is_kept():
    texts = ["rain", "dogs bark", "a flute"]
    made = generate(PIPELINE, texts, seconds=1, n_candidates=5, solver=FEW)
    for number, text in enumerate(texts):
        condition = PIPELINE.condition([text])
        seeds = candidate_seeds(generate(PIPELINE, texts, seconds=1, solver=FEW).report["seeds"][number], 5)
        each = [best_of(PIPELINE, condition, [seed], SAMPLE_RATE, FEW) for seed in seeds]
        near = [float(PIPELINE.similarity(torch.from_numpy(one.waves), condition)) for one in each]
        best = int(np.argmax(near))
        assert made.report["seeds"][number] == seeds[best]
        assert made.report["similarities"][number] == pytest.approx(max(near), abs=1e-3)
        np.testing.assert_array_equal(made.tokens[number], each[best].tokens[0])
    assert len({*made.report["similarities"]}) == 3


def test_one_candidate_is_the_first_of_many():
    alone = generate(PIPELINE, "rain", solver=FEW)
    assert alone.report["n_candidates"] == 1
    assert alone.report["similarities"] == []
    assert alone.report["seeds"] == candidate_seeds(alone.report["seeds"][0], 4)[:1]


def test_candidates_do_not_depend_on_batches():
    reference = generate(PIPELINE, ["rain", "dogs bark"], n_candidates=3, solver=FEW)
    seen = []
    again = generate(
        tiny_pipeline(batch_size=2),
        ["rain", "dogs bark"],
        n_candidates=3,
        solver=FEW,
        progress=lambda *step: seen.append(step),
    )
    np.testing.assert_array_equal(reference.tokens, again.tokens)
    total = seen[-1][1]
    assert total % 3 == 0
    assert seen == [(done, total) for done in range(1, total + 1)]


def test_candidates_need_a_text_and_a_model_that_hears():
    with pytest.raises(ParameterError, match="n_candidates must be 1 without a text, got 2"):
        generate(PIPELINE, n_candidates=2, solver=FEW)
    deaf = tiny_pipeline()
    vector = deaf.condition(["rain"]).numpy()
    deaf.conditioner = None
    with pytest.raises(ParameterError, match="has no encoder of sounds"):
        generate(deaf, vector, n_candidates=2, solver=FEW)


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
