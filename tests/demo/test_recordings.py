"""The recordings of the demonstration are audio that one would want to restore, and the same every time."""

import numpy as np
import pytest

from masktools.core.errors import ParameterError
from masktools.demo.recordings import (
    DRIPS_S,
    MUSIC_RATE,
    RECORDINGS,
    WORDS,
    Recording,
    low_passed,
    play_rain,
    pluck,
    with_gaps,
)
from masktools.metrics import band_level_db, level_db, lsd_db

NAMES = [recording.name for recording in RECORDINGS]


@pytest.fixture(scope="module")
def takes():
    return {recording.name: recording.play() for recording in RECORDINGS}


@pytest.mark.parametrize("recording", RECORDINGS, ids=NAMES)
def test_a_recording_is_the_same_every_time(recording, takes):
    np.testing.assert_array_equal(recording.play()[0], takes[recording.name][0])


@pytest.mark.parametrize("recording", RECORDINGS, ids=NAMES)
def test_a_recording_is_clean_audio_of_a_few_seconds(recording, takes):
    samples, sample_rate = takes[recording.name]
    assert samples.dtype == np.float32
    assert sample_rate in (22_050, 44_100)
    assert 6 <= samples.shape[1] / sample_rate <= 10
    assert np.isfinite(samples).all()
    assert np.abs(samples).max() == pytest.approx(0.7, abs=1e-3)
    assert np.abs(samples.mean(axis=1)).max() < 1e-3
    assert np.abs(samples[:, [0, -1]]).max() < 1e-3, "the ends are faded"


@pytest.mark.parametrize("recording", RECORDINGS, ids=NAMES)
def test_there_is_something_to_restore_above_the_cutoff_and_in_the_gaps(recording, takes):
    samples, sample_rate = takes[recording.name]
    assert band_level_db(samples, sample_rate, (recording.cutoff_hz, 10_500)) > -40
    for gap in recording.gaps:
        assert level_db(samples, sample_rate, gap) > -35
    assert sum(end - start for start, end in recording.gaps) == pytest.approx(1.4)


def test_the_recordings_differ_in_channels_and_rates(takes):
    assert takes["music"][0].shape[0] == 2
    assert takes["voice"][1] == 22_050
    assert not np.array_equal(*takes["music"][0])


@pytest.mark.parametrize("midi", [45, 57, 69, 81])
def test_a_string_sounds_at_its_pitch(midi):
    string = pluck(midi, 2.0, 0.8, np.random.default_rng(0))[8820:]
    spectrum = np.abs(np.fft.rfft(string * np.hanning(len(string)), 8 * len(string)))
    hz = np.fft.rfftfreq(8 * len(string), 1 / MUSIC_RATE)
    expected = 440 * 2 ** ((midi - 69) / 12)
    near = (hz > 0.94 * expected) & (hz < 1.06 * expected)
    assert hz[near][np.argmax(spectrum[near])] == pytest.approx(expected, rel=0.004)


def test_a_string_fades_and_its_treble_fades_first():
    string = pluck(57, 2.0, 1.0, np.random.default_rng(0))
    early, late = (0.0, 0.3), (1.5, 1.8)
    falls = [
        band_level_db(string, MUSIC_RATE, band, early) - band_level_db(string, MUSIC_RATE, band, late)
        for band in ((100, 500), (3000, 6000))
    ]
    assert 3 < falls[0] < falls[1]


def test_the_drips_are_heard_in_the_rain(takes):
    samples, sample_rate = takes["rain"]
    drips = [band_level_db(samples, sample_rate, (700, 2100), (at, at + 0.06)) for at in DRIPS_S]
    between = [band_level_db(samples, sample_rate, (700, 2100), (at - 0.12, at - 0.02)) for at in DRIPS_S]
    assert np.median(drips) > np.median(between) + 6


def test_the_voice_speaks_in_words(takes):
    samples, _ = takes["voice"]
    frames = np.abs(samples[0])[: samples.shape[1] // 441 * 441].reshape(-1, 441).max(axis=1) > 0.05
    smoothed = np.convolve(frames, np.ones(9), "same") > 0
    assert np.count_nonzero(np.diff(smoothed.astype(int)) == 1) == len(WORDS)


def test_gaps_are_zeros_and_the_rest_is_untouched(takes):
    samples, sample_rate = takes["music"]
    damaged = with_gaps(samples, sample_rate, ((1.0, 1.5),))
    assert not damaged[:, 44_100:66_150].any()
    np.testing.assert_array_equal(
        np.delete(damaged, np.s_[44_100:66_150], 1), np.delete(samples, np.s_[44_100:66_150], 1)
    )
    assert samples[:, 44_100:66_150].any(), "the original is not changed"


def test_a_low_pass_keeps_what_is_below_in_place_and_removes_what_is_above(takes):
    samples, sample_rate = takes["rain"]
    dull = low_passed(samples, sample_rate, 4000)
    assert dull.shape == samples.shape
    assert lsd_db(samples, dull, sample_rate, (0, 3800)) < 0.05
    assert band_level_db(dull, sample_rate, (4200, 20_000)) == -80


def test_damages_that_make_no_sense_are_refused():
    with pytest.raises(ParameterError, match="start first, got"):
        Recording("a", "A", play_rain, ((2.0, 1.0),), 4000)
    with pytest.raises(ParameterError, match="cutoff_hz must be above 250 Hz, got 100 Hz"):
        Recording("a", "A", play_rain, ((1.0, 2.0),), 100)
