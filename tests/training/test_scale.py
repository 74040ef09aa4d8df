"""A run is the same however many processes share it, however its batches are split, and whether it was killed."""

import csv
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml

pytest.importorskip("lightning", reason="training needs the extra masktools[train]")

from masktools.training.run import newest_checkpoint, run_recipe

pytestmark = pytest.mark.filterwarnings("ignore")

ROOT = Path(__file__).parents[2]
N_STEPS = 12
RECIPE = {
    "seed_everything": 3,
    "model": {
        "class_path": "masktools.training.transformer.TransformerTraining",
        "init_args": {
            "transformer": {
                "n_codes": 16, "n_rows": 2, "n_cols": 6, "width": 16, "depth": 1, "n_heads": 2, "condition_dim": 4,
            },
            "masking": {"full_share": 0.1},
            "n_steps": N_STEPS,
            "n_warmup": 2,
            "learning_rate": 1e-2,
            "condition_drop": 0.3,
            "short_share": 0.3,
        },
    },
    "data": {"class_path": "tests.training.toys.ToyClips", "init_args": {"batch_size": 8}},
    "trainer": {
        "accelerator": "cpu",
        "devices": 1,
        "max_steps": N_STEPS,
        "max_epochs": -1,
        "limit_train_batches": 7,
        "gradient_clip_val": 1.0,
        "num_sanity_val_steps": 0,
        "log_every_n_steps": 1,
        "callbacks": [
            {"class_path": "lightning.pytorch.callbacks.EMAWeightAveraging", "init_args": {"decay": 0.9}},
        ],
    },
}  # fmt: skip


def recipe(folder, callbacks=(), saved_every=3, **trainer):
    """Write the recipe for a folder, with some keys of the trainer and some callbacks more, and return its path."""
    logger = {"class_path": "lightning.pytorch.loggers.CSVLogger"}
    logger["init_args"] = {"save_dir": str(folder), "name": "log", "flush_logs_every_n_steps": 1}
    saving = {"class_path": "lightning.pytorch.callbacks.ModelCheckpoint"}
    saving["init_args"] = {"dirpath": str(folder / "run"), "filename": "last", "every_n_train_steps": saved_every}
    saving["init_args"]["enable_version_counter"] = False
    own = RECIPE["trainer"] | trainer | {"logger": logger}
    own["callbacks"] = [*own["callbacks"], *callbacks, saving]
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(RECIPE | {"trainer": own}))
    return path


def train_apart(path, *words):
    """Run the command line in a process of its own, as a user does."""
    command = [sys.executable, "-m", "masktools", "train", str(path), *words]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment, timeout=300, check=False)


def losses(folder):
    """Return the loss of each step, of all the logs in a folder; where a step was done twice, both must agree."""
    curve = {}
    for log in sorted((folder / "log").glob("version_*/metrics.csv")):
        for row in csv.DictReader(log.read_text().splitlines()):
            if row.get("loss"):
                step, loss = int(row["step"]), float(row["loss"])
                assert curve.setdefault(step, loss) == pytest.approx(loss, abs=1e-6)
    return curve


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    """The losses of the run that nobody disturbs."""
    folder = tmp_path_factory.mktemp("whole")
    run_recipe(recipe(folder))
    curve = losses(folder)
    assert sorted(curve) == list(range(N_STEPS))
    return curve


def test_a_run_that_was_killed_goes_on_as_if_it_had_not_been(uninterrupted, tmp_path, capsys):
    dying = [{"class_path": "tests.training.toys.DieAt", "init_args": {"step": 8}}]
    killed = train_apart(recipe(tmp_path, dying))
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert len(losses(tmp_path)) < N_STEPS
    report = run_recipe(recipe(tmp_path), resume=True)
    assert "going on after step 6" in capsys.readouterr().out
    assert (report.n_steps, report.n_steps_here) == (N_STEPS, N_STEPS - 6)
    assert losses(tmp_path) == pytest.approx(uninterrupted, abs=1e-6)


def test_two_processes_train_as_one_with_twice_the_batch(uninterrupted, tmp_path):
    words = ("--trainer.devices", "2", "--trainer.strategy", "ddp", "--data.init_args.batch_size", "4")
    done = train_apart(recipe(tmp_path), *words)
    assert done.returncode == 0, done.stderr
    assert "on 2 x cpu" in done.stdout
    assert done.stdout.count("checkpoint  ") == 1, "the first process reports, the other is silent"
    assert losses(tmp_path) == pytest.approx(uninterrupted, abs=1e-4)


def test_batches_that_are_accumulated_train_as_one(uninterrupted, tmp_path):
    words = ("--trainer.accumulate_grad_batches", "2", "--trainer.limit_train_batches", "14")
    run_recipe(recipe(tmp_path), [*words, "--data.init_args.batch_size", "4"])
    assert losses(tmp_path) == pytest.approx(uninterrupted, abs=1e-4)


@pytest.mark.parametrize(
    "end", [{}, {"max_steps": -1, "max_epochs": 2, "limit_train_batches": 6}], ids=["steps", "epochs"]
)
def test_the_last_step_is_saved_though_the_interval_does_not_divide_the_steps(tmp_path, end):
    report = run_recipe(recipe(tmp_path, saved_every=5, **end))
    saved = torch.load(report.checkpoint, weights_only=True)
    assert (report.checkpoint, saved["global_step"]) == (str(tmp_path / "run" / "last.ckpt"), N_STEPS)
    assert list((tmp_path / "run").iterdir()) == [tmp_path / "run" / "last.ckpt"]


def test_a_run_that_was_over_goes_on_where_it_ended(uninterrupted, tmp_path):
    run_recipe(recipe(tmp_path, saved_every=5), ["--trainer.max_steps", "7"])
    report = run_recipe(recipe(tmp_path, saved_every=5), resume=True)
    assert report.n_steps_here == N_STEPS - 7
    assert losses(tmp_path) == pytest.approx(uninterrupted, abs=1e-6)


def test_a_checkpoint_that_was_cut_off_is_passed_over(tmp_path):
    whole, cut = tmp_path / "a.ckpt", tmp_path / "b.ckpt"
    torch.save({"step": 1}, whole)
    cut.write_bytes(whole.read_bytes()[:-40])
    assert newest_checkpoint([tmp_path]) == whole
    assert newest_checkpoint([tmp_path / "nowhere"]) is None
