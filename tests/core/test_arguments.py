"""Whatever a public call is given, one line says what was wrong, and nothing comes from deep inside."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from masktools.core.arguments import (
    check_least,
    check_positive,
    check_within,
    checked_name,
    checked_real,
    checked_switch,
    checked_whole,
    plain,
    shown,
)
from masktools.core.errors import ParameterError
from masktools.model import Model
from tests.tiny import noise, tiny_pipeline

RATE = 22_050
WAVE = noise(0.5)[0]
MODEL = Model(tiny_pipeline())


class Odd:
    """Something whose text has many lines."""

    def __repr__(self):
        return "odd\nlines " * 1000


def test_a_wrong_argument_is_one_line_that_says_so():
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-m", "tests.wrong_arguments"],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]


def test_nothing_to_do_is_no_reason_to_take_what_is_wrong():
    assert MODEL.inpaint(WAVE, RATE).report["gaps"] == []
    assert MODEL.bwe(WAVE, RATE).report["status"] == "full_band"
    for job in (MODEL.inpaint, MODEL.bwe):
        for wrong in ({"channels": "both"}, {"texture": "silk"}, {"solver": "slow"}, {"prompt": ["a", "b"]}):
            with pytest.raises(ParameterError):
                job(WAVE, RATE, **wrong)
        with pytest.raises(ParameterError, match="'mid_side' is for recordings of 2 channels, got 1"):
            job(WAVE, RATE, channels="mid_side")
    for wrong in ({"method": "majik"}, {"n_candidates": 0}, {"match_level_db": -1.0}, {"classical_below_s": -1.0}):
        with pytest.raises(ParameterError):
            MODEL.inpaint(WAVE, RATE, **wrong)


def test_numbers_of_numpy_and_torch_are_numbers():
    assert checked_whole("n", np.int16(3), 1) == checked_whole("n", torch.tensor(3), 1) == 3
    assert checked_real("x", np.float32(0.5)) == checked_real("x", np.array(0.5)) == 0.5
    assert checked_switch("on", np.True_) is True
    assert type(checked_whole("n", np.int64(3))) is int
    assert plain(torch.tensor(2.0)) == 2.0


def test_a_value_is_shown_on_one_line():
    assert shown(Odd()).count("\n") == 0
    assert len(shown(Odd())) < 100
    assert shown(pd.DataFrame({"a": [1]})) == "a DataFrame"
    assert shown(np.zeros((2, 3))) == "a ndarray of float64, shape (2, 3)"
    with pytest.raises(ParameterError, match="unknown pool 'meen': choose from mean, max .did you mean 'mean'"):
        checked_name("pool", "meen", ("mean", "max"))


def test_what_comes_back_is_never_what_was_given():
    for job, more in ((MODEL.inpaint, {}), (MODEL.bwe, {}), (MODEL.bwe, {"cutoff_hz": "auto", "texture": "model"})):
        wave = noise(0.5, n_channels=2)
        before = wave.copy()
        samples = job(wave.T, RATE, **more).samples
        assert not np.shares_memory(samples, wave)
        samples += 1
        assert (wave == before).all()


def test_tensors_are_taken_wherever_arrays_are():
    wave = torch.from_numpy(WAVE)
    for job, more in ((MODEL.inpaint, {"gaps": [(0.2, 0.21)]}), (MODEL.bwe, {"cutoff_hz": 4000, "n_steps": 1})):
        np.testing.assert_array_equal(job(wave, RATE, **more).samples, job(WAVE, RATE, **more).samples)
    np.testing.assert_array_equal(MODEL.encode(wave, RATE).tokens, MODEL.encode(WAVE, RATE).tokens)
    np.testing.assert_array_equal(MODEL.embed(wave, RATE).clip, MODEL.embed(WAVE, RATE).clip)


@pytest.mark.parametrize(
    ("interval", "inside", "outside", "message"),
    [
        ("[0, 1]", (0, 0.5, 1), (-0.1, 1.1, np.nan), r"share must lie in \[0, 1\], got"),
        ("(0, 1)", (0.5,), (0, 1, np.nan), r"share must lie in \(0, 1\), got"),
        ("[2, inf]", (2, 1e9, np.inf), (1.9, np.nan), "share must be at least 2, got"),
        ("(0, inf]", (0.1, np.inf), (0, -1), "share must be above 0, got"),
    ],
)
def test_an_interval_holds_its_inside_and_the_ends_that_it_names(interval, inside, outside, message):
    for number in inside:
        check_within(interval, share=number, absent=None)
    for number in outside:
        with pytest.raises(ParameterError, match=message):
            check_within(interval, share=number)


def test_of_several_numbers_the_wrong_one_is_named():
    check_positive("Hz", first=1, second=None)
    with pytest.raises(ParameterError, match="^second must be positive, got 0 Hz$"):
        check_positive("Hz", first=1, second=0)
    with pytest.raises(ParameterError, match="^first must be at least 2, got 1.5$"):
        check_least(2, first=1.5, second=3)
