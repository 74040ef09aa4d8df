"""Spectral repair: a disturbance goes, and what is beside it in time and in frequency stays."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from masktools.core.errors import AudioError, ParameterError
from masktools.core.settings import RepairSettings
from masktools.metrics import band_level_db, seam_crest_db
from masktools.restoration.recordings import Signal
from masktools.restoration.regions import Region
from masktools.restoration.repair import method_for, repair, repair_pieces
from masktools.solver import SolverConfig
from tests.tiny import noise, tone

FEW = SolverConfig(n_steps=3)
RATE = 44_100
METHODS = [("interpolate", "blend"), ("model", "model"), ("model", "blend"), ("model", "recording")]


def only(samples, band_hz, rate=RATE):
    """Return what lies in a band."""
    spectrum = np.fft.rfft(samples)
    hertz = np.fft.rfftfreq(samples.shape[-1], 1 / rate)
    spectrum[:, (hertz < band_hz[0]) | (hertz > band_hz[1])] = 0
    return np.fft.irfft(spectrum, samples.shape[-1])


@settings(max_examples=25, deadline=None)
@given(
    st.integers(1, 40_000),
    st.sampled_from([8000, 22_050, 44_100, 96_000]),
    st.integers(1, 3),
    st.lists(
        st.tuples(st.floats(0, 0.9), st.floats(1e-3, 0.5), st.floats(0, 0.9), st.floats(1e-3, 0.9)),
        min_size=1,
        max_size=3,
    ),
    st.sampled_from(METHODS),
    st.sampled_from([np.float32, np.float64]),
)
def test_no_sample_outside_the_regions_times_is_changed(pipeline, n, rate, n_channels, shares, method, dtype):
    samples, duration_s = noise(n / rate, rate, n_channels)[:, :n].astype(dtype), n / rate
    n = samples.shape[1]
    regions, mask = [], np.zeros(n, bool)
    for start, length, low, height in shares:
        start_s, end_s = start * duration_s, min(start + length, 1) * duration_s
        regions.append(Region.rectangle(start_s, end_s, low * rate / 2, min(low + height, 1) * rate / 2))
        mask[int(np.floor(start_s * rate + 1e-3)) : int(np.ceil(end_s * rate - 1e-3))] = True
        mask[min(n - 1, int(start_s * rate + 1e-3))] = True  # a region has one sample at least
    try:
        restored = repair(pipeline, samples, rate, regions, solver=FEW, method=method[0], texture=method[1])
    except ParameterError as error:
        if "leaves nothing to repair it from" not in str(error) or duration_s > 0.2:
            raise
        return  # of so short a recording nothing may remain that a frame could hear
    assert restored.samples.shape == samples.shape
    assert restored.samples.dtype == dtype
    np.testing.assert_array_equal(restored.samples[:, ~mask], samples[:, ~mask])
    assert np.isfinite(restored.samples).all()
    assert restored.report["samples_changed"] == mask.sum() * n_channels


ALL_HZ = (0, RATE / 2)


@pytest.mark.parametrize("method", ["interpolate", "model", "auto"])
@pytest.mark.parametrize(
    "regions",
    [
        [(0, 2, *ALL_HZ)],
        [(0, 1, *ALL_HZ), (1, 2, *ALL_HZ)],
        [(0, 2, 0, 4000), (0, 2, 4000, RATE / 2)],
        [(0, 2, 0, RATE / 2 - 10)],
        [(0.005, 1.995, *ALL_HZ)],
        [(0, 1.999, *ALL_HZ)],
        [(0, 2, *ALL_HZ, (1,))],
    ],
    ids=[
        "all at once",
        "one after the other",
        "one above the other",
        "but 10 Hz",
        "but both ends",
        "but 1 ms",
        "in one",
    ],
)
def test_regions_that_leave_nothing_to_go_by_are_refused(pipeline, regions, method):
    samples = noise(2, RATE, 2)
    with pytest.raises(ParameterError, match="leaves nothing to repair it from"):
        repair(pipeline, samples, RATE, [Region.rectangle(*one) for one in regions], solver=FEW, method=method)


def test_a_polygon_over_the_whole_recording_but_a_corner_is_refused():
    corners = ((0, 0), (2, 0), (2, RATE / 2), (1, RATE / 2 - 1), (0, RATE / 2))
    with pytest.raises(ParameterError, match="leaves nothing to repair it from"):
        repair(None, noise(2, RATE), RATE, [Region(corners)], method="interpolate")


@pytest.mark.parametrize(
    "region",
    [
        Region.rectangle(0, 1.95, *ALL_HZ),
        Region.rectangle(0, 2, 0, 0.9 * RATE / 2),
        Region.rectangle(0, 2, 45, 55),
        Region(((0, 0), (2, 0), (2, RATE / 2))),  # the band above it is gone before it ends
    ],
    ids=["but 50 ms", "but a tenth of the band", "a hum", "a triangle"],
)
def test_what_little_remains_tells_how_loud_noise_was(region):
    samples = noise(2, RATE)
    restored = repair(None, samples, RATE, [region], method="interpolate").samples
    eighths = [20 * np.log10(np.std(part) / np.std(samples)) for part in np.array_split(restored[0], 8)]
    assert np.abs(eighths).max() < 2  # dB


@pytest.mark.parametrize(("method", "texture"), METHODS)
def test_a_whistle_goes_and_other_frequencies_stay(pipeline, method, texture):
    clean = noise(3, RATE, level=0.02)
    damaged = clean.copy()
    damaged[:, RATE : 2 * RATE] += tone(4000, 1, RATE, 0.2)
    region = Region.rectangle(1.0, 2.0, 3700, 4300)
    after = repair(pipeline, damaged, RATE, [region], solver=FEW, method=method, texture=texture).samples
    inside = (1.05, 1.95)
    assert band_level_db(damaged, RATE, (3900, 4100), inside) > -20
    assert band_level_db(after, RATE, (3900, 4100), inside) < -30
    for band_hz in ((100, 3000), (5000, 20_000)):
        change_db = band_level_db((after - damaged)[:, RATE : 2 * RATE], RATE, band_hz)
        assert change_db < band_level_db(clean, RATE, band_hz) - 30


def test_interpolation_puts_back_noise_of_the_colour_around_it():
    clean = noise(4, RATE, level=0.05)
    damaged = clean.copy()
    damaged[:, 2 * RATE : 3 * RATE] += (0.5 * only(noise(1, RATE, seed=1), (2500, 4500))).astype(np.float32)
    after = repair(None, damaged, RATE, [Region.rectangle(2, 3, 2000, 5000)], method="interpolate").samples
    wanted = band_level_db(clean, RATE, (2200, 4800), (2.0, 3.0))
    assert band_level_db(after, RATE, (2200, 4800), (2.0, 3.0)) == pytest.approx(wanted, abs=1.0)


def test_a_band_rises_with_the_bands_around_it():
    """During the region all else becomes 20 dB louder; what is before and after it does not tell."""
    clean = noise(6, RATE, level=0.01)
    clean[:, 2 * RATE : 4 * RATE] *= 10
    hole = Region.rectangle(1.5, 4.5, 3000, 4000)
    damaged = clean - only(clean, (3000, 4000)).astype(np.float32)
    damaged = np.where((np.arange(6 * RATE) >= 1.5 * RATE) & (np.arange(6 * RATE) < 4.5 * RATE), damaged, clean)
    after = repair(None, damaged, RATE, [hole], method="interpolate").samples
    for span in ((2.2, 3.8), (1.6, 1.9)):
        wanted = band_level_db(clean, RATE, (3150, 3850), span)
        assert band_level_db(after, RATE, (3150, 3850), span) == pytest.approx(wanted, abs=2.5)


def test_a_hum_all_along_goes():
    clean = noise(6, 8000, level=0.01)
    damaged = clean + tone(50, 6, 8000, 0.2)
    restored = repair(None, damaged, 8000, [Region.rectangle(0, 6, 44, 56)], method="interpolate")
    before, after = (band_level_db(x, 8000, (40, 60), (1, 5)) for x in (damaged, restored.samples))
    assert before - after > 25
    assert restored.report["regions"][0]["before_db"] - restored.report["regions"][0]["after_db"] > 20


def test_what_is_above_the_model_s_band_is_repaired_too(pipeline):
    damaged = noise(3, RATE, level=0.01)
    damaged[:, RATE : 2 * RATE] += tone(15_000, 1, RATE, 0.2)
    restored = repair(pipeline, damaged, RATE, [Region.rectangle(1, 2, 14_500, 15_500)], solver=FEW, method="model")
    assert band_level_db(restored.samples, RATE, (14_800, 15_200), (1.05, 1.95)) < -45
    assert restored.report["regions"][0]["method"] == "interpolate"
    both = repair(pipeline, damaged, RATE, [Region.rectangle(1, 2, 8000, 15_500)], solver=FEW, method="model")
    assert band_level_db(both.samples, RATE, (14_800, 15_200), (1.05, 1.95)) < -45


def test_a_polygon_follows_a_tone_that_rises():
    clean = noise(3, RATE, level=0.005)
    time_s = np.arange(RATE) / RATE
    sweep = (0.2 * np.sin(2 * np.pi * (2000 * time_s + 1500 * time_s**2))).astype(np.float32)
    damaged = clean.copy()
    damaged[:, RATE : 2 * RATE] += sweep
    path = Region(((1, 1700), (2, 4700), (2, 5300), (1, 2300)))
    after = repair(None, damaged, RATE, [path], method="interpolate").samples
    assert np.std(after - clean) < 0.05 * np.std(sweep)


def test_the_edges_of_a_repair_are_no_clicks(pipeline):
    damaged = noise(3, RATE, level=0.05)
    damaged[:, RATE : 2 * RATE] += (0.5 * only(noise(1, RATE, seed=1), (600, 5500))).astype(np.float32)
    after = repair(pipeline, damaged, RATE, [Region.rectangle(1, 2, 500, 6000)], solver=FEW, method="model").samples
    assert max(seam_crest_db(after, RATE, join_s) for join_s in (1.0, 2.0)) < 6


def test_what_is_in_a_region_leaves_no_trace():
    clean = noise(3, RATE)
    spoilt = clean.copy()
    spoilt[:, RATE : 2 * RATE] += only(noise(1, RATE, seed=1), (2400, 4600)).astype(np.float32)
    region = [Region.rectangle(1, 2, 2000, 5000)]
    one, other = (repair(None, x, RATE, region, method="interpolate").samples for x in (clean, spoilt))
    inside = slice(int(1.05 * RATE), int(1.95 * RATE))
    assert np.std((one - other)[:, inside]) < 0.01 * np.std((clean - spoilt)[:, inside])


def test_digital_silence_stays_silence(pipeline):
    silence = np.zeros((1, 2 * RATE), np.float32)
    for method, texture in METHODS:
        region = [Region.rectangle(0.5, 1, 100, 8000)]
        restored = repair(pipeline, silence, RATE, region, solver=FEW, method=method, texture=texture)
        assert np.abs(restored.samples).max() < 1e-3


def test_only_the_channels_of_a_region_change():
    samples = noise(2, RATE, 3)
    restored = repair(None, samples, RATE, [Region.rectangle(0.5, 1, 1000, 2000, (1,))], method="interpolate").samples
    np.testing.assert_array_equal(restored[[0, 2]], samples[[0, 2]])
    assert not np.array_equal(restored[1], samples[1])


@pytest.mark.parametrize("method", ["interpolate", "model"])
def test_equal_channels_stay_equal_when_they_are_linked(pipeline, method):
    samples = np.repeat(noise(2, RATE), 2, axis=0)
    region = [Region.rectangle(0.5, 1.2, 1000, 4000)]
    linked, apart, sides = (
        repair(pipeline, samples, RATE, region, solver=FEW, method=method, channels=how).samples
        for how in ("linked", "independent", "mid_side")
    )
    np.testing.assert_array_equal(linked[0], linked[1])
    assert not np.array_equal(apart[0], apart[1])
    np.testing.assert_allclose(sides[0], sides[1], atol=1e-6)


def test_the_same_seed_gives_the_same_and_another_another(pipeline):
    samples, region = noise(2, RATE), [Region.rectangle(0.5, 1.2, 1000, 4000)]
    for method in ("interpolate", "model"):
        one, same, other = (
            repair(pipeline, samples, RATE, region, solver=FEW, method=method, seed=seed).samples for seed in (1, 1, 2)
        )
        np.testing.assert_array_equal(one, same)
        assert not np.array_equal(one, other)


def test_regions_may_overlap_and_lie_far_apart(pipeline):
    samples = noise(9, 22_050)
    boxes = [(0, 0.3, 100, 2000), (0.2, 0.5, 1500, 4000), (8, 9, 500, 5000)]
    restored = repair(pipeline, samples, 22_050, [Region.rectangle(*box) for box in boxes], solver=FEW, method="model")
    assert [one["start_s"] for one in restored.report["regions"]] == [0, 0.2, 8]
    np.testing.assert_array_equal(restored.samples[:, 11_025 : 8 * 22_050], samples[:, 11_025 : 8 * 22_050])


def test_a_text_replaces_what_is_not_damaged(pipeline):
    samples, region = noise(3, 22_050), [Region.rectangle(1, 2, 300, 6000)]
    rain, dog, plain = (
        repair(pipeline, samples, 22_050, region, solver=FEW, prompt=prompt, texture="model")
        for prompt in ("rain", "a dog", None)
    )
    assert rain.report["prompted"]
    assert rain.report["regions"][0]["method"] == "model"
    assert plain.report["regions"][0]["method"] == "interpolate"
    assert not np.array_equal(rain.samples, dog.samples)


def test_only_what_is_around_the_regions_is_read():
    samples, read = noise(60, 8000), []

    def reader(start, stop):
        read.append((start, stop))
        return samples[:, start:stop]

    region = Region.rectangle(30, 30.5, 1000, 2000)
    (piece,) = repair_pieces(None, Signal(reader, samples.shape[1], 1, 8000), [region], method="interpolate")
    assert (piece.start, piece.samples.shape) == (240_000, (1, 4000))
    assert all(28 * 8000 < start < stop < 33 * 8000 for start, stop in read)
    whole = repair(None, samples, 8000, [region], method="interpolate").samples
    np.testing.assert_array_equal(piece.samples, whole[:, 240_000:244_000])


def test_the_report_is_json_and_says_what_was_done(pipeline):
    done = repair(pipeline, noise(2, RATE), RATE, [Region.rectangle(0.5, 1, 100, 8000)], solver=FEW, seed=3)
    report = json.loads(json.dumps(done.report))
    assert {"job": "repair", "seed": 3, "method": "auto", "n_steps": 3}.items() <= report.items()
    assert report["n_forwards"] > 0
    (region,) = report["regions"]
    assert (region["method"], region["channels"], region["tokens"] > 0) == ("model", [0], True)


def test_auto_asks_the_model_where_there_is_little_to_go_by():
    high = Region.rectangle(0, 1, 100, 8000)
    assert method_for(RepairSettings(), high, None) == "model"
    for low_or_short in (Region.rectangle(0, 0.1, 100, 8000), Region.rectangle(0, 1, 3000, 6000)):
        assert method_for(RepairSettings(), low_or_short, None) == "interpolate"
    assert method_for(RepairSettings(method="interpolate"), high, None) == "interpolate"
    assert method_for(RepairSettings(method="model"), Region.rectangle(0, 0.1, 3000, 6000), None) == "model"


def test_progress_ends_at_the_end(pipeline):
    seen = []
    region = [Region.rectangle(0.5, 1, 100, 8000)]
    repair(pipeline, noise(2), 22_050, region, solver=FEW, progress=lambda done, total: seen.append((done, total)))
    assert seen[-1][0] == seen[-1][1]


def test_what_cannot_be_done_is_refused(pipeline):
    samples, region = noise(1), [Region.rectangle(0.2, 0.8, 100, 8000)]
    with pytest.raises(ParameterError, match="unknown method 'magic': choose from auto, model, interpolate"):
        repair(None, samples, 22_050, region, method="magic")
    with pytest.raises(ParameterError, match="unknown texture 'silk'"):
        repair(None, samples, 22_050, region, texture="silk")
    with pytest.raises(ParameterError, match="unknown channels"):
        repair(None, samples, 22_050, region, channels="both", method="interpolate")
    with pytest.raises(ParameterError, match=r"the region 0.2-0.8 s, 100-8000 Hz needs a model by method 'model'"):
        repair(None, samples, 22_050, region, method="model")
    with pytest.raises(ParameterError, match="by one prompt at most, got 2"):
        repair(pipeline, samples, 22_050, region, prompt=["rain", "dogs"])
    with pytest.raises(ParameterError, match="within the recording, 0-1 s"):
        repair(None, samples, 22_050, [Region.rectangle(0.5, 2, 100, 200)])
    with pytest.raises(ParameterError, match="the reader must return float32 or float64 of shape"):
        list(repair_pieces(None, Signal(lambda a, b: samples[:, :5], 22_050, 1, 22_050), region, method="interpolate"))
    samples = np.where(np.arange(22_050) == 4000, np.nan, samples)
    with pytest.raises(AudioError, match=r"samples around a region must be finite, but at 0.1814 s \(sample 4000\)"):
        repair(None, samples, 22_050, region, method="interpolate")
