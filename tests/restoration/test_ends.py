"""Recordings go on after their ends, or become loops."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from masktools.core.errors import AudioError, ParameterError
from masktools.metrics import level_db, seam_crest_db
from masktools.restoration import Signal
from masktools.restoration.ends import continuation, continue_recording, loop, loop_pieces
from masktools.solver import SolverConfig
from tests.tiny import noise, tone

FEW = SolverConfig(n_steps=3)


@settings(max_examples=15, deadline=None)
@given(
    st.integers(1, 30_000),
    st.sampled_from([8000, 22_050, 48_000]),
    st.integers(1, 2),
    st.floats(1e-4, 1.5),
    st.sampled_from(["end", "start"]),
    st.sampled_from(["model", "recording", "blend"]),
)
def test_what_was_given_comes_back_bit_by_bit(pipeline, n, rate, n_channels, seconds, side, texture):
    samples = noise(n / rate, rate, n_channels)
    restored = continue_recording(pipeline, samples, rate, seconds, side=side, solver=FEW, texture=texture)
    n_new = max(1, round(seconds * rate))
    assert restored.samples.shape == (n_channels, samples.shape[1] + n_new)
    assert restored.samples.dtype == np.float32
    given_part = restored.samples[:, : -n_new or None] if side == "end" else restored.samples[:, n_new:]
    np.testing.assert_array_equal(given_part, samples)
    assert np.isfinite(restored.samples).all()
    assert restored.report["samples_added"] == n_new * n_channels


@pytest.mark.parametrize("side", ["end", "start"])
@pytest.mark.parametrize("texture", ["model", "recording"])
def test_the_join_is_no_click_and_no_step(pipeline, side, texture):
    samples = noise(4, 44_100, 2, level=0.05)
    restored = continue_recording(pipeline, samples, 44_100, 2.0, side=side, solver=FEW, texture=texture)
    join_s = 4.0 if side == "end" else 2.0
    assert seam_crest_db(restored.samples, 44_100, join_s) < 6
    before, after = (
        level_db(restored.samples, 44_100, span) for span in ((join_s - 0.3, join_s), (join_s, join_s + 0.3))
    )
    assert before == pytest.approx(after, abs=3.0)


@pytest.mark.parametrize(("side", "outer"), [("end", slice(-200, None)), ("start", slice(0, 200))])
def test_the_outer_end_fades(pipeline, side, outer):
    restored = continue_recording(pipeline, noise(3), 22_050, 1.0, side=side, fade_s=0.4, solver=FEW)
    assert np.abs(restored.samples[:, outer]).max() < 1e-3
    hard = continue_recording(pipeline, noise(3), 22_050, 1.0, side=side, fade_s=0.0, solver=FEW)
    assert np.abs(hard.samples[:, outer]).max() > 1e-2


def test_a_long_one_is_made_step_by_step(pipeline):
    seen = []
    restored = continue_recording(
        pipeline, noise(2), 22_050, 5.0, solver=FEW, progress=lambda done, total: seen.append(done / total)
    )
    assert restored.report["n_windows"] > 2
    assert seen == sorted(seen)
    assert seen[-1] == 1
    levels_db = [level_db(restored.samples, 22_050, (start, start + 0.5)) for start in np.arange(2, 6.5, 0.5)]
    assert max(levels_db) - min(levels_db) < 6


def test_the_same_seed_gives_the_same_and_text_changes_it(pipeline):
    samples = noise(2)
    one, same, other, rain = (
        continue_recording(pipeline, samples, 22_050, 1.0, solver=FEW, texture="model", **asked).samples
        for asked in ({"seed": 1}, {"seed": 1}, {"seed": 2}, {"seed": 1, "prompt": "rain"})
    )
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, other)
    assert not np.array_equal(one, rain)


def test_only_what_is_beside_the_join_is_read(pipeline):
    samples, read = noise(60, 8000), []

    def reader(start, stop):
        read.append((start, stop))
        return samples[:, start:stop]

    piece, report = continuation(pipeline, Signal(reader, samples.shape[1], 1, 8000), 0.5, solver=FEW, texture="model")
    assert piece.shape == (1, 4000)
    assert read == [(29 * 8000, 60 * 8000)]
    assert json.loads(json.dumps(report))["job"] == "continue"


def test_what_cannot_be_done_is_refused(pipeline):
    with pytest.raises(ParameterError, match="unknown side 'left': choose from end, start"):
        continue_recording(pipeline, noise(1), 22_050, 1.0, side="left")
    for seconds in (0, -1, float("nan"), 601):
        with pytest.raises(ParameterError, match=r"seconds must lie in \(0, 600\], got"):
            continue_recording(pipeline, noise(1), 22_050, seconds)
    with pytest.raises(ParameterError, match=r"fade_s must lie in \[0, 600\] s, got -1 s"):
        continue_recording(pipeline, noise(1), 22_050, 1.0, fade_s=-1)
    with pytest.raises(ParameterError, match="unknown channels"):
        continue_recording(pipeline, noise(1), 22_050, 1.0, channels="both")
    with pytest.raises(AudioError, match="the 1 s beside the join must be finite"):
        continue_recording(pipeline, noise(1) * np.float32("nan"), 22_050, 1.0)


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
    looped = loop(pipeline, samples, rate, seam_s=seam_s, solver=FEW, method=method)
    assert looped.samples.shape == samples.shape
    np.testing.assert_array_equal(looped.samples[:, half:-half], samples[:, half:-half])
    assert np.isfinite(looped.samples).all()
    assert looped.report["samples_changed"] == 2 * half * n_channels


@pytest.mark.parametrize("texture", ["model", "blend", "recording"])
def test_going_round_is_no_click(pipeline, texture):
    rate = 44_100
    samples = noise(3.003, rate, level=0.02) + tone(220, 3.003, rate)  # cut in the middle of a period
    samples *= np.linspace(0.2, 1.0, samples.shape[1], dtype=np.float32)
    looped = loop(pipeline, samples, rate, seam_s=0.5, solver=FEW, texture=texture)
    twice = np.concatenate([looped.samples, looped.samples], axis=1)
    length_s = samples.shape[1] / rate
    assert seam_crest_db(np.tile(samples, 2), rate, length_s) > 10
    for join_s in (length_s - 0.25, length_s, length_s + 0.25):
        assert seam_crest_db(twice, rate, join_s) < 8
    crest_db = looped.report["wrap_crest_db"]
    assert crest_db["before"] > 10 > crest_db["after"]


def test_the_report_says_which_samples_changed(pipeline):
    report = json.loads(json.dumps(loop(pipeline, noise(2, 8000, 2), 8000, seam_s=0.5, solver=FEW, seed=7).report))
    assert {"job": "loop", "seed": 7, "seam_s": 0.5, "method_used": ["model"]}.items() <= report.items()
    assert report["changed"] == [
        {"start_s": 0, "end_s": 0.25, "channels": [0, 1]},
        {"start_s": 1.75, "end_s": 2, "channels": [0, 1]},
    ]


def test_a_short_seam_needs_no_model():
    looped = loop(None, noise(2), 22_050, seam_s=0.04)
    assert looped.report["method_used"] == ["janssen"]


def test_only_the_ends_are_read():
    samples, read = noise(90, 8000), []

    def reader(start, stop):
        read.append((start, stop))
        return samples[:, start:stop]

    pieces, _ = loop_pieces(None, Signal(reader, samples.shape[1], len(samples), 8000), seam_s=0.5, method="copy")
    assert sorted(read) == [(0, 31 * 8000), (59 * 8000, 90 * 8000)]
    assert [(piece.start, piece.samples.shape[1]) for piece in pieces] == [(0, 2000), (90 * 8000 - 2000, 2000)]


def test_a_loop_that_cannot_be_made_is_refused(pipeline):
    for seam_s in (0, -1, 11, float("nan")):
        with pytest.raises(ParameterError, match=r"seam_s must lie in \(0, 10\] s, got"):
            loop(pipeline, noise(1), 22_050, seam_s=seam_s)
    with pytest.raises(ParameterError, match="at least twice as long as its seam of 0.6 s, got 1 s: choose a shorter"):
        loop(pipeline, noise(1), 22_050, seam_s=0.6)
    with pytest.raises(ParameterError, match="needs a model by method 'model', got none"):
        loop(None, noise(2), 22_050, seam_s=0.5, method="model")
