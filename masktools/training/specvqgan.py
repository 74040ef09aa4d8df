"""Training of a tokenizer in one stage, as SpecVQGAN's: reconstruction, codebook, and a late adversarial loss.

Source: SpecVQGAN (arXiv:2110.08791), section 3.1, and VQGAN (arXiv:2012.09841), Eqs. 5 to 7, for the losses.
"""

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from masktools.core.arguments import settle
from masktools.core.configs import ranged
from masktools.core.errors import ParameterError
from masktools.mel import MelConfig
from masktools.networks.tokenizer import LocalTokenizerConfig, SpecVqganConfig
from masktools.training.adversarial import AdversarialTraining, OptimiserConfig
from masktools.training.discriminators import PatchGan, PatchGanConfig
from masktools.training.losses import discriminator_hinge, generator_hinge, slope_loss
from masktools.training.streams import Batch
from masktools.training.tokenizer import CodebookCare, WholeTokenizerTraining

_PATCHGAN = PatchGanConfig()
_OPTIMISER = OptimiserConfig(betas=(0.5, 0.9), weight_decay=0.0, schedule="exponential", decay=1.0, clip_norm=None)


@dataclass(frozen=True)
class AdversarialSchedule:
    """The adversarial loss of the patch discriminator; the defaults are those of SpecVQGAN's VGGSound configuration.

    The discriminator learns from ``discriminator_start`` on and counts from ``start`` on, rising over ``n_ramp``
    iterations. An ``adaptive`` weight gives the adversarial loss the gradient norm of the reconstruction at the last
    layer of the decoder, times ``weight``, scaled up at most ``max_adaptive`` times.
    """

    start: int = ranged(30_001, "[0, inf]")  # iterations
    discriminator_start: int | None = None  # iterations; None: with the adversarial loss, as published
    n_ramp: int = ranged(0, "[0, inf]")  # iterations
    weight: float = ranged(0.8, "[0, inf]")
    adaptive: bool = False
    max_adaptive: float = ranged(1e4, "(0, inf]")

    def __post_init__(self) -> None:
        """Check every range."""
        settle(self)
        if self.discriminator_start is not None and not 0 <= self.discriminator_start <= self.start:
            raise ParameterError(
                f"discriminator_start must lie in [0, start = {self.start}], got {self.discriminator_start}"
            )

    def discriminator_learns(self, step: int) -> bool:
        """Tell whether the discriminator learns at an iteration."""
        return step >= (self.start if self.discriminator_start is None else self.discriminator_start)

    def weight_at(self, step: int) -> float:
        """Return how much the discriminator counts at an iteration."""
        if step < self.start:
            return 0.0
        return self.weight * (min(1.0, (step - self.start + 1) / self.n_ramp) if self.n_ramp else 1.0)


def adaptive_weight(reconstruction: Tensor, adversarial: Tensor, layer: Tensor, highest: float = 1e4) -> Tensor:
    """Return the factor on the adversarial loss at which it pulls at a layer's weight as hard as the reconstruction.

    Source: VQGAN (arXiv:2012.09841), Eq. 7.
    """
    pulls = [torch.autograd.grad(loss, layer, retain_graph=True)[0].norm() for loss in (reconstruction, adversarial)]
    return (pulls[0] / (pulls[1] + 1e-4)).clamp(0.0, highest).detach()


class SpecVqganTraining(WholeTokenizerTraining, AdversarialTraining):
    """L1, codebook and, late, a hinge loss with a patch discriminator; encoder, codebook and decoder together.

    Args:
        tokenizer: settings of the network, or those that differ from the defaults of its kind.
        mel: settings of the mel front end.
        n_steps: iterations; ``max_steps`` of the recipe is twice as many.
        learning_rate: of generator and discriminator; as published, 4.5e-6 for each clip of the batch over all devices.
        n_warmup: iterations of linear warm-up.
        discriminator: settings of the discriminator.
        adversarial: when and how much it counts.
        optimiser: how both learn.
        codebook_weight: weight of the codebook's loss.
        legacy_codebook: whether the weight of commitment is on the codebook's term, for a ``gradient`` codebook.
        slope_weight: weight of the L1 distance between differences of neighbouring cells; 0 as published.
        n_unquantised: iterations before the codebook is initialised by k-means; 0 leaves it as drawn, as published.
        n_placing_vectors: latents for the k-means initialisation of the codebook.
        kind: ``specvqgan`` or ``local``.
        compile: whether encoder and decoder are compiled.
    """

    def __init__(
        self,
        tokenizer: dict[str, Any] | LocalTokenizerConfig | SpecVqganConfig | None = None,
        mel: MelConfig = MelConfig(),
        n_steps: int = 1_500_000,
        learning_rate: float = 1.44e-4,
        n_warmup: int = 0,
        discriminator: PatchGanConfig = _PATCHGAN,
        adversarial: AdversarialSchedule = AdversarialSchedule(),
        optimiser: OptimiserConfig = _OPTIMISER,
        codebook_weight: float = 1.0,
        legacy_codebook: bool = False,
        slope_weight: float = 0.0,
        n_unquantised: int = 0,
        n_placing_vectors: int = 20_480,
        kind: str = "specvqgan",
        compile: bool = False,
    ) -> None:
        super().__init__(mel, optimiser)
        self.save_hyperparameters(ignore=["tokenizer", "mel", "discriminator", "adversarial", "optimiser"])
        self.adversarial = adversarial
        self.make(kind, tokenizer)
        self.discriminator = PatchGan(discriminator)
        n_restarting = round(0.8 * n_steps)
        self.care = CodebookCare(self.net.codebook, n_unquantised, n_placing_vectors, n_restarting, legacy_codebook)

    @property
    def last_layer(self) -> Tensor:
        """The weight of the decoder's last convolution."""
        return [layer for layer in self.net.decoder.modules() if isinstance(layer, nn.Conv2d)][-1].weight

    def _discriminator_loss(self, mel: Tensor, estimate: Tensor) -> Tensor | None:
        if not self.adversarial.discriminator_learns(self.n_iterations):
            return None
        real, _ = self.discriminator(mel)
        generated, _ = self.discriminator(estimate.detach())
        return 0.5 * discriminator_hinge(real, generated)

    def _adversarial_loss(self, reconstruction: Tensor, estimate: Tensor) -> Tensor | None:
        """Return the adversarial part of the loss, weighted; None before it starts."""
        weight = self.adversarial.weight_at(self.n_iterations)
        if weight == 0:
            return None
        with self.frozen_discriminator():
            output, _ = self.discriminator(estimate)
        adversarial = generator_hinge(output)
        if self.adversarial.adaptive:
            factor = adaptive_weight(reconstruction, adversarial, self.last_layer, self.adversarial.max_adaptive)
            self.log("adaptive", factor)
            weight = weight * factor
        return weight * adversarial

    def training_step(self, batch: Batch, batch_idx: int) -> None:
        """Take one step of generator and discriminator on a batch of waves (b, t)."""
        own, mel, step = self.hparams, self.mel_of(batch), self.n_iterations
        estimate, codes = self.reconstruct(mel, step)
        discriminator_loss = self._discriminator_loss(mel, estimate)
        self.discriminator_step(discriminator_loss, batch_idx)

        error = F.l1_loss(estimate, mel)
        reconstruction = error + own["slope_weight"] * slope_loss(estimate, mel) if own["slope_weight"] else error
        adversarial = self._adversarial_loss(reconstruction, estimate)
        loss = reconstruction + own["codebook_weight"] * codes + (0.0 if adversarial is None else adversarial)
        self.generator_step(loss, batch_idx)
        figures = {
            "loss": loss,
            "l1": error,
            "codebook": codes,
            "discriminator": discriminator_loss,
            "adversarial": adversarial,
        }
        told = {name: value for name, value in figures.items() if value is not None}
        self.log_dict({**told, **self.care.figures(step)}, prog_bar=True)
