"""Reading the project's own source: which files there are, and what each imports."""

import ast
import functools
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "masktools"

# The floors, from the ground up. A module imports from its own floor and from floors below, and no two parts import
# each other, however many lie between them.
FLOORS: tuple[frozenset[str], ...] = (
    frozenset({"core"}),
    frozenset({"classical", "detection", "io", "mel", "metrics"}),
    frozenset({"networks", "solver"}),
    frozenset({"pipeline"}),
    frozenset({"features", "restoration"}),
    frozenset({"adapters", "app", "batch", "benchmark", "demo", "estimators", "evaluation", "extraction", "hear"})
    | {"model", "review", "training"},
    frozenset({"cli"}),
)
FLOOR_OF = {part: number for number, parts in enumerate(FLOORS, start=1) for part in parts}


def modules() -> list[Path]:
    """Return every module of the package, in a fixed order."""
    return sorted(PACKAGE.rglob("*.py"))


@functools.cache
def tree_of(path: Path) -> ast.Module:
    """Return the syntax tree of a file."""
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def part_of(path: Path) -> str:
    """Return the part of the house that a file belongs to: its folder or its name under masktools/."""
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def room_of(path: Path) -> str:
    """Return the folder or file inside a part that a file belongs to: ``networks.vocoder``; what has none is itself."""
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts[:2])


def name_of(path: Path) -> str:
    """Return a file's path inside the checkout, as tests print it."""
    return path.relative_to(ROOT).as_posix()


def imported_names(tree: ast.AST) -> Iterator[str]:
    """Yield the dotted name of every absolute import, wherever in the file it stands."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def house_imports(path: Path) -> Iterator[str]:
    """Yield the part of the house behind every import of masktools' own in a file."""
    for name in imported_names(tree_of(path)):
        words = name.split(".")
        if words[0] == "masktools" and len(words) > 1 and words[1] in FLOOR_OF | {"bundled": 0}:
            yield words[1]
