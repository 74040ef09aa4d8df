"""`masktools bench` measures speed, and restoration on recordings of one's own, beside the rules of others."""

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


def test_every_name_is_offered():
    from masktools.benchmark import measurements, models, peers, timing
    from masktools.cli import bench
    from masktools.evaluation.checks import CHECKS

    assert set(bench.CHECKS) == set(CHECKS)
    assert set(bench.SUBJECTS) == set(measurements.SUBJECTS) - {"ceilings"}
    assert set(bench.SIZES) == set(models.SIZES)
    assert set(bench.JOBS) == set(timing.JOBS)
    assert set(bench.PEERS) == set(peers.PEERS)


def test_an_unknown_check_is_one_line(command, folder):
    code, _, errors = command("bench", "restoration", folder, "--check", "cutofs")
    assert code == 2
    assert "unknown check 'cutofs'" in errors
    assert "did you mean 'cutoffs'?" in errors


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("restoration",), "restoration goes with one manifest or folder of audio"),
        (("stages", "restoration", "x"), "restoration goes with one manifest or folder of audio"),
        (("restoration", "x", "--precision", "fp32,bf16"), "restoration takes one value of --precision, got 2"),
        (("stagse",), "unknown subject 'stagse': choose from stages"),
        (("stages", "--batch", "0"), "argument --batch: must be a whole number of at least 1, got '0'"),
        (("stages", "--precision", "fp31"), "unknown precision 'fp31'"),
        (("stages", "--json", "nowhere/b.json"), "the output's folder must exist"),
        (("stages", "--size", "tiny"), "--size takes random weights in place of a model"),
        (("accuracy", "--recordings", "missing.wav"), "missing.wav does not exist"),
    ],
)
def test_wrong_words_are_one_line(command, words, message):
    code, told, errors = command("bench", *words)
    assert code == 2
    assert message in errors
    assert len(errors.splitlines()) == 1
    assert not told


@pytest.fixture
def small_ceilings(monkeypatch):
    """Have small matrices multiplied where nobody asks how fast the machine is."""
    monkeypatch.setattr("masktools.benchmark.roofline._SIZES", {"cpu": (64,)})
    monkeypatch.setattr("masktools.benchmark.roofline._COPY_BYTES", {"cpu": 1 << 16})


@pytest.mark.usefixtures("small_ceilings")
def test_speed_is_printed_and_written(command, wav, tmp_path):
    pytest.importorskip("matplotlib")
    files = {name: tmp_path / f"b.{name}" for name in ("json", "md", "png")}
    code, told, _ = command(
        *("bench", "stages", "jobs", "accuracy", "--precision", "fp32,bf16", "--batch", "1", "--steps", "1"),
        *("--repeats", "1", "--jobs", "embed", "--recordings", wav, "--threads", "1"),
        *("--json", files["json"], "--markdown", files["md"], "--plot", files["png"]),
    )
    assert code == 0
    for title in ("What the machine can do at best", "Stages (fp32", "Jobs", "Nearness to fp32", "machine: "):
        assert title in told
    stored = json.loads(files["json"].read_text())
    assert stored["format"] == 1
    assert stored["settings"]["command"].startswith("masktools bench stages jobs accuracy --model ")
    assert "--steps 1" in stored["settings"]["command"]
    assert "### Jobs" in files["md"].read_text()
    assert files["png"].read_bytes().startswith(b"\x89PNG")


@pytest.mark.usefixtures("small_ceilings")
def test_random_weights_need_no_model(command):
    code, told, _ = command(
        *("bench", "jobs", "--size", "tiny", "--jobs", "embed", "--precision", "fp32", "--batch", "1"),
        *("--repeats", "1", "--device", "cpu"),
        model=None,
    )
    assert code == 0
    assert "tiny size, random weights, light vocoder" in told
