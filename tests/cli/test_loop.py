"""`masktools loop`: only the two ends change, and they belong together."""

import json

import numpy as np
import pytest
import soundfile

from masktools.cli.edit import said_of_loop
from tests.cli.conftest import RATE


@pytest.mark.parametrize("method", ["model", "copy", "auto"])
def test_only_the_ends_change(command, wav, tmp_path, method):
    out, report = tmp_path / "out.wav", tmp_path / "report.json"
    words = ("--seam", "200ms", "--method", method, "--report", report, "--steps", 2)
    code, told, errors = command("loop", wav, "-o", out, *words)
    assert (code, errors) == (0, "")
    assert told.startswith(f"{out}: a seam of 0.200 s, 0.100 s at each end")
    before, after = (soundfile.read(path, dtype="int16")[0] for path in (wav, out))
    half = round(0.1 * RATE)
    assert len(before) == len(after)
    assert np.array_equal(before[half:-half], after[half:-half])
    assert not np.array_equal(before[:half], after[:half])
    changed = json.loads(report.read_text())["changed"]
    assert [round(one["start_s"], 3) for one in changed] == [0.0, 1.4]


def test_a_classical_seam_needs_no_model(command, wav, tmp_path):
    words = ("--method", "copy", "--seam", 0.3)
    assert command("loop", wav, "-o", tmp_path / "out.wav", *words, model=tmp_path / "none")[0] == 0


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (("--seam", "0"), "seam_s must lie in (0, 10] s, got 0 s"),
        (("--seam", "1"), "at least twice as long as its seam of 1 s, got 1.5 s"),
        (("--seam", "long"), "must be a duration such as 2ms or 0.5s"),
        (("--method", "magic"), "unknown method 'magic'"),
    ],
)
def test_what_cannot_be_done_is_said(command, wav, tmp_path, words, wanted):
    code, _, errors = command("loop", wav, "-o", tmp_path / "out.wav", *words)
    assert code == 2
    assert wanted in errors
    assert not (tmp_path / "out.wav").exists()


def test_a_loop_too_short_to_tell_is_not_told():
    assert said_of_loop({"seam_s": 0.02, "wrap_crest_db": {"before": None, "after": None}}) == (
        "a seam of 0.020 s, 0.010 s at each end"
    )
