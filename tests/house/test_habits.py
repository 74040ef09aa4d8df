"""The habits of the house that a machine can check, file by file."""

import ast

import pytest

from tests.house.source import FLOOR_OF, ROOT, modules, name_of, part_of, tree_of

FILES = modules()
PYTHON = sorted(
    path for folder in ("masktools", "tests", "recipes", "scripts", "probes") for path in (ROOT / folder).rglob("*.py")
)
MAX_LINES = 400
SPEAKERS = {"cli", "demo"}
PICKLES = {"pickle", "cPickle", "dill", "joblib", "cloudpickle", "shelve", "marshal"}


def called_name(node: ast.Call) -> str:
    return ast.unparse(node.func)


def calls(path):
    return [node for node in ast.walk(tree_of(path)) if isinstance(node, ast.Call)]


@pytest.mark.parametrize("path", PYTHON, ids=name_of)
def test_a_file_holds_one_idea(path):
    n_lines = len(path.read_text(encoding="utf-8").splitlines())
    assert n_lines < MAX_LINES, f"{n_lines} lines: split it"


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_every_module_says_what_it_is(path):
    assert ast.get_docstring(tree_of(path)), "a module starts with a docstring"


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_only_the_faces_print(path):
    printed = [node.lineno for node in calls(path) if called_name(node) == "print"]
    assert not printed or part_of(path) in SPEAKERS, f"print at line {printed}"


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_guards_raise_and_do_not_assert(path):
    asserted = [node.lineno for node in ast.walk(tree_of(path)) if isinstance(node, ast.Assert)]
    assert not asserted, f"assert at line {asserted}: it vanishes under python -O"


@pytest.mark.parametrize("path", PYTHON, ids=name_of)
def test_nothing_is_unpickled(path):
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import | ast.ImportFrom) and "tests" not in path.relative_to(ROOT).parts:
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
            assert not {name.split(".")[0] for name in names} & PICKLES, f"line {node.lineno} imports a pickle reader"
        if isinstance(node, ast.Call):
            options = {keyword.arg: keyword.value for keyword in node.keywords}
            if called_name(node) == "torch.load":
                safe = options.get("weights_only")
                assert getattr(safe, "value", None) is True, f"line {node.lineno}: torch.load without weights_only=True"
            if called_name(node) in ("np.load", "numpy.load"):
                allowed = options.get("allow_pickle")
                assert allowed is None or (isinstance(allowed, ast.Constant) and allowed.value is False), (
                    f"line {node.lineno}: np.load with pickles"
                )


def public_callables(tree: ast.Module):
    """Yield (name, node, parameters) of what a user can call: functions, methods, and classes by their fields."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            given = node.args
            every = [*given.posonlyargs, *given.args, *given.kwonlyargs, given.vararg, given.kwarg]
            yield node.name, node, {argument.arg for argument in every if argument}
        elif isinstance(node, ast.ClassDef):
            fields = {
                field.target.id
                for field in node.body
                if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
            }
            for method in node.body:
                if isinstance(method, ast.FunctionDef) and method.name == "__init__":
                    fields |= {argument.arg for argument in [*method.args.args, *method.args.kwonlyargs]}
            yield node.name, node, fields


def described_arguments(docstring: str) -> list[str]:
    """Return the names under ``Args:`` of a Google docstring."""
    lines = docstring.splitlines()
    if "Args:" not in [line.strip() for line in lines]:
        return []
    start = [line.strip() for line in lines].index("Args:")
    margin = len(lines[start]) - len(lines[start].lstrip())
    names, depth = [], None
    for line in lines[start + 1 :]:
        indent = len(line) - len(line.lstrip())
        if line.strip() and indent <= margin:
            break
        depth = indent if depth is None and line.strip() else depth
        if line.strip() and indent == depth and ":" in line:
            head = line.split(":", 1)[0]
            names += [name.strip().split(" ")[0].lstrip("*") for name in head.split(",")]
    return names


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_docstrings_name_parameters_that_exist(path):
    for name, node, parameters in public_callables(tree_of(path)):
        unknown = set(described_arguments(ast.get_docstring(node) or "")) - parameters
        assert not unknown, f"{name} (line {node.lineno}) describes {sorted(unknown)}, which it does not take"


def test_described_arguments_are_read_from_a_google_docstring():
    docstring = "Do.\n\nArgs:\n    a: one\n        and more: of it\n    b, c: two\n    *rest: all\n\nRaises:\n    E: x"
    assert described_arguments(docstring) == ["a", "b", "c", "rest"]


def test_the_floors_name_only_parts_that_are_there():
    there = {part_of(path) for path in FILES}
    assert set(FLOOR_OF) <= there, f"no such parts: {set(FLOOR_OF) - there}"
