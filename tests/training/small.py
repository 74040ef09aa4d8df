"""Small settings and a silent trainer, shared by the tests of training."""

import lightning.pytorch as pl

from masktools.networks.tokenizer import LocalTokenizerConfig
from masktools.training.clips import AudioData

TOKENIZER = LocalTokenizerConfig(n_codes=16, code_dim=8, widths=(4, 8, 8))


def fit(module, cache_folder, n_steps, data=None, callbacks=()):
    """Train for ``n_steps`` optimiser steps on the small cache or the data given, and return the trainer."""
    pl.seed_everything(0, verbose=False)
    data = data or AudioData(str(cache_folder), n_samples=8192, batch_size=4, n_valid_clips=2)
    trainer = pl.Trainer(
        accelerator="cpu",
        max_steps=n_steps,
        limit_train_batches=n_steps,
        callbacks=list(callbacks),
        enable_checkpointing=False,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )
    trainer.fit(module, data)
    return trainer
