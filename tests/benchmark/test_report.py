"""Tables, pictures and whole runs."""

import json
from dataclasses import replace

import pytest

from masktools.benchmark.measurements import SUBJECTS, Benchmark, Measurement
from masktools.benchmark.models import RunSettings
from masktools.benchmark.run import (
    default_precisions,
    default_subjects,
    draw,
    run_benchmark,
    tables_of,
    to_markdown,
    to_text,
)
from masktools.core.errors import ParameterError

TINY = RunSettings(
    ("stages", "jobs", "accuracy"), size="tiny", device="cpu", precisions=("fp32", "bf16"), ceiling_s=0.0
)


@pytest.fixture(scope="module")
def found():
    settings = replace(
        TINY, batches=(1, 2), steps=(1,), repeats=1, jobs=("generate", "embed"), command="masktools bench"
    )
    return run_benchmark(settings)


def test_a_run_measures_what_was_asked_for_and_the_ceilings(found):
    assert {one.subject for one in found.measurements} == {"ceilings", "stages", "jobs", "accuracy"}
    assert found.model["random"] is True
    assert found.model["parameters"]["transformer"] == 30_096
    assert found.settings["device"] == "cpu"
    assert Benchmark.from_json(found.to_json()).measurements == found.measurements


def test_every_subject_has_a_table_on_the_screen_and_in_markdown(found):
    text, page = to_text(found), to_markdown(found)
    titles = (
        "What the machine can do at best",
        "Stages (fp32, batch 1",
        "Steps of the solver",
        "Jobs",
        "Nearness to fp32",
    )
    for title in titles:
        assert title in text
        assert f"### {title}" in page
    assert "command: masktools bench" in text
    assert max(map(len, text.split("\n\n")[1].splitlines())) < 200


def test_what_is_found_is_told_as_it_comes():
    parts, seen = [], []
    settings = replace(TINY, subjects=("jobs",), jobs=("embed",), repeats=1, precisions=("fp32",))
    run_benchmark(settings, watch=lambda *told: seen.append(told), on_found=parts.append)
    assert [{one.subject for one in part.measurements} for part in parts] == [{"ceilings"}, {"jobs"}]
    assert seen[-1] == ("jobs", 2, 2)


def test_other_subjects_have_tables_too():
    case = {"precision": "int8", "batch": 1}
    ours = Measurement.of_times("peers", "ours", case, [1.0], {"audio_s": 10.0, "real_time_factor": 0.1, "ratio": 1.0})
    theirs = Measurement.of_times("peers", "X", case, [9.0], {"audio_s": 10.0, "real_time_factor": 0.9}, "one step")
    memory = Measurement("memory", "generate", case, {"peak_bytes": 7.5e8, "loaded_bytes": 6e8})
    start = Measurement.of_times("start-up", "help", {}, [0.3], {"import_s": 0.2, "import_share": 2 / 3}, "re 0.1 s")
    told = Benchmark({}, {}, {}, (ours, theirs, memory, start))
    assert [table.title for table in tables_of(told)] == [
        "Memory in a fresh process, MB resident",
        "Start-up",
        "Peers, one clip",
    ]
    text = to_text(told)
    assert "750" in text
    assert "66.7 %" in text
    assert "X: one step." in text


def test_a_picture_has_a_panel_for_what_was_measured(found):
    pytest.importorskip("matplotlib")
    assert draw(found, 60).startswith(b"\x89PNG")
    with pytest.raises(ParameterError, match="a plot needs stages, jobs or peers that were measured, got none"):
        draw(Benchmark({}, {}, {}, ()))


def test_the_usual_subjects_leave_out_peers_and_the_accuracy_of_noise():
    assert set(SUBJECTS) - set(default_subjects()) == {"peers"}
    assert "accuracy" not in default_subjects("paper")
    assert default_precisions("cpu")[-1] in ("fp32", "int8")
    assert "fp32" in default_precisions("cpu")


def test_settings_are_checked():
    with pytest.raises(ParameterError, match="unknown subject 'stage'.*did you mean 'stages'"):
        RunSettings(("stage",))
    with pytest.raises(ParameterError, match="a benchmark needs a subject, a precision and a repeat"):
        RunSettings(())


def test_settings_are_what_json_has(found):
    assert json.loads(found.to_json())["settings"]["batches"] == [1, 2]
