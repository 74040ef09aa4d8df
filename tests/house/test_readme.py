"""What the pages for people show is what the package offers."""

import ast
import importlib
import inspect
import re
import shlex

import pytest

import masktools
from masktools.cli.main import make_parser
from tests.house.source import ROOT

MADE = {"_build", "auto", "cards", "cli"}  # by the build of the site
PAGES = [ROOT / "README.md", ROOT / "recipes" / "README.md"]
PAGES += [page for page in sorted((ROOT / "docs").rglob("*.md")) if page.relative_to(ROOT).parts[1] not in MADE]
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def blocks(*languages):
    return [
        pytest.param(text, id=f"{page.parent.name}-{page.stem}-{number}")
        for page in PAGES
        if page.exists()
        for number, (language, text) in enumerate(BLOCK.findall(page.read_text(encoding="utf-8")))
        if language in languages
    ]


@pytest.mark.parametrize("text", blocks("python"))
def test_python_examples_name_what_exists(text):
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "masktools":
            module = importlib.import_module(node.module)
            for alias in node.names:
                assert hasattr(module, alias.name), f"{node.module} has no {alias.name}"
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "masktools":
            importlib.import_module("masktools.model")
            assert hasattr(masktools, node.attr) or importlib.import_module(f"masktools.{node.attr}")
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            owner = ast.unparse(node.func.value)
            if owner not in ("masktools", "model"):
                continue
            face = masktools if owner == "masktools" else masktools.Model
            called = inspect.signature(getattr(face, node.func.attr)).parameters
            named = {keyword.arg for keyword in node.keywords}
            takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in called.values())
            assert takes_any or named <= set(called), f"{ast.unparse(node.func)} takes no {named - set(called)}"


@pytest.mark.parametrize("text", blocks("", "sh", "bash", "console"))
def test_command_lines_are_understood(text):
    for line in text.replace("\\\n", " ").splitlines():
        words = shlex.split(line.removeprefix("$ "), comments=True)
        if words and words[0].endswith("masktools") and len(words) > 1:
            make_parser().parse_args(words[1:])


def test_the_readme_is_there():
    assert PAGES[0].exists(), "README.md is missing"
