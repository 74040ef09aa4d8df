"""`masktools evaluate`: a table on screen, everything as JSON, and one line for whatever is wrong."""

import json
import re

import pytest
import soundfile

from masktools.cli import evaluate
from masktools.evaluation.report import Report
from masktools.evaluation.sweep import PROTOCOLS
from tests.cli.conftest import RATE, recording


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Four recordings in two kinds, by a manifest."""
    place = tmp_path_factory.mktemp("recordings")
    lines = ["path,split,kind,origin"]
    for number in range(4):
        soundfile.write(place / f"{number}.wav", recording(1.6 + 0.1 * number)[:, 0], RATE)
        lines.append(f"{number}.wav,test,{'music' if number < 3 else 'speech'},{'rendered' if number == 2 else 'real'}")
    (place / "manifest.csv").write_text("\n".join(lines))
    return place


SHORT = ("--seconds", 1.5)
GAPS = ("--set", "gaps_s=[0.02]", "--set", "context_s=0.5", "--set", "solver.n_steps=2")


def test_the_table_is_on_screen_and_everything_in_the_files(command, folder, tmp_path):
    outputs = ("--json", tmp_path / "r.json", "--markdown", tmp_path / "r.md")
    code, said, errors = command("evaluate", "inpaint", folder / "manifest.csv", *SHORT, *GAPS, *outputs)
    assert (code, errors) == (0, "")
    report = Report.from_json((tmp_path / "r.json").read_text())
    assert said == report.to_text()
    assert (tmp_path / "r.md").read_text() == report.to_markdown()
    assert max(map(len, said.splitlines())) <= 120
    assert {figure.group for figure in report.figures} == {"music", "music, rendered", "speech", "all, real"}
    assert {"unprocessed", "janssen", "burg", "copy", "model", "ceiling"} <= {
        figure.method for figure in report.figures
    }
    assert {figure.embedder for figure in report.figures} == {None, "mel statistics"}
    assert report.settings["settings"]["solver"]["n_steps"] == 2


@pytest.mark.parametrize("protocol", ["tokenizer", "vocoder", "bwe"])
def test_every_protocol_runs_on_a_folder(command, folder, protocol):
    extra = ("--methods", "unprocessed,model", "--set", "solver.n_steps=1") if protocol == "bwe" else ()
    code, said, errors = command(
        "evaluate", protocol, folder, *SHORT, *extra, "--n", 1, "--kinds", "speech", "--embedder", "none"
    )
    assert (code, errors) == (0, "")
    assert "speech (n = 1)" in said or "speech, above 4000 Hz (n = 1)" in said
    assert "fad" not in said


def test_a_preset_of_the_paper_sets_the_protocol_and_can_be_changed(command, folder, tmp_path):
    preset = ("--preset", "table8_inpaint_paper_like", "--set", "columns=[2,4]", "--set", "solver.n_steps=1")
    words = ("evaluate", "inpaint", folder, *SHORT, *preset, "--methods", "model", "--json", tmp_path / "r.json")
    assert command(*words)[0] == 0
    settings = Report.from_json((tmp_path / "r.json").read_text()).settings["settings"]
    assert (settings["composite"], settings["leak_free"], settings["columns"]) == (False, False, [2, 4])
    assert (settings["solver"]["n_steps"], settings["solver"]["temperature"]) == (1, 1.5)


def test_every_protocol_is_offered():
    assert set(evaluate.PROTOCOLS) == set(PROTOCOLS)


def test_the_seed_is_the_seed_of_everything(command, folder, tmp_path):
    words = (
        "evaluate",
        "inpaint",
        folder,
        *SHORT,
        *GAPS,
        "--methods",
        "model",
        "--seed",
        5,
        "--json",
        tmp_path / "a.json",
    )
    assert command(*words)[0] == 0
    report = Report.from_json((tmp_path / "a.json").read_text())
    assert report.settings["settings"]["seed"] == report.settings["settings"]["statistics"]["seed"] == 5
    command(*words)
    assert Report.from_json((tmp_path / "a.json").read_text()).per_clip == report.per_clip


def test_broken_recordings_are_named_and_the_others_measured(command, folder, tmp_path):
    (tmp_path / "bad.wav").write_text("no audio")
    soundfile.write(tmp_path / "good.wav", recording(1.6)[:, 0], RATE)
    code, said, errors = command("evaluate", "tokenizer", tmp_path, *SHORT, "--json", tmp_path / "r.json")
    assert code == 3
    assert errors.startswith("masktools: skipped: bad.wav: ")
    assert errors.count("\n") == 1
    assert "left out as broken: 1 (bad.wav)" in said
    assert len(json.loads((tmp_path / "r.json").read_text())["left_out"]) == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("tokeniser",), "argument PROTOCOL: invalid choice: 'tokeniser'"),
        (("inpaint", "--methods", "copi"), "unknown method 'copi': choose from .* .did you mean 'copy'"),
        (("tokenizer", "--methods", "copy"), "the protocol tokenizer has no methods to choose from"),
        (("inpaint", "--set", "gaps_s"), "--set must be KEY=VALUE, as in .*, got 'gaps_s'"),
        (("inpaint", "--set", "gap_s=[1]"), "InpaintSettings has no key 'gap_s': did you mean 'gaps_s'"),
        (("inpaint", "--set", "gaps_s=[0]"), "gaps_s must be lengths in"),
        (
            ("inpaint", "--set", "seed=1", "--set", "seed.x=1"),
            "gives seed a value of its own and, in 'seed.x=1', parts",
        ),
        (("inpaint", "--embedder", "vgish"), "unknown embedder 'vgish': choose from .* .did you mean 'vggish'"),
        (("inpaint", "--seconds", "0.1"), "must be a number of at least 0.25 s, got '0.1'"),
        (("inpaint", "--min-seconds", "20"), "min_seconds must be at most seconds, got 20 and 10"),
        (("inpaint", "--training", "3"), "the protocol inpaint reads no training recordings: leave out --training"),
        (("inpaint", "--preset", "table9"), "unknown preset 'table9': choose from table3, "),
        (("inpaint", "--preset", "table3"), "the preset table3 is of the protocol tokenizer, got inpaint"),
        (("inpaint", "--kinds", "musik"), "unknown kind of recording 'musik'"),
        (("inpaint", "--n", "0"), "must be a whole number of at least 1, got '0'"),
        (("inpaint", "--json", "/nowhere/r.json"), "the output's folder must exist, got /nowhere/r.json"),
    ],
)
def test_what_cannot_be_measured_is_one_line(command, folder, words, message):
    code, said, errors = command("evaluate", words[0], folder, *words[1:])
    assert (code, said, errors.count("\n")) == (2, "", 1)
    assert errors.startswith("masktools: error: ")
    assert re.search(message, errors)


def test_a_source_that_is_none_is_one_line(command, tmp_path):
    code, _, errors = command("evaluate", "tokenizer", tmp_path / "nothing")
    assert (code, errors.count("\n")) == (2, 1)
    assert "no source at" in errors
