"""Where the golden values of other implementations lie: beside the checkout, or where MASKTOOLS_GOLDEN says."""

import functools
import json
import os
from pathlib import Path

import pytest
from safetensors.torch import load_file

_BESIDE = Path(__file__).parents[3].parent / "shared" / "golden"
FOLDER = Path(os.environ.get("MASKTOOLS_GOLDEN") or _BESIDE)


def needs(name):
    """Skip tests whose golden values are not at hand: they are no part of the repository."""
    there = (FOLDER / f"{name}.safetensors").is_file()
    return pytest.mark.skipif(not there, reason=f"no {name}.safetensors in ../shared/golden or MASKTOOLS_GOLDEN")


@functools.cache
def read(name):
    """Return the tensors and the description of a golden file."""
    description = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    return load_file(FOLDER / f"{name}.safetensors"), description


def under(tensors, prefix):
    """Return the tensors whose names begin with a prefix, without it, in single precision."""
    return {name.removeprefix(prefix): value.float() for name, value in tensors.items() if name.startswith(prefix)}
