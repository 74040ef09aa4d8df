"""What the demonstration measures of a repair, on repairs whose quality is known."""

import numpy as np
import pytest

from masktools.demo.measure import RATE, at_rate, band_rows, gap_rows, likeness, sound_row

NOISE = np.random.default_rng(0).normal(0, 0.1, (2, 2 * RATE)).astype(np.float32)
GAPS = ((0.5, 0.9), (1.2, 1.6))


def in_gaps(wave, factor):
    changed = wave.copy()
    for start_s, end_s in GAPS:
        changed[:, round(start_s * RATE) : round(end_s * RATE)] *= factor
    return changed


def test_gaps_are_measured_one_by_one_and_method_by_method():
    fills = {"perfect": NOISE, "empty": in_gaps(NOISE, 0.0)}
    rows = gap_rows("noise", NOISE, fills, RATE, GAPS)
    assert [(row["start_s"], row["method"]) for row in rows] == [
        (0.5, "perfect"),
        (0.5, "empty"),
        (1.2, "perfect"),
        (1.2, "empty"),
    ]
    assert rows[0]["lsd_db"] == rows[0]["level_error_db"] == 0
    assert rows[0]["envelope_db"] == 0
    assert rows[1]["lsd_db"] > 20
    assert rows[1]["level_error_db"] < -50
    assert all(row["n_changed"] == 0 for row in rows)


def test_samples_changed_outside_the_gaps_are_counted():
    touched = NOISE.copy()
    touched[0, [10, 20]] += 0.1
    touched[:, round(0.6 * RATE)] = 0
    assert gap_rows("noise", NOISE, {"touched": touched}, RATE, GAPS)[0]["n_changed"] == 2


def test_a_band_that_is_louder_has_a_positive_bias_and_the_level_says_so():
    louder = (NOISE * 10 ** (3 / 20)).astype(np.float32)
    same, loud = band_rows("noise", NOISE, {"same": NOISE, "louder": louder}, RATE, 4000)
    assert same["lsd_low_db"] == same["lsd_high_db"] == same["envelope_rms_db"] == 0
    assert loud["envelope_bias_db"] == pytest.approx(3, abs=0.01)
    assert loud["high_level_db"] - loud["high_level_true_db"] == pytest.approx(3, abs=0.01)
    assert loud["lsd_low_db"] == pytest.approx(3, abs=0.05)


def test_a_tone_a_noise_and_a_rhythm_measure_different():
    time_s = np.arange(2 * RATE) / RATE
    tone = np.sin(2 * np.pi * 1000 * time_s)[None].astype(np.float32)
    of_tone, of_noise, of_beats = (
        sound_row("", wave, RATE) for wave in (tone, NOISE, tone * (0.05 + 0.95 * (time_s % 0.5 < 0.1)))
    )
    assert of_tone["centroid_hz"] == pytest.approx(1000, abs=20)
    assert of_noise["centroid_hz"] == pytest.approx(5512, rel=0.03)
    assert of_tone["flatness"] < 0.01
    assert of_noise["flatness"] == pytest.approx(0.56, abs=0.02)
    assert of_tone["unsteadiness_db"] < 1 < 5 < of_beats["unsteadiness_db"]


def test_a_recording_of_another_rate_is_measured_at_the_common_one():
    tone = np.sin(2 * np.pi * 1000 * np.arange(48_000) / 48_000)[None]
    assert at_rate(tone, 48_000).shape == (1, RATE)
    assert sound_row("", tone, 48_000)["centroid_hz"] == pytest.approx(1000, abs=20)


def test_likeness_does_not_see_what_all_have_in_common():
    vectors = np.array([[5.0, 1, 0], [5, 1.1, 0], [5, -1, 0.1]])
    cosines = likeness(vectors)
    np.testing.assert_allclose(np.diag(cosines), 1)
    assert cosines[0, 1] > 0.9
    assert cosines[0, 2] < -0.9
