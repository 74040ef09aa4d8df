"""Every kind of damage is found to the sample where it is, and none where there is none."""

import numpy as np
import pytest

from masktools.core.errors import ParameterError
from masktools.detection import DAMAGES, Damage, find_damage
from masktools.detection.damage import apart, joined
from tests.detection.sounds import RATE, low_passed, noise, tones

ALL = tuple(DAMAGES)


def with_zeros(wave, *spans, channel=slice(None)):
    for start, stop in spans:
        wave[channel, start:stop] = 0
    return wave


def test_zeros_are_found_to_the_sample():
    spans = [(5_000, 5_045), (9_000, 9_500), (20_000, 26_000)]
    found = find_damage(with_zeros(noise(), *spans), RATE)
    assert found == [Damage(*span, "zeros", (0,)) for span in spans]


def test_zeros_across_the_borders_of_windows_are_one():
    wave = with_zeros(noise(12.0), (65_000, 66_000), (131_072, 131_200), (150_000, 220_000))
    found = find_damage(wave, RATE)
    assert [(one.start, one.stop) for one in found] == [(65_000, 66_000), (131_072, 131_200), (150_000, 220_000)]


def test_zeros_shorter_than_two_milliseconds_are_none():
    assert find_damage(with_zeros(noise(), (5_000, 5_040)), RATE) == []
    assert len(find_damage(with_zeros(noise(), (5_000, 5_040)), RATE, min_gap_s=0.001)) == 1


def test_silence_at_the_beginning_and_at_the_end_is_no_damage():
    assert find_damage(with_zeros(noise(), (0, 9_000), (40_000, 44_100)), RATE) == []


def test_a_pause_between_takes_is_no_damage():
    assert find_damage(with_zeros(noise(10.0), (50_000, 50_000 + 4 * RATE + 1)), RATE) == []
    assert find_damage(with_zeros(noise(), (20_000, 30_000)), RATE, max_gap_s=0.4) == []


def test_digital_silence_after_a_note_has_died_away_is_no_damage():
    wave = noise()
    wave[:, 10_000:20_000] *= np.exp(-np.arange(10_000) / 700).astype(np.float32)
    assert find_damage(with_zeros(wave, (20_000, 25_000)), RATE) == []


def test_a_word_that_is_cut_off_before_a_pause_is_damage():
    wave = noise()
    wave[:, 30_000:] *= 0.003  # a pause, not silent
    assert find_damage(with_zeros(wave, (25_000, 32_000)), RATE) == [Damage(25_000, 32_000, "zeros", (0,))]


def test_a_wave_that_comes_to_rest_on_zero_and_leaves_it_is_no_damage():
    step = np.float32(1 / 32_768)
    wave = np.round(noise() / step) * step
    wave[:, 19_999], wave[:, 20_200] = step, -2 * step
    assert find_damage(with_zeros(wave, (20_000, 20_200)), RATE) == []


def test_the_same_zeros_in_all_channels_are_one_damage():
    found = find_damage(with_zeros(noise(n_channels=3), (9_000, 9_500)), RATE)
    assert found == [Damage(9_000, 9_500, "zeros", (0, 1, 2))]


def test_zeros_in_one_channel_are_damage_of_that_channel():
    wave = with_zeros(noise(n_channels=2), (9_000, 9_500), channel=1)
    assert find_damage(wave, RATE) == [Damage(9_000, 9_500, "zeros", (1,))]


def test_a_sample_that_is_zero_by_chance_does_not_belong_to_it():
    wave = with_zeros(noise(n_channels=2), (9_000, 9_500))
    wave[0, 8_998:9_000] = 0
    assert find_damage(wave, RATE) == [Damage(9_000, 9_500, "zeros", (0, 1))]


def test_a_held_value_is_found():
    wave = noise()
    wave[:, 9_000:9_500] = wave[:, 8_999:9_000]
    assert find_damage(wave, RATE) == [Damage(8_999, 9_500, "hold", (0,))]


def test_a_clipped_wave_holds_nothing():
    wave = np.clip(tones(hz=(40.0,), level=1.5) + noise(level=1e-3), -0.7, 0.7)
    assert find_damage(wave, RATE) == []
    assert find_damage(np.clip(3 * tones(hz=(40.0,), level=1.5), -1, 1), RATE) == []


def test_a_pulse_wave_holds_nothing():
    time_s = np.arange(2 * RATE) / RATE
    wave = np.where((time_s * 97) % 1 < 0.25, 0.3, 0.0)[None].astype(np.float32)
    assert find_damage(wave, RATE, ("zeros", "hold", "repeat")) == []


def test_coarse_steps_of_eight_bits_are_no_damage():
    slow = tones(hz=(30.0,), level=0.03)
    assert find_damage((np.rint(slow * 128) / 128).astype(np.float32), RATE) == []


@pytest.mark.parametrize("length", [110, 441, 1_102])
def test_a_packet_played_again_is_found(length):
    wave = noise()
    wave[:, 9_000 : 9_000 + length] = wave[:, 9_000 - length : 9_000]
    assert find_damage(wave, RATE, ("repeat",)) == [Damage(9_000, 9_000 + length, "repeat", (0,))]


def test_a_packet_played_three_times_is_one_damage():
    wave = noise()
    for turn in range(3):
        wave[:, 9_000 + 441 * turn : 9_441 + 441 * turn] = wave[:, 8_559:9_000]
    assert find_damage(wave, RATE, ("repeat",)) == [Damage(9_000, 9_000 + 3 * 441, "repeat", (0,))]


def test_a_note_of_an_exact_period_repeats_nothing():
    period = noise(0.01)[:, :200]
    wave = np.tile(period, 100)
    assert find_damage(wave, RATE, ("repeat",)) == []


def coded(wave, start, stop):
    """Put the noise that a lossy codec leaves where zeros were: fading in from either side."""
    wave = wave.copy()
    inside = np.arange(stop - start)
    edge = np.exp(-np.minimum(inside, inside[::-1]) / 22.0)
    wave[:, start:stop] = wave[:, start:stop] * np.maximum(edge * 0.5, 1e-3)
    return wave


@pytest.mark.parametrize("length_s", [0.012, 0.05, 1.0])
def test_a_dropout_is_found_though_it_is_not_silent(length_s):
    start, stop = 20_000, 20_000 + round(length_s * RATE)
    (found,) = find_damage(coded(noise(4.0), start, stop), RATE, ("dropout",))
    assert found.kind == "dropout"
    assert abs(found.start - start) < 0.006 * RATE
    assert abs(found.stop - stop) < 0.006 * RATE


def test_a_dropout_across_the_borders_of_windows_is_one():
    (found,) = find_damage(coded(noise(12.0), 65_000, 140_000), RATE, ("dropout",))
    assert found.stop - found.start == pytest.approx(75_000, abs=300)


def test_a_low_note_that_crosses_zero_is_no_dropout():
    assert find_damage(tones(hz=(25.0,), level=0.5), RATE, ("dropout",)) == []


def test_a_sound_that_fades_and_comes_back_is_no_dropout():
    wave = noise(4.0)
    wave[:, 30_000:40_000] *= np.exp(-np.arange(10_000) / 500).astype(np.float32)
    assert find_damage(wave, RATE, ("dropout",)) == []


@pytest.mark.parametrize("hit_s", [0.004, 0.012])
def test_a_sound_that_ticks_is_not_broken_between_its_ticks(hit_s):
    wave, hit = noise(4.0), round(hit_s * RATE)
    for start in range(0, wave.shape[1], hit + RATE // 20):
        wave[:, start + hit : start + hit + RATE // 20] *= 1e-3
    assert find_damage(wave, RATE, ("dropout",)) == []


def test_a_click_is_found():
    wave = low_passed(noise(4.0), RATE, 5_000)
    wave[0, 30_000] += 0.5
    (found,) = find_damage(wave, RATE, ("clicks",))
    assert found.start <= 30_000 < found.stop
    assert found.stop - found.start < 20


def test_the_onset_of_a_note_is_no_click():
    wave = noise(4.0, level=1e-3)
    wave[:, 30_000:] += tones(4.0)[:, 30_000:] + noise(4.0, level=0.05, seed=1)[:, 30_000:]
    assert find_damage(wave, RATE, ("clicks",)) == []


def test_the_edges_of_a_gap_are_no_clicks():
    found = find_damage(with_zeros(low_passed(noise(4.0), RATE, 3_000), (30_000, 31_000)), RATE, ALL)
    assert [one.kind for one in found] == ["zeros"]


def test_nan_and_infinity_are_found_wherever_they_are():
    wave = noise(8.0, n_channels=2)
    wave[0, 0] = np.nan
    wave[1, 65_530:65_540] = np.inf, np.nan, 0, -np.inf, 0, 0, np.nan, np.nan, 0.1, np.nan
    wave[1, -3:] = -np.inf
    assert find_damage(wave, RATE, ALL) == [
        Damage(0, 1, "non_finite", (0,)),
        Damage(65_530, 65_540, "non_finite", (1,)),
        Damage(wave.shape[1] - 3, wave.shape[1], "non_finite", (1,)),
    ]


@pytest.mark.parametrize("seed", range(3))
def test_noise_has_no_damage_of_any_kind(seed):
    assert find_damage(noise(5.0, seed=seed), RATE, ALL) == []


@pytest.mark.parametrize("n", [0, 1, 2, 100])
def test_any_length_can_be_searched(n):
    assert find_damage(noise()[:, :n], RATE, ALL) == []


def test_damage_does_not_overlap_in_a_channel():
    found = [Damage(100, 200, "dropout", (0, 1)), Damage(120, 190, "zeros", (0,)), Damage(191, 195, "clicks", (0,))]
    assert apart(found, 10) == [Damage(100, 200, "dropout", (1,)), Damage(120, 190, "zeros", (0,))]


def test_damage_that_merely_overlaps_in_time_stays_two():
    found = [Damage(100, 200, "zeros", (0,)), Damage(150, 250, "zeros", (1,))]
    assert joined(found) == found


def test_bad_arguments_are_refused():
    with pytest.raises(ParameterError, match="unknown kind of damage 'zero': choose from zeros, hold, .* 'zeros'"):
        find_damage(noise(), RATE, ("zero",))
    with pytest.raises(ParameterError, match="kinds must be several names, .* got the text 'zeros'"):
        find_damage(noise(), RATE, "zeros")
    with pytest.raises(
        ParameterError, match=r"min_gap_s must be above 0 s and max_gap_s not below it, got 2 s and 1 s"
    ):
        find_damage(noise(), RATE, min_gap_s=2.0, max_gap_s=1.0)
    with pytest.raises(ParameterError, match="damage must start at 0 or later and stop after that, got 5 to 5"):
        Damage(5, 5, "zeros", (0,))
    with pytest.raises(ParameterError, match="unknown kind of damage 'hiss'"):
        Damage(5, 6, "hiss", (0,))
    with pytest.raises(ParameterError, match=r"channels of damage must be numbers from 0 on, in order, got \(1, 0\)"):
        Damage(5, 6, "zeros", (1, 0))
