"""Recordings lose what they have above a cutoff, get it back by every method, and are compared with what they were."""

import numpy as np
import pytest

from masktools.classical.fills import high_pass
from masktools.core.errors import ParameterError
from masktools.evaluation.bandwidth import BANDWIDTH_METHODS, BandwidthSettings, evaluate_bandwidth, low_pass
from masktools.evaluation.clips import Clip
from masktools.evaluation.scores import Statistics
from masktools.model import Model
from masktools.solver import SolverConfig
from tests.evaluation.memory import Loudness, knowing_model, melody
from tests.tiny import noise, tiny_pipeline, tone

CLIPS = [melody(seed) for seed in range(4)]
MODEL = knowing_model(CLIPS)
FAST = SolverConfig(n_steps=2)
CASE = "above 4000 Hz"


@pytest.fixture(scope="module")
def report():
    return evaluate_bandwidth(
        MODEL, CLIPS, BandwidthSettings(solver=FAST, statistics=Statistics(n_resamples=100)), [Loudness()]
    )


def test_nothing_is_furthest_from_what_was_above_the_cutoff(report):
    edge_hz = MODEL.pipeline.grid.row_edges_hz[-2]
    for case in (CASE, f"above {edge_hz:.0f} Hz"):
        distances = {method: report.value("music", method, "lsd_hi_db", case) for method in BANDWIDTH_METHODS}
        assert max(distances, key=distances.get) == "unprocessed"
        assert report.value("music", "unprocessed", "bias_db", case) < -20


def test_the_ceiling_of_a_model_that_loses_nothing_is_the_recording(report):
    assert report.value("music", "ceiling", "lsd_hi_db", CASE) < 0.5
    assert report.value("music", "ceiling", "third_octave_db", CASE) < 0.5
    assert report.value("music", "ceiling", "fad", CASE) < report.value("music", "unprocessed", "fad", CASE) / 10


def test_below_the_cutoff_only_the_model_s_own_version_differs(report):
    for method in BANDWIDTH_METHODS:
        if method != "model_no_lfr":
            assert report.value("music", method, "lsd_lo_db", CASE) < 0.02
    settings = BandwidthSettings((4000.0,), solver=FAST, methods=("model", "model_no_lfr"))
    random = evaluate_bandwidth(Model(tiny_pipeline()), CLIPS[:2], settings)
    assert random.value("music", "model", "lsd_lo_db", CASE) < 0.02
    assert random.value("music", "model_no_lfr", "lsd_lo_db", CASE) > 3


def test_a_low_pass_and_the_true_band_are_the_recording():
    wave = noise(1)
    low = low_pass(wave, 22_050, 4000.0)
    np.testing.assert_allclose(low[0] + high_pass(wave[0], 22_050, 4000.0), wave[0], atol=1e-6)
    assert np.abs(low_pass(tone(4100, 1), 22_050, 4000.0)[:, 2000:-2000]).max() < 1e-4
    np.testing.assert_allclose(
        low_pass(tone(3700, 1), 22_050, 4000.0)[0, 2000:-2000], tone(3700, 1)[0, 2000:-2000], atol=1e-4
    )


def test_the_paper_s_way_knows_the_band_while_it_tokenises():
    settings = BandwidthSettings(
        (4000.0,), leak_free=False, solver=FAST, methods=("unprocessed", "model", "model_no_lfr")
    )
    report = evaluate_bandwidth(MODEL, CLIPS[:2], settings)
    assert report.value("music", "model", "lsd_lo_db", CASE) < 0.02
    # Known tokens of the whole band stand for it exactly: what is below the cutoff comes back as it was.
    assert report.value("music", "model", "lsd_hi_db", CASE) < report.value("music", "unprocessed", "lsd_hi_db", CASE)


def test_recordings_without_the_band_are_left_out():
    rate = CLIPS[0].sample_rate
    dull = Clip("dull.wav", low_pass(CLIPS[1].wave[None], rate, 6000.0)[0], rate, "music")
    said = Clip("said.wav", CLIPS[1].wave, rate, "music", bandwidth_hz=8000.0)
    settings = BandwidthSettings((4000.0,), methods=("unprocessed",))
    report = evaluate_bandwidth(MODEL, [CLIPS[0], dull, said], settings)
    assert [(one.name, one.fault, one.reason) for one in report.left_out] == [
        ("dull.wav", "band-limited", "it reaches 6250 Hz"),
        ("said.wav", "band-limited", "it reaches 8000 Hz"),
    ]
    with pytest.raises(ParameterError, match="at least one clip that reaches 10000 Hz, got none of 2"):
        evaluate_bandwidth(MODEL, [dull, said], settings)


def test_a_cutoff_that_the_model_does_not_have_is_refused():
    with pytest.raises(ParameterError, match="cutoff must be at most 9482 Hz, got 10000 Hz"):
        evaluate_bandwidth(MODEL, CLIPS[:1], BandwidthSettings((10_000.0,), solver=FAST, methods=("model",)))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"cutoffs_hz": (0.0,)}, "cutoffs_hz must be above 0 Hz, got"),
        ({"min_bandwidth_hz": -1.0}, "min_bandwidth_hz must be at least 0 Hz, got -1 Hz"),
        ({"cutoffs_hz": (4000.0,), "top_hz": 3000.0}, "top_hz must lie above the cutoffs, got 3000 Hz"),
        ({"methods": ("sbr",)}, "unknown method 'sbr': choose from unprocessed, "),
    ],
)
def test_settings_out_of_range_are_refused(given, message):
    with pytest.raises(ParameterError, match=message):
        BandwidthSettings(**given)
