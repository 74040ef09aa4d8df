"""`masktools continue`: a recording goes on, and what there was of it is as it was."""

import json

import numpy as np
import pytest
import soundfile

QUICK = ("--steps", 2)


@pytest.mark.parametrize("side", ["end", "start"])
def test_what_there_was_stays(command, stereo, tmp_path, side):
    out, report = tmp_path / "out.flac", tmp_path / "report.json"
    words = ("--seconds", 0.5, "--side", side, "--report", report, *QUICK)
    code, told, errors = command("continue", stereo, "-o", out, *words)
    assert (code, told, errors) == (0, f"{out}: 0.500 s added at the {side}\n", "")
    (before, rate), (after, same) = (soundfile.read(path, dtype="int32") for path in (stereo, out))
    assert (rate, soundfile.info(out).subtype) == (same, "PCM_24")
    assert len(after) == len(before) + rate // 2
    kept = after[: len(before)] if side == "end" else after[rate // 2 :]
    assert np.array_equal(kept, before)
    said = json.loads(report.read_text())
    assert {"job": "continue", "side": side, "samples_changed": 0, "output": str(out)}.items() <= said.items()


def test_another_coding_may_be_asked_for(command, wav, tmp_path):
    out = tmp_path / "out.wav"
    assert command("continue", wav, "-o", out, "--seconds", 0.2, "--subtype", "float", *QUICK)[0] == 0
    assert soundfile.info(out).subtype == "FLOAT"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "--seconds"),
        (("--seconds", "0"), "must be a number above 0 s"),
        (("--seconds", "601"), "seconds must lie in (0, 600], got 601"),
        (("--seconds", "1", "--side", "left"), "unknown side 'left': choose from end, start"),
    ],
)
def test_what_cannot_be_done_is_said(command, wav, tmp_path, words, said):
    code, _, errors = command("continue", wav, "-o", tmp_path / "out.wav", *words)
    assert code == 2
    assert said in errors
    assert not (tmp_path / "out.wav").exists()


def test_a_missing_recording_is_one_line(command, tmp_path):
    code, _, errors = command("continue", tmp_path / "none.wav", "-o", tmp_path / "out.wav", "--seconds", 1)
    assert code == 2
    assert "none.wav does not exist" in errors
