"""A bundle is fine-tuned on a folder of one's own, by one command, and makes a bundle again."""

import numpy as np
import pytest
import soundfile
import torch

pytest.importorskip("lightning", reason="training needs the extra masktools[train]")

from masktools.cli.main import main
from masktools.pipeline.bundles import stored_part
from masktools.pipeline.hub import load_bundle, save_bundle, tokens_known_by
from tests.tiny import tiny_pipeline

pytestmark = pytest.mark.filterwarnings("ignore")
RECIPE = __file__.replace("tests/training/test_finetuning.py", "recipes/finetune.yaml")


@pytest.fixture
def workplace(tmp_path, monkeypatch):
    """A place with a small bundle and a folder of three short recordings, without splits."""
    save_bundle(tiny_pipeline(), tmp_path / "small", "# small")
    (tmp_path / "my").mkdir()
    rng = np.random.default_rng(0)
    for name in "abc":
        soundfile.write(tmp_path / "my" / f"{name}.wav", 0.1 * rng.standard_normal(22_050), 22_050)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_bundle_is_finetuned_on_a_folder_and_goes_into_a_bundle_again(workplace, capsys):
    few = ["--trainer.max_steps", "3", "--trainer.accelerator", "cpu", "--model.n_steps", "60"]
    few += ["--trainer.limit_train_batches", "2", "--trainer.val_check_interval", "2", "--data.batch_size", "2"]
    command = ["train", RECIPE, "--base", "small", "--data.folder", "my", *few]
    assert main(command) == 0
    said = capsys.readouterr().out
    assert "valid_gap" in said
    assert "masktools bundle runs/finetune/last.ckpt --base small" in said.replace(str(workplace) + "/", "")
    assert main([*command, "--resume", "--trainer.max_steps", "4"]) == 0
    (workplace / "card.md").write_text("# mine")
    assert main(["bundle", "runs/finetune/last.ckpt", "--base", "small", "--card", "card.md", "-o", "mine"]) == 0
    (old, before), (new, after) = (stored_part(name, "transformer") for name in ("small", "mine"))
    assert new["config"] == old["config"]
    assert not all(torch.equal(value, after[name]) for name, value in before.items())
    tuned = load_bundle("mine", device="cpu")
    assert tokens_known_by(tuned.transformer) == tokens_known_by(load_bundle("small", device="cpu").transformer)


def test_a_base_that_is_no_bundle_is_one_line(workplace, capsys):
    assert main(["train", RECIPE, "--base", "nothing", "--data.folder", "my"]) == 2
    said = capsys.readouterr().err
    assert "no model 'nothing'" in said
    assert len(said.strip().splitlines()) == 1
