"""`masktools sweep` measures many settings with one command, keeps what is finished, and draws."""

import json

import numpy as np
import pytest
import soundfile

from masktools.pipeline import hub
from masktools.solver import SolverConfig
from tests.cli.conftest import RATE, random_pipeline

AXES = ("--steps", "1,2", "--no-plots", "--seconds", 1.5, "--min-seconds", 1)


@pytest.fixture
def recordings(tmp_path):
    """A manifest of four noises with captions."""
    rows = ["path,split,kind,labels,caption"]
    for number in range(4):
        wave = 0.1 * np.random.default_rng(number).standard_normal(round(1.6 * RATE))
        soundfile.write(tmp_path / f"{number}.wav", wave, RATE)
        rows.append(f"{number}.wav,test,environment,rain,rain falls {'a' * number}".strip())
    (tmp_path / "manifest.csv").write_text("\n".join(rows) + "\n")
    return tmp_path / "manifest.csv"


def test_a_sweep_leaves_its_tables_and_its_points_and_goes_on_from_them(command, recordings, tmp_path):
    out = tmp_path / "out"
    code, said, errors = command("sweep", "generate", recordings, "-o", out, *AXES, "--set", "n_prompts=2")
    assert (code, errors) == (0, "")
    assert said.startswith("Sweep of generate: each axis by itself\n")
    assert sorted(path.name for path in out.iterdir()) == ["cost.md", "points.jsonl", "sweep.json", "sweep.md"]
    table = json.loads((out / "sweep.json").read_text())
    assert table["settings"]["axes"] == {"n_steps": [1, 2]}
    methods = {figure["method"] for figure in table["figures"]}
    assert {"n_steps=1", "n_steps=2", "n_steps=16", "real", "ceiling", "chance"} <= methods
    finished = (out / "points.jsonl").read_bytes()
    again = command("sweep", "generate", recordings, "-o", out, *AXES, "--set", "n_prompts=2")
    assert again == (code, said, errors)
    assert (out / "points.jsonl").read_bytes() == finished


def test_a_sweep_draws_a_picture_of_each_measure(command, recordings, tmp_path):
    pytest.importorskip("matplotlib")
    words = ("inpaint", recordings, "-o", tmp_path / "out", "--steps", "1,2", "--grid", "--no-references")
    code, said, _ = command("sweep", *words, "--set", "gaps_s=[0.2]", "--set", "context_s=0.4", "--seconds", 1.5)
    pictures = sorted(path.name for path in (tmp_path / "out").glob("*.png"))
    assert code == 0
    assert "lsd-db-environment-200-ms.png" in pictures
    assert all(str(tmp_path / "out" / name) in said for name in pictures)


def test_presets_and_any_setting_are_axes_and_their_cost_is_told(command, recordings, tmp_path):
    axes = ("--presets", "exact,draft", "--axis", "guidance_interval=[null,[0,0.5]]", "--axis", "cache_scope=masked")
    words = ("--no-plots", "--no-references", "--set", "n_prompts=2", "--repeats", 2, "--seconds", 1.5)
    code, _, errors = command("sweep", "generate", recordings, "-o", tmp_path / "out", *axes, *words)
    assert (code, errors) == (0, "")
    points = json.loads((tmp_path / "out" / "sweep.json").read_text())["settings"]["axes"]
    assert points == {
        "preset": ["exact", "draft"],
        "guidance_interval": [None, [0, 0.5]],
        "cache_scope": ["masked"],
    }
    table = (tmp_path / "out" / "cost.md").read_text()
    assert "| measure | settings | forwards | value | worse by | |" in table
    assert "| preset=draft, cache_scope=chosen |" in table.replace("**", "")
    assert "the first is preset=exact, guidance_interval=None, cache_scope=masked." in table


def test_a_speed_to_start_from_changes_the_models_own_settings(command, recordings, tmp_path):
    pipeline = random_pipeline()
    pipeline.decoding = {"generate": SolverConfig(temperature=0.7)}
    model = hub.save_bundle(pipeline, tmp_path / "own", "Random weights, for tests.")
    words = ("--no-plots", "--no-references", "--set", "n_prompts=2", "--seconds", 1.5, "--steps", 1)
    for name, wanted in (("draft", (8, 4, 0.7)), ("fast8", (8, 1, 1.5))):
        out = tmp_path / name
        assert command("sweep", "generate", recordings, "-o", out, "--preset", name, *words, model=model)[0] == 0
        solver = json.loads((out / "sweep.json").read_text())["settings"]["settings"]["solver"]
        assert (solver["n_steps"], solver["cache_every"], solver["temperature"]) == wanted


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "a sweep must have at least one axis: give --steps"),
        (("--steps", "0"), "argument --steps: must be a whole number of at least 1, got '0'"),
        (("--steps", "2", "--set", "n=3"), "--set must be KEY=VALUE, KEY one of n_prompts"),
        (("--steps", "2", "--set", "n_prompts=x"), "--set n_prompts must be a number, true, false or a list"),
        (("--steps", "2", "--set", "gaps_s=[1]"), "has no key 'gaps_s'"),
        (("--steps", "2", "--preset", "papre"), "unknown preset 'papre'"),
        (("--policy", "halten"), "unknown policy 'halten'"),
        (("--presets", "exact,drat"), "unknown preset 'drat'"),
        (("--axis", "cache_every"), "--axis must be KEY=V,V, got 'cache_every'"),
        (("--axis", "cache_every=0,2"), "cache_every must lie in [1, 1048576], got 0"),
        (("--axis", "cash=1"), "unknown axis 'cash'"),
        (("--steps", "2", "--axis", "n_steps=4"), "the axis n_steps must be given once"),
    ],
)
def test_what_makes_no_sense_is_refused(command, recordings, tmp_path, words, message):
    code, said, errors = command("sweep", "generate", recordings, "-o", tmp_path / "out", *words)
    assert (code, said) == (2, "")
    assert message in errors
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())


def test_a_probe_is_for_generation_only(command, recordings, tmp_path):
    code, _, errors = command("sweep", "bwe", recordings, "-o", tmp_path / "out", "--steps", 2, "--probe")
    assert (code, errors) == (2, "masktools: error: --probe goes with generate, not with bwe\n")
