"""Training of the grain: the spread of recordings around what a frozen decoder makes of their tokens, cell by cell."""

from typing import Any

import torch
from torch import Tensor

from masktools.core.errors import ParameterError
from masktools.mel import MelConfig
from masktools.networks.grain import Grain, GrainConfig, spread_loss
from masktools.training import checkpoints
from masktools.training.part import PartTraining
from masktools.training.streams import Batch


class GrainTraining(PartTraining):
    """Training by the likelihood of the residuals, normal with the predicted spread; AdamW, cosine.

    Args:
        checkpoint: a tokenizer or a codec over mel spectrograms, of a training checkpoint or a bundle; its decoder is
            the one that bundles get.
        grain: settings of the network, and the strength, which is no matter of the training.
        mel: settings of the mel front end.
        n_steps: optimiser steps of the learning-rate schedule.
        n_warmup: steps of linear warm-up.
        learning_rate: peak learning rate, after the warm-up.
    """

    part, kind = "grain", "normal"
    net: Grain

    def __init__(
        self,
        checkpoint: str,
        grain: GrainConfig = GrainConfig(),
        mel: MelConfig = MelConfig(),
        n_steps: int = 500,
        n_warmup: int = 50,
        learning_rate: float = 2e-3,
    ) -> None:
        super().__init__(mel)
        if grain.n_mels != mel.n_mels:
            raise ParameterError(f"the grain must have the {mel.n_mels} bins of the mel, got {grain.n_mels}")
        self.save_hyperparameters(ignore=["grain", "mel"])
        self.net = Grain(grain)
        self._frozen = (checkpoints.load_mel_coder(checkpoint),)

    def configure_optimizers(self) -> dict[str, object]:
        """Return AdamW with warm-up and cosine."""
        return self.adamw()

    def loss_of(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return the loss of a batch of waves or mel spectrograms, and the mean spread in dB."""
        decoder: Any = self._frozen[0]
        mel = self.mel_of(batch)
        mel = mel[..., : mel.shape[-1] // decoder.patch * decoder.patch]
        with torch.no_grad():
            decoded = decoder.decode(decoder.encode(mel)).float()
        log_spread = self.net.log_spread(decoded).float()
        config = self.front_end.config
        spread_db = log_spread.detach().exp().mean() * (config.db_max - config.db_min) / 2
        return spread_loss(log_spread, mel - decoded), spread_db

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the loss of a batch."""
        loss, spread_db = self.loss_of(batch)
        self.log_dict({"nats": loss, "spread_db": spread_db}, prog_bar=True)
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Log the likelihood of a batch in nats, negative, and the mean spread."""
        loss, spread_db = self.loss_of(batch)
        self.log_dict({"valid_nats": loss, "valid_spread_db": spread_db}, prog_bar=True, sync_dist=True)
