"""What all trained parts share: a checkpoint that says which part it holds, and its settings."""

from typing import Any

import lightning.pytorch as pl
from torch import nn

from masktools.configs import to_dict
from masktools.mel import MelConfig, MelFrontEnd

__all__ = ["PartTraining"]


class PartTraining(pl.LightningModule):
    """A part ``net`` in training, beside the mel front end it works with."""

    part: str  # its name in a bundle: tokenizer, vocoder or transformer
    kind: str  # which of the kinds of that part
    net: nn.Module

    def __init__(self, mel: MelConfig) -> None:
        super().__init__()
        self.front_end = MelFrontEnd(mel)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Write the part's settings beside its weights, so that a bundle can be made of the file alone."""
        config: Any = self.net.config
        description = {"part": self.part, "kind": self.kind, "config": to_dict(config)}
        checkpoint["masktools"] = description | {"mel": to_dict(self.front_end.config)}
