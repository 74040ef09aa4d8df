"""The measures of restoration, checked against sounds whose distances are known."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import butter, sosfiltfilt

from masktools.core.errors import ParameterError
from masktools.metrics import (
    band_level_db,
    level_db,
    level_error_db,
    lsd_db,
    lsd_split_db,
    seam_crest_db,
    si_sdr_db,
    third_octave_error_db,
)

RATE = 22_050


def noise(seconds=2.0, seed=0, level=0.1):
    return np.random.default_rng(seed).normal(0, level, round(seconds * RATE))


def tone(hz, seconds=2.0, amplitude=1.0):
    return amplitude * np.sin(2 * np.pi * hz * np.arange(round(seconds * RATE)) / RATE)


def low_passed(wave, hz):
    return sosfiltfilt(butter(10, hz, fs=RATE, output="sos"), wave)


def silenced(wave, start_s, end_s):
    return np.where((np.arange(len(wave)) >= start_s * RATE) & (np.arange(len(wave)) < end_s * RATE), 0.0, wave)


class TestEqualWaves:
    @pytest.mark.parametrize("wave", [noise(), tone(440), np.zeros(RATE), np.stack([noise(), tone(99)])])
    def test_are_at_distance_zero(self, wave):
        assert lsd_db(wave, wave, RATE) == 0
        assert lsd_split_db(wave, wave, RATE, 4000) == (0, 0, 0)
        assert third_octave_error_db(wave, wave, RATE) == (0, 0)
        assert level_error_db(wave, wave, RATE) == 0

    def test_have_no_distortion(self):
        assert si_sdr_db(noise(), noise()) == np.inf

    @given(st.floats(-60, 0), st.integers(1, 3), st.floats(0.001, 1))
    @settings(max_examples=25, deadline=None)
    def test_are_at_distance_zero_however_short_or_faint(self, level, channels, seconds):
        wave = np.stack([noise(seconds, seed, 10 ** (level / 20)) for seed in range(channels)])
        assert lsd_db(wave, wave, RATE) == 0
        assert third_octave_error_db(wave, wave, RATE) == (0, 0)


class TestAKnownGain:
    @pytest.mark.parametrize("gain_db", [-12.0, -3.0, 6.0])
    def test_is_what_every_distance_reads(self, gain_db):
        quiet = noise()
        loud = quiet * 10 ** (gain_db / 20)
        assert level_error_db(quiet, loud, RATE) == pytest.approx(gain_db)
        assert lsd_db(quiet, loud, RATE) == pytest.approx(abs(gain_db), rel=0.01)
        rms, bias = third_octave_error_db(quiet, loud, RATE)
        assert (rms, bias) == pytest.approx((abs(gain_db), gain_db))

    @given(st.floats(0.01, 50))
    @settings(max_examples=25, deadline=None)
    def test_does_not_change_the_scale_invariant_ratio(self, gain):
        true, found = noise(seed=1), noise(seed=1) + noise(seed=2)
        assert si_sdr_db(true, gain * found) == pytest.approx(si_sdr_db(true, found))


class TestLevels:
    def test_a_full_scale_sine_reads_zero(self):
        assert level_db(tone(1000), RATE) == pytest.approx(0, abs=1e-3)
        assert band_level_db(tone(1000), RATE, (900, 1100)) == pytest.approx(0, abs=0.01)

    def test_a_tone_is_in_its_band_only(self):
        assert band_level_db(tone(1000, amplitude=0.1), RATE, (500, 2000)) == pytest.approx(-20, abs=0.01)
        assert band_level_db(tone(1000, amplitude=0.1), RATE, (4000, 11_025)) == -80

    def test_silence_reads_the_floor(self):
        assert level_db(np.zeros(100), RATE) == -80

    def test_the_powers_of_the_channels_are_averaged(self):
        half = np.stack([tone(1000), np.zeros(2 * RATE)])
        assert level_db(half, RATE) == pytest.approx(-3.01, abs=0.01)
        assert band_level_db(half, RATE, (900, 1100)) == pytest.approx(-3.01, abs=0.01)

    def test_a_span_is_all_that_counts(self):
        wave = silenced(tone(1000), 1.0, 1.5)
        assert level_db(wave, RATE, (1.0, 1.5)) == -80
        assert level_db(wave, RATE, (0.2, 0.9)) == pytest.approx(0, abs=0.01)

    def test_white_noise_has_the_power_of_its_bandwidth(self):
        total, half = (band_level_db(noise(10), RATE, (0, high)) for high in (RATE / 2, RATE / 4))
        assert total == pytest.approx(level_db(noise(10), RATE), abs=0.05)
        assert total - half == pytest.approx(3.01, abs=0.2)


class TestSpectralDistance:
    def test_of_independent_noises_is_that_of_two_exponential_powers(self):
        # The level of a noise bin has a standard deviation of 5.57 dB (pi / sqrt(6) nepers), two differ by 7.88 dB.
        assert lsd_db(noise(20, 1), noise(20, 2), RATE, band_hz=(50, 10_900)) == pytest.approx(7.88, abs=0.1)

    def test_a_low_pass_hurts_above_its_cutoff_only(self):
        lo, hi, full = lsd_split_db(noise(), low_passed(noise(), 4000), RATE, 3500)
        assert lo < 0.1
        assert hi > 20
        assert lo < full < hi

    def test_a_gap_hurts_within_its_span_only(self):
        damaged = silenced(noise(), 0.8, 1.2)
        assert lsd_db(noise(), damaged, RATE, span_s=(0.0, 0.7)) == 0
        assert lsd_db(noise(), damaged, RATE, span_s=(0.9, 1.1)) > 30

    def test_a_gap_shorter_than_a_frame_still_has_one(self):
        damaged = silenced(noise(), 1.0, 1.002)
        assert lsd_db(noise(), damaged, RATE, span_s=(1.0, 1.002)) > 0

    def test_what_lies_below_the_floor_does_not_count(self):
        faint = noise(level=1e-6)
        assert lsd_db(faint, np.zeros_like(faint), RATE) == 0
        assert lsd_db(faint, np.zeros_like(faint), RATE, floor_db=-200) > 20

    def test_sixteen_bits_hardly_change_it(self):
        true, found = noise(), low_passed(noise(), 4000)
        rounded = np.round(found * 32_768) / 32_768
        assert lsd_db(true, rounded, RATE) == pytest.approx(lsd_db(true, found, RATE), abs=0.1)

    def test_channels_are_averaged(self):
        quiet, loud = noise(), 10 ** (6 / 20) * noise()
        two = lsd_db(np.stack([quiet, quiet]), np.stack([quiet, loud]), RATE)
        assert two == pytest.approx(3, rel=0.01)


class TestThirdOctaves:
    def test_two_noises_of_one_colour_agree_though_no_sample_does(self):
        rms, bias = third_octave_error_db(noise(10, 1), noise(10, 2), RATE, band_hz=(1000, 11_025))
        assert rms < 1.2
        assert abs(bias) < 0.1

    def test_a_missing_band_is_a_negative_bias(self):
        rms, bias = third_octave_error_db(noise(), low_passed(noise(), 4000), RATE, band_hz=(6000, 11_025))
        assert bias < -15
        assert rms >= -bias

    def test_a_band_outside_is_not_asked_about(self):
        assert third_octave_error_db(noise(), low_passed(noise(), 4000), RATE, band_hz=(200, 2500)).rms < 0.05


class TestSeams:
    @pytest.mark.parametrize("seed", range(4))
    def test_plain_noise_has_none(self, seed):
        assert abs(seam_crest_db(noise(seed=seed), RATE, 1.0)) < 6

    def test_a_jump_of_phase_sticks_out(self):
        background = noise(level=1e-3)
        jumping = np.concatenate([tone(300, 1.0), tone(300, 3.0)[RATE + 20 : 2 * RATE + 20]])
        assert seam_crest_db(tone(300) + background, RATE, 1.0) < 6
        assert seam_crest_db(jumping + background, RATE, 1.0) > 20

    def test_a_click_is_found_in_the_channel_that_has_it(self):
        wave = low_passed(noise(), 2000)
        clicked = wave.copy()
        clicked[RATE] += 0.5
        assert seam_crest_db(np.stack([wave, clicked]), RATE, 1.0) > 20
        assert seam_crest_db(np.stack([wave, clicked]), RATE, 1.5) < 6

    def test_silence_joined_to_silence_is_none(self):
        assert seam_crest_db(np.zeros(RATE), RATE, 0.5) == 0


class TestDistortion:
    def test_independent_noise_of_a_tenth_of_the_level_is_twenty_db_below(self):
        assert si_sdr_db(noise(30, 1), noise(30, 1) + 0.1 * noise(30, 2)) == pytest.approx(20, abs=0.1)

    def test_an_unrelated_wave_is_mostly_distortion(self):
        assert si_sdr_db(noise(seed=1), noise(seed=2)) < -30

    def test_silence_instead_of_sound_is_all_distortion(self):
        assert si_sdr_db(noise(), np.zeros(2 * RATE)) == -np.inf


class TestRefusals:
    def test_waves_must_have_one_shape(self):
        with pytest.raises(ParameterError, match=r"reference's shape \(44100,\), got \(22050,\)"):
            lsd_db(noise(), noise(1.0), RATE)

    def test_waves_must_hold_something(self):
        with pytest.raises(ParameterError, match=r"not empty, got \(0,\)"):
            level_db(np.zeros(0), RATE)

    @pytest.mark.parametrize("band", [(5000, 4000), (-1, 4000), (4000, 12_000)])
    def test_a_band_must_lie_below_the_nyquist_frequency(self, band):
        with pytest.raises(ParameterError, match="band must lie in 0-11025 Hz"):
            band_level_db(noise(), RATE, band)

    def test_a_band_must_hold_a_bin(self):
        with pytest.raises(ParameterError, match="band must hold a bin of 10.8 Hz, got 1-2 Hz"):
            lsd_db(noise(), noise(), RATE, band_hz=(1, 2))
        with pytest.raises(ParameterError, match="centre of a third octave, got 1010-1020 Hz"):
            third_octave_error_db(noise(), noise(), RATE, band_hz=(1010, 1020))

    @pytest.mark.parametrize("span", [(-0.1, 1.0), (1.0, 1.0), (1.0, 2.1)])
    def test_a_span_must_lie_inside_the_recording(self, span):
        with pytest.raises(ParameterError, match="span must lie in 0-2 s"):
            level_db(noise(), RATE, span)

    def test_a_join_must_lie_inside_the_recording(self):
        with pytest.raises(ParameterError, match="join must lie inside the recording of 2 s, got 2 s"):
            seam_crest_db(noise(), RATE, 2.0)
        with pytest.raises(ParameterError, match="a seam needs 194 samples around it, got 100"):
            seam_crest_db(noise()[:100], RATE, 0.002)

    def test_a_reference_must_sound(self):
        with pytest.raises(ParameterError, match="reference must not be silent"):
            si_sdr_db(np.zeros(10), np.ones(10))
