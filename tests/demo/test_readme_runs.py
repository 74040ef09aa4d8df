"""The examples in the README run as they stand there, on files of the names that they use."""

import re

import numpy as np
import pytest

import masktools
from masktools import io
from masktools.model import Model
from tests.house.source import ROOT
from tests.tiny import noise, tiny_pipeline

README = (ROOT / "README.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"^```python\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


@pytest.mark.filterwarnings("ignore:.*slated for removal:DeprecationWarning")  # what librosa reads files with
@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_runs(example, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(masktools, "load", lambda name: Model(tiny_pipeline(n_cols=27)), raising=False)
    io.write("damaged.wav", noise(4.0, 44_100, n_channels=2), 44_100)
    for name, seconds in (("dull.wav", 2.0), ("music.wav", 1.0)):
        io.write(name, noise(seconds), 22_050)
    names = {}
    exec(compile(example, "README.md", "exec"), names)
    if "filled.wav" not in example:
        return
    filled = io.read("filled.wav")
    assert filled.samples.shape == (2, 4 * 44_100)
    assert np.abs(filled.samples[:, 53_000:68_000]).max() > 0


def test_there_is_an_example_of_some_fifteen_lines():
    assert EXAMPLES
    assert len(EXAMPLES[0].splitlines()) <= 16


@pytest.mark.parametrize("address", re.findall(r"\]\(([^)#]+)\)", README))
def test_what_the_readme_links_to_is_there(address):
    assert address.startswith("https://") or (ROOT / address).exists(), f"{address} is missing"
