"""The last step of a run is saved, whether or not the interval between checkpoints divides the steps."""

from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import ModelCheckpoint

__all__ = ["LastStep"]


class LastStep(pl.Callback):
    """Writes the checkpoints that are kept at intervals once more when a run is over, unless they are of its last step.

    It must come after the callbacks that it looks after. Checkpoints that are kept for a figure are left alone.
    """

    def __init__(self) -> None:
        self._saved_at = 0

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Note that this step is saved."""
        self._saved_at = trainer.global_step

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save the step that was asked for as the last."""
        if trainer.global_step == trainer.max_steps:
            self._save(trainer)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save where a run ends by its epochs, its time, or a figure that does not get better."""
        if trainer.should_stop or trainer.current_epoch + 1 == trainer.max_epochs:
            self._save(trainer)

    def _save(self, trainer: pl.Trainer) -> None:
        if self._saved_at == trainer.global_step:
            return
        for kept in trainer.checkpoint_callbacks:
            if isinstance(kept, ModelCheckpoint) and kept.monitor is None and kept.save_top_k:
                step, epoch = trainer.global_step, trainer.current_epoch
                path = kept.format_checkpoint_name({"step": torch.tensor(step), "epoch": torch.tensor(epoch)})
                trainer.save_checkpoint(path, kept.save_weights_only)
                kept.best_model_path = path  # the newest, where none is better than another
