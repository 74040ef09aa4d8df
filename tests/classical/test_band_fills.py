"""Every way to extend a band keeps what is below the cutoff, and goes on as its slope does."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import firwin, lfilter, oaconvolve

from masktools.classical import BAND_FILLS
from masktools.errors import ParameterError
from masktools.metrics import band_level_db
from tests.tiny import noise, tone

RATE = 22_050
CUTOFF = 4000.0
FILLS = sorted(set(BAND_FILLS) - {"unprocessed"})


def low_passed(wave, cutoff_hz=CUTOFF, rate=RATE):
    return oaconvolve(wave, firwin(1601, cutoff_hz, fs=rate)[None], mode="same", axes=-1).astype(wave.dtype)


def test_these_are_the_methods():
    assert set(BAND_FILLS) == {"unprocessed", "noise", "replication"}


def test_doing_nothing_changes_nothing():
    wave = noise(0.5)
    np.testing.assert_array_equal(BAND_FILLS["unprocessed"](wave, RATE, CUTOFF, 10_000), wave)


@pytest.mark.parametrize("method", FILLS)
@pytest.mark.parametrize("rate", [RATE, 44_100])
@pytest.mark.parametrize("cutoff_hz", [600.0, 2340.0, 5600.0])
def test_below_the_cutoff_nothing_changes(method, rate, cutoff_hz):
    wave = low_passed(noise(1.5, rate, n_channels=2) + tone(440, 1.5, rate), cutoff_hz, rate).astype(np.float64)
    added = BAND_FILLS[method](wave, rate, cutoff_hz, rate / 2) - wave
    below = (0.0, cutoff_hz - 300)
    spectrum = np.abs(np.fft.rfft(added * np.blackman(added.shape[1])))
    hertz = np.fft.rfftfreq(added.shape[1], 1 / rate)
    error_db = 20 * np.log10(spectrum[:, hertz <= below[1]].max() / spectrum.max())
    assert error_db < -100


@pytest.mark.parametrize("method", FILLS)
def test_white_noise_is_white_again(method):
    wave = noise(3.0)
    filled = BAND_FILLS[method](low_passed(wave), RATE, CUTOFF, RATE / 2)
    for band in ((4300, 6000), (6000, 8000), (8000, 10_500)):
        assert band_level_db(filled, RATE, band) == pytest.approx(band_level_db(wave, RATE, band), abs=1)


@pytest.mark.parametrize("method", FILLS)
def test_a_slope_goes_on(method):
    wave = lfilter([1.0], [1.0, -0.7], noise(3.0))
    filled = BAND_FILLS[method](low_passed(wave), RATE, CUTOFF, RATE / 2)
    above = band_level_db(filled, RATE, (8000, 10_000)) - band_level_db(filled, RATE, (1500, 3500))
    true = band_level_db(wave, RATE, (8000, 10_000)) - band_level_db(wave, RATE, (1500, 3500))
    assert above == pytest.approx(true, abs=5)
    assert above < -6


@pytest.mark.parametrize("method", FILLS)
def test_what_rises_below_the_cutoff_does_not_rise_above_it(method):
    wave = lfilter([1.0, -0.95], [1.0], noise(3.0))
    dull = low_passed(wave)
    filled = BAND_FILLS[method](dull, RATE, CUTOFF, RATE / 2)
    assert band_level_db(filled, RATE, (8000, 10_000)) <= band_level_db(dull, RATE, (1900, 3900)) + 1


@pytest.mark.parametrize("method", FILLS)
def test_it_is_loud_where_the_recording_is_and_silent_where_it_is(method):
    wave = noise(3.0)
    wave[:, RATE : 2 * RATE] = 0
    filled = BAND_FILLS[method](low_passed(wave), RATE, CUTOFF, RATE / 2)
    assert band_level_db(filled, RATE, (5000, 10_000), (1.1, 1.9)) < -75
    for span_s in ((0.1, 0.9), (2.1, 2.9)):
        truth = band_level_db(wave, RATE, (5000, 10_000), span_s)
        assert band_level_db(filled, RATE, (5000, 10_000), span_s) == pytest.approx(truth, abs=1)


@pytest.mark.parametrize("method", FILLS)
def test_it_stops_at_the_top(method):
    filled = BAND_FILLS[method](low_passed(noise(2.0)), RATE, CUTOFF, 7000)
    assert band_level_db(filled, RATE, (5000, 6900)) > -40
    assert band_level_db(filled, RATE, (7300, 11_000)) < -65  # the filter of the test


def test_noise_is_drawn_by_seed_and_replication_is_not():
    dull = low_passed(noise(1.0))
    noises = [BAND_FILLS["noise"](dull, RATE, CUTOFF, RATE / 2, seed) for seed in (1, 1, 2)]
    copies = [BAND_FILLS["replication"](dull, RATE, CUTOFF, RATE / 2, seed) for seed in (1, 2)]
    np.testing.assert_array_equal(noises[0], noises[1])
    assert np.abs(noises[0] - noises[2]).max() > 0.01
    np.testing.assert_array_equal(*copies)


@pytest.mark.parametrize("method", sorted(BAND_FILLS))
@given(
    n=st.integers(1, 5000),
    n_channels=st.integers(1, 3),
    rate=st.sampled_from([8000, 22_050, 96_000]),
    cutoff_hz=st.floats(500, 3900),
    dtype=st.sampled_from([np.float32, np.float64]),
    level=st.sampled_from([0.0, 1e-6, 0.3]),
)
@settings(max_examples=20, deadline=None)
def test_every_length_comes_back_as_long_and_finite(method, n, n_channels, rate, cutoff_hz, dtype, level):
    wave = np.random.default_rng(n).normal(0, level, (n_channels, n)).astype(dtype)
    filled = BAND_FILLS[method](wave, rate, cutoff_hz, 4000)
    assert filled.shape == wave.shape
    assert filled.dtype == dtype
    assert np.isfinite(filled).all()
    if not level:
        assert not filled.any()


@pytest.mark.parametrize("method", sorted(BAND_FILLS))
class TestWhatIsRefused:
    @pytest.mark.parametrize(
        ("cutoff_hz", "top_hz", "message"),
        [
            (400, 8000, r"cutoff_hz must lie in \[500, 8000\) Hz, got 400 Hz: give the highest"),
            (8000, 8000, r"cutoff_hz must lie in \[500, 8000\) Hz, got 8000 Hz"),
            (float("nan"), 8000, "cutoff_hz must lie in"),
            (
                4000,
                12_000,
                r"top_hz must lie in \(500, 11025\] Hz at a sample rate of 22050 Hz, got 12000 Hz: resample",
            ),
            (4000, float("nan"), "top_hz must lie in"),
        ],
    )
    def test_bands_out_of_range(self, method, cutoff_hz, top_hz, message):
        with pytest.raises(ParameterError, match=message):
            BAND_FILLS[method](noise(0.1), RATE, cutoff_hz, top_hz)

    def test_samples_that_are_no_recording(self, method):
        with pytest.raises(ParameterError, match="at least one sample"):
            BAND_FILLS[method](np.zeros((1, 0), np.float32), RATE, CUTOFF, 8000)
        with pytest.raises(ParameterError, match="known samples must be finite"):
            BAND_FILLS[method](np.full((1, 100), np.nan), RATE, CUTOFF, 8000)
