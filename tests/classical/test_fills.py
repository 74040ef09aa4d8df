"""Gaps are filled and bands extended by the classical methods."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import firwin, lfilter, oaconvolve

from masktools.classical import BAND_FILLS, CONTEXT_S, GAP_FILLS, SPAN_FILLS
from masktools.classical.spans import Damaged, Span
from masktools.core.errors import ParameterError
from masktools.metrics import band_level_db, level_db, seam_crest_db
from tests.tiny import noise, tone

RATE = 22_050
METHODS = sorted(GAP_FILLS)


def inside(gaps, n, rate=RATE):
    mask = np.zeros(n, bool)
    for start_s, end_s in gaps:
        mask[round(start_s * rate) : round(end_s * rate)] = True
    return mask


def snr_db(reference, estimate):
    error = reference.astype(np.float64) - estimate
    return 10 * np.log10(np.sum(reference.astype(np.float64) ** 2) / np.sum(error**2))


def test_these_are_the_methods():
    assert set(GAP_FILLS) == {"zero", "linear", "burg", "janssen", "spectral_noise", "copy", "search"}


@st.composite
def damage(draw):
    """Return samples, a rate, and gaps of whole samples; some touch each other, an edge, or leave one sample."""
    n = draw(st.integers(2, 1500))
    bounds = draw(st.lists(st.integers(0, n), min_size=2, max_size=8, unique=True).map(sorted))
    gaps = list(zip(bounds[::2], bounds[1::2], strict=False))
    if draw(st.booleans()):
        gaps = list(pairwise(bounds))
    if sum(stop - start for start, stop in gaps) >= n:
        gaps = [(0, n - 1)]
    dtype = draw(st.sampled_from([np.float32, np.float64]))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    samples = rng.normal(0, draw(st.sampled_from([0, 1e-6, 0.1])), (draw(st.integers(1, 3)), n)).astype(dtype)
    rate = draw(st.sampled_from([8000, 22_050, 44_100]))
    return samples, rate, gaps


@pytest.mark.parametrize("method", METHODS)
@given(case=damage())
@settings(max_examples=10, deadline=None)
def test_known_samples_come_back_bit_for_bit_and_gaps_are_never_read(method, case):
    samples, rate, gaps = case
    gaps_s = [(start / rate, stop / rate) for start, stop in gaps]
    missing = np.zeros(samples.shape[1], bool)
    for start, stop in gaps:
        missing[start:stop] = True
    filled = GAP_FILLS[method](samples, rate, gaps_s, seed=3)
    assert filled.shape == samples.shape
    assert filled.dtype == samples.dtype
    assert np.isfinite(filled).all()
    np.testing.assert_array_equal(filled[:, ~missing], samples[:, ~missing])
    assert np.abs(filled).max() <= 20 * np.abs(samples[:, ~missing]).max() + 1e-9
    ruined = samples.copy()
    ruined[:, missing] = np.nan
    np.testing.assert_array_equal(GAP_FILLS[method](ruined, rate, gaps_s, seed=3), filled)


@pytest.mark.parametrize("method", sorted(SPAN_FILLS))
def test_what_lies_beyond_its_context_changes_nothing(method):
    wave, start, stop = noise(70.0, 2000), 80_000, 80_100  # 2 kHz: half a minute is not much
    whole = GAP_FILLS[method](wave, 2000, [(40.0, 40.05)], 7)[:, start:stop]
    reach = int(np.ceil(CONTEXT_S[method] * 2000))
    part = wave[:, max(0, start - reach) : stop + reach].copy()
    own = Span(min(start, reach), min(start, reach) + 100)
    part[:, own.start : own.stop] = 0
    fill = SPAN_FILLS[method](Damaged(part, 2000, (own,)), own, np.random.default_rng((7, 0)))
    np.testing.assert_allclose(fill, whole, atol=1e-7)


def test_gaps_of_some_channels_are_not_taken_for_gaps_of_all():
    wave = noise(1.0, n_channels=2)
    assert GAP_FILLS["zero"](wave, RATE, [(0.2, 0.3, None)]).any()
    with pytest.raises(ParameterError, match=r"one in all channels here, got one in \(1,\): fill those alone"):
        GAP_FILLS["zero"](wave, RATE, [(0.2, 0.3, (1,))])


@pytest.mark.parametrize("method", METHODS)
def test_the_input_is_left_alone(method):
    wave = noise(0.5, n_channels=2)
    before = wave.copy()
    GAP_FILLS[method](wave, RATE, [(0.2, 0.25)])
    np.testing.assert_array_equal(wave, before)


@pytest.mark.parametrize("method", METHODS)
def test_silence_is_filled_with_silence(method):
    filled = GAP_FILLS[method](np.zeros((2, RATE), np.float32), RATE, [(0.0, 0.1), (0.4, 0.43), (0.6, 0.9)])
    assert not filled.any()


@pytest.mark.parametrize("method", sorted(set(SPAN_FILLS) - {"spectral_noise"}))
def test_a_channel_is_filled_as_it_would_be_alone(method):
    # What is made of noise or from another place keeps the channels together.
    stereo = noise(1.0, n_channels=2)
    gaps = [(0.4, 0.42), (0.6, 0.8)]
    together = GAP_FILLS[method](stereo, RATE, gaps)
    for number in range(2):
        alone = GAP_FILLS[method](stereo[number : number + 1], RATE, gaps)
        np.testing.assert_allclose(together[number], alone[0], atol=1e-6)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("gaps", "message"), [([], "at least one gap"), ([(0.9, 1.2)], "within the recording")])
def test_gaps_of_another_recording_are_refused(method, gaps, message):
    with pytest.raises(ParameterError, match=message):
        GAP_FILLS[method](noise(1.0), RATE, gaps)


@pytest.mark.parametrize("method", METHODS)
def test_a_known_sample_that_is_no_number_is_refused(method):
    wave = noise(1.0)
    wave[0, 100] = np.nan
    with pytest.raises(ParameterError, match=r"known samples must be finite.*first at 0\.0045 s: write them as a gap"):
        GAP_FILLS[method](wave, RATE, [(0.5, 0.6)])
    assert np.isfinite(GAP_FILLS[method](wave, RATE, [(0.0, 0.1)])).all()


def test_a_line_joins_the_edges():
    wave = np.array([[1, 1, 9, 9, 9, 5, 9, 9]], np.float32)
    np.testing.assert_allclose(GAP_FILLS["linear"](wave, 1, [(2, 5), (6, 8)]), [[1, 1, 2, 3, 4, 5, 5, 5]])


@pytest.mark.parametrize("method", ["burg", "janssen"])
@pytest.mark.parametrize("rate", [RATE, 44_100])
def test_a_tone_goes_on(method, rate):
    wave = tone(440, 1.0, rate) + tone(1234.5, 1.0, rate)
    gaps = [(0.3, 0.32), (0.6, 0.63)]
    filled = GAP_FILLS[method](wave, rate, gaps)
    for start_s, end_s in gaps:
        part = slice(round(start_s * rate), round(end_s * rate))
        assert snr_db(wave[:, part], filled[:, part]) > 40


def test_over_100_ms_janssen_leaves_the_gap_to_burg():
    wave = noise(1.0)
    burg, janssen = (GAP_FILLS[method](wave, RATE, [(0.3, 0.42)]) for method in ("burg", "janssen"))
    np.testing.assert_array_equal(burg, janssen)


class TestTheCopy:
    @staticmethod
    def periodic(seconds, period=2205):
        pattern = np.random.default_rng(0).normal(0, 0.1, (2, period)).astype(np.float32)
        return np.tile(pattern, round(seconds * RATE / period))

    @pytest.mark.parametrize(
        "gaps", [[(1.0, 1.3)], [(0.5, 0.8), (2.0, 2.3)], [(0.0, 0.3)], [(2.7, 3.0)], [(1.0, 1.1), (1.15, 1.2)]]
    )
    def test_repairs_what_repeats(self, gaps):
        wave = self.periodic(3)
        np.testing.assert_allclose(GAP_FILLS["copy"](wave, RATE, gaps), wave, atol=1e-6)

    def test_finds_what_the_channels_have_in_opposite_phase(self):
        wave = self.periodic(3)
        wave[1] = -wave[0]
        np.testing.assert_allclose(GAP_FILLS["copy"](wave, RATE, [(1.0, 1.3)]), wave, atol=1e-6)

    def test_of_more_than_half_a_recording_fades_into_its_offset(self):
        filled = GAP_FILLS["copy"](self.periodic(1), RATE, [(0.2, 0.9)])
        assert level_db(filled, RATE, (0.22, 0.88)) < level_db(filled, RATE, (0.0, 0.2)) - 20


class TestSpectralNoise:
    @pytest.mark.parametrize(("length_s", "within_db"), [(0.02, 1.5), (0.1, 1.0), (0.372, 1.0), (1.0, 1.0)])
    def test_is_as_loud_as_its_surroundings(self, length_s, within_db):
        errors = []
        for seed in range(8):
            wave = noise(2.0, seed=seed)
            filled = GAP_FILLS["spectral_noise"](wave, RATE, [(0.5, 0.5 + length_s)], seed)
            errors.append(level_db(filled, RATE, (0.5, 0.5 + length_s)) - level_db(wave, RATE))
        assert abs(np.mean(errors)) < within_db

    def test_goes_from_one_colour_and_level_to_the_other(self):
        loud, faint = noise(1.0, level=0.1), noise(1.0, level=0.001)
        wave = np.concatenate([loud, faint, faint], axis=1)
        filled = GAP_FILLS["spectral_noise"](wave, RATE, [(1.0, 2.0)])
        levels = [level_db(filled, RATE, (start, start + 0.2)) - level_db(loud, RATE) for start in (1.0, 1.4, 1.8)]
        np.testing.assert_allclose(levels, [-4, -20, -36], atol=2)

    def test_has_the_spectrum_of_its_surroundings(self):
        wave = tone(1000, 2.0) + noise(2.0, level=0.001)
        filled = GAP_FILLS["spectral_noise"](wave, RATE, [(0.5, 1.5)])
        in_band, off_band = (band_level_db(filled, RATE, band, (0.6, 1.4)) for band in ((900, 1100), (3000, 10_000)))
        assert in_band == pytest.approx(band_level_db(wave, RATE, (900, 1100)), abs=1)
        assert off_band == pytest.approx(band_level_db(wave, RATE, (3000, 10_000)), abs=1)

    def test_is_drawn_by_seed(self):
        wave = noise(1.0)
        one, again, other = (GAP_FILLS["spectral_noise"](wave, RATE, [(0.3, 0.6)], seed) for seed in (1, 1, 2))
        np.testing.assert_array_equal(one, again)
        assert np.abs(one - other).max() > 0.05


@pytest.mark.parametrize("method", ["burg", "janssen", "copy", "spectral_noise", "search"])
def test_no_seam_sticks_out(method):
    wave = tone(440, 2.0) + noise(2.0, level=0.01)
    gaps = [(0.5, 0.54), (1.2, 1.5)]
    filled = GAP_FILLS[method](wave, RATE, gaps)
    assert max(seam_crest_db(filled, RATE, join_s) for gap in gaps for join_s in gap) < 6


CUTOFF = 4000.0
FILLS = sorted(set(BAND_FILLS) - {"unprocessed"})


def low_passed(wave, cutoff_hz=CUTOFF, rate=RATE):
    return oaconvolve(wave, firwin(1601, cutoff_hz, fs=rate)[None], mode="same", axes=-1).astype(wave.dtype)


def test_these_are_the_methods_for_bands():
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
