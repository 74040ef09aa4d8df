"""Training over scales: it learns what it is shown, resumes, and refuses parts that do not fit."""

import pytest
import torch

pytest.importorskip("lightning", reason="training needs the extra masktools[train]")

import lightning.pytorch as pl

from masktools.core.configs import to_dict
from masktools.core.errors import CheckpointError, ParameterError
from masktools.networks.scales import ScaleTokenizerConfig, ScaleTransformerConfig, draw_scales, scale_plan
from masktools.training.notes import NoteData
from masktools.training.scales import (
    ScaleTokenizerTraining,
    ScaleTransformerTraining,
    load_scale_tokenizer,
)
from tests.training.nsynth import write_notes

TOKENIZER = ScaleTokenizerConfig(scales=((5, 1), (5, 2)), widths=(8, 8, 16, 16), n_codes=16, code_dim=8)
TRANSFORMER = ScaleTransformerConfig(TOKENIZER.scales, 16, 8, 92, width=32, depth=2, n_heads=2)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("notes")
    made = NoteData(str(folder / "cache"), [str(write_notes(folder / "notes"))], n_frames=32, batch_size=4)
    made.prepare_data()
    return made


def fit(module, data, n_steps):
    pl.seed_everything(0, verbose=False)
    trainer = pl.Trainer(
        max_steps=n_steps,
        max_epochs=-1,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        gradient_clip_val=1.0,
        num_sanity_val_steps=0,
        limit_train_batches=n_steps,
        limit_val_batches=1,
    )
    trainer.fit(module, data)
    return trainer


@pytest.fixture(scope="module")
def checkpoint(data, tmp_path_factory):
    pl.seed_everything(0, verbose=False)
    module = ScaleTokenizerTraining(
        TOKENIZER, n_steps=150, learning_rate=2e-3, n_warmup=2, n_unquantised=40, n_placing_clips=24
    )
    before = module.net.decoder[0].weight.clone()
    trainer = fit(module, data, 150)
    assert not torch.equal(before, module.net.decoder[0].weight)
    assert trainer.callback_metrics["valid_l1"] < 0.25, "of a range of 2"
    path = tmp_path_factory.mktemp("tokenizer") / "last.ckpt"
    trainer.save_checkpoint(path)
    return str(path)


@pytest.mark.filterwarnings("ignore")
def test_a_trained_pair_draws_notes(data, checkpoint):
    module = ScaleTransformerTraining(checkpoint, TRANSFORMER, n_steps=80, n_warmup=2, learning_rate=3e-3)
    trainer = fit(module, data, 80)
    assert trainer.callback_metrics["loss"] < 1.8 < torch.tensor(16.0).log()
    tokenizer = load_scale_tokenizer(checkpoint)
    condition = data.notes.words.embed_text(["a reed, C4", "a flute, D4"])
    drawn = draw_scales(module.net.eval(), tokenizer.quantiser, [1, 2], condition, scale_plan(2, (1.0, 2.0)))
    assert tokenizer.decode(drawn.tokens, 32).shape == (2, 80, 32)


@pytest.mark.filterwarnings("ignore")
def test_coarse_steps_teach_the_first_scales_alone_and_the_words_are_stored(data, checkpoint, tmp_path):
    settings = {"n_steps": 40, "n_warmup": 2, "learning_rate": 3e-3, "even_scales": True}
    module = ScaleTransformerTraining(checkpoint, TRANSFORMER, coarse_steps=40, coarse_scales=1, **settings)
    before = module.net.positions.detach().clone()
    trainer = fit(module, data, 40)
    place = module.net.pyramid.place(1)
    moved = (module.net.positions - before).abs().amax(dim=1) / before.abs().amax(dim=1)
    assert moved[: place.start].min() > 10 * moved[place].max(), "those of the finer scale only decay, if at all"
    assert trainer.callback_metrics["valid_loss_1"] < trainer.callback_metrics["valid_loss_2"]
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    stored = torch.load(tmp_path / "last.ckpt", weights_only=True)["masktools"]["conditioner"]
    assert stored == {"kind": "notes", "config": to_dict(data.notes.words.config)}
    with pytest.raises(ParameterError, match="coarse_scales in .1, 2., got 0 and 3"):
        ScaleTransformerTraining(checkpoint, TRANSFORMER, coarse_scales=3)


@pytest.mark.filterwarnings("ignore")
def test_parts_that_do_not_fit_are_refused(data, checkpoint, tmp_path):
    from dataclasses import replace

    with pytest.raises(ParameterError, match="scales of the transformer must be those of the tokenizer, got 5x1, 5x3"):
        ScaleTransformerTraining(checkpoint, replace(TRANSFORMER, scales=((5, 1), (5, 3))))
    with pytest.raises(ParameterError, match="n_codes .* got 8 and 16"):
        ScaleTransformerTraining(checkpoint, replace(TRANSFORMER, n_codes=8))
    with pytest.raises(ParameterError, match="refine_share needs"):
        ScaleTransformerTraining(checkpoint, TRANSFORMER, refine_share=0.5)
    with pytest.raises(ParameterError, match="condition_dim must be 92"):
        fit(ScaleTransformerTraining(checkpoint, replace(TRANSFORMER, condition_dim=9)), data, 1)
    other = torch.load(checkpoint, weights_only=True)
    other["masktools"]["config"]["scales"] = [[1, 2], [5, 2]]
    torch.save(other, tmp_path / "other.ckpt")
    with pytest.raises(CheckpointError, match="has the scales 5x1, 5x2, the model 1x2, 5x2"):
        load_scale_tokenizer(str(tmp_path / "other.ckpt"))
