"""Recordings are read at their own rate, the full-band ones of each kind in turn."""

import csv

import numpy as np
import pytest
import soundfile

from masktools.core.errors import ParameterError
from masktools.evaluation.checks import through_mp3
from masktools.evaluation.clips import read_native


@pytest.fixture
def manifest(tmp_path):
    rng = np.random.default_rng(0)
    full, narrow = rng.normal(0, 0.1, 5 * 44_100), np.sin(np.arange(5 * 44_100) / 20)
    files = {
        "a.wav": (full, 44_100, "music", 22_050),
        "b.wav": (full[: 5 * 8_000], 8_000, "speech", 4_000),
        "narrow.wav": (narrow, 44_100, "music", ""),
        "said_narrow.wav": (full, 44_100, "music", 5_000),
        "short.wav": (full[:9_000], 44_100, "speech", 22_050),
        "silent.wav": (np.zeros(5 * 44_100), 44_100, "speech", 22_050),
    }
    with (tmp_path / "manifest.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["path", "split", "kind", "bandwidth_hz"])
        for name, (wave, sample_rate, kind, bandwidth_hz) in files.items():
            soundfile.write(tmp_path / name, wave, sample_rate)
            table.writerow([name, "test", kind, bandwidth_hz])
        table.writerow(["broken.wav", "test", "speech", ""])
        (tmp_path / "broken.wav").write_text("no audio")
    return tmp_path / "manifest.csv"


def test_full_band_recordings_come_at_their_own_rate(manifest):
    clips = read_native(manifest, 5, seconds=4.5)
    assert {(one.name, one.sample_rate, one.kind) for one in clips} == {
        ("a.wav", 44_100, "music"),
        ("b.wav", 8_000, "speech"),
    }
    assert {one.duration_s for one in clips} == {4.5}
    assert {one.name: one.fault for one in clips.left_out} == {
        "narrow.wav": "narrow",
        "said_narrow.wav": "narrow",
        "short.wav": "short",
        "silent.wav": "silent",
        "broken.wav": "broken",
    }


def test_a_recording_can_be_taken_for_one_an_octave_up(manifest):
    (first, _) = sorted(read_native(manifest, 5, octaves_up=1), key=lambda one: one.name)
    assert (first.sample_rate, first.bandwidth_hz) == (88_200, 44_100)


def test_no_more_are_read_than_are_wanted(manifest):
    assert len(read_native(manifest, 1)) == 1


def test_a_source_without_full_band_recordings_is_refused(manifest):
    with pytest.raises(ParameterError, match="there must be a full-band recording of 60 s in .*, got none"):
        read_native(manifest, 1, min_seconds=60.0)


def test_what_was_coded_keeps_its_place_and_length():
    wave = np.random.default_rng(0).normal(0, 0.1, 30_001).astype(np.float32)
    wave[:20_000] = 0
    coded = through_mp3(wave, 44_100)
    assert coded.shape == wave.shape
    assert np.abs(coded[:18_000]).max() < 1e-3
    assert np.std(coded[21_000:]) == pytest.approx(0.1, rel=0.4)
