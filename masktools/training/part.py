"""What all trained parts share: a checkpoint that says which part it holds, and chance that a resumption repeats."""

from typing import Any

import lightning.pytorch as pl
import torch
from torch import nn

from masktools.configs import to_dict
from masktools.mel import MelConfig, MelFrontEnd
from masktools.solver.noise import derive_seed

__all__ = ["PartTraining"]


class PartTraining(pl.LightningModule):
    """A part ``net`` in training, beside the mel front end it works with.

    Before each batch the global generators are seeded by (seed of the run, rank, number of the batch), so that what
    is drawn from them, dropout included, is the same in a run that was stopped and resumed.
    """

    part: str  # its name in a bundle: tokenizer, vocoder or transformer
    kind: str  # which of the kinds of that part
    net: nn.Module
    _run_seed: int = 0

    def __init__(self, mel: MelConfig) -> None:
        super().__init__()
        self.front_end = MelFrontEnd(mel)

    def setup(self, stage: str) -> None:
        """Take the seed of the run."""
        self._run_seed = torch.initial_seed()

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Seed what is drawn while a batch is computed."""
        torch.manual_seed(derive_seed(self._run_seed, self.global_rank, self.trainer.fit_loop.total_batch_idx))

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Write the part's settings beside its weights, so that a bundle can be made of the file alone."""
        config: Any = self.net.config
        description = {"part": self.part, "kind": self.kind, "config": to_dict(config)}
        checkpoint["masktools"] = description | {"mel": to_dict(self.front_end.config)}
