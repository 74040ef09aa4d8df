"""Bandwidth extension: the low band stays, the high band comes, length and rate stay."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import firwin, oaconvolve

from masktools.core.errors import ParameterError
from masktools.io import resample
from masktools.restoration import cutoff_limits_hz
from masktools.solver import SolverConfig
from tests.restoration.jobs import bwe
from tests.tiny import MEL, SAMPLE_RATE, noise, tiny_pipeline

FEW = SolverConfig(n_steps=3)


def low_passed(samples, rate, cutoff_hz):
    taps = firwin(2001, cutoff_hz, window=("kaiser", 10), fs=rate)
    return np.stack([oaconvolve(wave, taps, mode="same") for wave in samples]).astype(np.float32)


def band(wave, rate, low_hz, high_hz):
    """Return the RMS of a band of a recording (channels, t)."""
    power = np.abs(np.fft.rfft(wave * np.hanning(wave.shape[-1]))) ** 2
    hertz = np.fft.rfftfreq(wave.shape[-1], 1 / rate)
    return np.sqrt(power[:, (hertz >= low_hz) & (hertz < high_hz)].sum() / power.shape[-1])


@pytest.mark.parametrize("rate", [22_050, 44_100, 48_000])
@pytest.mark.parametrize("cutoff_hz", [1500.0, 4000.0, 9000.0])
def test_the_low_band_is_not_touched_and_the_high_band_appears(pipeline, rate, cutoff_hz):
    samples = low_passed(noise(3, rate, 2), rate, cutoff_hz)
    extended = bwe(pipeline, samples, rate, cutoff_hz, solver=FEW)
    assert extended.samples.shape == samples.shape
    assert extended.sample_rate == rate
    error = band(extended.samples - samples, rate, 0, cutoff_hz - 300) / band(samples, rate, 0, cutoff_hz - 300)
    assert 20 * np.log10(error) < -100
    added = band(extended.samples, rate, cutoff_hz + 200, 10_900)
    assert added > 100 * band(samples, rate, cutoff_hz + 200, 10_900)
    if rate > SAMPLE_RATE:  # where the model hears nothing the detail goes on, up to 20 kHz
        assert band(extended.samples, rate, 11_200, 19_800) > 100 * band(samples, rate, 11_200, 19_800)
        assert band(extended.samples - samples, rate, 20_200, rate / 2) < 1e-4 * added


def test_a_recording_of_a_lower_rate_comes_back_at_the_model_s(pipeline):
    samples = noise(2, 8000)
    extended = bwe(pipeline, samples, 8000, 3400, solver=FEW)
    assert extended.sample_rate == extended.report["sample_rate"] == SAMPLE_RATE
    assert extended.samples.shape == (1, 2 * SAMPLE_RATE)
    upsampled = resample(samples, 8000, SAMPLE_RATE)
    error = band(extended.samples - upsampled, SAMPLE_RATE, 0, 3100) / band(upsampled, SAMPLE_RATE, 0, 3100)
    assert 20 * np.log10(error) < -100


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 5 * 4096), st.sampled_from([22_050, 44_100, 96_000]), st.booleans())
def test_lengths_rates_and_types_stay(pipeline, n_samples, rate, lfr):
    samples = noise(1, n_samples, 2).astype(np.float64)
    extended = bwe(pipeline, samples, rate, 4000, lfr=lfr, solver=FEW)
    assert extended.samples.shape == samples.shape
    assert extended.samples.dtype == np.float64
    assert np.isfinite(extended.samples).all()


def test_without_replacement_everything_is_the_model_s_at_the_level_of_the_original(pipeline):
    samples = low_passed(noise(4, level=0.03), SAMPLE_RATE, 4000)
    extended = bwe(pipeline, samples, SAMPLE_RATE, 4000, lfr=False, solver=FEW).samples
    assert band(extended - samples, SAMPLE_RATE, 0, 3500) > 0.1 * band(samples, SAMPLE_RATE, 0, 3500)
    decoded = band(extended, SAMPLE_RATE, 2800, 3880) / band(samples, SAMPLE_RATE, 2800, 3880)
    assert abs(20 * np.log10(decoded)) < 40  # the gain moves by 6 dB at most, an untrained vocoder is off by more


def test_more_rows_are_generated_the_lower_the_cutoff(pipeline):
    samples = noise(1)
    rows = [bwe(pipeline, samples, SAMPLE_RATE, hz, solver=FEW).report["rows_generated"] for hz in (800, 3400, 9000)]
    assert rows == [[1, 2, 3, 4], [3, 4], [4]]


def test_what_lies_above_the_cutoff_is_not_heard(pipeline):
    samples = noise(2)
    extra = samples + oaconvolve(samples, firwin(2001, 7000, pass_zero=False, fs=SAMPLE_RATE)[None], mode="same")
    low_rows = [
        bwe(pipeline, x.astype(np.float32), SAMPLE_RATE, 5597, solver=FEW).samples - x for x in (samples, extra)
    ]
    # Row 4 starts at 5597 Hz: what is added is the same whatever was there before, but for its level.
    assert np.corrcoef(low_rows[0][0], low_rows[1][0])[0, 1] > 0.99


def test_seeds_decide_and_batches_do_not(pipeline):
    samples = noise(8, n_channels=2)
    one = bwe(pipeline, samples, SAMPLE_RATE, 4000, seed=1, solver=FEW).samples
    again = bwe(tiny_pipeline(batch_size=1), samples, SAMPLE_RATE, 4000, seed=1, solver=FEW).samples
    np.testing.assert_allclose(one, again, atol=1e-4)
    assert not np.array_equal(one, bwe(pipeline, samples, SAMPLE_RATE, 4000, seed=2, solver=FEW).samples)


def test_equal_channels_stay_equal_when_linked(pipeline):
    mono = noise(2)
    linked = bwe(pipeline, np.repeat(mono, 2, axis=0), SAMPLE_RATE, 4000, solver=FEW).samples
    np.testing.assert_array_equal(linked[0], linked[1])
    free = bwe(pipeline, np.repeat(mono, 2, axis=0), SAMPLE_RATE, 4000, solver=FEW, channels="independent").samples
    assert not np.array_equal(free[0], free[1])


def test_digital_silence_stays_silent(pipeline):
    samples = noise(6)
    samples[:, 2 * SAMPLE_RATE : 4 * SAMPLE_RATE] = 0
    extended = bwe(pipeline, samples, SAMPLE_RATE, 4000, solver=FEW).samples
    assert np.abs(extended[:, int(2.2 * SAMPLE_RATE) : int(3.8 * SAMPLE_RATE)]).max() < 1e-6
    assert not bwe(pipeline, np.zeros((2, 5000), np.float32), SAMPLE_RATE, 4000, solver=FEW).samples.any()


def test_long_recordings_have_no_joins_in_level(pipeline):
    samples = low_passed(noise(15), SAMPLE_RATE, 4000)
    added = (bwe(pipeline, samples, SAMPLE_RATE, 4000, solver=FEW).samples - samples)[0]
    blocks = added[: len(added) // 8820 * 8820].reshape(-1, 8820)[1:-1]
    level = 10 * np.log10((blocks.astype(np.float64) ** 2).mean(axis=1))
    assert np.abs(np.diff(level)).max() < 3


def test_the_report_is_json(pipeline):
    report = json.loads(json.dumps(bwe(pipeline, noise(1), SAMPLE_RATE, 4000, seed=9, solver=FEW).report))
    assert (report["job"], report["seed"], report["cutoff_hz"], report["lfr"]) == ("bwe", 9, 4000, True)
    assert report["n_steps"] == report["n_forwards"] == 3


@pytest.mark.parametrize(
    ("rate", "cutoff_hz", "message"),
    [
        (SAMPLE_RATE, 0.0, r"cutoff must lie in \(0, 11025\] Hz, half the recording's sample rate, got 0 Hz"),
        (SAMPLE_RATE, -5.0, r"cutoff must lie in \(0, 11025\] Hz"),
        (SAMPLE_RATE, float("nan"), r"cutoff must lie in \(0, 11025\] Hz.*got nan"),
        (8000, 4001.0, r"cutoff must lie in \(0, 4000\] Hz.*got 4001 Hz"),
        (48_000, 30_000.0, r"cutoff must lie in \(0, 24000\] Hz.*got 30000 Hz"),
        (SAMPLE_RATE, 9600.0, "cutoff must be at most 9482 Hz, got 9600 Hz: this model's band ends at 11025 Hz"),
        (48_000, 18_500.0, "cutoff must be at most 18000 Hz, got 18500 Hz: it is to end at 20000 Hz"),
        (48_000, 500.0, "cutoff must be at least 657 Hz, got 500 Hz"),
    ],
)
def test_a_cutoff_that_makes_no_sense_is_refused_with_the_reason(pipeline, rate, cutoff_hz, message):
    with pytest.raises(ParameterError, match=message):
        bwe(pipeline, noise(1, rate), rate, cutoff_hz)


@pytest.mark.parametrize("to_hz", [4000.0, 3000.0])
def test_a_top_must_lie_above_the_cutoff(pipeline, to_hz):
    with pytest.raises(ParameterError, match=f"to must lie above the cutoff of 4000 Hz, got {to_hz:g} Hz"):
        bwe(pipeline, noise(1), SAMPLE_RATE, 4000, to_hz=to_hz)
    with pytest.raises(ParameterError, match="without lfr the band ends with the model's"):
        bwe(pipeline, noise(1), SAMPLE_RATE, 4000, to_hz=10_000.0, lfr=False)


def test_limits_follow_the_model_s_band(pipeline):
    low, high = cutoff_limits_hz(pipeline)
    assert (round(low), round(high)) == (657, round(0.86 * MEL.f_max))


def test_other_arguments_are_checked(pipeline):
    with pytest.raises(ParameterError, match="unknown channels 'ms': choose from linked, independent"):
        bwe(pipeline, noise(1), SAMPLE_RATE, 4000, channels="ms")
    with pytest.raises(ParameterError, match="extended by one prompt at most, got 2"):
        bwe(pipeline, noise(1), SAMPLE_RATE, 4000, prompt=["a", "b"])
