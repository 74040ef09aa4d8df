"""Settings: said once, checked at once, the same for Python and for the command line."""

import argparse
from dataclasses import fields

import pytest

from masktools.classical import GAP_FILLS
from masktools.cli.main import COMMANDS, make_parser
from masktools.cli.options import CommandParser, add_settings, settings_of
from masktools.core.errors import ParameterError
from masktools.core.settings import (
    GAP_METHODS,
    TEXTURES,
    BandSettings,
    ContinuationSettings,
    DecodingSettings,
    GapSettings,
    LoopSettings,
    PromptSettings,
    RepairSettings,
)
from masktools.restoration.render import TEXTURES as MADE_OF

JOBS = [BandSettings, ContinuationSettings, DecodingSettings, GapSettings, LoopSettings, PromptSettings, RepairSettings]


def parser_of(*jobs):
    parser = CommandParser(prog="masktools")
    for job in jobs:
        add_settings(parser, job)
    return parser


@pytest.mark.parametrize("job", JOBS)
def test_options_that_are_left_out_say_what_python_says(job):
    assert settings_of(parser_of(job).parse_args([]), job) == job()


@pytest.mark.parametrize("job", JOBS)
def test_every_setting_says_what_it_does_and_most_have_an_option(job):
    known = {action.dest: action for action in parser_of(job)._actions}
    for own in fields(job):
        assert own.metadata["help"]
        if own.metadata.get("option") != "":
            assert known[own.name].help.startswith(own.metadata["help"])


def test_two_jobs_share_the_options_that_both_have():
    args = parser_of(GapSettings, BandSettings).parse_args(["--seed", "3", "--texture", "model", "--pad", "5ms"])
    gaps, band = settings_of(args, GapSettings), settings_of(args, BandSettings)
    assert (gaps.seed, gaps.texture, gaps.pad_s) == (band.seed, band.texture, 0.005) == (3, "model", 0.005)


@pytest.mark.parametrize(
    ("words", "name", "value"),
    [
        (["--quiet-guard", "off"], "quiet_guard_db", None),
        (["--to", "auto"], "to_hz", None),
        (["--no-lfr"], "lfr", False),
        (["--hf-gain", "-3"], "hf_gain_db", -3.0),
        (["--clean-above"], "clean_above", True),
        (["--steps", "20,10"], "n_steps", (20, 10)),
    ],
)
def test_words_become_values(words, name, value):
    assert getattr(settings_of(parser_of(BandSettings).parse_args(words), BandSettings), name) == value


@pytest.mark.parametrize(
    ("job", "wrong", "message"),
    [
        (GapSettings, {"n_candidates": 0}, r"n_candidates must lie in \[1, 64\], got 0"),
        (GapSettings, {"match_level_db": 61.0}, r"match_level_db must lie in \[0, 60\] dB, got 61 dB"),
        (GapSettings, {"pad_s": -1.0}, "pad_s must be at least 0 s, got -1 s"),
        (GapSettings, {"method": "majik"}, "unknown method 'majik': choose from auto, model, zero"),
        (BandSettings, {"texture": "silk"}, "unknown texture 'silk': choose from blend, recording, model"),
        (BandSettings, {"hf_gain_db": float("nan")}, r"hf_gain_db must lie in \[-24, 24\] dB, got nan dB"),
        (BandSettings, {"to_hz": 1e4, "lfr": False}, "without lfr the band ends with the model's"),
        (LoopSettings, {"seam_s": 0.0}, r"seam_s must lie in \(0, 10\] s, got 0 s"),
        (DecodingSettings, {"guidance": -1.0}, "guidance must be at least 0, got -1"),
    ],
)
def test_what_is_out_of_its_range_is_refused(job, wrong, message):
    with pytest.raises(ParameterError, match=message):
        job(**wrong)


def test_settings_are_taken_whole_or_changed_by_name():
    few = GapSettings(n_steps=3)
    assert GapSettings.of(few, {}) is few
    assert GapSettings.of(few, {"seed": 2}) == GapSettings(n_steps=3, seed=2)
    with pytest.raises(ParameterError, match="unknown setting 'textur': choose from .* .did you mean 'texture'"):
        GapSettings.of(None, {"textur": "model"})
    with pytest.raises(ParameterError, match="settings must be GapSettings or None, got BandSettings"):
        GapSettings.of(BandSettings(), {})


def test_settings_that_all_jobs_have_are_taken_by_each():
    general = DecodingSettings(seed=4, n_steps=3)
    assert PromptSettings.of(general, {"n_candidates": 2}) == PromptSettings(seed=4, n_steps=3, n_candidates=2)
    assert PromptSettings.of(general, {"seed": 5}) == PromptSettings(seed=5, n_steps=3)


def test_names_are_those_of_what_does_the_work():
    assert GAP_METHODS[2:] == tuple(GAP_FILLS)
    assert set(TEXTURES) == set(MADE_OF)


def test_the_older_name_of_a_command_works_and_is_not_shown():
    assert COMMANDS["extend"].hidden
    assert COMMANDS["extend"].run is COMMANDS["continue"].run
    (commands,) = (one for one in make_parser()._actions if isinstance(one, argparse._SubParsersAction))
    assert commands.choices["extend"].parse_args(["a.wav", "-o", "b.wav", "--seconds", "2"]).seconds == 2.0
    assert "\n  extend " not in make_parser().format_help()
