"""Loops: the end leads into the start, and between them nothing changes."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from masktools.errors import ParameterError
from masktools.metrics import seam_crest_db
from masktools.restoration.ends import loop, loop_pieces
from masktools.solver import SolverConfig
from tests.tiny import noise, tone

FEW = SolverConfig(n_steps=3)


@settings(max_examples=15, deadline=None)
@given(
    st.integers(4, 40_000),
    st.sampled_from([8000, 22_050, 44_100]),
    st.integers(1, 2),
    st.floats(0.01, 0.49),
    st.sampled_from(["auto", "model", "copy"]),
)
def test_only_half_a_seam_at_each_end_changes(pipeline, n, rate, n_channels, share, method):
    samples = noise(n / rate, rate, n_channels)
    seam_s = share * samples.shape[1] / rate
    half = max(1, round(seam_s * rate / 2))
    looped = loop(pipeline, samples, rate, seam_s, solver=FEW, method=method)
    assert looped.samples.shape == samples.shape
    np.testing.assert_array_equal(looped.samples[:, half:-half], samples[:, half:-half])
    assert np.isfinite(looped.samples).all()
    assert looped.report["samples_changed"] == 2 * half * n_channels


@pytest.mark.parametrize("texture", ["model", "blend", "recording"])
def test_going_round_is_no_click(pipeline, texture):
    rate = 44_100
    samples = noise(3.003, rate, level=0.02) + tone(220, 3.003, rate)  # cut in the middle of a period
    samples *= np.linspace(0.2, 1.0, samples.shape[1], dtype=np.float32)
    looped = loop(pipeline, samples, rate, 0.5, solver=FEW, texture=texture)
    twice = np.concatenate([looped.samples, looped.samples], axis=1)
    length_s = samples.shape[1] / rate
    assert seam_crest_db(np.tile(samples, 2), rate, length_s) > 10
    for join_s in (length_s - 0.25, length_s, length_s + 0.25):
        assert seam_crest_db(twice, rate, join_s) < 8
    crest_db = looped.report["wrap_crest_db"]
    assert crest_db["before"] > 10 > crest_db["after"]


def test_the_report_says_which_samples_changed(pipeline):
    report = json.loads(json.dumps(loop(pipeline, noise(2, 8000, 2), 8000, 0.5, solver=FEW, seed=7).report))
    assert {"job": "loop", "seed": 7, "seam_s": 0.5, "method_used": ["model"]}.items() <= report.items()
    assert report["changed"] == [
        {"start_s": 0, "end_s": 0.25, "channels": [0, 1]},
        {"start_s": 1.75, "end_s": 2, "channels": [0, 1]},
    ]


def test_a_short_seam_needs_no_model():
    looped = loop(None, noise(2), 22_050, 0.04)
    assert looped.report["method_used"] == ["janssen"]


def test_only_the_ends_are_read():
    samples, read = noise(90, 8000), []

    def reader(start, stop):
        read.append((start, stop))
        return samples[:, start:stop]

    pieces, _ = loop_pieces(None, reader, samples.shape[1], 8000, 0.5, method="copy")
    assert sorted(read) == [(0, 31 * 8000), (59 * 8000, 90 * 8000)]
    assert [(piece.start, piece.samples.shape[1]) for piece in pieces] == [(0, 2000), (90 * 8000 - 2000, 2000)]


def test_what_cannot_be_done_is_refused(pipeline):
    for seam_s in (0, -1, 11, float("nan")):
        with pytest.raises(ParameterError, match=r"seam_s must lie in \(0, 10\] s, got"):
            loop(pipeline, noise(1), 22_050, seam_s)
    with pytest.raises(ParameterError, match="at least twice as long as its seam of 0.6 s, got 1 s: choose a shorter"):
        loop(pipeline, noise(1), 22_050, 0.6)
    with pytest.raises(ParameterError, match="needs a model by method 'model', got none"):
        loop(None, noise(2), 22_050, 0.5, method="model")
