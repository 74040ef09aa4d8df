"""How near a precision stays to fp32."""

import numpy as np
import pytest

from masktools.benchmark.accuracy import AccuracySettings, measure_accuracy
from masktools.benchmark.models import random_pipeline, synthetic_clip
from masktools.core.errors import ParameterError
from masktools.solver import SolverConfig

CLIPS = [synthetic_clip(3.0, 22_050)[0], synthetic_clip(1.0, 22_050, seed=1)[0]]
SETTINGS = AccuracySettings(("fp32", "bf16"), 1, SolverConfig(n_steps=2), SolverConfig(n_steps=2))


def _load(precision):
    return random_pipeline("tiny", device="cpu", precision=precision)


def test_fp32_in_disguise_is_fp32():
    found = measure_accuracy(lambda _: _load("fp32"), CLIPS, SETTINGS)
    assert [one.name for one in found] == ["predict", "generate", "inpaint"]
    predict, generate, inpaint = (one.figures for one in found)
    assert predict == {"choice_agreement": 1.0, "draw_agreement": 1.0, "divergence_nats": 0.0}
    for figures in (generate, inpaint):
        assert figures["token_agreement"] == 1.0
        assert figures["mel_db"] == figures["decoded_mel_db"] == 0.0
        assert 0 <= figures["other_seed_agreement"] < 1
        assert figures["other_seed_mel_db"] > 0
    assert inpaint["further_db"] == inpaint["further_error_db"] == 0.0
    assert inpaint["recording_mel_db"] > 0


def test_fills_of_other_weights_are_as_far_from_the_recording_as_they_are():
    def load(precision):
        return random_pipeline("tiny", device="cpu", precision="fp32", seed=int(precision == "bf16"))

    further = measure_accuracy(load, CLIPS, SETTINGS)[-1].figures["further_db"]
    back = measure_accuracy(lambda name: load("bf16" if name == "fp32" else "fp32"), CLIPS, SETTINGS)[-1].figures
    assert back["further_db"] == pytest.approx(-further)
    assert further != 0


def test_bf16_is_near_but_not_the_same():
    predict, *_ = measure_accuracy(_load, CLIPS, SETTINGS)
    assert predict.case["precision"] == "bf16"
    assert 0.5 < predict.figures["choice_agreement"] <= 1.0
    assert 0.5 < predict.figures["draw_agreement"] <= 1.0
    assert 0 < predict.figures["divergence_nats"] < 1e-3


def test_a_clip_is_needed():
    with pytest.raises(ParameterError, match="with at least one clip, got none"):
        measure_accuracy(_load, [], SETTINGS)
    with pytest.raises(ParameterError, match="n_seeds must be at least 1, got 0"):
        AccuracySettings(n_seeds=0)


def test_the_made_clip_is_sound_and_the_same_each_time():
    clip = synthetic_clip(2.0, 8000, n_channels=2)
    assert clip.shape == (2, 16_000)
    assert np.abs(clip).max() == pytest.approx(0.5)
    assert not np.array_equal(clip[0], clip[1])
    assert np.array_equal(clip, synthetic_clip(2.0, 8000, n_channels=2))


def test_gaps_are_filled_as_gaps_are_and_sound_generated_as_sound_is():
    always_the_same = SolverConfig(n_steps=1, top_k=1)
    settings = AccuracySettings(("bf16",), 1, SolverConfig(n_steps=2), always_the_same)
    _, generated, filled = (one.figures for one in measure_accuracy(_load, CLIPS, settings))
    assert generated["other_seed_agreement"] < 1.0
    assert filled["other_seed_agreement"] == 1.0
