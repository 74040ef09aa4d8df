"""Joins between windows, and quiet moments, of a small model."""

import numpy as np
import pytest

from masktools.core.errors import ParameterError
from masktools.evaluation.bandwidth_checks import join_times_s, loudness_db, measure_joins, measure_quiet
from tests.evaluation.sounding import clip, tiny_model
from tests.tiny import tone


@pytest.fixture(scope="module")
def model():
    return tiny_model()


def test_each_join_of_a_long_recording_is_measured(model):
    long = clip("hum", 1, 4.0)
    report = measure_joins(model, [long], 4000.0)
    times = join_times_s(model.pipeline, len(long.wave))
    assert report.settings["n_joins"] == len(times) == 3
    found = {(row.method, row.metric, row.case) for row in report.per_clip}
    assert {("windows", "crest_db", f"at {time_s:.2f} s") for time_s in times} <= found
    assert {method for method, metric, _ in found if metric == "crest_db"} == {
        "windows",
        "elsewhere",
        "single",
        "original",
    }
    assert {time_s for _, metric, time_s in found if metric == "crest_excess_db"} == {
        f"at {time_s:.2f} s" for time_s in times
    }
    assert any("step_db of windows, 95 % of joins" in note for note in report.notes)
    assert report.value("noises", "windows", "step_db") < 3


def test_recordings_without_joins_are_refused(model):
    with pytest.raises(ParameterError, match=r"longer than a window of 1.49 s to have a join, got 1.00 s at most"):
        measure_joins(model, [clip("hum", 1, 1.0)])


def test_the_loudness_of_a_sine_is_that_of_the_standard():
    # BS.1770: a full-scale sine of 997 Hz in one channel reads -3.01 LKFS
    for rate in (22_050, 48_000):
        assert loudness_db(tone(997, 2, rate, level=1.0)[0], rate) == pytest.approx(-3.01, abs=0.1)
    assert loudness_db(tone(20, 2, level=1.0)[0], 22_050) < -10
    assert loudness_db(np.zeros(1000), 22_050) < -90


def test_quiet_moments_are_measured_with_and_without_the_guard(model):
    report = measure_quiet(model, [clip("beep", 1, 1.5)], 4000.0)
    assert {row.method for row in report.per_clip} == {"guarded", "unguarded"}
    assert report.value("noises", "guarded", "silence_dbfs") < -180
    guarded, unguarded = (report.value("noises", method, "quiet_xs_hi_db") for method in ("guarded", "unguarded"))
    assert guarded <= unguarded + 0.1
    assert "quiet_xs_db of the worst clip, guarded" in report.notes[0]
