"""Gaps are cut, filled by every method, and what is in them is compared with what was there."""

import json
from dataclasses import replace

import numpy as np
import pytest

from masktools.core.errors import ParameterError
from masktools.evaluation.clips import Clip, left_out_of
from masktools.evaluation.inpainting import INPAINT_METHODS, InpaintSettings, evaluate_inpainting
from masktools.evaluation.report import Report
from masktools.evaluation.scores import Statistics
from masktools.metrics import lsd_db
from masktools.model import Model
from masktools.solver import SolverConfig
from tests.evaluation.memory import Loudness, knowing_model, melody
from tests.pipeline.streams.small import small_walk
from tests.tiny import SAMPLE_RATE

CLIPS = [melody(0), melody(1), melody(2), melody(3), melody(4, origin="rendered")]
MODEL = knowing_model(CLIPS)
FAST = SolverConfig(n_steps=2)
GAP, CASE = (0.4,), "400 ms"


@pytest.fixture(scope="module")
def report():
    return evaluate_inpainting(
        MODEL,
        CLIPS,
        InpaintSettings((0.02, 0.4), context_s=0.5, solver=FAST, statistics=Statistics(n_resamples=100)),
        [Loudness()],
    )


def test_an_empty_gap_is_furthest_from_what_was_there(report):
    methods = [method for method in INPAINT_METHODS if method != "janssen"]
    distances = {method: report.value("music", method, "lsd_db", CASE) for method in methods}
    assert set(sorted(distances, key=distances.get)[-2:]) == {"unprocessed", "linear"}  # a straight line is as empty
    assert report.value("music", "unprocessed", "level_error_db", CASE) < -40


def test_the_ceiling_of_a_model_that_loses_nothing_is_all_but_the_seams(report):
    assert report.value("music", "ceiling", "lsd_db", CASE) < 1.5
    assert abs(report.value("music", "ceiling", "level_error_db", CASE)) < 0.5
    best = min(report.value("music", method, "lsd_db", CASE) for method in INPAINT_METHODS[1:-2] if method != "janssen")
    assert report.value("music", "ceiling", "lsd_db", CASE) < best
    fads = {method: report.value("music", method, "fad", CASE) for method in ("unprocessed", "model", "ceiling")}
    assert fads["ceiling"] < fads["model"] < fads["unprocessed"]


def test_a_perfect_fill_scores_nothing():
    settings = InpaintSettings(GAP, context_s=0.5, methods=("ceiling",), composite=False)
    perfect = evaluate_inpainting(MODEL, CLIPS[:2], settings)
    for metric in ("lsd_db", "third_octave_db", "bias_db", "level_error_db"):
        assert perfect.value("music", "ceiling", metric, CASE) == pytest.approx(0, abs=1e-6)


def test_short_gaps_alone_have_a_ratio_of_signal_to_noise_and_janssen(report):
    assert report.value("music", "unprocessed", "snr_db", "20 ms") == pytest.approx(0)
    assert report.value("music", "janssen", "snr_db", "20 ms") > 0
    with pytest.raises(ParameterError, match="it has 0"):
        report.value("music", "janssen", "lsd_db", CASE)
    with pytest.raises(ParameterError, match="it has 0"):
        report.value("music", "model", "snr_db", CASE)


def test_rendered_clips_have_figures_of_their_own(report):
    assert {figure.group for figure in report.figures} == {"music", "music, rendered"}
    assert {figure.n for figure in report.figures if figure.group == "music, rendered"} == {1}


def test_every_figure_can_be_computed_again(report):
    again = Report.from_json(report.to_json())
    assert again == report
    for figure in again.figures:
        if figure.statistic == "median":
            same = (figure.group, figure.method, figure.metric, figure.case)
            rows = [row.value for row in again.per_clip if (row.group, row.method, row.metric, row.case) == same]
            assert figure.value == np.median(rows)


def test_the_report_says_what_was_set(report):
    about = json.loads(report.to_json())["settings"]
    assert about["settings"]["gaps_s"] == [0.02, 0.4]
    assert about["settings"]["solver"]["n_steps"] == 2
    assert about["clips"] == ["music: 4", "music, rendered: 1"]
    assert about["embedders"] == ["loudness of eight bands"]
    assert {figure.embedder for figure in report.figures if figure.statistic == "set"} == {"loudness of eight bands"}
    assert "Embedders hear the gap and 1 s at each side" in report.to_text()


def test_gaps_are_in_the_middle_and_the_distance_is_of_the_gap_alone(report):
    clip = CLIPS[0]
    hole = clip.wave.copy()
    start = (len(hole) - 8820) // 2
    hole[start : start + 8820] = 0
    wanted = lsd_db(clip.wave, hole, 22_050, span_s=(start / 22_050, (start + 8820) / 22_050))
    (row,) = [
        row
        for row in report.per_clip
        if (row.clip, row.method, row.metric, row.case) == (clip.name, "unprocessed", "lsd_db", CASE)
    ]
    assert row.value == wanted


def test_the_same_seed_measures_the_same():
    settings = InpaintSettings(GAP, context_s=0.5, methods=("model", "spectral_noise"), solver=FAST)
    first, second = (evaluate_inpainting(MODEL, CLIPS[:2], settings) for _ in range(2))
    assert first.per_clip == second.per_clip
    other = evaluate_inpainting(MODEL, CLIPS[:2], InpaintSettings(**{**vars(settings), "seed": 1}))
    assert first.per_clip != other.per_clip


@pytest.mark.parametrize(("leak_free", "composite"), [(True, True), (True, False), (False, False)])
def test_the_paper_s_columns_are_a_gap_of_whole_tokens(leak_free, composite):
    settings = InpaintSettings(
        columns=(5, 8),
        leak_free=leak_free,
        composite=composite,
        methods=("model", "ceiling"),
        solver=FAST,
        around_s=None,
    )
    steps = []
    report = evaluate_inpainting(MODEL, CLIPS[:2], settings, [Loudness()], lambda *at: steps.append(at))
    assert {figure.case for figure in report.figures} == {"557 ms"}  # 3 x 4096 samples
    limit = 1.5 if composite else 1e-6
    assert report.value("music", "ceiling", "lsd_db", "557 ms") <= limit
    assert steps[-1][0] == steps[-1][1]
    shares = [done / total for done, total in steps]
    assert shares == sorted(shares)
    assert "Embedders hear whole clips" in report.notes


def test_clips_too_short_for_the_gap_are_left_out_and_named():
    short = Clip("short.wav", CLIPS[0].wave[:22_050], 22_050, "music")
    settings = InpaintSettings(GAP, context_s=0.5, methods=("unprocessed",))
    report = evaluate_inpainting(MODEL, [short, CLIPS[1]], settings)
    assert [(one.name, one.fault, one.reason) for one in report.left_out] == [
        ("short.wav", "short", "1 s, the gap needs 1.4 s")
    ]
    assert {figure.n for figure in report.figures} == {1}
    with pytest.raises(ParameterError, match="at least one clip of 1.4 s, which the longest gap needs, got none of 1"):
        evaluate_inpainting(MODEL, [short], settings)
    assert left_out_of([short]) == ()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"gaps_s": ()}, r"gaps_s must be lengths in \[0.001, 60\] s, at least one, got"),
        ({"gaps_s": (0.1, 0.0)}, "gaps_s must be lengths in"),
        ({"columns": (35, 25)}, "columns must be a first one above 0 and one past the last, got"),
        ({"context_s": 0.0}, "context_s must be at least 0.1 s, got 0 s"),
        ({"around_s": float("nan")}, "around_s must be at least 0.1 s, got nan s"),
        ({"methods": ("modell",)}, "unknown method 'modell': choose from unprocessed, .* .did you mean 'model'"),
    ],
)
def test_settings_out_of_range_are_refused(given, message):
    with pytest.raises(ParameterError, match=message):
        InpaintSettings(**given)


def test_gaps_of_a_model_over_token_streams_are_measured_likewise():
    model = Model(small_walk())
    clips = [replace(clip, wave=clip.wave[: 4 * SAMPLE_RATE]) for clip in CLIPS[:2]]
    methods = ("search", "model", "model_alone", "true_tokens", "ceiling")
    report = evaluate_inpainting(model, clips, InpaintSettings(GAP, context_s=0.5, methods=methods))
    measured = {row.method for row in report.per_clip}
    assert measured == {*methods} - {"ceiling"}, "its levels are matched to cells of a spectrogram, which streams lack"
    with pytest.raises(ParameterError, match="rows of tokens are bands of frequency"):
        evaluate_inpainting(model, clips, InpaintSettings(GAP, context_s=0.5, composite=False))
