"""The points of a sweep, and the file in which finished ones are kept."""

import itertools
import json
import os
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, cast

from masktools.errors import ParameterError, unknown_name
from masktools.evaluation.report import Figure
from masktools.jsons import parse_json
from masktools.solver import Plan, SolverConfig, plan_value, preset

__all__ = ["MODEL_AXIS", "PRESET_AXIS", "Axes", "Notebook", "Point", "points_of"]

MODEL_AXIS = "model"
"""The axis of different bundles; the next one and all others are settings of the solver."""

PRESET_AXIS = "preset"
"""The axis of named settings, which the other axes change."""

Axes = Mapping[str, Sequence[Any]]


@dataclass(frozen=True)
class Point:
    """One setting of everything that is swept."""

    values: tuple[tuple[str, Any], ...]  # axis and value, in the order of the axes

    @property
    def name(self) -> str:
        """The point in words.

        >>> Point((("n_steps", 8), ("temperature", 1.5))).name
        'n_steps=8, temperature=1.5'
        """
        return ", ".join(f"{axis}={_shown(value)}" for axis, value in self.values)

    def solver(self, base: Plan) -> Plan:
        """Return the settings of the solver at this point, of all stages or of each."""
        if isinstance(base, tuple):
            return tuple(cast(SolverConfig, self._of(stage).solver(config)) for stage, config in enumerate(base))
        named = self.get(PRESET_AXIS)
        start = base if named is None else preset(named, base)
        return replace(start, **{axis: value for axis, value in self.values if axis not in (MODEL_AXIS, PRESET_AXIS)})

    def _of(self, stage: int) -> "Point":
        """Return the point as one stage has it."""
        each = ((axis, value[stage] if isinstance(value, _Each) else value) for axis, value in self.values)
        return Point(tuple(each))

    def get(self, axis: str) -> Any:
        """Return the value on an axis; None where it is none of the sweep."""
        return dict(self.values).get(axis)


class _Each(tuple[Any, ...]):
    """A value for each stage, where stages differ."""


def _value_at(base: Plan, axis: str) -> Any:
    """Return where settings stand on an axis."""
    value = plan_value(base, axis)
    several = isinstance(base, tuple) and any(getattr(config, axis) != value for config in base)
    return _Each(value) if several else value


def _shown(value: Any) -> str:
    if isinstance(value, _Each):
        return "/".join(map(_shown, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def points_of(axes: Axes, base: Plan, grid: bool = False, first_model: str = "") -> tuple[Point, ...]:
    """Return the points of a sweep: all combinations of a grid, or the base and each axis by itself.

    In a grid the other axes overrule what a preset sets; by itself a preset sets them.

    Args:
        axes: name of a setting of the solver, "preset" or "model" -> values.
        base: where the other axes stand while one is moved.
        grid: whether all combinations are wanted.
        first_model: the model at which the other axes are moved.

    Raises:
        ParameterError: no axis, an unknown one, one without values or with equal ones, or a value out of its range.
    """
    known = (*(one.name for one in fields(SolverConfig)), MODEL_AXIS, PRESET_AXIS)
    for axis, values in axes.items():
        if axis not in known:
            raise unknown_name("axis", axis, known)
        if not values or len(set(values)) < len(values):
            raise ParameterError(f"the axis {axis} must have different values, at least one, got {list(values)}")
    if not axes:
        raise ParameterError("a sweep must have at least one axis, such as n_steps")
    standing = {MODEL_AXIS: first_model, PRESET_AXIS: "exact"}
    start = {axis: standing[axis] if axis in standing else _value_at(base, axis) for axis in axes}
    if grid:
        chosen = [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())]
    else:
        chosen = [start, *(_moved(start, axis, value, base) for axis, values in axes.items() for value in values)]
    points = tuple(dict.fromkeys(Point(tuple(one.items())) for one in chosen))
    for point in points:
        point.solver(base)  # refuses values out of their range before anything is computed
    return points


def _moved(start: Mapping[str, Any], axis: str, value: Any, base: Plan) -> dict[str, Any]:
    """Return the start with another value on one axis; with another preset, the other axes have what that sets."""
    others = start
    if axis == PRESET_AXIS and value != start[axis]:
        named = Point(((PRESET_AXIS, value),)).solver(base)
        others = {one: at if one in (MODEL_AXIS, PRESET_AXIS) else _value_at(named, one) for one, at in start.items()}
    return {**others, axis: value}


class Notebook:
    """A JSON-lines file of finished work, rewritten whole with each line more, so that a kill leaves no half a line."""

    def __init__(self, path: str | os.PathLike[str], keys: Sequence[str]) -> None:
        """Read what there is.

        Args:
            path: the file; it need not exist yet.
            keys: what lines must have been made with, so that they can be used: fingerprints of everything else.

        Raises:
            ParameterError: the file is none, or was made with something else.
        """
        self.path = Path(os.path.realpath(path))
        self._lines: list[dict[str, Any]] = []
        if self.path.exists():
            try:
                self._lines = [parse_json(line) for line in self.path.read_text(encoding="utf-8").splitlines()]
                own = all(line["key"] in keys for line in self._lines)
            except (ValueError, KeyError, TypeError) as error:
                raise ParameterError(f"{path} must be a file of finished points, as a sweep writes it") from error
            if not own:
                raise ParameterError(
                    f"{path} holds points of another sweep (other recordings, settings, embedders or weights): "
                    "give another file, or delete it"
                )

    def __len__(self) -> int:
        return len(self._lines)

    def find(self, key: str, name: str) -> tuple[Figure, ...] | None:
        """Return the figures of a point by its name; None if it is not finished."""
        for line in self._lines:
            if (line["key"], line["point"]) == (key, name):
                return tuple(Figure(**figure) for figure in line["figures"])
        return None

    def add(self, key: str, name: str, figures: Sequence[Figure]) -> None:
        """Keep the figures of a finished point."""
        self._lines.append({"key": key, "point": name, "figures": [asdict(figure) for figure in figures]})
        unfinished = self.path.with_name(f".{self.path.name[:50]}.{secrets.token_hex(4)}.part")
        try:
            unfinished.write_text("".join(f"{json.dumps(line)}\n" for line in self._lines), encoding="utf-8")
            os.replace(unfinished, self.path)
        finally:
            unfinished.unlink(missing_ok=True)
