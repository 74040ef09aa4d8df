"""The benchmark of restoration runs its checks on recordings of one's own, beside the rules of others."""

import json

import numpy as np
import pytest
import soundfile

RATE = 44_100


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a recording that reaches as high as its rate allows."""
    path = tmp_path_factory.mktemp("bench")
    soundfile.write(path / "noise.wav", np.random.default_rng(0).normal(0, 0.1, 6 * RATE), RATE)
    return path


def test_checks_are_printed_and_written(command, folder, tmp_path):
    words = ("bench", "restoration", folder, "--split", "all", "--check", "cutoffs,damage", "-n", "1")
    code, told, _ = command(*words, "--json", tmp_path / "b.json", "--markdown", tmp_path / "b.md")
    assert code == 0
    assert all(rule in told for rule in ("NVSR", "AudioSR", "ClearVoice", "A2SB"))
    stored = json.loads((tmp_path / "b.json").read_text())
    assert list(stored) == ["cutoffs", "damage"]
    assert stored["damage"]["figures"]
    assert "|---|" in (tmp_path / "b.md").read_text()


def test_every_check_is_offered():
    from masktools.cli import bench
    from masktools.evaluation.restoration_checks.run import CHECKS

    assert set(bench.CHECKS) == set(CHECKS)


def test_an_unknown_check_is_one_line(command, folder):
    code, _, errors = command("bench", "restoration", folder, "--check", "cutofs")
    assert code == 2
    assert "unknown check 'cutofs'" in errors
    assert "did you mean 'cutoffs'?" in errors
