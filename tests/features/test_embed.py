"""Embeddings: what a recording is like, whatever its rate, its length, and what is computed beside it."""

import numpy as np
import pytest

from masktools.core.errors import ParameterError
from masktools.features import embed
from masktools.io import resample
from tests.tiny import COLUMN, SAMPLE_RATE, noise, tiny_pipeline

PIPELINE = tiny_pipeline()
WIDTH, DEPTH = 32, 2


@pytest.mark.parametrize(("pool", "clip", "frame"), [("mean", 1, 1), ("rows", 5, 5), ("max", 1, 1), ("mean_std", 2, 1)])
def test_pools_have_their_sizes(pool, clip, frame):
    found = embed(PIPELINE, noise(2), SAMPLE_RATE, pool=pool)
    assert found.clip.shape == (clip * WIDTH,)
    assert found.frames.shape == (11, frame * WIDTH)
    assert found.clip.dtype == found.frames.dtype == np.float32


def test_pools_are_what_they_say():
    wave = noise(2)
    by_pool = {pool: embed(PIPELINE, wave, SAMPLE_RATE, pool=pool) for pool in ("mean", "rows", "max", "mean_std")}
    rows = by_pool["rows"].frames.reshape(11, 5, WIDTH)
    np.testing.assert_allclose(by_pool["mean"].clip, rows.mean(axis=(0, 1)), atol=1e-6)
    np.testing.assert_allclose(by_pool["max"].clip, rows.max(axis=(0, 1)), atol=1e-6)
    np.testing.assert_allclose(by_pool["rows"].clip, rows.mean(axis=0).ravel(), atol=1e-6)
    over_rows = rows.mean(axis=1)
    both = np.concatenate([over_rows.mean(axis=0), over_rows.std(axis=0)])
    np.testing.assert_allclose(by_pool["mean_std"].clip, both, atol=1e-6)


def test_each_frame_is_one_column_of_tokens():
    found = embed(PIPELINE, noise(2), SAMPLE_RATE)
    np.testing.assert_allclose(found.times_s, (np.arange(11) + 0.5) * 4096 / 22050)
    assert found.times_s[-1] < 2


@pytest.mark.parametrize("n_columns", [3, 16, 17, 40])
def test_a_last_column_counts_if_its_middle_lies_in_the_recording(n_columns):
    length = n_columns * COLUMN
    for n_samples, expected in ((length, n_columns), (length + 2047, n_columns), (length + 2048, n_columns + 1)):
        wave = noise(10)[:, :n_samples]
        assert len(embed(PIPELINE, wave, SAMPLE_RATE).times_s) == expected


@pytest.mark.parametrize("n_samples", [1, 100, 1024])
def test_the_shortest_recordings_have_one_frame(n_samples):
    found = embed(PIPELINE, noise(1)[:, :n_samples], SAMPLE_RATE)
    assert found.frames.shape == (1, WIDTH)
    assert np.isfinite(found.clip).all()


def test_neither_batch_nor_padding_changes_an_embedding():
    wave = noise(7.3)
    one_by_one = embed(tiny_pipeline(batch_size=1), wave, SAMPLE_RATE)
    together = embed(tiny_pipeline(batch_size=8), wave, SAMPLE_RATE)
    np.testing.assert_allclose(one_by_one.frames, together.frames, atol=1e-5)


def test_a_long_recording_is_heard_window_by_window():
    wave = noise(40 * COLUMN / SAMPLE_RATE)
    whole = embed(PIPELINE, wave, SAMPLE_RATE, pool="rows")
    first = embed(PIPELINE, wave[:, : 20 * COLUMN], SAMPLE_RATE, pool="rows")
    np.testing.assert_allclose(whole.frames[:15], first.frames[:15], atol=1e-5)  # 16, but an edge is at hand
    assert whole.frames.shape == (40, 5 * WIDTH)
    assert np.isfinite(whole.frames).all()


def test_layers_are_counted_from_either_end():
    wave = noise(1)
    every = embed(PIPELINE, wave, SAMPLE_RATE, layer="all")
    assert every.clip.shape == (DEPTH + 1, WIDTH)
    assert every.frames.shape == (DEPTH + 1, 5, WIDTH)
    for layer, row in ((0, 0), (DEPTH, DEPTH), (-1, DEPTH), (-DEPTH - 1, 0), ("last", DEPTH)):
        np.testing.assert_array_equal(embed(PIPELINE, wave, SAMPLE_RATE, layer=layer).clip, every.clip[row])


def test_channels_are_averaged_and_rates_do_not_matter():
    stereo = noise(2, n_channels=2)
    mono = stereo.mean(axis=0, keepdims=True)
    reference = embed(PIPELINE, mono, SAMPLE_RATE)
    np.testing.assert_array_equal(embed(PIPELINE, stereo, SAMPLE_RATE).clip, reference.clip)
    at_48k = resample(mono, SAMPLE_RATE, 48_000)
    cosine = np.dot(embed(PIPELINE, at_48k, 48_000).clip, reference.clip)
    cosine /= np.linalg.norm(embed(PIPELINE, at_48k, 48_000).clip) * np.linalg.norm(reference.clip)
    assert cosine > 0.99


def test_the_sequence_can_be_left_out():
    found = embed(PIPELINE, noise(1), SAMPLE_RATE, frames=False)
    assert found.frames is None
    assert found.times_s is None


def test_progress_counts_windows():
    seen = []
    embed(PIPELINE, noise(10), SAMPLE_RATE, progress=lambda *step: seen.append(step))
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"pool": "mein"},
            "unknown pool 'mein': choose from mean, rows, max, mean_std, rows_std, none .did you mean 'mean'",
        ),
        ({"layer": "first"}, "unknown layer 'first': choose from last, mean, all"),
        ({"layer": 3}, r"layer must lie in \[-3, 2\], got 3: this model has 2 blocks"),
        ({"layer": -4}, r"layer must lie in \[-3, 2\], got -4"),
    ],
)
def test_what_the_model_does_not_have_is_refused(arguments, message):
    with pytest.raises(ParameterError, match=message):
        embed(PIPELINE, noise(1), SAMPLE_RATE, **arguments)
