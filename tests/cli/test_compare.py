"""`masktools compare`: two files in, figures, a page or a picture out."""

import json

import numpy as np
import pytest

from masktools import io
from masktools.cli.main import main

RATE = 8000


@pytest.fixture
def pair(tmp_path):
    """Return a recording with a gap, and the same without it."""
    whole = np.random.default_rng(0).normal(0, 0.1, (1, RATE)).astype(np.float32)
    damaged = whole.copy()
    damaged[:, 4000:4400] = 0
    paths = tmp_path / "damaged.wav", tmp_path / "whole.wav"
    for path, samples in zip(paths, (damaged, whole), strict=True):
        io.write(path, samples, RATE)
    return paths


@pytest.fixture
def report(tmp_path):
    path = tmp_path / "report.json"
    content = {"gaps": [{"start_s": 0.5, "end_s": 0.55, "channels": [0], "method": "janssen"}], "cutoff_hz": None}
    path.write_text(json.dumps(content))
    return path


def test_figures_are_printed(pair, report, capsys):
    assert main(["compare", *map(str, pair), "--report", str(report), "--reference", str(pair[1])]) == 0
    said = capsys.readouterr().out
    assert "samples that differ" in said
    assert "outside the repairs" in said
    assert "janssen" in said
    assert "LSD to the reference" in said


def test_figures_are_printed_as_json(pair, report, capsys):
    assert main(["compare", *map(str, pair), "--report", str(report), "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert figures["compared"]["n_differ_outside"] == 0
    assert figures["compared"]["n_differ_inside"] > 390
    assert figures["gaps"][0]["method"] == "janssen"
    assert figures["before"]["path"] == str(pair[0])


def test_a_page_and_a_picture_are_written(pair, report, tmp_path, capsys):
    for name, beginning in (("ab.html", b"<!doctype html>"), ("ab.PNG", b"\x89PNG")):
        assert main(["compare", *map(str, pair), "-o", str(tmp_path / name), "--report", str(report)]) == 0
        assert (tmp_path / name).read_bytes().startswith(beginning)
        assert capsys.readouterr().out == f"{tmp_path / name}: damaged.wav and whole.wav compared\n"
    assert (
        main(["compare", *map(str, pair), "-o", str(tmp_path / "ab.html"), "--title", "Mine", "--json", "--overwrite"])
        == 0
    )
    assert "<h1>Mine</h1>" in (tmp_path / "ab.html").read_text(encoding="utf-8")
    assert json.loads(capsys.readouterr().out)["compared"]["n_compared"] == RATE


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["-o", "{}/ab.pdf"], "the output must end in .html or .png, got 'ab.pdf'"),
        (["-o", "{}/nowhere/ab.html"], "the output's folder must exist"),
        (["--report", "{}/none.json"], "none.json cannot be read as a report"),
        (["--reference", "{}/none.wav"], "none.wav does not exist"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_exit_code_2(pair, tmp_path, capsys, more, message):
    assert main(["compare", *map(str, pair), *(option.format(tmp_path) for option in more)]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1


def test_a_file_can_be_compared_with_itself(pair, tmp_path):
    assert main(["compare", str(pair[0]), str(pair[0]), "-o", str(tmp_path / "same.html")]) == 0
