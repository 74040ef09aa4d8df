"""Settings are checked where they are written down, and presets say what they are called after."""

import dataclasses
import math

import pytest
import torch

from masktools.core.errors import ParameterError
from masktools.solver import PRESETS, SPEEDS, SolverConfig, item_seeds, planned_work, preset, solve, span_groups
from tests.solver.toys import Toy


def test_the_defaults_are_those_of_the_paper():
    config = SolverConfig()
    assert (config.n_steps, config.schedule, config.temperature) == (16, "cosine", 1.5)
    assert (config.guidance, config.guidance_schedule, config.policy) == (3.0, "linear_up", "confidence")
    assert preset("paper") == config


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("schedule", "cosin", "unknown schedule 'cosin': choose from cosine.*did you mean 'cosine'"),
        ("policy", "confident", "unknown policy 'confident': .*did you mean 'confidence'"),
        ("guidance_schedule", "linear", "unknown guidance_schedule 'linear': .*did you mean 'linear_"),
        ("scaling", "absolute", "unknown scaling 'absolute': choose from relative, resume"),
        ("group_score", "median", "unknown group_score 'median': choose from mean, max, sum"),
        ("n_steps", 0, r"n_steps must lie in \[1, 1048576\], got 0"),
        ("n_steps", True, "n_steps must be a whole number, got True"),
        ("top_k", 0, r"top_k must lie in \[1, 1048576\], got 0"),
        ("top_p", 0.0, r"top_p must lie in \(0, 1\], got 0"),
        ("temperature", -1.0, r"temperature must lie in \[0, inf\), got -1"),
        ("temperature", math.inf, r"temperature must lie in \[0, inf\), got inf"),
        ("guidance", math.nan, r"guidance must lie in \[0, inf\), got nan"),
        ("guidance_min", -0.5, r"guidance_min must lie in \[0, inf\), got -0.5"),
        ("token_temperature", 0.0, r"token_temperature must lie in \(0, inf\), got 0"),
        ("revocation", 1.0, r"revocation must lie in \[0, 1\), got 1"),
        ("guidance_interval", (0.8, 0.2), "guidance_interval must be .* got \\(0.8, 0.2\\)"),
        ("guidance_schedule", "interval", "guidance_schedule 'interval' needs guidance_interval"),
        ("counts", (3, 3, 0), r"counts must fall strictly and end at 0, got \(3, 3, 0\)"),
        ("counts", (3, 1), r"counts must fall strictly and end at 0, got \(3, 1\)"),
        ("counts", (), "counts must fall strictly and end at 0"),
        ("cache_every", 0, r"cache_every must lie in \[1, 1048576\], got 0"),
        ("cache_scope", "masks", "unknown cache_scope 'masks': choose from masked, chosen.*did you mean 'masked'"),
        ("entropy_bound", -0.1, r"entropy_bound must lie in \[0, inf\) nats, got -0.1"),
        ("entropy_bound", math.inf, r"entropy_bound must lie in \[0, inf\) nats, got inf"),
    ],
)
def test_a_value_that_cannot_be_used_is_refused(field, value, message):
    with pytest.raises(ParameterError, match=message):
        SolverConfig(**{field: value})


@pytest.mark.parametrize("changes", [dict(revocation=0.1), dict(entropy_bound=1.0)])
def test_what_is_chosen_ahead_cannot_change_its_counts(changes):
    with pytest.raises(ParameterError, match="cache_scope 'chosen' fixes ahead what is accepted, and goes without"):
        SolverConfig(cache_every=2, cache_scope="chosen", **changes)
    assert SolverConfig(cache_scope="chosen", **changes).cache_every == 1  # nothing is chosen ahead


def test_lists_become_tuples_so_that_settings_stay_comparable():
    config = object.__new__(SolverConfig)  # as it is made where no type checker looks on
    for field in dataclasses.fields(SolverConfig):
        object.__setattr__(config, field.name, field.default)
    object.__setattr__(config, "counts", [3, 1, 0])
    object.__setattr__(config, "guidance_interval", [0, 0.5])
    config.__post_init__()
    assert config == SolverConfig(counts=(3, 1, 0), guidance_interval=(0.0, 0.5))
    assert hash(config) == hash(dataclasses.replace(config))


def test_an_unknown_preset_names_the_nearest_one():
    with pytest.raises(ParameterError, match=r"unknown preset 'qality32': choose from paper.*did you mean 'quality32'"):
        preset("qality32")


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_every_preset_fills_a_grid(name):
    mask = torch.ones(2, 3, 8, dtype=torch.bool)
    groups = span_groups(3, 8) if name == "magnet" else None
    tokens = torch.zeros(2, 3, 8, dtype=torch.int64)
    result = solve(Toy([0, 1], 24, 6), tokens, mask, item_seeds(0, 2), preset(name), groups=groups)
    assert result.trace[-1].n_after == (0, 0)
    wanted = {"paper": 16, "fast8": 8, "quality32": 24, "unbiased": 24, "mage": 20, "magnet": 9}
    assert len(result.trace) == wanted[name]


def test_presets_cannot_be_changed_by_accident():
    with pytest.raises(TypeError, match="does not support item assignment"):
        PRESETS["paper"] = SolverConfig(n_steps=1)


def test_speeds_change_the_models_own_settings_and_are_ever_cheaper():
    own = SolverConfig(temperature=0.7, token_temperature=0.8, guidance_schedule="constant")
    chosen = [preset(name, own) for name in SPEEDS]
    assert chosen[0] == own, "the first is exact"
    assert all(one.token_temperature == 0.8 for one in chosen)
    for conditional in (False, True):
        costs = [planned_work(265, 265, one, conditional) for one in chosen]
        assert costs == sorted(costs, reverse=True)
        assert len(set(costs)) == len(costs)
    assert not set(SPEEDS) & set(PRESETS)


def test_an_interval_that_is_one_number_is_refused_in_words():
    config = SolverConfig()
    object.__setattr__(config, "guidance_interval", 0.5)  # as it comes from a file, where no type checker looks on
    with pytest.raises(ParameterError, match=r"guidance_interval must be \(start, end\) .*, got \(0.5,\)"):
        config.__post_init__()


def test_a_speed_adds_no_step_and_goes_with_what_the_model_takes_back():
    quick = SolverConfig(n_steps=6)
    assert preset("draft", quick).n_steps == 6
    listed = SolverConfig(counts=(30, 20, 10, 6, 5, 4, 3, 2, 1, 0))
    assert preset("draft", listed).counts is None
    assert preset("draft", SolverConfig(counts=(5, 0))).counts == (5, 0)
    for own in (quick, SolverConfig(counts=(5, 0)), SolverConfig(revocation=0.1)):
        costs = [planned_work(60, 60, preset(name, own)) for name in SPEEDS]
        assert costs == sorted(costs, reverse=True)
    for own in (SolverConfig(revocation=0.1), SolverConfig(entropy_bound=1.0)):
        assert preset("fast", own).cache_scope == "masked"
