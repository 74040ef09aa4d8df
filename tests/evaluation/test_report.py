"""A report says what was found, of how many clips, and lets anyone compute it again."""

import json
import statistics

import numpy as np
import pytest

from masktools.core.errors import ParameterError
from masktools.evaluation.clips import Clip, LeftOut
from masktools.evaluation.report import Figure, Report, Row, groups_of, summarise

RNG = np.random.default_rng(0)


def rows(n=9, kinds=(("music", "real"), ("speech", "real"), ("music", "rendered"))):
    return [
        Row(f"{kind} {origin} {number}.wav", kind, origin, method, metric, float(RNG.normal(5, 2)), "372 ms")
        for number in range(n)
        for kind, origin in kinds
        for method in ("copy", "model")
        for metric in ("lsd_db", "clap_score")
    ]


ROWS = rows()
REPORT = Report(
    "Gap filling",
    {"protocol": "inpaint", "model": "tiny", "embedders": ["mel statistics", "own"], "settings": {"seed": 0}},
    (*summarise(ROWS, n_resamples=50), Figure("music", "model", "fad", 1.25, None, None, 9, "own", "372 ms", "set")),
    tuple(ROWS),
    (LeftOut("x.wav", "broken", "cut off"), LeftOut("y.wav", "short", "1 s")),
    ("All distances are of the gap alone",),
)


def test_figures_are_the_medians_of_their_clips():
    wanted = [row.value for row in ROWS if (row.group, row.method, row.metric) == ("music", "copy", "lsd_db")]
    assert REPORT.value("music", "copy", "lsd_db", "372 ms") == statistics.median(wanted)
    both = [row.value for row in ROWS if (row.origin, row.method, row.metric) == ("real", "model", "lsd_db")]
    assert REPORT.value("all, real", "model", "lsd_db", "372 ms") == np.median(both)


def test_means_are_taken_where_they_are_asked_for():
    figures = {
        (one.group, one.method, one.metric): one for one in summarise(ROWS, means=("clap_score",), n_resamples=20)
    }
    wanted = [row.value for row in ROWS if (row.group, row.method, row.metric) == ("speech", "model", "clap_score")]
    figure = figures["speech", "model", "clap_score"]
    assert figure.value == pytest.approx(np.mean(wanted))
    assert (figure.statistic, figures["speech", "model", "lsd_db"].statistic) == ("mean", "median")


def test_rendered_recordings_are_never_counted_with_real_ones():
    groups = groups_of([(row.kind, row.origin) for row in ROWS])
    assert list(groups) == ["music", "speech", "music, rendered", "all, real"]
    assert {ROWS[place].origin for place in groups["all, real"]} == {"real"}
    assert {ROWS[place].origin for place in groups["music"]} == {"real"}


def test_intervals_hold_their_figure_and_narrow_with_more_clips():
    few, many = (summarise(rows(n, (("music", "real"),)), n_resamples=100) for n in (6, 200))
    for figure in (*few, *many):
        assert figure.low <= figure.value <= figure.high
    widths = [np.mean([figure.high - figure.low for figure in figures]) for figures in (few, many)]
    assert widths[1] < widths[0] / 2
    assert summarise(ROWS[:50], seed=1) == summarise(ROWS[:50], seed=1)


def test_one_clip_has_no_interval_and_what_was_not_measured_does_not_count():
    clip = Clip("a", np.ones(9, np.float32), 22_050, "music")
    given = [Row.of(clip, "model", "lsd_db", 3.0), Row("b", "music", "real", "model", "lsd_db", float("nan"))]
    (figure,) = summarise(given)
    assert (figure.value, figure.low, figure.high, figure.n) == (3.0, None, None, 1)
    assert summarise(given[1:]) == ()


def test_json_and_back_is_the_same_report():
    again = Report.from_json(REPORT.to_json())
    assert again == REPORT
    content = json.loads(REPORT.to_json())
    assert len(content["per_clip"]) == len(ROWS)
    assert content["left_out"][0] == {"name": "x.wav", "fault": "broken", "reason": "cut off"}


def test_json_has_no_word_for_what_was_not_measured_but_null():
    report = Report("T", {}, (), (Row("a", "music", "real", "model", "lsd_db", float("nan")),))
    assert '"value": null' in report.to_json()
    assert np.isnan(Report.from_json(report.to_json()).per_clip[0].value)


@pytest.mark.parametrize(
    "content", ["{", "[]", "{}", '{"format": 1}', '{"format": 1, "title": "t", "settings": {}, "figures": [{}]}']
)
def test_what_is_no_report_is_refused(content):
    with pytest.raises(ParameterError, match="a report must be JSON that `masktools evaluate` wrote"):
        Report.from_json(content)


def test_a_report_of_another_format_is_refused():
    with pytest.raises(ParameterError, match="must be of format 1, got 2: update masktools"):
        Report.from_json('{"format": 2}')


def test_text_fits_the_screen_and_says_everything():
    for width in (60, 120):
        text = REPORT.to_text(width)
        assert max(map(len, text.splitlines())) <= width
        for figure in REPORT.figures:
            assert f"{figure.value:.2f}" in text or f"{figure.value:.3f}" in text
    assert "music, 372 ms (n = 9)" in text
    assert "left out as broken: 1 (x.wav)" in text
    assert "[1] own" in text
    assert "fad[1]" in text
    assert "Medians over clips" in text
    assert "model: tiny" in text
    assert "settings" not in text  # they are in the JSON


def test_markdown_has_the_same_cells():
    page = REPORT.to_markdown()
    assert page.startswith("## Gap filling\n")
    (line,) = [line for line in page.splitlines() if line.startswith("| model") and line.endswith("| 1.25 |")]
    assert line.count("|") == 5
    assert "### music, 372 ms (n = 9)" in page
    assert "1. own" in page


def test_cells_of_fewer_clips_say_so():
    figures = (
        Figure("music", "model", "lsd_db", 5.0, None, None, 9),
        Figure("music", "janssen", "lsd_db", 4.0, None, None, 3),
        Figure("music", "janssen", "snr_db", 12345.6, None, None, 9),
    )
    lines = Report("T", {}, figures).to_text().splitlines()
    assert any(line.split() == ["janssen", "4.00", "(n=3)", "12346"] for line in lines)
    assert any(line.split() == ["model", "5.00", "-"] for line in lines)


def test_a_file_s_ending_says_how_it_is_written(tmp_path):
    for name, wanted in (("r.json", REPORT.to_json()), ("r.md", REPORT.to_markdown()), ("r.txt", REPORT.to_text())):
        REPORT.write(tmp_path / name)
        assert (tmp_path / name).read_text(encoding="utf-8") == wanted
    assert sorted(path.name for path in tmp_path.iterdir()) == ["r.json", "r.md", "r.txt"]


def test_a_report_is_written_whole_or_not_at_all(tmp_path):
    target = tmp_path / "r.json"
    REPORT.write(target)
    before = target.read_bytes()
    with pytest.raises(ValueError, match="not JSON compliant"):
        Report("T", {"seconds": float("inf")}, ()).write(target)
    assert target.read_bytes() == before
    assert list(tmp_path.iterdir()) == [target]


def test_a_figure_is_found_by_its_names():
    assert REPORT.value("music", "model", "fad", "372 ms", embedder="own") == 1.25
    with pytest.raises(ParameterError, match="one figure for music, model, nothing, it has 0"):
        REPORT.value("music", "model", "nothing")
