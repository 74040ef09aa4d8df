"""Rules of composition: ours leaves the low band alone and has no hole at the cutoff."""

import numpy as np
import pytest

from masktools.core.errors import ParameterError
from masktools.evaluation.bandwidth_checks import RULES, measure_composition, without_top
from tests.evaluation.sounding import clip, clips


@pytest.fixture(scope="module")
def report():
    return measure_composition([clip("hum", 1), clip("beep", 2)], 4000.0)


def value(report, case, method, metric):
    return report.value("noises", method, metric, case)


def test_the_additive_rule_gives_the_truth_back(report):
    assert value(report, "truth", "additive", "low_db") < -100
    assert value(report, "truth", "additive", "low_pcm16_dbfs") < -100
    for metric in ("below_db", "above_db"):
        assert abs(value(report, "truth", "additive", metric)) < 0.2
        assert abs(value(report, "Griffin-Lim", "additive", metric)) < 1.5


def test_the_other_rules_change_the_low_band_or_leave_a_hole(report):
    additive = value(report, "Griffin-Lim", "additive", "low_db")
    assert additive < -100
    for name in RULES.keys() - {"additive"}:
        assert value(report, "Griffin-Lim", name, "low_db") > additive + 40
    # the cutoff that ClearVoice's rule finds lies at the hum and the beep
    assert value(report, "truth", "audiosr", "below_db") != pytest.approx(0.0, abs=1.0)


def test_half_of_the_amplitude_is_left_at_the_cutoff():
    time_s = np.arange(22_050) / 22_050
    for hertz, gain in ((3850, 1.0), (4000, 0.5), (4150, 0.0)):
        wave = np.sin(2 * np.pi * hertz * time_s).astype(np.float32)
        np.testing.assert_allclose(without_top(wave, 22_050, 4000)[5000:-5000], gain * wave[5000:-5000], atol=1e-4)


def test_each_clip_is_counted():
    seen = []
    measure_composition(clips(1)[:2], 4000.0, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(1, 2), (2, 2)]


def test_what_cannot_be_measured_is_refused():
    with pytest.raises(ParameterError, match="at least one clip to measure, got none"):
        measure_composition([])
    with pytest.raises(ParameterError, match=r"the cutoff must lie in \(400, 10625\) Hz, got 10800 Hz"):
        measure_composition(clips(1), 10_800.0)
