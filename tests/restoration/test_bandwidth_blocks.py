"""Bandwidth extension of long recordings: block by block what it is as a whole."""

import gc
import tracemalloc
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest

from masktools.classical.fills import high_pass
from masktools.core.errors import AudioError, ParameterError
from masktools.core.shapes import Window
from masktools.metrics import seam_crest_db
from masktools.restoration.band_extension import column_windows
from masktools.restoration.recordings import Signal
from masktools.solver import SolverConfig
from tests.restoration.jobs import bwe, extend_blocks
from tests.tiny import COLUMN, SAMPLE_RATE, noise, tiny_pipeline, tone

FEW = SolverConfig(n_steps=2)
HZ = 4000.0


def low(samples, rate=SAMPLE_RATE):
    return np.stack([wave - high_pass(wave, rate, HZ) for wave in samples]).astype(np.float32)


def blocks_of(pipeline, samples, rate, **settings):
    def reader(start, stop):
        assert 0 <= start < stop <= samples.shape[1]
        return samples[:, start:stop]

    return extend_blocks(pipeline, Signal(reader, samples.shape[1], samples.shape[0], rate), HZ, solver=FEW, **settings)


def upper(samples, rate=SAMPLE_RATE):
    return np.stack([high_pass(wave, rate, HZ + 300) for wave in samples])


def rms_db(samples):
    return 20 * np.log10(np.sqrt(np.mean(np.square(samples, dtype=np.float64))) + 1e-12)


@pytest.mark.parametrize("rate", [8000, 22_050, 44_100])
@pytest.mark.parametrize("texture", ["model", "blend"])
def test_blocks_of_any_length_make_up_what_the_array_gives(pipeline, rate, texture):
    samples = noise(5, rate, 2)
    if rate == 8000:
        samples = samples * 0.5
    whole = bwe(pipeline, samples, rate, HZ, solver=FEW, texture=texture)
    for n_block in (1000, 50_000):
        extension = blocks_of(pipeline, samples, rate, texture=texture, block_samples=n_block)
        pairs = list(extension)
        assert [start for start, _ in pairs] == list(range(0, whole.samples.shape[1], n_block))
        np.testing.assert_array_equal(np.concatenate([block for _, block in pairs], axis=1), whole.samples)
        assert (extension.sample_rate, extension.n_samples) == (whole.sample_rate, whole.samples.shape[1])
        assert extension.report.keys() == whole.report.keys()


@pytest.mark.parametrize("off", [-1, 0, 1])
@pytest.mark.parametrize("n_cols", [12, 16, 28])
def test_lengths_beside_every_window_and_hop_stay(pipeline, n_cols, off):
    assert column_windows(pipeline, 28 * COLUMN) == [Window(0, 16), Window(12, 28)]
    samples = noise(1)[:, :1].repeat(n_cols * COLUMN + off, axis=1) * noise(6, level=1.0)[:, : n_cols * COLUMN + off]
    extended = bwe(pipeline, samples, SAMPLE_RATE, HZ, solver=FEW).samples
    assert extended.shape == samples.shape
    assert np.isfinite(extended).all()


def test_the_last_window_ends_with_the_recording_and_is_as_long_as_the_others(pipeline):
    assert column_windows(pipeline, 16 * COLUMN + 1) == [Window(0, 16), Window(1, 17)]
    assert column_windows(pipeline, 41 * COLUMN) == [Window(0, 16), Window(12, 28), Window(24, 40), Window(25, 41)]
    assert column_windows(pipeline, 5) == [Window(0, 1)]


def test_a_window_goes_on_with_the_tokens_of_the_one_before(pipeline):
    samples = low(noise(10))
    asked = []
    fill = pipeline.fill

    def listening(tokens, mask, *args, **kwargs):
        result = fill(tokens, mask, *args, **kwargs)
        asked.append((mask, tokens, result.tokens))
        return result

    pipeline.fill = listening
    try:
        bwe(pipeline, samples, SAMPLE_RATE, HZ, solver=FEW)
    finally:
        del pipeline.fill
    assert len(asked) == len(column_windows(pipeline, samples.shape[1])) > 3
    assert asked[0][0][0, 3:].all()
    for (_, _, before), (mask, tokens, _) in pairwise(asked[:-1]):
        assert not mask[0, :, :4].any()
        assert mask[0, 3:, 4:].all()
        assert (tokens[0, 3:, :4] == before[0, 3:, -4:]).all()


@pytest.mark.parametrize("texture", ["model", "blend"])
def test_joins_are_not_heard(pipeline, texture):
    samples = low(noise(14))
    extended = bwe(pipeline, samples, SAMPLE_RATE, HZ, solver=FEW, texture=texture).samples
    windows = column_windows(pipeline, samples.shape[1])
    joins = [(before.stop + after.start) / 2 * COLUMN for before, after in pairwise(windows)]
    assert max(seam_crest_db(extended, SAMPLE_RATE, join / SAMPLE_RATE) for join in joins) < 6
    added = upper(extended)[0]
    steps = [rms_db(added[int(j) : int(j) + 8820]) - rms_db(added[int(j) - 8820 : int(j)]) for j in joins]
    assert np.abs(steps).max() < 3


def test_memory_does_not_grow_with_the_recording(pipeline):
    def peak(seconds):
        one = noise(2)
        reader = lambda start, stop: np.take(one, np.arange(start, stop), axis=1, mode="wrap")  # noqa: E731
        gc.collect()
        tracemalloc.start()
        signal = Signal(reader, seconds * SAMPLE_RATE, 1, SAMPLE_RATE)
        for _ in extend_blocks(pipeline, signal, HZ, solver=SolverConfig(n_steps=1)):
            pass
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    assert peak(24) < 1.2 * peak(10)


def test_a_vocoder_that_fails_leaves_that_window_as_it_was():
    pipeline = tiny_pipeline()
    samples = low(noise(8))
    fine = bwe(pipeline, samples, SAMPLE_RATE, HZ, solver=FEW).samples
    calls, vocoder = [], pipeline.vocoder

    def failing(mel):
        calls.append(1)
        return vocoder(mel) * (float("nan") if len(calls) == 1 else 1.0)

    pipeline.vocoder = failing
    made = bwe(pipeline, samples, SAMPLE_RATE, HZ, solver=FEW)
    join = round((16 + 12) / 2 * COLUMN)
    np.testing.assert_array_equal(made.samples[:, : join - 1000], samples[:, : join - 1000])
    np.testing.assert_array_equal(made.samples[:, join + 1000 :], fine[:, join + 1000 :])
    assert "not finite for the windows from 0 s: there the recording was left as it is" in made.report["warnings"][0]


def test_added_peaks_give_way_and_the_original_does_not(pipeline):
    samples = low(noise(3, level=0.1) + tone(300, 3, level=0.95)).clip(-0.999, 0.999)
    loud = {"solver": FEW, "hf_gain_db": 20.0, "quiet_guard_db": None}
    over = bwe(pipeline, samples, SAMPLE_RATE, HZ, limit_peaks=False, **loud)
    within = bwe(pipeline, samples, SAMPLE_RATE, HZ, **loud)
    assert over.report["peak"] == pytest.approx(np.abs(over.samples).max(), abs=1e-5)
    assert np.abs(over.samples).max() > 1
    assert np.abs(within.samples).max() <= 1.0
    assert within.report["samples_limited"] > 0 == over.report["samples_limited"]


def test_the_added_band_follows_its_gain(pipeline):
    samples = low(noise(3))
    plain, louder = (bwe(pipeline, samples, SAMPLE_RATE, HZ, solver=FEW, hf_gain_db=gain).samples for gain in (0, 6))
    assert rms_db(upper(louder - samples)) - rms_db(upper(plain - samples)) == pytest.approx(6, abs=0.01)


def test_leftovers_above_the_cutoff_are_taken_away_when_asked(pipeline):
    clean = low(noise(4, 44_100), 44_100)
    samples = clean + tone(15_000, 4, 44_100, level=1e-4)
    kept = bwe(pipeline, samples, 44_100, HZ, solver=FEW, to_hz=11_025).samples
    without = bwe(pipeline, samples, 44_100, HZ, solver=FEW, clean_above=True, to_hz=11_025)
    tone_db = lambda x: rms_db(high_pass(x[0], 44_100, 14_000)[5000:-5000])  # noqa: E731
    assert tone_db(kept) == pytest.approx(-83, abs=1)
    assert tone_db(without.samples) < -110
    assert not without.report["warnings"]


def test_what_is_too_loud_for_a_leftover_is_kept(pipeline):
    samples = noise(2)
    made = bwe(pipeline, samples, SAMPLE_RATE, HZ, solver=FEW, clean_above=True)
    assert "is kept; is the cutoff right?" in made.report["warnings"][0]
    assert rms_db(made.samples - bwe(pipeline, samples, SAMPLE_RATE, HZ, solver=FEW).samples) < -200


def test_the_middle_is_extended_and_the_side_after_it(pipeline):
    samples = low(noise(4)).repeat(2, axis=0) * np.array([[1.5], [0.5]], np.float32)
    made = bwe(pipeline, samples, SAMPLE_RATE, HZ, solver=FEW, channels="mid_side")
    added = upper(made.samples - samples)
    assert rms_db(added[0]) - rms_db(added[1]) == pytest.approx(20 * np.log10(3), abs=0.3)
    assert np.corrcoef(added)[0, 1] > 0.99
    with pytest.raises(ParameterError, match="2 channels, got 1"):
        bwe(pipeline, samples[:1], SAMPLE_RATE, HZ, channels="mid_side")


def test_channels_that_part_keep_what_they_had_in_common(pipeline):
    samples = low(noise(8)).repeat(2, axis=0)
    samples[1, 6 * SAMPLE_RATE :] *= 0.5
    made = bwe(pipeline, samples, SAMPLE_RATE, HZ, solver=FEW).samples
    np.testing.assert_array_equal(made[0, : 2 * SAMPLE_RATE], made[1, : 2 * SAMPLE_RATE])
    assert not np.array_equal(made[0, 7 * SAMPLE_RATE :], made[1, 7 * SAMPLE_RATE :])


def test_batches_of_any_size_give_the_same_bytes():
    samples = low(noise(5, n_channels=3))
    one, four = (
        bwe(tiny_pipeline(batch_size=size), samples, SAMPLE_RATE, HZ, solver=FEW, channels="independent").samples
        for size in (1, 4)
    )
    np.testing.assert_array_equal(one, four)


def test_the_report_says_what_was_done(pipeline):
    samples = low(noise(6))
    samples[:, : 2 * SAMPLE_RATE] = 0
    report = bwe(pipeline, samples, SAMPLE_RATE, HZ, solver=FEW).report
    assert (report["status"], report["n_windows"], report["rows_generated"]) == ("extended", 3, [3, 4])
    assert -6 <= report["gain_db"]["min"] <= report["gain_db"]["median"] <= report["gain_db"]["max"] <= 6.001
    assert 3.9 * SAMPLE_RATE < report["samples_changed"] < 4.2 * SAMPLE_RATE
    assert 0 <= report["quiet_share"] <= 1
    assert {"peak", "warnings", "timings", "seed", "quiet_guard_db"} <= report.keys()


@pytest.mark.parametrize(
    ("found", "status", "reason"),
    [(None, "full_band", "no edge was found"), (300.0, "out_of_reach", "ends at 300 Hz")],
)
def test_auto_leaves_alone_what_cannot_be_extended(pipeline, monkeypatch, found, status, reason):
    _detecting(monkeypatch, found)
    samples = noise(1, 8000)
    made = bwe(pipeline, samples, 8000, "auto")
    np.testing.assert_array_equal(made.samples, samples)
    assert (made.sample_rate, made.report["status"], made.report["samples_changed"]) == (8000, status, 0)
    assert reason in made.report["reason"]


def test_auto_extends_from_the_edge_that_was_found(pipeline, monkeypatch):
    _detecting(monkeypatch, HZ)
    samples = low(noise(1))
    auto, told = (bwe(pipeline, samples, SAMPLE_RATE, cutoff, solver=FEW) for cutoff in ("auto", HZ))
    np.testing.assert_array_equal(auto.samples, told.samples)
    with pytest.raises(ParameterError, match="cutoff must be a frequency in Hz or 'auto', got 'best'"):
        bwe(pipeline, samples, SAMPLE_RATE, "best")


def _detecting(monkeypatch, cutoff_hz):
    found = SimpleNamespace(cutoff_hz=cutoff_hz, drop_db=40.0, confidence=1.0)
    seen = SimpleNamespace(bandwidth=found)
    monkeypatch.setattr("masktools.restoration.bandwidth.look_through", lambda signal, gaps, band: seen)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"texture": "wood"}, "unknown texture 'wood': choose from blend, recording, model"),
        ({"channels": "each"}, "unknown channels 'each': choose from linked"),
        ({"quiet_guard_db": 99.0}, r"quiet_guard_db must lie in \[-60, 60\] dB, got 99 dB"),
        ({"hf_gain_db": 30.0}, r"hf_gain_db must lie in \[-24, 24\] dB, got 30 dB"),
        ({"block_samples": 0}, "block_samples must be at least 1, got 0"),
    ],
)
def test_settings_are_checked_before_the_first_block(pipeline, settings, message):
    with pytest.raises(ParameterError, match=message):
        blocks_of(pipeline, noise(1), SAMPLE_RATE, **settings)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_samples_that_are_not_finite_are_refused_with_their_place(pipeline, bad):
    samples = noise(4)
    samples[0, 3 * SAMPLE_RATE] = bad
    with pytest.raises(AudioError, match=r"at 3\.0000 s \(sample 66150\) there is NaN or infinity"):
        bwe(pipeline, samples, SAMPLE_RATE, HZ)


def test_a_recording_has_samples_and_channels(pipeline):
    with pytest.raises(ParameterError, match="n_samples must be at least 1, got 0"):
        extend_blocks(pipeline, Signal(lambda start, stop: None, 0, 1, SAMPLE_RATE), HZ)
    with pytest.raises(ParameterError, match="n_channels must be at least 1, got 0"):
        extend_blocks(pipeline, Signal(lambda start, stop: None, 10, 0, SAMPLE_RATE), HZ)
