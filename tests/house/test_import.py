"""Importing masktools changes nothing and costs nothing."""

import json
import subprocess
import sys

import pytest

import masktools
from tests.house.source import FLOOR_OF, ROOT

HEAVY = {"torch", "numpy", "timm", "lightning", "soundfile", "scipy", "librosa", "matplotlib", "transformers"}
TRAINING_ONLY = {
    "lightning",
    "torchaudio",
    "librosa",
    "sklearn",
    "pandas",
    "transformers",
    "matplotlib",
    "jsonargparse",
}


def loaded_after(code: str) -> set[str]:
    """Return the top names of the modules that a fresh Python has loaded after running some code."""
    script = f"{code}\nimport json, sys\nprint(json.dumps(sorted({{n.split('.')[0] for n in sys.modules}})))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT)
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_import_masktools_pulls_no_torch():
    assert not loaded_after("import masktools; masktools.__version__; dir(masktools)") & HEAVY


def test_who_generates_or_embeds_waits_for_no_filters():
    assert not loaded_after("import masktools; masktools.load('mini').encoder") & {"scipy", "timm", "torchvision"}


def test_processes_that_cache_recordings_load_nothing_that_trains():
    assert not loaded_after("import masktools.training.shards") & {"torch", *TRAINING_ONLY}


def test_the_errors_are_words_only():
    assert not loaded_after("import masktools.core.errors") & HEAVY


def test_importing_the_parts_leaves_the_world_alone(tmp_path):
    parts = ", ".join(f"masktools.{part}" for part in sorted(set(FLOOR_OF) - {"cli", "demo", "training"}))
    code = f"""
import os, sys, json
sys.path.insert(0, {str(ROOT)!r})
import torch
before = torch.get_num_threads(), torch.get_default_dtype(), torch.random.initial_seed()
import {parts}, masktools.evaluation.clips
after = torch.get_num_threads(), torch.get_default_dtype(), torch.random.initial_seed()
print(json.dumps([before == after, os.listdir("."), sorted({{name.split(".")[0] for name in sys.modules}})]))
"""
    command = [sys.executable, "-W", "ignore", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr
    same_state, new_files, loaded = json.loads(done.stdout)
    assert same_state, "an import changed threads, dtype or seed"
    assert not new_files
    assert not set(loaded) & TRAINING_ONLY, "who restores audio, or measures a model, does not install these"


def test_the_face_offers_load_and_model():
    assert {"load", "Model", "__version__"} <= set(dir(masktools))
    assert callable(masktools.load)
    assert masktools.Model.__name__ == "Model"


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'masktools' has no attribute 'restore'"):
        _ = masktools.restore
