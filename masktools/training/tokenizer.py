"""Training of a tokenizer in two stages: everything by reconstruction, then the decoder against a judge.

The second stage freezes the encoder and the codebook, so that tokens that were cached, and a transformer that was
trained on them, stay valid. The paper's tokenizer is trained in one, by ``masktools.training.specvqgan``.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from masktools.mel import MelConfig
from masktools.tokenizer import LocalTokenizerConfig, SpecVqganConfig
from masktools.training.adversarial import AdversarialTraining, OptimiserConfig
from masktools.training.checkpoints import load_tokenizer, part_description
from masktools.training.codes import CodebookCare
from masktools.training.data import Batch
from masktools.training.discriminators import MelPatchDiscriminator
from masktools.training.levels import ThirdOctaveLevels, level_loss
from masktools.training.losses import discriminator_hinge, feature_matching, generator_hinge, slope_loss
from masktools.training.reconstruction import TokenizerValidation, WholeTokenizerTraining
from masktools.training.schedules import warmup_cosine

__all__ = ["DecoderTraining", "TokenizerTraining"]

_DECODER_OPTIMISER = OptimiserConfig(betas=(0.8, 0.95))


class TokenizerTraining(WholeTokenizerTraining):
    """Stage A: L1 in the unit of the mel, slopes, commitment; k-means after a warm-up without quantiser.

    Args:
        tokenizer: its settings, or those that differ from the defaults of its kind.
        mel: settings of the mel front end.
        n_steps: of the schedule of the learning rate.
        learning_rate: the highest.
        n_warmup: steps in which the rate rises.
        n_unquantised: steps before the codebook is placed.
        n_placing_vectors: latents that it is placed on.
        slope_weight: of the L1 distance between neighbouring cells' differences.
        level_weight: of the distance of third-octave levels.
        kind: ``local`` or ``specvqgan``.
        compile: whether encoder and decoder are compiled.
    """

    def __init__(
        self,
        tokenizer: dict[str, Any] | LocalTokenizerConfig | SpecVqganConfig | None = None,
        mel: MelConfig = MelConfig(),
        n_steps: int = 20_000,
        learning_rate: float = 3e-4,
        n_warmup: int = 500,
        n_unquantised: int = 300,
        n_placing_vectors: int = 20_480,
        slope_weight: float = 0.5,
        level_weight: float = 0.0,
        kind: str = "local",
        compile: bool = False,
    ) -> None:
        super().__init__(mel)
        self.save_hyperparameters(ignore=["tokenizer", "mel"])
        self.make(kind, tokenizer)
        self.levels = ThirdOctaveLevels(mel)
        self.care = CodebookCare(self.net.codebook, n_unquantised, n_placing_vectors, round(0.8 * n_steps))

    def configure_optimizers(self) -> dict[str, object]:
        """Return AdamW with warm-up and cosine."""
        own = self.hparams
        optimizer = torch.optim.AdamW(
            [p for p in self.net.parameters() if p.requires_grad], own["learning_rate"], (0.9, 0.99)
        )
        schedule = warmup_cosine(optimizer, own["n_warmup"], own["n_steps"], final=0.1)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the loss of a batch of waves (b, t)."""
        mel, step = self.mel_of(batch), self.global_step
        estimate, commitment = self.reconstruct(mel, step)
        error = F.l1_loss(estimate, mel)
        loss = error + self.hparams["slope_weight"] * slope_loss(estimate, mel) + commitment
        figures = {"l1": error, "commitment": commitment}
        if self.hparams["level_weight"] > 0:
            figures["levels"] = level_loss(estimate, mel, self.levels)
            loss = loss + self.hparams["level_weight"] * figures["levels"]
        self.log_dict({**figures, **self.care.figures(step)}, prog_bar=True)
        return loss


class DecoderTraining(TokenizerValidation, AdversarialTraining):
    """Stage B: the decoder alone, by reconstruction and a hinge game with a patch discriminator that starts first."""

    part = "tokenizer"

    def __init__(
        self,
        checkpoint: str,
        mel: MelConfig = MelConfig(),
        n_steps: int = 10_000,
        learning_rate: float = 2e-4,
        n_warmup: int = 100,
        n_judge_only: int = 500,
        adversarial_weight: float = 0.05,
        feature_weight: float = 0.1,
        judge_width: int = 32,
        level_weight: float = 0.0,
        optimiser: OptimiserConfig = _DECODER_OPTIMISER,
        compile: bool = False,
    ) -> None:
        super().__init__(mel, optimiser)
        self.save_hyperparameters(ignore=["mel", "optimiser"])
        self.kind = part_description(checkpoint, self.part)["kind"]
        self.net = load_tokenizer(checkpoint)
        self._given = {f"net.{name}": value.clone() for name, value in self.net.state_dict().items()}
        self.net.decoder.requires_grad_(True)
        self.judge = MelPatchDiscriminator(judge_width)
        self.levels = ThirdOctaveLevels(mel)

    @property
    def trained(self) -> nn.Module:
        """What plays against the judge."""
        return self.net.decoder

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Write what is frozen as it was given: an average of it is off in the last bits, and so might a token be."""
        super().on_save_checkpoint(checkpoint)
        learned = {f"net.{name}" for name, parameter in self.net.named_parameters() if parameter.requires_grad}
        checkpoint["state_dict"] |= {name: value for name, value in self._given.items() if name not in learned}

    def on_fit_start(self) -> None:
        """Compile what is to be compiled."""
        if self.hparams["compile"]:
            self.net.decoder.compile()

    def training_step(self, batch: Batch, batch_idx: int) -> None:
        """Play one round of the game on a batch of waves (b, t)."""
        own, step = self.hparams, self.n_rounds
        mel = self.mel_of(batch)
        with torch.no_grad():
            vectors = self.net.codebook.lookup(self.net.encode(mel))
        estimate = self.net.from_latents(vectors).float()

        real, _ = self.judge(mel)
        generated, _ = self.judge(estimate.detach())
        judge_loss = discriminator_hinge(real, generated)
        self.move_judge(judge_loss, batch_idx)

        error = F.l1_loss(estimate, mel)
        loss = error + 0.5 * slope_loss(estimate, mel)
        if own["level_weight"] > 0:
            loss = loss + own["level_weight"] * level_loss(estimate, mel, self.levels)
        if step >= own["n_judge_only"]:
            ramp = min(1.0, (step - own["n_judge_only"]) / 500)
            with self.judge_at_rest():
                _, wanted = self.judge(mel)
                verdict, features = self.judge(estimate)
            game = own["adversarial_weight"] * generator_hinge(verdict)
            loss = loss + ramp * (game + own["feature_weight"] * feature_matching(wanted, features))
        self.move_trained(loss, batch_idx)
        self.log_dict({"l1": error, "judge": judge_loss}, prog_bar=True)
