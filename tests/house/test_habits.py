"""The habits of the house that a machine can check, file by file."""

import ast

import pytest
import torch
from beartype.roar import BeartypeCallHintViolation

from masktools.mel import MelConfig
from masktools.solver.choice import moment_sharpness
from tests.house.source import ROOT, modules, name_of, part_of, tree_of

FOLDERS = ("masktools", "tests", "recipes", "scripts", "probes")
EVERYTHING = sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))
MAX_LINES = 600
MAX_PARAMETERS = 8
STILL_LONG = {"solve"}  # tensors of one call
STILL_LONG |= {
    "encode",
    "load_bundle",
    "load_model",
    "open_store",
    "build_token_cache",
}
SPEAKERS = {"cli", "demo"}
PICKLES = {"pickle", "cPickle", "dill", "joblib", "cloudpickle", "shelve", "marshal"}


def calls(path):
    """Yield (name, node) of every call in a file."""
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Call):
            yield dotted(node.func), node


def dotted(node):
    """Return what is called, ``torch.load``; of what has no name, its end."""
    return f"{dotted(node.value)}.{node.attr}" if isinstance(node, ast.Attribute) else getattr(node, "id", "")


def test_a_file_holds_one_idea():
    n_lines = {name_of(path): len(path.read_text(encoding="utf-8").splitlines()) for path in EVERYTHING}
    assert not {name: n for name, n in n_lines.items() if n >= MAX_LINES}


def test_every_module_says_what_it_is():
    assert not [name_of(path) for path in modules() if not ast.get_docstring(tree_of(path))]


def test_only_the_faces_print():
    quiet = [path for path in modules() if part_of(path) not in SPEAKERS]
    assert not [f"{name_of(path)}:{node.lineno}" for path in quiet for name, node in calls(path) if name == "print"]


def test_guards_raise_and_do_not_assert():
    asserts = [
        f"{name_of(path)}:{node.lineno}"
        for path in modules()
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Assert)
    ]
    assert not asserts, "an assert vanishes under python -O"


def test_weights_are_loaded_as_weights_only():
    unsafe = []
    for path in EVERYTHING:
        for name, node in calls(path):
            options = {keyword.arg: getattr(keyword.value, "value", None) for keyword in node.keywords}
            if name == "torch.load" and options.get("weights_only") is not True:
                unsafe.append(f"{name_of(path)}:{node.lineno}")
            if name in ("np.load", "numpy.load") and options.get("allow_pickle", False) is not False:
                unsafe.append(f"{name_of(path)}:{node.lineno}")
    assert not unsafe


def test_json_is_read_in_one_place_which_knows_what_it_may_be():
    readers = {name_of(path) for path in modules() if "json.load" in path.read_text(encoding="utf-8")}
    assert readers == {"masktools/core/configs.py"}


def test_no_pickle_reader_is_imported():
    readers = []
    for path in modules():
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            else:
                continue
            readers += [f"{name_of(path)}: {name}" for name in names if name.split(".")[0] in PICKLES]
    assert not readers


def test_docstrings_name_parameters_that_exist():
    invented = [
        f"{name_of(path)}:{node.lineno}: {name} takes no {argument}"
        for path in modules()
        for name, node, parameters in documented(tree_of(path))
        for argument in described_arguments(ast.get_docstring(node) or "")
        if argument not in parameters
    ]
    assert not invented


def test_what_takes_many_things_takes_settings():
    long = {
        node.name
        for path in modules()
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.FunctionDef)
        and len(parameters_of(node) - {"self", "cls"}) > MAX_PARAMETERS
        and node.name != "__init__"  # what it takes are settings, or parts
    }
    assert long <= STILL_LONG, "settings are a frozen dataclass, with defaults in one place"
    assert long >= STILL_LONG, "the list can be shorter"


def test_types_and_axes_are_checked_while_tests_run():
    with pytest.raises(BeartypeCallHintViolation, match="temperature"):
        moment_sharpness([1.0], torch.tensor([True]))
    with pytest.raises(BeartypeCallHintViolation, match="is_last"):
        moment_sharpness(torch.ones(2), torch.tensor([True]))  # one axis, two sizes
    with pytest.raises(BeartypeCallHintViolation, match="f_max"):
        MelConfig(f_max="8000")


def documented(tree):
    """Yield (name, node, parameters) of functions, methods, and classes, whose parameters are their fields too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name, node, parameters_of(node)
        elif isinstance(node, ast.ClassDef):
            fields = {
                field.target.id
                for field in node.body
                if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
            }
            makers = [item for item in node.body if isinstance(item, ast.FunctionDef) and item.name == "__init__"]
            yield node.name, node, fields.union(*map(parameters_of, makers))


def parameters_of(function):
    given = function.args
    every = [*given.posonlyargs, *given.args, *given.kwonlyargs, given.vararg, given.kwarg]
    return {argument.arg for argument in every if argument}


def described_arguments(docstring):
    """Return the names under ``Args:`` of a Google docstring."""
    lines = docstring.splitlines()
    heads = [number for number, line in enumerate(lines) if line.strip() == "Args:"]
    if not heads:
        return []
    margin = indent_of(lines[heads[0]])
    names, depth = [], None
    for line in lines[heads[0] + 1 :]:
        if not line.strip():
            continue
        if indent_of(line) <= margin:
            break
        depth = depth or indent_of(line)
        if indent_of(line) == depth:
            names += [name.strip().split(" ")[0].lstrip("*") for name in line.split(":", 1)[0].split(",")]
    return names


def indent_of(line):
    return len(line) - len(line.lstrip())


def test_described_arguments_are_read_from_a_google_docstring():
    docstring = "Do.\n\nArgs:\n    a: one\n        and more: of it\n    b, c: two\n    *rest: all\n\nRaises:\n    E: x"
    assert described_arguments(docstring) == ["a", "b", "c", "rest"]
    assert described_arguments("Nothing to say.") == []
