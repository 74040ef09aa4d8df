"""The benchmark of gap fills sees what it is meant to see: clicks, levels, and samples that were not to be changed."""

import numpy as np
import pytest

from masktools.core.errors import ParameterError
from masktools.evaluation.clips import Clip
from masktools.evaluation.inpainting import GAP_METHODS, HARD_SPLICE, measure_gap_fills
from masktools.evaluation.report import Report
from masktools.model import Model
from tests.tiny import noise, tiny_pipeline, tone

RATE = 22_050
GROUP = "recordings"


def clips(n=2, seconds=2.5):
    return [
        Clip(f"tone {number}", (tone(300 + 77 * number, seconds) + noise(seconds, level=0.003, seed=number))[0], RATE)
        for number in range(n)
    ]


@pytest.fixture(scope="module")
def classical():
    return measure_gap_fills(clips(), (0.01, 0.05), (HARD_SPLICE, "janssen", "zero"), n_positions=2)


def test_a_hard_splice_sticks_out_and_a_modelled_gap_does_not(classical):
    for case in ("10 ms", "50 ms"):
        hard, soft = (classical.value(GROUP, name, "seam_crest_db", case) for name in (HARD_SPLICE, "janssen"))
        assert soft < 4
        assert hard > soft + 4
        assert classical.value("all seams", "janssen", "seam_crest_p90_db", case) >= soft


def test_levels_and_samples_are_compared_with_what_was_there(classical):
    assert classical.value(GROUP, "janssen", "snr_db", "50 ms") > 10
    assert classical.value(GROUP, "zero", "snr_db", "50 ms") == pytest.approx(0, abs=1e-6)
    assert classical.value(GROUP, "janssen", "level_gap_db", "50 ms") < 1
    assert classical.value(GROUP, "zero", "level_gap_db", "50 ms") > 40
    assert classical.value(GROUP, "zero", "level_edge_db", "50 ms") > 40
    assert classical.value(GROUP, "zero", "level_step_db", "50 ms") > 40
    assert classical.value(GROUP, "janssen", "lsd_db", "50 ms") < classical.value(GROUP, "zero", "lsd_db", "50 ms")


def test_nothing_is_changed_outside_the_gaps(classical):
    assert {row.value for row in classical.per_clip if row.metric == "n_changed"} == {0.0}


def test_every_gap_counts_once_and_every_seam_does(classical):
    of = [row for row in classical.per_clip if (row.method, row.case) == ("janssen", "50 ms")]
    counts = {metric: sum(row.metric == metric for row in of) for metric in ("snr_db", "lsd_db", "seam_crest_db")}
    assert counts == {"snr_db": 4, "lsd_db": 4, "seam_crest_db": 8}
    assert classical.settings["n_gaps"] == 8
    assert Report.from_json(classical.to_json()).settings == classical.settings


def test_with_a_model_all_methods_are_measured_and_long_gaps_have_no_snr():
    seen = []
    report = measure_gap_fills(
        clips(1, 3.5), (0.2,), model=Model(tiny_pipeline()), n_positions=1, progress=lambda *step: seen.append(step)
    )
    assert {row.method for row in report.per_clip} == set(GAP_METHODS)
    assert not any(row.metric == "snr_db" for row in report.per_clip)
    assert seen[-1] == (len(GAP_METHODS), len(GAP_METHODS))
    assert report.value(GROUP, "burg", "level_gap_db", "200 ms") < 6


def test_clips_that_are_too_short_are_left_out_by_name():
    report = measure_gap_fills([*clips(1), *clips(1, 2.02)], (0.05,), ("zero",), n_positions=1)
    assert [one.name for one in report.left_out] == ["tone 0"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"methods": ("magic",)}, "unknown method 'magic'"),
        ({"methods": ("auto", "ceiling")}, "auto, ceiling can only be measured with a model, got none"),
        ({"gap_lengths_s": ()}, r"gap_lengths_s must be lengths in \[0.001, 60\] s"),
        ({"n_positions": 0}, "n_positions at least 1"),
        ({"gap_lengths_s": (2.0,)}, "at least one clip of 4 s, which the longest gap needs"),
        ({"clips": [Clip("faint", np.full(3 * RATE, 1e-5, np.float32), RATE)]}, "clips must be louder than -60 dBFS"),
    ],
)
def test_what_cannot_be_measured_is_refused(settings, message):
    settings = {"clips": clips(1), "gap_lengths_s": (0.01,), "methods": ("zero",)} | settings
    with pytest.raises(ParameterError, match=message):
        measure_gap_fills(**settings)
