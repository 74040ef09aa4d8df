"""`masktools --help` is quick, says what there is, and says the same tomorrow."""

import json
import subprocess
import sys

import pytest

from masktools import __version__
from masktools.cli.main import COMMANDS, main
from tests.house.source import ROOT

HELP = """\
masktools: one masked model of mel spectrograms that fills, extends, generates and embeds audio

usage: masktools COMMAND ...

  probe     say what is wrong with recordings
  restore   find damage, fill gaps and extend the bandwidth
  inpaint   fill gaps in recordings
  bwe       add what is missing above a cutoff frequency
  repair    replace regions of time and frequency
  continue  let a recording go on
  loop      make the end of a recording lead into its start
  compare   compare two versions of a recording
  app       see, mark, repair and compare recordings on a page
  generate  make audio from a text
  vary      the same sound with other detail
  coarsen   rebuild a sound of its coarse scales
  embed     vectors that describe recordings
  encode    a recording as tokens
  decode    tokens as a recording
  models    list the models at hand
  bundle    make a model of its trained parts
  push      write a model to the Hugging Face hub
  convert   import a checkpoint of another project
  cache     decode recordings once, for training
  train     train what a recipe says
  evaluate  measure a model on recordings
  sweep     measure a model at many settings of its decoding
  bench     measure speed and memory on this machine, or restoration on recordings of yours
  demo      see and hear what the model does

  --version  print the version
  --help     print this, or after a command, its options
"""


def test_help_is_as_it_was(capsys):
    assert main(["--help"]) == 0
    assert capsys.readouterr().out == HELP


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command, capsys):
    assert main([command, "--help"]) == 0
    out = capsys.readouterr().out
    assert f"usage: masktools {command}" in out
    assert "-h, --help" in out


def test_version_is_the_packages(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"masktools {__version__}\n"


HEAVY = {"torch", "numpy", "scipy", "soundfile", "soxr", "av", "timm", "safetensors", "jaxtyping", "jinja2", "PIL"}
HEAVY |= {"matplotlib", "transformers", "sklearn", "pandas", "librosa", "pyarrow", "h5py", "ray", "huggingface_hub"}


@pytest.mark.parametrize("words", [["--help"], ["--version"], ["inpaint", "--help"], ["train", "--help"], ["inpaint"]])
def test_help_imports_nothing_that_takes_time_to_import(words):
    code = (
        f"import json, sys\nfrom masktools.cli.main import main\nmain({words})\nprint(json.dumps(sorted(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert not HEAVY & set(json.loads(done.stdout.splitlines()[-1]))


def test_the_package_is_a_command():
    done = subprocess.run([sys.executable, "-m", "masktools", "--version"], capture_output=True, text=True, cwd=ROOT)
    assert (done.returncode, done.stdout) == (0, f"masktools {__version__}\n")
