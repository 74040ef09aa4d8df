"""The benchmark of cutoffs gives each rule what it deserves."""

import numpy as np
import pytest

from masktools.core.errors import ParameterError
from masktools.evaluation.checks import (
    FILTERS,
    FULL_BAND,
    OURS,
    PEER_RULES,
    a2sb,
    audiosr,
    clearvoice,
    measure_cutoffs,
    nvsr,
)
from masktools.evaluation.clips import Clip

RATE = 22_050


def clip(name="noise", seconds=2.0, seed=0, tilt=True):
    """Return noise that gets quieter towards the top, as recordings do."""
    rng = np.random.default_rng(seed)
    spectrum = np.fft.rfft(rng.normal(0, 1, round(seconds * RATE)))
    hz = np.fft.rfftfreq(round(seconds * RATE), 1 / RATE)
    wave = np.fft.irfft(spectrum / (1 + hz / 500) if tilt else spectrum, round(seconds * RATE))
    return Clip(name, (0.2 * wave / np.abs(wave).max()).astype(np.float32), RATE)


@pytest.fixture(scope="module")
def report():
    return measure_cutoffs([clip("a"), clip("b", seed=1)], (2_000.0, 4_000.0, 20_000.0))


@pytest.mark.parametrize("case", ["brick", "PCM16", "MP3", "hiss"])
def test_our_detector_finds_sharp_cutoffs(report, case):
    assert report.value("recordings", OURS, "within_5", case) == 100


def test_the_peers_are_in_every_table(report):
    for case in FILTERS:
        for peer in PEER_RULES:
            assert report.value("recordings", peer, "found", case) == 100
    assert report.value("recordings", "NVSR", "bias", "brick") < -3, "it takes quiet for absent"


def test_full_band_recordings_are_no_cutoff(report):
    assert report.value("recordings", OURS, "false_alarms", FULL_BAND) == 0


def test_cutoffs_that_a_clip_does_not_reach_are_left_out(report):
    assert {row.clip for row in report.per_clip if row.case == "brick"} == {
        f"{name} at {cutoff} Hz" for name in "ab" for cutoff in (2000, 4000)
    }


def test_the_report_is_reproducible_and_readable(report):
    reports = [measure_cutoffs([clip(seconds=1.0)], (3_000.0,), ("hiss",), seed=seed) for seed in (0, 0, 1)]
    first, same, other = (one.to_json() for one in reports)
    assert first == same != other
    assert "shelf-drop (ours)" in report.to_text()


def test_a_rule_of_shares_finds_its_share():
    wave = np.random.default_rng(0).normal(0, 0.1, 4 * RATE)
    assert nvsr(wave, RATE) == pytest.approx(0.97 * RATE / 2, rel=0.01)
    assert audiosr(wave, RATE) == pytest.approx(0.985 * RATE / 2, rel=0.01)
    assert a2sb(wave, RATE) == pytest.approx(0.99 * RATE / 2, rel=0.01)
    assert clearvoice(wave, RATE) == pytest.approx(RATE / 2, rel=0.02)


def test_progress_is_told():
    told = []
    measure_cutoffs([clip(seconds=1.0)], (3_000.0,), ("brick",), progress=lambda *pair: told.append(pair))
    assert told == [(1, 1)]


def test_bad_arguments_are_refused():
    with pytest.raises(ParameterError, match="there must be at least one clip to measure, got none"):
        measure_cutoffs([])
    with pytest.raises(ParameterError, match="unknown filter 'brik': choose from brick, .* 'brick'"):
        measure_cutoffs([clip()], filters=("brik",))
    with pytest.raises(ParameterError, match="cutoffs_hz must have one within 80 % of a clip's band"):
        measure_cutoffs([clip()], (30_000.0,))
