"""`make mini` trains a model from a manifest of thirty clips to a bundle, and goes on where it was stopped."""

import csv
import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile

pytest.importorskip("lightning", reason="training needs the extra masktools[train]")
pytest.importorskip("transformers", reason="a teacher needs the extra masktools[clap]")

from masktools.cli.main import main
from masktools.pipeline.bundles import stored_part
from masktools.pipeline.hub import load_bundle
from tests.training.teacher import WIDTH, write_teacher

ROOT = Path(__file__).parents[1]
MAKE = ROOT / "recipes" / "mini" / "make.py"
SPLITS = ("train",) * 8 + ("valid", "test")
TRAINER = ("max_steps=4", "limit_train_batches=2", "val_check_interval=2", "precision=32")
SHRUNKEN = {
    "text": (
        *(f"trainer.{key}" for key in TRAINER),
        f"model.init_args.encoder={{text_depth: 1, text_width: 32, sentence_dim: {WIDTH}, dim: 8, widths: [4, 4, 8]}}",
        "model.init_args.n_warmup=1",
        "data.init_args.n_composed=60",
        "data.init_args.piece_dim=8",
        "data.init_args.batch_size=8",
    ),
    "conditioner": (
        *(f"trainer.{key}" for key in TRAINER),
        "model.init_args.n_warmup=1",
        "data.init_args.batch_size=4",
        "data.init_args.n_texts=2",
    ),
    "tokenizer": (
        *(f"trainer.{key}" for key in TRAINER),
        "model.init_args.tokenizer={n_codes: 16, code_dim: 8, widths: [4, 8, 8]}",
        "model.init_args.n_warmup=1",
        "model.init_args.n_unquantised=2",
        "model.init_args.n_placing_vectors=32",
        "data.init_args.n_samples=16384",
        "data.init_args.batch_size=4",
    ),
    "decoder": (
        *(f"trainer.{key}" for key in TRAINER),
        "model.init_args.discriminator_width=4",
        "data.init_args.n_samples=16384",
        "data.init_args.batch_size=2",
    ),
    "grain": (
        *(f"trainer.{key}" for key in TRAINER),
        "model.init_args.grain.width=4",
        "model.init_args.n_warmup=1",
        "data.init_args.n_samples=16384",
        "data.init_args.batch_size=2",
    ),
    "vocoder": (
        *(f"trainer.{key}" for key in TRAINER),
        "model.init_args.vocoder={width: 16, depth: 1}",
        "model.init_args.period_widths=[2, 4, 4, 4]",
        "model.init_args.resolution_width=2",
        "data.init_args.n_samples=8192",
        "data.init_args.batch_size=2",
    ),
    "transformer": (
        *(f"trainer.{key}" for key in TRAINER if not key.startswith("precision")),
        "trainer.precision=32",
        "trainer.logger=false",
        "model.init_args.transformer={n_codes: 16, width: 16, depth: 1, n_heads: 2, condition_dim: 8}",
        "model.init_args.n_warmup=1",
        "data.init_args.batch_size=2",
        "data.init_args.n_valid_clips=2",
    ),
}
SHRUNKEN["captions"] = tuple(key.replace("depth: 1", "depth: 2") for key in SHRUNKEN["transformer"])


def write_clips(folder):
    """Write thirty clips of two sounds with a manifest, and return it."""
    rng, rows = np.random.default_rng(0), []
    for number in range(30):
        label, seconds = ("hum", 1.5) if number % 2 else ("hiss", 1.0)
        t = np.arange(round(seconds * 22_050)) / 22_050
        wave = 0.1 * np.sin(2 * np.pi * 220 * t) if label == "hum" else 0.1 * rng.standard_normal(len(t))
        soundfile.write(folder / f"{number}.wav", wave, 22_050)
        row = {"path": f"{number}.wav", "split": SPLITS[number % 10], "kind": "environment", "labels": label}
        rows.append(row | {"caption": f"A {label}.", "duration_s": f"{seconds}", "licence": "CC0-1.0"})
    with (folder / "manifest.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return folder / "manifest.csv"


def made(*words):
    """Run the script as make does."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(MAKE), *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=600, check=False)


@pytest.fixture
def make(monkeypatch):
    """The script, whose stages run in this process, which has loaded already what each would load anew."""
    told = importlib.util.spec_from_file_location("make_mini", MAKE)
    script = importlib.util.module_from_spec(told)
    told.loader.exec_module(script)

    def run(command, cwd=None, **options):
        if command[1:3] != ["-m", "masktools"]:
            return subprocess.run(command, cwd=cwd, **options)
        with monkeypatch.context() as patch:
            patch.chdir(cwd)
            return subprocess.CompletedProcess(command, main(command[3:]))

    monkeypatch.setattr(script, "subprocess", SimpleNamespace(run=run))
    return script


@pytest.mark.filterwarnings("ignore")  # Lightning has advice for those who train longer
def test_a_model_is_made_of_thirty_clips_and_a_run_that_failed_goes_on(make, tmp_path, capfd):
    manifest, teacher = write_clips(tmp_path), tmp_path / "teacher"
    teacher.mkdir()
    (tmp_path / "words").write_text("\n".join(f"{a}{b}" for a in "abcdefgh" for b in "klmnopqr"))
    keys = [("text", f"data.init_args.teacher={write_teacher(teacher)}")]
    keys += [("text", f"data.init_args.words={tmp_path / 'words'}")]
    keys += [(stage, key) for stage, own in SHRUNKEN.items() for key in own]
    words = [manifest, "-o", tmp_path / "run", "--name", "small", "--skip", "report"]
    words += [word for stage, key in keys for word in ("--set", stage, key)]

    words = [str(word) for word in words]
    assert make.main([*words, "--set", "decoder", "model.init_args.discriminator_width=none"]) == 2
    assert "the stage decoder ended with 2: the same command goes on with it" in capfd.readouterr().err
    assert not (tmp_path / "run" / "small").exists()

    assert make.main(words) == 0
    assert [line for line in capfd.readouterr().out.splitlines() if line.startswith("==")] == [
        f"== {stage}" for stage in ("decoder", "grain", "vocoder", "transformer", "captions", "bundle")
    ]
    model = load_bundle(tmp_path / "run" / "small", device="cpu")
    assert model.grain.config.width == 4
    assert model.conditioner.embed_text(["a hum"]).shape == (1, 8)
    assert stored_part(tmp_path / "run" / "small", "transformer")[0]["config"]["width"] == 16
    card = (tmp_path / "run" / "small" / "MODEL_CARD.md").read_text()
    assert "24 recordings of the training split" in card
    assert made(*words).stdout == f"the model is in {tmp_path / 'run' / 'small'}\n", "nothing is done twice"


def test_what_is_skipped_comes_from_the_base(make):
    words = make.made_by(type("Args", (), {"skip": ["text", "vocoder"], "base": "mini"}))
    assert words["text"] == words["vocoder"] == "mini"
    assert words["conditioner"] == "runs/mini-conditioner/best.ckpt"
    alone = make.made_by(type("Args", (), {"skip": ["captions"], "base": "mini"}))
    assert alone["captions"] == "runs/mini-transformer/last.ckpt", "the transformer as it came from its first stage"
    assert make.pair("--trainer.max_steps=3") == "trainer.max_steps=3"


def test_a_source_that_is_not_there_is_one_line(tmp_path):
    done = made(tmp_path / "nowhere.csv", "-o", tmp_path / "run")
    assert done.returncode == 2
    assert "no source at" in done.stderr.splitlines()[-1]
