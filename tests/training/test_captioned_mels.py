"""Mel spectrograms with captions, and what training draws from them."""

import csv
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from masktools.core.errors import ParameterError
from masktools.mel import MelConfig, MelFrontEnd
from masktools.training.captioned_mels import Augmentation, captioned_mels, long_mel, training_crop
from masktools.training.shards import build_cache

MEL = MelConfig(f_max=11_025.0)


@pytest.fixture
def recordings(tmp_path):
    """Write a manifest of a long and a very short recording, and return the cache made of it."""
    rows = []
    for name, n_samples, measured in (("long", 70_000, "slow;quiet"), ("short", 100, "")):
        wave = 0.1 * np.random.default_rng(0).standard_normal(n_samples)
        soundfile.write(tmp_path / f"{name}.wav", wave, 22_050)
        row = {"path": f"{name}.wav", "split": "train", "kind": "music", "labels": "drums;loop", "nc": "0"}
        rows.append(row | {"caption": f"A {name} drum loop.", "measured": measured})
    with (tmp_path / "manifest.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return build_cache([tmp_path / "manifest.csv"], tmp_path / "cache")


def test_recordings_come_with_the_tags_of_their_manifest(recordings, tmp_path):
    long, short = captioned_mels(recordings, MEL, tmp_path / "mels")
    assert long.tags == {"drums", "loop", "slow", "quiet", "music"}
    assert short.tags == {"drums", "loop", "music"}
    assert (long.caption, long.kind, long.split) == ("A long drum loop.", "music", "train")
    assert long.mel.shape == (70_000 // 256, 80)
    assert short.mel.shape == (1, 80)


@pytest.fixture
def computed(monkeypatch):
    """Return the lengths of the mel spectrograms that were computed."""
    seen = []

    def counted(front_end, wave, n_frames):
        seen.append(n_frames)
        return long_mel(front_end, wave, n_frames)

    monkeypatch.setattr("masktools.training.captioned_mels.long_mel", counted)
    return seen


def test_mels_are_those_of_the_front_end_and_computed_once(recordings, tmp_path, computed):
    cache = recordings
    first, again = (captioned_mels(cache, MEL, tmp_path / "mels") for _ in range(2))
    assert computed == [273, 1]
    assert np.array_equal(first[0].mel, again[0].mel)
    wave = torch.from_numpy(cache.wave(cache.recordings[0]))[None]
    np.testing.assert_allclose(first[0].mel, MelFrontEnd(MEL)(wave)[0].T.numpy(), atol=1e-3)


def test_a_long_recording_is_computed_in_windows_without_a_seam(recordings, tmp_path, monkeypatch):
    whole = captioned_mels(recordings, MEL, tmp_path / "whole")[0].mel
    monkeypatch.setattr("masktools.training.captioned_mels._WINDOW_FRAMES", 50)
    np.testing.assert_array_equal(captioned_mels(recordings, MEL, tmp_path / "windows")[0].mel, whole)


def test_mels_of_other_settings_are_not_taken_for_these(recordings, tmp_path):
    captioned_mels(recordings, MEL, tmp_path / "mels")
    with pytest.raises(ParameterError, match="of another cache or configuration"):
        captioned_mels(recordings, MelConfig(), tmp_path / "mels")


def test_a_cache_of_another_rate_is_refused(recordings, tmp_path):
    with pytest.raises(ParameterError, match="must be at 16000 Hz, got 22050 Hz"):
        captioned_mels(recordings, MelConfig(sample_rate=16_000), tmp_path / "mels")


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 200), st.integers(1, 200), st.booleans(), st.integers(0, 2**31))
def test_a_crop_has_its_size_and_range_whatever_the_recording(n_first, n_second, mixed, seed):
    rng = np.random.default_rng(seed)
    first, second = (rng.uniform(-1, 1, (n, 80)).astype(np.float16) for n in (n_first, n_second))
    crop = training_crop(first, second if mixed else None, Augmentation(n_frames=64), MEL, rng)
    assert crop.shape == (80, 64)
    assert crop.dtype == np.float32
    assert np.abs(crop).max() <= 1.0


def test_the_same_seed_gives_the_same_crop():
    mel = np.random.default_rng(0).uniform(-1, 1, (100, 80))
    crops = [training_crop(mel, None, Augmentation(n_frames=32), MEL, np.random.default_rng(7)) for _ in range(2)]
    assert np.array_equal(*crops)


def test_silence_stays_silent_at_any_gain():
    crop = training_crop(np.full((50, 80), -1.0), None, Augmentation(gain_db=30.0), MEL, np.random.default_rng(0))
    assert (crop == -1.0).all()


def test_without_any_change_a_crop_is_a_stretch_of_its_recording():
    plain = Augmentation(
        n_frames=20, gain_db=0, tilt_db=0, speed=1.0, shift_bands=0, low_pass_share=0, stripe_bands=0, stripe_frames=0
    )
    mel = np.random.default_rng(0).uniform(-1, 1, (20, 80)).astype(np.float32)
    np.testing.assert_array_equal(training_crop(mel, None, plain, MEL, np.random.default_rng(1)), mel.T)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"n_frames": 0}, "n_frames must be at least 1"),
        ({"speed": 0.5}, "speed must be at least 1"),
        ({"low_pass_share": 2.0}, r"low_pass_share must lie in \[0, 1\]"),
        ({"gain_db": -1.0}, "gain_db must be at least 0 dB"),
    ],
)
def test_changes_out_of_range_are_refused(wrong, message):
    with pytest.raises(ParameterError, match=message):
        Augmentation(**wrong)


def test_of_two_ranks_that_want_the_same_mels_one_computes_them(recordings, tmp_path, computed):
    barrier = threading.Barrier(2)

    def rank(_):
        barrier.wait()
        return captioned_mels(recordings, MEL, tmp_path / "mels")[0].mel

    with ThreadPoolExecutor(2) as pool:
        one, other = pool.map(rank, range(2))
    assert computed == [273, 1]
    assert np.array_equal(one, other)
