"""Gap filling: whatever the recording, what is known stays, and what is in the gaps is never read."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from masktools.core.errors import ParameterError
from masktools.restoration.gap_plan import gap_spans
from masktools.solver import SolverConfig
from tests.restoration.jobs import inpaint
from tests.tiny import COLUMN, SAMPLE_RATE, noise, tiny_pipeline, tone

FEW = SolverConfig(n_steps=3)


def inside(gaps, n_samples, rate):
    mask = np.zeros(n_samples, bool)
    for start, stop in gap_spans(gaps, n_samples, rate):
        mask[start:stop] = True
    return mask


def rms(wave):
    return np.sqrt(np.mean(np.square(wave, dtype=np.float64)))


@settings(max_examples=30, deadline=None)
@given(
    st.integers(2, 5 * COLUMN),
    st.sampled_from([8000, 22_050, 44_100, 48_000, 96_000]),
    st.integers(1, 3),
    st.lists(st.tuples(st.floats(0, 0.95), st.floats(1e-4, 0.3)), min_size=1, max_size=4),
    st.sampled_from([np.float32, np.float64]),
)
def test_known_samples_come_back_bit_by_bit(pipeline, n_samples, rate, n_channels, shares, dtype):
    samples = noise(1, n_samples, n_channels).astype(dtype)
    duration = n_samples / rate
    gaps, end = [], 0.0
    for start, length in sorted(shares):
        if start >= end:
            gaps.append((start * duration, min(start + length, 0.99) * duration))
            end = start + length
    mask = inside(gaps, n_samples, rate)
    if mask.all():
        return
    restored = inpaint(pipeline, samples, rate, gaps, solver=FEW)
    assert restored.samples.shape == samples.shape
    assert restored.samples.dtype == dtype
    assert restored.sample_rate == rate
    np.testing.assert_array_equal(restored.samples[:, ~mask], samples[:, ~mask])
    assert np.isfinite(restored.samples).all()
    assert restored.report["samples_changed"] == mask.sum() * n_channels


def test_what_is_in_a_gap_is_never_read(pipeline):
    samples, gaps = noise(3, 44_100, 2), [(1.0, 1.3), (2.0, 2.01)]
    mask = inside(gaps, samples.shape[1], 44_100)
    spoilt = samples.copy()
    spoilt[:, mask] = 100 * noise(3, 44_100, 2, seed=1)[:, mask]
    one, other = (inpaint(pipeline, x, 44_100, gaps, solver=FEW) for x in (samples, spoilt))
    np.testing.assert_array_equal(one.samples, other.samples)


def test_the_paper_s_way_hears_the_gap(pipeline):
    samples, gaps = noise(3), [(1.0, 1.5)]
    spoilt = samples.copy()
    spoilt[:, SAMPLE_RATE : int(1.5 * SAMPLE_RATE)] = 0
    one, other = (inpaint(pipeline, x, SAMPLE_RATE, gaps, solver=FEW, leak_free=False) for x in (samples, spoilt))
    assert not np.array_equal(one.samples, other.samples)


def test_a_gap_is_filled_with_something_about_as_loud_as_its_surroundings(pipeline):
    samples = noise(3, 44_100, level=0.05)
    gaps = [(1.0, 1.6)]
    mask = inside(gaps, samples.shape[1], 44_100)
    damaged = np.where(mask, 0, samples)
    restored = inpaint(pipeline, damaged, 44_100, gaps, solver=FEW).samples
    assert 0.25 < rms(restored[:, mask]) / rms(samples) < 4


def test_seams_do_not_click(pipeline):
    samples = tone(220, 3, 44_100)
    gaps = [(1.0003, 1.2007)]
    restored = inpaint(pipeline, samples, 44_100, gaps, solver=FEW).samples[0]
    (span,) = gap_spans(gaps, samples.shape[1], 44_100)
    largest = np.abs(np.diff(samples[0])).max()
    for edge in span:
        assert np.abs(np.diff(restored[edge - 20 : edge + 20])).max() < 2 * largest


def test_seeds_decide_and_batches_do_not(pipeline):
    samples, gaps = noise(12), [(1, 1.2), (5, 5.4), (9, 9.1)]
    one = inpaint(pipeline, samples, SAMPLE_RATE, gaps, seed=3, solver=FEW).samples
    again = inpaint(tiny_pipeline(batch_size=1), samples, SAMPLE_RATE, gaps, seed=3, solver=FEW).samples
    np.testing.assert_array_equal(one, again)
    other = inpaint(pipeline, samples, SAMPLE_RATE, gaps, seed=4, solver=FEW).samples
    assert not np.array_equal(one, other)


def test_linked_channels_that_are_equal_stay_equal(pipeline):
    mono = noise(3)
    linked = inpaint(pipeline, np.repeat(mono, 2, axis=0), SAMPLE_RATE, [(1, 1.5)], solver=FEW)
    np.testing.assert_array_equal(linked.samples[0], linked.samples[1])
    np.testing.assert_array_equal(
        linked.samples[:1], inpaint(pipeline, mono, SAMPLE_RATE, [(1, 1.5)], solver=FEW).samples
    )
    assert len({gap["seed"] for gap in linked.report["gaps"]}) == 1
    free = inpaint(pipeline, np.repeat(mono, 2, axis=0), SAMPLE_RATE, [(1, 1.5)], solver=FEW, channels="independent")
    assert not np.array_equal(free.samples[0], free.samples[1])


@pytest.mark.parametrize("settings", [{"channels": "independent"}, {"texture": "blend"}])
def test_channels_do_not_touch_each_other(pipeline, settings):
    stereo = noise(3, n_channels=2)
    other = np.concatenate([stereo[:1], noise(3, seed=9)])
    one, two = (inpaint(pipeline, x, SAMPLE_RATE, [(1, 1.5)], solver=FEW, **settings).samples for x in (stereo, other))
    np.testing.assert_array_equal(one[0], two[0])
    assert not np.array_equal(one[1], two[1])


def test_silence_is_filled_with_silence(pipeline):
    samples = noise(4, n_channels=2)
    samples[1] = 0
    restored = inpaint(pipeline, samples, SAMPLE_RATE, [(1, 2)], solver=FEW).samples
    assert not restored[1].any()
    assert restored[0, SAMPLE_RATE : 2 * SAMPLE_RATE].any()


@pytest.mark.parametrize("gap", [(0, 0.4), (2.6, 3), (0, 2.9), (0.05, 3)])
def test_gaps_at_the_edges_are_filled(pipeline, gap):
    samples = noise(3)
    restored = inpaint(pipeline, samples, SAMPLE_RATE, [gap], solver=FEW).samples
    mask = inside([gap], samples.shape[1], SAMPLE_RATE)
    np.testing.assert_array_equal(restored[:, ~mask], samples[:, ~mask])
    assert rms(restored[:, mask]) > 1e-3


def test_a_gap_longer_than_a_window_is_filled_throughout(pipeline):
    samples = noise(12)
    restored = inpaint(pipeline, samples, SAMPLE_RATE, [(2, 9)], solver=FEW)
    filled = restored.samples[0, 2 * SAMPLE_RATE : 9 * SAMPLE_RATE]
    blocks = filled[: len(filled) // 2000 * 2000].reshape(-1, 2000)
    assert (np.sqrt((blocks.astype(np.float64) ** 2).mean(axis=1)) > 1e-3).all()
    start, end = restored.report["gaps"][0]["window_s"]
    assert end - start > 7


def test_a_short_prompt_changes_the_result(pipeline):
    samples = noise(3)
    plain, prompted = (inpaint(pipeline, samples, SAMPLE_RATE, [(1, 2)], solver=FEW, prompt=p) for p in (None, "rain"))
    assert prompted.report["prompted"] is True
    assert prompted.report["n_forwards"] > plain.report["n_forwards"]
    assert not np.array_equal(plain.samples, prompted.samples)


def test_the_report_is_json_and_tells_what_was_done(pipeline):
    seen = []
    restored = inpaint(
        pipeline, noise(9, n_channels=2), SAMPLE_RATE, [(7, 7.5), (1, 1.25)], seed=5, solver=FEW,
        progress=lambda *step: seen.append(step),
    )  # fmt: skip
    report = json.loads(json.dumps(restored.report))
    assert report["model"] == "tiny"
    assert report["seed"] == 5
    assert [(gap["start_s"], round(gap["end_s"], 3), gap["channels"]) for gap in report["gaps"]] == [
        (1, 1.25, [0, 1]), (7, 7.5, [0, 1]),
    ]  # fmt: skip
    assert all(gap["method"] == "model" for gap in report["gaps"])
    assert report["n_forwards"] == 4 * report["n_steps"] == 12  # two windows of two channels
    assert set(report["timings"]) == {"solve_s", "total_s"}
    assert seen[-1][0] == seen[-1][1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"gaps": [(1, 4)]}, "a gap must lie within the recording, 0-3 s, got 1-4 s"),
        ({"gaps": [(0, 3)]}, "the gaps cover the whole recording"),
        ({"gaps": [(0.5, 1), (0.7, 1.2)]}, "gaps must not overlap"),
        ({"gaps": [(0.5, 1)], "channels": "each"}, "unknown channels 'each': choose from linked, independent"),
        ({"gaps": [(0.5, 1)], "prompt": ["a", "b"]}, "filled by one prompt at most, got 2"),
    ],
)
def test_what_cannot_be_filled_is_refused(pipeline, arguments, message):
    with pytest.raises(ParameterError, match=message):
        inpaint(pipeline, noise(3), SAMPLE_RATE, **arguments)
