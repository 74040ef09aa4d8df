"""The presets say what the paper says, and build settings that run."""

import pytest

from masktools.core.errors import ParameterError
from masktools.evaluation.generation import GenerationSettings
from masktools.evaluation.reconstruction import TokenizerSettings
from masktools.evaluation.scores import Statistics
from masktools.evaluation.sweep import PRESETS, preset_settings
from masktools.mel import MelConfig
from masktools.mel.spectrogram import TokenGrid
from masktools.solver import SolverConfig

PAPER = TokenGrid.from_mel(MelConfig(f_max=8000.0))


def test_generation_is_decoded_as_in_the_paper():
    protocol, settings = preset_settings("audiocaps", PAPER)
    solver = SolverConfig(n_steps=16, guidance=3.0, guidance_schedule="linear_up", temperature=1.5, schedule="cosine")
    assert (protocol, settings) == (
        "generate",
        GenerationSettings(solver=solver, statistics=Statistics(n_components=0)),
    )
    assert PRESETS["audiocaps"].seconds == 10


def test_the_gap_is_ten_columns_or_1_9_seconds():
    for name, leak_free in (("table8_inpaint_paper_like", False), ("table8_inpaint_leak_free", True)):
        protocol, settings = preset_settings(name, PAPER)
        assert protocol == "inpaint"
        assert settings.columns == (25, 35)
        assert 10 * PAPER.column_s == pytest.approx(1.86, abs=0.01)
        assert (settings.leak_free, settings.composite) == (leak_free, leak_free)
        assert (settings.solver.n_steps, settings.solver.temperature) == (16, 1.5)


def test_the_band_is_the_top_row_which_the_paper_puts_above_4_3_khz():
    for name, leak_free in (("table8_bwe_paper_like", False), ("table8_bwe_leak_free", True)):
        protocol, settings = preset_settings(name, PAPER)
        assert protocol == "bwe"
        assert settings.leak_free is leak_free
        assert settings.methods == ()  # with and without low-frequency replacement
        assert settings.cutoffs_hz[0] == pytest.approx(4250, abs=100)
    (mini_hz,) = preset_settings("table8_bwe_leak_free", TokenGrid.from_mel(MelConfig(f_max=11_025.0)))[1].cutoffs_hz
    assert mini_hz > settings.cutoffs_hz[0]


def test_reconstruction_is_table_3():
    assert preset_settings("table3", PAPER) == ("tokenizer", TokenizerSettings(statistics=Statistics(n_components=0)))


@pytest.mark.parametrize("name", PRESETS)
def test_published_distances_are_of_all_that_an_embedder_hears(name):
    assert preset_settings(name, PAPER)[1].statistics.n_components == 0


def test_an_unknown_preset_is_refused_and_none_can_be_changed():
    with pytest.raises(ParameterError, match="unknown preset 'table4'.*choose from table3, audiocaps"):
        preset_settings("table4", PAPER)
    with pytest.raises(TypeError):
        PRESETS["mine"] = PRESETS["table3"]  # type: ignore[index]
