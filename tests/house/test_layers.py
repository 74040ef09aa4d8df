"""Imports point down: no floor knows one above it, and siblings do not know each other."""

import ast

import pytest

from tests.house.source import FLOOR_OF, PACKAGE, house_imports, imported_names, modules, name_of, part_of, tree_of

PARTS = [path for path in modules() if part_of(path) not in ("__init__", "__main__")]  # the faces
# What only training, probing and drawing may import: those who restore audio do not install it.
HEAVY = {"lightning", "torchaudio", "sklearn", "pandas", "librosa", "tensorboard", "matplotlib", "jsonargparse"}
WORKSHOPS = {"training", "demo"}


def test_every_part_has_a_floor():
    parts = {part_of(path) for path in PARTS if PACKAGE / "bundled" not in path.parents}
    assert parts <= set(FLOOR_OF), f"give these a floor in tests/house/source.py: {parts - set(FLOOR_OF)}"


@pytest.mark.parametrize("path", PARTS, ids=name_of)
def test_imports_point_down(path):
    part = part_of(path)
    for used in house_imports(path):
        assert used == part or FLOOR_OF[used] < FLOOR_OF[part], f"{part} must not import {used}"


@pytest.mark.parametrize("path", modules(), ids=name_of)
def test_imports_are_absolute(path):
    relative = [node for node in ast.walk(tree_of(path)) if isinstance(node, ast.ImportFrom) and node.level]
    assert not relative, f"line {relative[0].lineno}: say from masktools... in full"


@pytest.mark.parametrize("path", modules(), ids=name_of)
def test_who_restores_audio_needs_no_training_package(path):
    heavy = {name.split(".")[0] for name in imported_names(tree_of(path))} & HEAVY
    assert not heavy or part_of(path) in WORKSHOPS, f"{part_of(path)} must not import {heavy}"


def test_the_solver_knows_no_network_and_no_other_part():
    for path in (path for path in PARTS if part_of(path) == "solver"):
        foreign = set(house_imports(path)) - {"solver", "errors", "shapes"}
        assert not foreign, f"{name_of(path)} must not import {foreign}"


def test_only_io_opens_audio_files():
    for path in PARTS:
        opens = "soundfile" in {name.split(".")[0] for name in imported_names(tree_of(path))}
        assert not opens or part_of(path) == "io", f"{name_of(path)} must leave audio files to masktools.io"
