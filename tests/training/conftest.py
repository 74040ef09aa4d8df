"""A folder of small recordings with a manifest, and the cache made of it."""

import csv

import numpy as np
import pytest
import soundfile

pytest.importorskip("lightning", reason="training needs the extra masktools[train]")


@pytest.fixture(scope="session")
def manifest(tmp_path_factory):
    folder = tmp_path_factory.mktemp("recordings")
    rng = np.random.default_rng(0)
    rows = []
    for index in range(8):
        seconds, label = (0.5, "blip") if index % 2 else (2.0, "hum")
        t = np.arange(int(seconds * 24_000)) / 24_000
        wave = 0.2 * np.sin(2 * np.pi * (200 + 100 * index) * t) + 0.02 * rng.standard_normal(len(t))
        soundfile.write(folder / f"{index}.wav", wave, 24_000)
        split = "valid" if index >= 6 else "train"
        row = {"path": f"{index}.wav", "split": split, "kind": "tone", "labels": label, "caption": f"A {label}."}
        rows.append(row | {"nc": "0"})
    (folder / "broken.wav").write_bytes(b"not audio at all")
    rows.append(rows[0] | {"path": "broken.wav"})
    rows.append(rows[0] | {"path": "1.wav", "nc": "1"})
    with (folder / "manifest.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)
    return folder / "manifest.csv"


@pytest.fixture(scope="session")
def cache_folder(manifest, tmp_path_factory):
    from masktools.training.shards import build_cache

    folder = tmp_path_factory.mktemp("cache")
    build_cache([manifest], folder)
    return folder


@pytest.fixture(scope="session")
def stage_a(cache_folder, tmp_path_factory):
    import lightning.pytorch as pl

    from masktools.training.tokenizer import TokenizerTraining
    from tests.training.small import TOKENIZER, fit

    pl.seed_everything(0, verbose=False)
    module = TokenizerTraining(TOKENIZER, n_steps=8, n_warmup=1, n_unquantised=3, n_placing_vectors=64)
    path = tmp_path_factory.mktemp("stage-a") / "last.ckpt"
    fit(module, cache_folder, 8).save_checkpoint(path)
    return path
