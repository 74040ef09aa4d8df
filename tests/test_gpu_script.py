"""The script that trains on a machine with a GPU: what travels is small, and each stage leaves weights in parts."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("lightning", reason="training needs the extra masktools[train]")

from masktools.core.errors import ParameterError
from masktools.training.captioned_mels import CaptionedMel, is_packed, pack_mels, read_packed
from masktools.training.checkpoints import load_tokenizer, network_state, part_description
from tests.training.conftest import cache_folder, manifest, stage_a  # noqa: F401

pytestmark = pytest.mark.filterwarnings("ignore")
ROOT = Path(__file__).parents[1]
SMALL = ["trainer.limit_train_batches=2", "trainer.val_check_interval=2", "trainer.limit_val_batches=1"]


def captioned(seed=0, n_frames=40):
    mel = np.random.default_rng(seed).uniform(-1, 1, (n_frames, 80)).astype(np.float16)
    return CaptionedMel(mel, frozenset({"dog", "animal"}), "A dog.", "environment", "train", 8000.0)


@given(st.integers(1, 60), st.integers(0, 9))
def test_packed_mels_are_as_given_to_half_a_step(tmp_path_factory, n_frames, seed):
    path = tmp_path_factory.mktemp("packed") / "clips.mels"
    given_ = captioned(seed, n_frames)
    assert pack_mels([given_], path, 1 << 20) == 1
    (found,) = read_packed(path)
    np.testing.assert_allclose(found.mel.astype("f4"), given_.mel.astype("f4"), atol=1.01 / 255)
    assert (found.tags, found.caption, found.bandwidth_hz) == (given_.tags, given_.caption, given_.bandwidth_hz)


def test_as_many_are_packed_as_fit(tmp_path):
    path = tmp_path / "clips.mels"
    n = pack_mels([captioned(seed) for seed in range(20)], path, 20_000)
    assert 1 < n < 20
    assert path.stat().st_size <= 20_000
    assert len(read_packed(path)) == n
    assert is_packed(path)
    with pytest.raises(ParameterError, match="no recording fits into 100 bytes"):
        pack_mels([captioned()], path, 100)
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(ParameterError, match="holds no packed mel spectrograms"):
        read_packed(path)


def called(*words, cwd):
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "PYTHON": sys.executable}
    done = subprocess.run(
        list(map(str, words)), cwd=cwd, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.mark.slow
def test_what_is_packed_is_trained_on_and_comes_back_in_parts(cache_folder, stage_a, tmp_path):  # noqa: F811
    script = ROOT / "recipes" / "mini" / "gpu.py"
    said = called(sys.executable, script, "pack", cache_folder, "--tokenizer", stage_a, "-o", "pack", cwd=tmp_path)
    assert "8 of 8 recordings" in said
    cpu = ["--accelerator", "cpu", "--workers", "0", "--steps", "2", "--batch-size", "2"]
    sets = [word for key in SMALL for word in ("--set", key)]
    small = ["--set", "model.init_args.n_warmup=1", "--set", "model.init_args.discriminator_width=4"]
    called("bash", ROOT / "recipes/mini/gpu.sh", "pack", "out", "decoder", 60, *cpu, *sets, *small, cwd=tmp_path)
    parts = sorted((tmp_path / "out").glob("decoder.safetensors.part-*"))
    assert parts
    assert all(part.stat().st_size <= 16 << 20 for part in parts)
    whole = tmp_path / "decoder.safetensors"
    whole.write_bytes(b"".join(part.read_bytes() for part in parts))
    assert part_description(whole)["part"] == "tokenizer"
    before, after = network_state(stage_a), network_state(whole)
    assert load_tokenizer(whole).config == load_tokenizer(stage_a).config
    assert all(
        np.array_equal(value.half(), after[name]) for name, value in before.items() if not name.startswith("decoder.")
    )
    assert (tmp_path / "out" / "decoder-version_0.csv").is_file()
