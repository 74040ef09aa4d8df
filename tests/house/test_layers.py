"""Imports point down: no floor knows one above it, and no part knows itself by way of others."""

import ast
from graphlib import TopologicalSorter

import pytest

from tests.house.source import FLOOR_OF, house_imports, imported_names, modules, name_of, part_of, room_of, tree_of

PARTS = [path for path in modules() if part_of(path) not in ("__init__", "__main__", "bundled")]  # without the face
# What only training, probing and drawing may import: those who restore audio do not install it.
HEAVY = {"lightning", "torchaudio", "sklearn", "pandas", "librosa", "tensorboard", "matplotlib", "jsonargparse"}
WORKSHOPS = {"training", "evaluation", "estimators", "benchmark"}


def foreign_packages(path):
    return {name.split(".")[0] for name in imported_names(tree_of(path))} - {"masktools"}


def test_the_floors_hold_every_part_and_no_other():
    assert {part_of(path) for path in PARTS} == set(FLOOR_OF), "the table stands in tests/house/source.py"


def test_imports_point_down():
    climbing = [
        f"{name_of(path)} must not import {used}"
        for path in PARTS
        for used in house_imports(path)
        if FLOOR_OF[used] > FLOOR_OF[part_of(path)]
    ]
    assert not climbing


def test_parts_know_each_other_in_one_direction_only():
    uses = {part_of(path): set() for path in PARTS}
    for path in PARTS:
        uses[part_of(path)] |= set(house_imports(path)) - {part_of(path)}
    TopologicalSorter(uses).prepare()  # raises CycleError, which names the circle


def test_there_are_few_arrows_between_parts():
    arrows = {(part_of(path), used) for path in PARTS for used in house_imports(path)} - {
        (part, part) for part in FLOOR_OF
    }
    assert len(arrows) <= 120


@pytest.mark.parametrize("part", ["core", "networks", "pipeline"])
def test_what_stands_in_one_part_is_in_no_circle_either(part):
    inside = [path for path in PARTS if part_of(path) == part and path.name != "__init__.py"]
    uses = {room_of(path): set() for path in inside}
    for path in inside:
        for name in imported_names(tree_of(path)):
            words = name.removeprefix("masktools.").split(".")
            if words[0] == part and (used := ".".join(words[:2])) != room_of(path) and used in uses:
                uses[room_of(path)].add(used)
    assert sum(map(len, uses.values())), "nothing was found to import"
    TopologicalSorter(uses).prepare()


def test_imports_are_absolute():
    relative = [
        f"{name_of(path)}:{node.lineno}"
        for path in modules()
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.ImportFrom) and node.level
    ]
    assert not relative


def test_who_restores_audio_needs_no_training_package():
    heavy = {name_of(path): foreign_packages(path) & HEAVY for path in PARTS if part_of(path) not in WORKSHOPS}
    assert not {name: packages for name, packages in heavy.items() if packages}


def test_the_solver_knows_no_network_and_no_other_part():
    known = {used for path in PARTS if part_of(path) == "solver" for used in house_imports(path)}
    assert known <= {"solver", "core"}


def test_only_io_opens_audio_files():
    openers = {part_of(path) for path in PARTS if foreign_packages(path) & {"soundfile", "wave", "audioread"}}
    # the page of a comparison holds its players as data; a benchmark codes MP3 in memory
    assert openers <= {"io", "demo", "review", "evaluation"}
