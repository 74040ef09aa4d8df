"""Training of the local tokenizer: stage A, everything by reconstruction; stage B, the decoder against a judge.

Stage B freezes the encoder and the codebook, so that tokens that were cached, and a transformer that was
trained on them, stay valid.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from masktools.mel import MelConfig
from masktools.tokenizer import LocalTokenizer, LocalTokenizerConfig
from masktools.tokenizer.codebook import codebook_usage
from masktools.training.checkpoints import load_local_tokenizer
from masktools.training.data import Batch
from masktools.training.discriminators import MelPatchDiscriminator
from masktools.training.losses import discriminator_hinge, feature_matching, generator_hinge
from masktools.training.part import PartTraining
from masktools.training.schedules import warmup_cosine

__all__ = ["DecoderTraining", "TokenizerTraining", "slope_loss"]


def slope_loss(estimate: Tensor, reference: Tensor) -> Tensor:
    """Return the L1 distance of the differences between neighbouring cells, in time and in frequency."""
    along = [F.l1_loss(estimate.diff(dim=axis), reference.diff(dim=axis)) for axis in (1, 2)]
    return torch.stack(along).mean()


class TokenizerTraining(PartTraining):
    """Stage A: L1 in the unit of the mel, slopes, commitment; k-means after a warm-up without quantiser."""

    part, kind = "tokenizer", "local"
    net: LocalTokenizer

    def __init__(
        self,
        tokenizer: LocalTokenizerConfig = LocalTokenizerConfig(),
        mel: MelConfig = MelConfig(),
        n_steps: int = 20_000,
        learning_rate: float = 3e-4,
        n_warmup: int = 500,
        n_unquantised: int = 300,
        n_placing_vectors: int = 20_480,
        slope_weight: float = 0.5,
        crop_frames: int | None = None,
    ) -> None:
        super().__init__(mel)
        self.save_hyperparameters(ignore=["tokenizer", "mel"])
        self.net = LocalTokenizer(tokenizer)
        self._waiting: list[Tensor] = []
        self._seen: list[Tensor] = []

    def configure_optimizers(self) -> dict[str, object]:
        """Return AdamW with warm-up and cosine."""
        own = self.hparams
        optimizer = torch.optim.AdamW(
            [p for p in self.net.parameters() if p.requires_grad], own["learning_rate"], (0.9, 0.99)
        )
        schedule = warmup_cosine(optimizer, own["n_warmup"], own["n_steps"], final=0.1)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def _reconstruct(self, mel: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Return the reconstruction, the commitment loss and, once there is a quantiser, the tokens."""
        own, step = self.hparams, self.global_step
        latents = self.net.to_latents(mel).float()
        if step < own["n_unquantised"]:
            self._gather(latents, step)
            return self.net.from_latents(latents), latents.new_zeros(()), None
        quantised = self.net.codebook(latents)
        if step % 50 == 0 and step < 0.8 * own["n_steps"]:
            self.log("restarted", float(self.net.codebook.restart(latents)))
        return self.net.from_latents(quantised.vectors), quantised.loss, quantised.tokens

    def _gather(self, latents: Tensor, step: int) -> None:
        """Keep the latents of the last un-quantised steps, and place the codebook on them at the last."""
        self._waiting.append(latents.detach().movedim(1, -1).reshape(-1, latents.shape[1]))
        while sum(map(len, self._waiting[1:])) >= self.hparams["n_placing_vectors"]:
            self._waiting.pop(0)
        if step == self.hparams["n_unquantised"] - 1:
            self.net.codebook.place(torch.cat(self._waiting))
            self._waiting.clear()

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the loss of a batch of waves (b, t)."""
        mel = self.front_end(batch["wave"].float())
        estimate, commitment, tokens = self._reconstruct(mel)
        error = F.l1_loss(estimate.float(), mel)
        loss = error + self.hparams["slope_weight"] * slope_loss(estimate.float(), mel) + commitment
        self.log_dict({"l1": error, "commitment": commitment}, prog_bar=True)
        if tokens is not None:
            self._seen = [*self._seen[-15:], tokens.flatten()]
            if self.global_step % 50 == 0:
                usage = codebook_usage(torch.cat(self._seen), self.net.n_codes)
                self.log_dict({"used": float(usage.n_used), "perplexity": usage.perplexity}, prog_bar=True)
        return loss

    def on_validation_epoch_start(self) -> None:
        """Forget the tokens of the last validation."""
        self._valid_tokens: list[Tensor] = []

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Log the reconstruction error of a batch."""
        mel = self.front_end(batch["wave"].float())
        tokens = self.net.encode(mel)
        self._valid_tokens.append(tokens.flatten())
        self.log("valid_l1", F.l1_loss(self.net.decode(tokens), mel), prog_bar=True)

    def on_validation_epoch_end(self) -> None:
        """Log how much of the codebook the validation clips use."""
        usage = codebook_usage(torch.cat(self._valid_tokens), self.net.n_codes)
        self.log_dict({"valid_used": float(usage.n_used), "valid_perplexity": usage.perplexity}, prog_bar=True)


class DecoderTraining(PartTraining):
    """Stage B: the decoder alone, L1 beside a hinge game with a patch discriminator that starts first."""

    part, kind = "tokenizer", "local"
    net: LocalTokenizer

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
    ) -> None:
        super().__init__(mel)
        self.save_hyperparameters(ignore=["mel"])
        self.automatic_optimization = False
        self.net = load_local_tokenizer(checkpoint)
        self.net.decoder.requires_grad_(True)
        self.judge = MelPatchDiscriminator(judge_width)

    def configure_optimizers(self) -> tuple[list[torch.optim.Optimizer], list[Any]]:
        """Return the optimisers of the decoder and of the judge."""
        own = self.hparams
        optimizers: list[torch.optim.Optimizer] = [
            torch.optim.AdamW(part.parameters(), own["learning_rate"], (0.8, 0.95))
            for part in (self.net.decoder, self.judge)
        ]
        return optimizers, [warmup_cosine(o, own["n_warmup"], own["n_steps"], final=0.1) for o in optimizers]

    def training_step(self, batch: Batch, batch_idx: int) -> None:
        """Play one round of the game on a batch of waves (b, t)."""
        own, step = self.hparams, self.global_step // 2  # two optimisers step each round
        mel = self.front_end(batch["wave"].float())
        with torch.no_grad():
            vectors = self.net.codebook.lookup(self.net.encode(mel))
        estimate = self.net.from_latents(vectors).float()
        both: Any = self.optimizers()
        decoder_optimizer, judge_optimizer = both

        real, _ = self.judge(mel)
        generated, _ = self.judge(estimate.detach())
        judge_loss = discriminator_hinge(real, generated)
        judge_optimizer.zero_grad()
        self.manual_backward(judge_loss)
        judge_optimizer.step()

        error = F.l1_loss(estimate, mel)
        loss = error + 0.5 * slope_loss(estimate, mel)
        if step >= own["n_judge_only"]:
            ramp = min(1.0, (step - own["n_judge_only"]) / 500)
            _, wanted = self.judge(mel)
            verdict, features = self.judge(estimate)
            game = generator_hinge(verdict)
            loss = loss + ramp * (
                own["adversarial_weight"] * game + own["feature_weight"] * feature_matching(wanted, features)
            )
        decoder_optimizer.zero_grad()
        self.manual_backward(loss)
        self.clip_gradients(decoder_optimizer, 1.0, "norm")
        decoder_optimizer.step()
        for schedule in self.lr_schedulers():  # type: ignore[union-attr]
            schedule.step()
        self.log_dict({"l1": error, "judge": judge_loss}, prog_bar=True)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Log the error and the roughness (mean slope, ours over the original's) of a batch."""
        mel = self.front_end(batch["wave"].float())
        estimate = self.net.decode(self.net.encode(mel))
        steep, true = (sum(m.diff(dim=a).abs().mean() for a in (1, 2)) for m in (estimate, mel))
        self.log_dict({"valid_l1": F.l1_loss(estimate, mel), "roughness": steep / true}, prog_bar=True)
