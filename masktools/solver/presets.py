"""Settings of the solver that have a name, and changes to a model's own settings that make it faster."""

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from masktools.errors import unknown_name
from masktools.solver.config import SolverConfig

__all__ = ["PRESETS", "SPEEDS", "preset"]

_ONE_BY_ONE = 1 << 20  # more steps than any grid has slots: one token per step

PRESETS: Mapping[str, SolverConfig] = MappingProxyType(
    {
        "paper": SolverConfig(),
        "fast8": SolverConfig(n_steps=8),
        "quality32": SolverConfig(n_steps=32, policy="halton"),
        # One token per step in random order samples exactly what the predictor believes.
        "unbiased": SolverConfig(
            n_steps=_ONE_BY_ONE, policy="random", temperature=0.0, guidance=1.0, guidance_schedule="constant"
        ),
        "mage": SolverConfig(n_steps=20, temperature=6.0, guidance=1.0, guidance_schedule="constant"),
        # MAGNeT's for a stage of 20 steps, to be used with ``span_groups``, as it accepts spans of three tokens.
        "magnet": SolverConfig(
            n_steps=20,
            pace="closed",
            temperature=0.0,
            guidance=10.0,
            guidance_schedule="share_down",
            token_temperature=3.0,
            token_annealing="to_zero",  # noqa: S106 - a name, no password
            top_p=0.9,
            confidence="whole",
            group_score="max",
        ),
    }
)
"""Named settings; ``dataclasses.replace`` changes one of their values."""

SPEEDS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "exact": MappingProxyType({}),
        "fast": MappingProxyType(dict(cache_every=4, cache_scope="chosen")),
        "draft": MappingProxyType(dict(n_steps=8, cache_every=4, cache_scope="chosen")),
    }
)
"""Named changes to the settings that a model has for a job, from the slowest to the fastest; none makes it slower."""

_PAPER = SolverConfig()


def preset(name: str, own: SolverConfig = _PAPER) -> SolverConfig:
    """Return the settings of that name.

    Args:
        name: one of ``PRESETS``, which are the same for all models, or of ``SPEEDS``, which change a model's own.
        own: what a name of ``SPEEDS`` changes.

    Raises:
        ParameterError: If there is no such preset; the message lists them.

    >>> preset("draft", SolverConfig(temperature=3.0)).temperature
    3.0
    """
    if name in SPEEDS:
        return replace(own, **_fitting(SPEEDS[name], own))
    if name not in PRESETS:
        raise unknown_name("preset", name, (*PRESETS, *SPEEDS))
    return PRESETS[name]


def _fitting(changes: Mapping[str, Any], own: SolverConfig) -> dict[str, Any]:
    """Return changes that go with a model's own settings, and add no step to them."""
    fitting = dict(changes)
    if "n_steps" in fitting:
        if (own.n_steps if own.counts is None else len(own.counts)) <= fitting["n_steps"]:
            del fitting["n_steps"]
        else:
            fitting["counts"] = None  # they would take the place of the steps
    if "cache_scope" in fitting and (own.revocation > 0 or own.entropy_bound is not None):
        fitting["cache_scope"] = "masked"  # what is accepted is not known ahead
    return fitting
