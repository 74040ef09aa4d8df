"""A probe finds the same however a recording is cut into blocks, and tells it as JSON and as gaps."""

import json
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from masktools.core.errors import ParameterError
from masktools.core.gaps import Gap, check_gaps
from masktools.detection import DAMAGES, Bandwidth, Damage, Findings, Probe, ProbeSettings
from tests.detection.sounds import RATE, low_passed, noise

ALL = ProbeSettings(tuple(DAMAGES))


def damaged(seconds=6.5):
    """Return a stereo recording with damage of every kind, some of it at the borders of windows."""
    wave = low_passed(noise(seconds, n_channels=2, level=0.2), RATE, 4_000)
    wave[:, 30_000:30_400] = 0
    wave[1, 65_400:66_000] = 0
    wave[0, 90_000:90_300] = wave[0, 89_999]
    wave[0, 131_000:131_441] = wave[0, 130_559:131_000]
    wave[:, 110_000:111_000] *= 1e-3
    wave[1, 100_000] += 0.9
    wave[0, 120_000:120_003] = np.nan
    wave[0, 100:140] = 0.95
    return wave


def probed(wave, cuts=(), settings=ALL):
    probe = Probe(RATE, len(wave), settings)
    for block in np.split(wave, sorted(cuts), axis=1):
        probe.feed(block)
    return probe.finish()


WHOLE = damaged()
FOUND = probed(WHOLE)


@settings(max_examples=8, deadline=None)
@given(st.lists(st.integers(0, WHOLE.shape[1]), max_size=8))
def test_the_blocks_of_a_recording_change_nothing(cuts):
    assert probed(WHOLE, cuts) == FOUND


def test_blocks_of_a_few_samples_change_nothing():
    short = WHOLE[:, 60_000:70_000]
    assert probed(short, range(0, 10_000, 7)) == probed(short)


def test_every_kind_of_damage_is_found_at_once():
    assert {one.kind for one in FOUND.damage} == set(DAMAGES)
    assert FOUND.bandwidth is not None
    assert FOUND.bandwidth.cutoff_hz == pytest.approx(4_000, rel=0.02)


def test_gaps_are_such_as_can_be_filled():
    gaps = FOUND.gaps()
    assert check_gaps(gaps, FOUND.duration_s, FOUND.n_channels) == sorted(gaps, key=lambda gap: gap[:2])
    assert Gap(30_000 / RATE, 30_400 / RATE, None) in gaps
    assert Gap(65_400 / RATE, 66_000 / RATE, (1,)) in gaps
    assert FOUND.gaps(["hold"]) == [Gap(89_999 / RATE, 90_300 / RATE, (0,))]


def test_json_says_everything_and_is_json():
    told = json.loads(json.dumps(FOUND.to_json(), allow_nan=False))
    assert told["cutoff_hz"] == pytest.approx(4_000, rel=0.02)
    assert told["channels"] == 2
    assert told["duration_s"] == pytest.approx(6.5)
    assert {gap["kind"] for gap in told["gaps"]} == set(DAMAGES) - {"clicks"}
    assert told["gaps"][0]["channels"] == [0, 1]
    assert [click["channels"] for click in told["clicks"]] == [[1]]
    assert told["level"][0]["peak_db"] == pytest.approx(20 * np.log10(np.nanmax(np.abs(WHOLE[0]))), abs=0.01)


def test_no_cutoff_is_null():
    told = probed(noise(3.0)).to_json()
    assert told["cutoff_hz"] is None
    assert told["cutoff_confidence"] > 0.5
    nothing = probed(noise(3.0), settings=ProbeSettings(bandwidth=False)).to_json()
    assert nothing["cutoff_hz"] is nothing["cutoff_confidence"] is None


def test_nothing_is_too_odd_to_be_probed():
    for wave in (
        np.zeros((6, RATE), np.float32),
        noise()[:, :1],
        np.full((1, 900), np.nan, np.float32),
        noise()[:, :0],
    ):
        told = probed(wave).to_json()
        json.dumps(told, allow_nan=False)
        assert told["cutoff_hz"] is None


def test_silence_and_shortness_are_said():
    assert probed(np.zeros((1, RATE), np.float32)).warnings == ("the recording is silent",)
    assert probed(noise()[:, :100]).warnings == ("the recording is too short to tell its bandwidth",)


def test_an_offset_clipping_and_samples_beyond_full_scale_are_said():
    wave = np.clip(noise(level=0.5), -0.8, 0.8) + 0.1
    wave[0, 50] = 1.5
    said = " ".join(probed(wave).warnings)
    assert "channel 0 has a constant offset of 0.1" in said
    assert "channel 0 has 1 samples beyond full scale" in said
    clipped = " ".join(probed(np.clip(noise(level=0.5), -0.8, 0.8)).warnings)
    assert "channel 0 was probably clipped" in clipped


def test_so_much_damage_that_nobody_reads_it_is_counted(monkeypatch):
    monkeypatch.setattr("masktools.detection.probe.MAX_DAMAGE", 3)
    wave = noise(3.0)
    for start in range(5_000, 60_000, 5_000):
        wave[:, start : start + 100] = 0
    found = probed(wave, settings=ProbeSettings(("zeros",)))
    assert len(found.damage) == 3
    assert "channel 0 has 11 places of the kind zeros: the first 3 are listed" in found.warnings


def test_memory_does_not_grow_with_the_recording():
    block = noise(1.0, 65_536, 2)
    peaks = []
    for n_blocks in (15, 60):
        tracemalloc.start()
        probe = Probe(44_100, 2, ProbeSettings(("zeros", "hold", "dropout", "non_finite"), bandwidth=False))
        for _ in range(n_blocks):
            probe.feed(block)
        probe.finish()
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.1 * peaks[0]


def test_bad_arguments_are_refused():
    with pytest.raises(ParameterError, match="n_channels must be at least 1, got 0"):
        Probe(RATE, 0)
    with pytest.raises(ParameterError, match="a block must have 2 channels, got 1"):
        Probe(RATE, 2).feed(noise())
    with pytest.raises(ParameterError, match="click_threshold must be above 0, got 0"):
        ProbeSettings(click_threshold=0.0)
    with pytest.raises(ParameterError, match="min_drop_db must be above 0, got -1"):
        ProbeSettings(min_drop_db=-1.0)
    with pytest.raises(ParameterError, match="unknown kind of damage 'hiss'"):
        Findings(RATE, 5, ("zeros",), (), Bandwidth(None, 0.0, 0.0), (Damage(1, 2, "zeros", (0,)),)).gaps(["hiss"])
