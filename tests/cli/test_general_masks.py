"""Regions, continuations and loops: what was asked for changes, and nothing else."""

import json

import numpy as np
import pytest
import soundfile

from tests.cli.conftest import RATE, recording


@pytest.fixture
def whistle(tmp_path):
    """Noise of two seconds, with a whistle at 6 kHz from 0.8 to 1.1 s in its second channel."""
    samples = 0.1 * recording(2.0, RATE, 2)
    time_s = np.arange(len(samples)) / RATE
    sounding = (time_s >= 0.8) & (time_s < 1.1)
    samples[:, 1] += 0.5 * sounding * np.sin(2 * np.pi * 6_000 * time_s)
    soundfile.write(tmp_path / "whistle.wav", samples, RATE, "PCM_24")
    return tmp_path / "whistle.wav"


def level_db(samples, hertz):
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    near = np.abs(np.fft.rfftfreq(len(samples), 1 / RATE) - hertz) < 50
    return 20 * np.log10(spectrum[near].max())


@pytest.mark.parametrize("method", ["interpolate", "model"])
def test_a_whistle_goes_and_what_is_before_and_after_stays(command, whistle, tmp_path, method):
    out, report = tmp_path / "out.wav", tmp_path / "r.json"
    words = ("repair", whistle, "-o", out, "--region", "0.78-1.12,5500-6500", "--method", method, "--report", report)
    code, told, errors = command(*words, "--steps", "2")
    assert (code, errors) == (0, "")
    assert told.startswith(f"{out}: 0.780-1.120 s, 5500-6500 Hz from ")
    assert f"({method})" in told
    before, after = (soundfile.read(path, dtype="int32")[0] for path in (whistle, out))
    beside = np.r_[0 : round(0.78 * RATE) - 1, round(1.12 * RATE) + 1 : len(before)]
    assert np.array_equal(before[beside], after[beside])
    inside = slice(round(0.82 * RATE), round(1.08 * RATE))
    assert level_db(after[inside, 1], 6_000) < level_db(before[inside, 1], 6_000) - 15
    assert abs(level_db(after[inside, 1], 440) - level_db(before[inside, 1], 440)) < 1
    assert json.loads(report.read_text())["samples_changed"] > 0


def test_regions_come_from_files(command, whistle, tmp_path):
    (tmp_path / "r.json").write_text('[{"start_s": 0.8, "end_s": 1.1, "low_hz": 5500, "high_hz": 6500}]')
    words = ("repair", whistle, "-o", tmp_path / "out.wav", "--regions", tmp_path / "r.json", "--method", "interpolate")
    assert command(*words)[0] == 0


@pytest.mark.parametrize("region", ["0.8-1.1", "1.1-0.8,100-200", "0-1,300-200", "5-6,100-200", "soon"])
def test_regions_that_are_none_are_one_line(command, whistle, tmp_path, region):
    code, told, errors = command("repair", whistle, "-o", tmp_path / "out.wav", "--region", region)
    assert (code, told, errors.count("\n")) == (2, "", 1)
    assert not (tmp_path / "out.wav").exists()


@pytest.mark.parametrize("side", ["end", "start"])
def test_a_recording_goes_on_and_what_was_given_stays(command, stereo, tmp_path, side):
    out = tmp_path / "out.flac"
    code, told, _ = command("extend", stereo, "-o", out, "--seconds", "0.7", "--side", side, "--steps", "2")
    assert (code, told) == (0, f"{out}: 0.700 s added at the {side}\n")
    before, after = (soundfile.read(path, dtype="int32")[0] for path in (stereo, out))
    n_added = round(0.7 * 48_000)
    assert len(after) == len(before) + n_added
    kept, added = (after[:-n_added], after[-n_added:]) if side == "end" else (after[n_added:], after[:n_added])
    assert np.array_equal(kept, before)
    assert added.any()
    outer = added[-1] if side == "end" else added[0]
    assert np.abs(outer).max() < 2**31 * 1e-3, "it fades at its outer end"
    assert soundfile.info(out).subtype == "PCM_24"


def test_a_loop_changes_its_ends_only(command, wav, tmp_path):
    out = tmp_path / "loop.wav"
    code, told, _ = command("loop", wav, "-o", out, "--seam", "300ms", "--steps", "2")
    assert code == 0
    assert told.startswith(f"{out}: a seam of 0.300 s, 0.150 s at each end")
    before, after = (soundfile.read(path, dtype="int16")[0] for path in (wav, out))
    half = round(0.15 * RATE)
    assert len(before) == len(after)
    assert np.array_equal(before[half + 1 : -half - 1], after[half + 1 : -half - 1])
    assert (before[: half - 1] != after[: half - 1]).any()
    assert (before[-half + 1 :] != after[-half + 1 :]).any()


def test_seams_and_lengths_that_cannot_be_are_one_line(command, wav, tmp_path):
    for words in (("loop", wav, "--seam", "1.4s"), ("continue", wav, "--seconds", "10000")):
        code, told, errors = command(*words, "-o", tmp_path / "out.wav")
        assert (code, told, errors.count("\n")) == (2, "", 1)
        assert not (tmp_path / "out.wav").exists()
