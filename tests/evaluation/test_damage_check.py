"""The benchmark of damage counts what is found, and what is found in vain."""

import numpy as np
import pytest

from masktools.core.errors import ParameterError
from masktools.evaluation.checks import FLOAT, MP3, measure_damage
from masktools.evaluation.clips import Clip


def clip(name="noise", seconds=4.0, seed=0, level=0.1):
    rng = np.random.default_rng(seed)
    return Clip(name, rng.normal(0, level, round(seconds * 44_100)).astype(np.float32), 44_100)


@pytest.fixture(scope="module")
def report():
    return measure_damage([clip("a"), clip("b", seed=1)], n_each=1, lengths_s=(0.002, 0.03))


def test_zeros_are_found_to_the_sample(report):
    assert report.value("recordings", "ours", "recall", FLOAT) == 100
    assert report.value("all clips", "ours", "worst_edge_samples", FLOAT) <= 8
    assert report.value("all clips", "ours", "false_per_min", FLOAT) == 0


def test_after_a_lossy_codec_only_longer_ones_count(report):
    assert report.value("recordings", "ours", "recall", MP3) == 100
    assert sum(row.case == MP3 and row.metric == "recall" for row in report.per_clip) == 2
    assert report.value("all clips", "ours", "false_per_min", MP3) == 0


def test_what_is_found_in_a_damaged_clip_is_counted_as_false():
    broken = clip("broken")
    broken.wave[50_000:50_500] = 0
    assert measure_damage([broken], lengths_s=(0.02,)).value("all clips", "ours", "false_per_min", FLOAT) == 15


def test_the_report_is_reproducible():
    reports = [measure_damage([clip(seconds=1.0)], n_each=1, lengths_s=(0.03,)) for _ in range(2)]
    assert reports[0].to_json() == reports[1].to_json()


def test_bad_arguments_are_refused():
    with pytest.raises(ParameterError, match="there must be at least one clip to measure, got none"):
        measure_damage([])
    with pytest.raises(ParameterError, match=r"lengths_s must be above 0 s and n_each at least 1, got \(0,\), 2"):
        measure_damage([clip()], lengths_s=(0,))
