"""Commands, options and extras that messages name can be had: nobody is sent where there is nothing."""

import argparse
import ast
import re
import tomllib

import pytest

from masktools.cli.main import COMMANDS, make_parser
from tests.house.source import ROOT, modules, name_of, tree_of

# What follows the name in running text ("where masktools must be installed"), and not in a hint.
WORDS = {"as", "does", "has", "log", "made", "must", "on", "opens", "raises", "reads"}
WRITING = ("probe", "restore", "inpaint", "bwe", "repair", "continue", "loop", "compare", "generate", "embed", "encode")
WRITING += ("decode", "convert", "evaluate", "bench")
FOREIGN = {"--trainer", "--data", "--notes", "--stdin", "--no-deps"}  # of recipes, of espeak-ng, of pip


def texts():
    """Yield (file, line, text) of every string of the package that is not a page's style."""
    for path in modules():
        if "style" not in path.stem:
            for node in ast.walk(tree_of(path)):
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    yield name_of(path), node.lineno, node.value


def options(parser=None):
    """Return every option of the command line."""
    known = set()
    for action in (parser or make_parser())._actions:
        known.update(action.option_strings)
        if isinstance(action, argparse._SubParsersAction):
            known = known.union(*map(options, action.choices.values()))
    return known


def test_every_command_that_a_message_names_exists():
    named = [
        (where, line, word)
        for where, line, text in texts()
        for word in re.findall(r"\bmasktools ([a-z][a-z-]*)", text)
        if word not in WORDS
    ]
    assert len(named) > 20, "the search finds no hints any more"
    assert not [one for one in named if one[2] not in COMMANDS]


def test_every_option_that_a_message_names_exists():
    known = options() | FOREIGN
    named = [
        (where, line, word)
        for where, line, text in texts()
        for word in re.findall(r"(?<![\w-])--[a-z][a-z0-9-]*", text)
        if not text.lstrip().startswith(("<", ":root", "\n:root"))
    ]
    assert len(named) > 100
    assert not [one for one in named if one[2] not in known]


def test_every_extra_that_a_message_names_exists():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    named = {name for _, _, text in texts() for name in re.findall(r"masktools\[([a-z0-9]+)\]", text)}
    assert named
    assert named <= set(extras)


def test_hf_is_the_command_of_the_hub_that_the_extra_installs():
    told = [text for _, _, text in texts() if "hf auth login" in text]
    assert told
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert "huggingface_hub>=0.34" in extras["hub"], "before 0.34 it is called huggingface-cli login"


@pytest.mark.parametrize("command", ["probe", "restore", "inpaint", "bwe", "embed"])
def test_commands_that_take_many_files_take_the_same_options(command):
    actions = next(a for a in make_parser()._actions if isinstance(a, argparse._SubParsersAction)).choices[command]
    assert {"-r", "--recursive", "--progress", "--jobs", "--overwrite"} <= options(actions)


@pytest.mark.parametrize("command", WRITING)
def test_every_command_that_writes_a_file_can_be_told_to_replace_it(command):
    actions = next(a for a in make_parser()._actions if isinstance(a, argparse._SubParsersAction)).choices[command]
    assert "--overwrite" in options(actions)
