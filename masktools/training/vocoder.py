"""Training of a vocoder: spectral losses first, then the hinge game of Vocos with period and resolution judges.

Source: Vocos (arXiv:2306.00814), section 3.3; HiFi-GAN (arXiv:2010.05646) for the mel term and feature matching.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from masktools.mel import MelConfig
from masktools.training.checkpoints import load_local_tokenizer, network_state
from masktools.training.data import Batch
from masktools.training.discriminators import WaveDiscriminator
from masktools.training.losses import discriminator_hinge, feature_matching, generator_hinge, stft_loss
from masktools.training.part import PartTraining
from masktools.training.schedules import warmup_cosine
from masktools.vocoder.light import LightVocoder, LightVocoderConfig

__all__ = ["VocoderTraining"]


class VocoderTraining(PartTraining):
    """Spectral losses for ``n_spectral`` steps, then the judges join; all on random crops of real audio.

    With a tokenizer, a share of the clips is rendered from the mel that the tokenizer gives back, against the real
    wave: what the vocoder meets in use.
    """

    part, kind = "vocoder", "light"
    net: LightVocoder

    def __init__(
        self,
        vocoder: LightVocoderConfig = LightVocoderConfig(),
        mel: MelConfig = MelConfig(),
        n_steps: int = 100_000,
        n_spectral: int = 4_000,
        learning_rate: float = 5e-4,
        n_warmup: int = 200,
        mel_weight: float = 15.0,
        stft_weight: float = 1.0,
        adversarial_weight: float = 1.0,
        feature_weight: float = 2.0,
        periods: tuple[int, ...] = (2, 3, 5, 7, 11),
        period_widths: tuple[int, ...] = (8, 32, 128, 256),
        resolution_width: int = 16,
        tokenizer_checkpoint: str | None = None,
        reconstructed_share: float = 0.5,
        start_checkpoint: str | None = None,
    ) -> None:
        super().__init__(mel)
        self.save_hyperparameters(ignore=["vocoder", "mel"])
        self.automatic_optimization = False
        self.net = LightVocoder(vocoder, mel)
        if start_checkpoint:
            self.net.load_state_dict(network_state(start_checkpoint))
        self.judge = WaveDiscriminator(periods, period_widths, resolution_width=resolution_width)
        # Frozen, and so outside the module's state: a checkpoint holds what is trained, and nothing else.
        self._frozen = (load_local_tokenizer(tokenizer_checkpoint),) if tokenizer_checkpoint else ()

    def on_fit_start(self) -> None:
        """Bring the frozen tokenizer to the device."""
        for part in self._frozen:
            part.to(self.device)

    @torch.no_grad()
    def _given(self, mel: Tensor) -> Tensor:
        """Return what the vocoder is given: the mel, for a share of clips as the tokenizer gives it back."""
        if not self._frozen:
            return mel
        chosen = torch.rand(len(mel), 1, 1, device=mel.device) < self.hparams["reconstructed_share"]
        return torch.where(chosen, self._frozen[0].decode(self._frozen[0].encode(mel)), mel)

    def configure_optimizers(self) -> tuple[list[torch.optim.Optimizer], list[Any]]:
        """Return the optimisers of the vocoder and of the judges."""
        own = self.hparams
        optimizers: list[torch.optim.Optimizer] = [
            torch.optim.AdamW(p.parameters(), own["learning_rate"], (0.8, 0.9)) for p in (self.net, self.judge)
        ]
        return optimizers, [warmup_cosine(o, own["n_warmup"], own["n_steps"], final=0.04) for o in optimizers]

    def _spectral(self, estimate: Tensor, wave: Tensor, mel: Tensor) -> tuple[Tensor, Tensor]:
        mel_error = F.l1_loss(self.front_end(estimate), mel)
        return mel_error, self.hparams["mel_weight"] * mel_error + self.hparams["stft_weight"] * stft_loss(
            estimate, wave
        )

    def training_step(self, batch: Batch, batch_idx: int) -> None:
        """Play one round on a batch of waves (b, t)."""
        wave = batch["wave"].float()
        both: Any = self.optimizers()
        vocoder_optimizer, judge_optimizer = both
        with torch.autocast(wave.device.type, enabled=False):
            mel = self.front_end(wave)
        estimate = self.net(self._given(mel))
        playing = self.global_step // 2 >= self.hparams["n_spectral"]  # two optimisers step each round
        if playing:
            real, wanted = self.judge(wave)
            judge_loss = discriminator_hinge(real, self.judge(estimate.detach())[0])
            judge_optimizer.zero_grad()
            self.manual_backward(judge_loss)
            judge_optimizer.step()
            self.log("judge", judge_loss, prog_bar=True)
        with torch.autocast(wave.device.type, enabled=False):
            mel_error, loss = self._spectral(estimate, wave, mel)
        if playing:
            verdict, features = self.judge(estimate)
            loss = loss + self.hparams["adversarial_weight"] * generator_hinge(verdict)
            loss = loss + self.hparams["feature_weight"] * feature_matching(wanted, features)
        vocoder_optimizer.zero_grad()
        self.manual_backward(loss)
        self.clip_gradients(vocoder_optimizer, 1.0, "norm")
        vocoder_optimizer.step()
        if not playing:
            judge_optimizer.step()  # without gradients: keeps the count of steps the same in both phases
        for schedule in self.lr_schedulers():  # type: ignore[union-attr]
            schedule.step()
        self.log("mel", mel_error, prog_bar=True)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Log the mel and spectral errors of a batch."""
        mel = self.front_end(batch["wave"].float())
        estimate = self.net(mel)
        errors = {
            "valid_mel": F.l1_loss(self.front_end(estimate), mel),
            "valid_stft": stft_loss(estimate, batch["wave"]),
        }
        self.log_dict(errors, prog_bar=True)
