"""Figures about two versions of a recording that one can trust."""

import json

import numpy as np
import pytest

from masktools import io
from masktools.core.errors import AudioError, ParameterError
from masktools.metrics import lsd_db, lsd_split_db
from masktools.review import Repair, as_text, compare
from masktools.review import comparison as comparison_module

RATE = 22_050


def test_a_file_and_its_copy_do_not_differ(files):
    comparison = compare(files("a.wav"), files("b.wav"))
    assert comparison.difference == (2 * 2 * RATE, 0, 0, 0, None, None, None)
    assert comparison.notes == ()
    assert comparison.title == "a.wav and b.wav"


def test_samples_are_counted_inside_and_outside_the_repairs(files, music):
    damaged = music.copy()
    damaged[:, RATE : RATE + 441] = 0  # 20 ms
    damaged[1, 100] += 0.25
    repairs = [Repair(1.0, 1.02)]
    difference = compare(files("a.wav", damaged), files("b.wav"), repairs=repairs).difference
    n_inside = int(np.count_nonzero(music[:, RATE : RATE + 441]))
    assert difference.n_differ_inside == n_inside
    assert difference.n_differ_outside == 1
    assert difference.n_differ == n_inside + 1
    assert difference.peak_outside_db == pytest.approx(20 * np.log10(0.25), abs=0.01)


def test_a_repair_of_one_channel_does_not_cover_another(files, music):
    changed = music.copy()
    changed[:, 500:520] += 0.1
    repairs = [Repair(500 / RATE, 520 / RATE, channels=(0,))]
    difference = compare(files("a.wav"), files("b.wav", changed), repairs=repairs).difference
    assert (difference.n_differ_inside, difference.n_differ_outside) == (20, 20)


def test_levels_are_those_of_a_sine_and_of_the_peak(files):
    sine = 0.5 * np.sin(2 * np.pi * 441 * np.arange(RATE) / RATE, dtype=np.float32)[None]
    comparison = compare(files("a.wav", sine), files("b.wav", 0.5 * sine))
    assert comparison.before.level.level_db == pytest.approx(-6.02, abs=0.01)
    assert comparison.after.level.peak_db == pytest.approx(-12.04, abs=0.05)
    assert comparison.difference.rms_db == pytest.approx(-12.04, abs=0.01)


def test_silence_has_no_level(files):
    silent = compare(files("a.wav", np.zeros((1, 999), np.float32)), files("b.wav", np.zeros((1, 999), np.float32)))
    assert silent.before.level == (None, None, 0)
    assert "silent" in as_text(silent)


def test_the_length_of_blocks_does_not_matter(files, music, monkeypatch):
    changed = music + np.float32(0.25) * (np.arange(music.shape[1]) % 997 == 0)
    known = {"reference": files("r.wav"), "repairs": [Repair(0.5, 0.9)], "cutoff_hz": 3000.0}
    whole = compare(files("a.wav", 0.5 * music), files("b.wav", changed), **known)
    monkeypatch.setattr(comparison_module, "_BLOCK", 1 << 13)
    parts = compare(files("a.wav", 0.5 * music), files("b.wav", changed), **known)
    assert parts.difference[:4] == whole.difference[:4]
    assert parts.difference[4:] == pytest.approx(whole.difference[4:], abs=1e-6)
    assert parts.profile == pytest.approx(whole.profile)
    for one, other in zip(parts.versions[:2], whole.versions[:2], strict=True):
        assert one.distance == pytest.approx(other.distance, abs=1e-6)


def test_distances_to_a_reference_are_those_of_the_metrics(files, music):
    before, after = np.zeros_like(music), (np.rint(16384 * music) / 32768).astype(np.float32)
    comparison = compare(files("a.wav", before), files("b.wav", after), reference=files("r.wav"), cutoff_hz=3000.0)
    expected = lsd_split_db(music, after, RATE, 3000.0)
    assert comparison.after.distance == pytest.approx(tuple(expected), abs=1e-6)
    assert comparison.before.distance.lsd_db > comparison.after.distance.lsd_db
    plain = compare(files("a.wav", before), files("b.wav", after), reference=files("r.wav"))
    assert plain.after.distance == (None, None, pytest.approx(lsd_db(music, after, RATE), abs=1e-6))
    assert "LSD below the cutoff" in as_text(comparison)
    assert "LSD below the cutoff" not in as_text(plain)


def test_inside_a_repair_levels_seams_and_distances_are_measured(files, music):
    damaged, clicking = music.copy(), music.copy()
    damaged[:, RATE : RATE + 2205] = 0
    clicking[:, RATE : RATE + 2205] = 0.2
    known = {"reference": files("r.wav"), "repairs": [Repair(1.0, 1.1, method="model"), Repair(0.0, 0.05)]}
    good = compare(files("a.wav", damaged), files("b.wav"), **known).repair_figures
    bad = compare(files("a.wav", damaged), files("b.wav", clicking), **known).repair_figures
    assert good[0].level_before_db is None
    assert good[0].level_after_db == pytest.approx(-23, abs=6)
    assert good[0].lsd_after_db == 0 < good[0].lsd_before_db
    assert good[0].seam_db < 6 < 15 < bad[0].seam_db
    assert good[1].seam_db is None  # its only join inside the recording is too near to the beginning


def test_other_rates_are_compared_after_resampling_and_it_is_said(files, music):
    comparison = compare(files("a.wav", io.resample(music, RATE, 16_000), 16_000), files("b.wav"))
    assert comparison.sample_rate == RATE
    assert comparison.difference.n_differ is None
    assert comparison.difference.rms_db < comparison.after.level.level_db - 20
    assert any("16000 Hz before and 22050 Hz after: compared at 22050 Hz" in note for note in comparison.notes)
    assert "samples that differ" not in as_text(comparison)


def test_resampling_in_blocks_leaves_no_seams(files, music, monkeypatch):
    paths = files("a.wav", io.resample(music, RATE, 16_000), 16_000, "FLOAT"), files("b.wav", subtype="FLOAT")
    whole = compare(*paths)
    monkeypatch.setattr(comparison_module, "_BLOCK", 5000)
    assert compare(*paths).difference.rms_db == pytest.approx(whole.difference.rms_db, abs=0.01)


def test_other_lengths_channels_and_codings_are_said(files, music):
    longer = np.concatenate([music, music[:, :441]], axis=1)
    notes = compare(files("a.wav"), files("b.wav", longer)).notes
    assert notes == (
        "The lengths differ: b.wav has 441 samples more at 22050 Hz (0.020 s), which are left out of the comparison.",
    )
    mixed = compare(files("a.wav"), files("b.wav", music.mean(axis=0, keepdims=True), subtype="FLOAT"))
    assert "2 before and 1 after: compared as the means of all channels" in mixed.notes[0]
    assert "PCM_16 before and FLOAT after" in mixed.notes[1]
    assert mixed.difference.n_differ is None
    assert mixed.difference.peak_db is None or mixed.difference.peak_db < -100


def test_samples_that_are_not_finite_differ_from_all_that_are(tmp_path, files, music):
    import soundfile

    broken = music.copy()
    broken[0, 1000:1010] = np.nan
    broken[1, 50] = np.inf
    soundfile.write(tmp_path / "a.wav", broken.T, RATE, "FLOAT")
    comparison = compare(tmp_path / "a.wav", files("b.wav", subtype="FLOAT"))
    assert comparison.difference.n_differ == 11
    assert "11 samples of a.wav are not finite" in comparison.notes[0]
    assert np.isfinite(comparison.before.level.level_db)


def test_differences_below_what_float32_holds_are_seen(tmp_path, music):
    import soundfile

    one = music.astype(np.float64)
    other = one.copy()
    other[0, np.abs(one[0]).argmax()] += 2.0**-31
    for name, samples in (("a.wav", one), ("b.wav", other)):
        soundfile.write(tmp_path / name, samples.T, RATE, "PCM_32")
    assert compare(tmp_path / "a.wav", tmp_path / "b.wav").difference.n_differ == 1


def test_lossy_files_can_be_compared(files):
    comparison = compare(files("a.wav"), files("b.ogg", subtype=None))
    assert comparison.after.format == "OGG"
    assert comparison.notes == ("b.ogg is coded lossily (VORBIS): the coding alone makes all samples differ.",)
    assert comparison.difference.n_differ > 1000
    assert -80 < comparison.difference.rms_db < -30


def test_a_single_sample_can_be_compared(files):
    comparison = compare(files("a.wav", np.zeros((1, 1), np.float32)), files("b.wav", np.ones((1, 1), np.float32) / 2))
    assert comparison.difference.n_differ == 1


def test_all_figures_go_into_json(files, music):
    comparison = compare(
        files("a.wav"),
        files("b.wav", 0.5 * music),
        reference=files("r.wav"),
        repairs=[Repair(0.5, 0.6, (1,), "janssen", 100.0, 4000.0)],
        cutoff_hz=4000.0,
    )
    written = json.loads(json.dumps(comparison.to_json()))
    assert written["after"]["lsd_db"] == pytest.approx(6.0, abs=1)
    assert written["compared"]["n_compared"] == 4 * RATE
    assert written["gaps"][0]["channels"] == [1]
    assert written["gaps"][0]["high_hz"] == 4000.0
    assert written["gaps"][0]["level_after_db"] == pytest.approx(written["gaps"][0]["level_before_db"] - 6.02, abs=0.1)


def test_what_cannot_be_compared_is_refused(files, tmp_path):
    paths = files("a.wav"), files("b.wav")
    with pytest.raises(AudioError, match=r"c\.wav does not exist"):
        compare(paths[0], tmp_path / "c.wav")
    with pytest.raises(ParameterError, match="cutoff_hz must be above 0 Hz, got -1"):
        compare(*paths, cutoff_hz=-1.0)
    with pytest.raises(ParameterError, match=r"must be among 0 to 1, got \(2,\) at 0.5 s"):
        compare(*paths, repairs=[Repair(0.5, 0.6, (2,))])
