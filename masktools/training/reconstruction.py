"""What all trainings of tokenizers share: reconstructing mel spectrograms, and measuring how well that goes."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from masktools.tokenizer import TOKENIZERS
from masktools.tokenizer.codebook import codebook_usage
from masktools.training.codes import CodebookCare
from masktools.training.data import Batch
from masktools.training.kinds import config_of
from masktools.training.part import PartTraining

__all__ = ["Reconstruction", "TokenizerValidation", "WholeTokenizerTraining"]

_WAITING = "masktools_latents"


class Reconstruction(NamedTuple):
    """A mel spectrogram after encoder, quantiser and decoder."""

    mel: Tensor  # (b, f, m), without the clip of evaluation
    codes: Tensor  # the codebook's loss, 0 while there is no quantiser


class TokenizerValidation(PartTraining):
    """What all trainings of a tokenizer validate: the reconstruction's error and roughness, and the codes in use."""

    net: Any

    def mel_of(self, batch: Mapping[str, Any]) -> Tensor:
        """Return the mel spectrograms of a batch, or of its waves, in fp32, in whole columns."""
        if "mel" in batch:
            mel = batch["mel"].float()
        else:
            wave = batch["wave"].float()
            with torch.autocast(wave.device.type, enabled=False):
                mel = self.front_end(wave)
        return mel[..., : mel.shape[-1] // self.net.patch * self.net.patch]

    def on_validation_epoch_start(self) -> None:
        """Forget the tokens of the last validation."""
        self._valid_tokens: list[Tensor] = []

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Log the error of a batch, and its roughness: the mean slope of the reconstruction over the original's."""
        mel = self.mel_of(batch)
        tokens = self.net.encode(mel)
        estimate = self.net.decode(tokens).float()
        self._valid_tokens.append(tokens.flatten())
        steep, true = (sum(m.diff(dim=a).abs().mean() for a in (1, 2)) for m in (estimate, mel))
        figures = {"valid_l1": F.l1_loss(estimate, mel), "valid_roughness": steep / true}
        self.log_dict(figures, prog_bar=True, sync_dist=True)

    def on_validation_epoch_end(self) -> None:
        """Log how much of the codebook the validation clips use."""
        tokens: Any = self.all_gather(torch.cat(self._valid_tokens))
        usage = codebook_usage(tokens, self.net.n_codes)
        figures = {"valid_used": float(usage.n_used), "valid_perplexity": usage.perplexity}
        self.log_dict(figures, prog_bar=True, rank_zero_only=True)


class WholeTokenizerTraining(TokenizerValidation):
    """Encoder, codebook and decoder in training together."""

    part = "tokenizer"
    care: CodebookCare

    def make(self, kind: str, settings: Any) -> None:
        """Make the tokenizer of a kind, with the settings of ``config_of``."""
        self.kind = kind
        config = config_of(TOKENIZERS, kind, settings, self.part)
        self.net = TOKENIZERS[kind][1](config)

    def on_fit_start(self) -> None:
        """Compile what is to be compiled."""
        if self.hparams["compile"]:
            self.net.encoder.compile()
            self.net.decoder.compile()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Write the latents that wait for the placing of the codebook too."""
        super().on_save_checkpoint(checkpoint)
        checkpoint[_WAITING] = self.care.state()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Go on with the latents that waited."""
        self.care.resume(checkpoint.get(_WAITING))

    def reconstruct(self, mel: Tensor, step: int) -> Reconstruction:
        """Return the reconstruction of mel spectrograms (b, f, m) at a step of the training."""
        latents = self.net.to_latents(mel).float()
        quantised = self.care.quantise(latents, step, self.trainer)
        vectors = latents if quantised is None else quantised.vectors
        codes = latents.new_zeros(()) if quantised is None else quantised.loss
        return Reconstruction(self.net.from_latents(vectors).float(), codes)
