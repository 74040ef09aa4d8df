"""Adversarial training of a generator against discriminators, with manual optimisation."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR

from masktools.core.arguments import settle
from masktools.core.configs import ranged
from masktools.mel import MelConfig
from masktools.training import losses, part
from masktools.training.discriminators import DiscriminatorOutput, MelPatchDiscriminator
from masktools.training.part import exponential, warmup_cosine


@dataclass(frozen=True)
class AdversarialLoss:
    """Losses of discriminators and generator, and a distance of real and generated waves in the features.

    ``sliced`` losses need discriminators whose last layers are those of a slicing adversarial network.
    """

    discriminators: Callable[[Sequence[Tensor], Sequence[Tensor]], Tensor]  # of the logits of real and generated waves
    generator: Callable[[Sequence[Tensor]], Tensor]  # of the logits of generated waves
    features: Callable[[DiscriminatorOutput, DiscriminatorOutput], Tensor]  # of real and generated waves
    sliced: bool = False


def _relative(real: DiscriminatorOutput, generated: DiscriminatorOutput) -> Tensor:
    return losses.feature_matching(real.features, generated.features)


def _absolute(real: DiscriminatorOutput, generated: DiscriminatorOutput) -> Tensor:
    """Return the distance as published: summed, not averaged, and with the logits among the features."""
    return losses.feature_distance([*real.features, *real.logits], [*generated.features, *generated.logits])


ADVERSARIAL_LOSSES = {
    "hinge": AdversarialLoss(losses.discriminator_hinge, losses.generator_hinge, _relative),
    "least_squares": AdversarialLoss(losses.discriminator_squares, losses.generator_squares, _absolute),
    "san": AdversarialLoss(losses.discriminator_sliced, losses.generator_sliced, _absolute, sliced=True),
}


@dataclass(frozen=True)
class OptimiserConfig:
    """Optimisers of generator and discriminator: AdamW, with a cosine or exponential learning-rate schedule."""

    betas: tuple[float, float] = ranged((0.8, 0.99), "[0, 1)")
    weight_decay: float = ranged(0.01, "[0, inf]")  # 0: plain Adam
    schedule: str = ranged("cosine", ("cosine", "exponential"))
    final: float = ranged(0.1, "[0, 1]")  # of the first rate, at the end of the cosine
    decay: float = ranged(0.999, "(0, 1]")  # of the exponential schedule; 1: a constant rate
    n_decay: int = ranged(1000, "[1, inf]")  # iterations between two of its steps
    clip_norm: float | None = ranged(1.0, "(0, inf]")  # of the trained part's gradient
    discriminator_clip_norm: float | None = ranged(None, "(0, inf]")
    accumulate_iterations: int = ranged(1, "[1, inf]")  # batches for each step of the optimisers

    __post_init__ = settle


class AdversarialTraining(part.PartTraining):
    """Alternating generator and discriminator updates (manual optimisation).

    Every optimiser step counts in Lightning's ``global_step``, so that an iteration makes two: ``max_steps`` of a
    recipe is twice ``n_steps``. With ``accumulate_iterations`` an iteration takes as many batches; a
    remainder at the end of an epoch is dropped.
    """

    discriminator: nn.Module

    def __init__(self, mel: MelConfig, optimiser: OptimiserConfig) -> None:
        super().__init__(mel)
        self.optimiser = optimiser
        self.automatic_optimization = False

    @property
    def n_iterations(self) -> int:
        """Number of finished iterations."""
        return self.global_step // 2

    @property
    def trained(self) -> nn.Module:
        """The part that the discriminator is trained against."""
        return self.net

    def configure_optimizers(self) -> tuple[list[torch.optim.Optimizer], list[Any]]:
        """Return the optimisers of the trained part and of the discriminator, and their schedules."""
        rate, config = self.hparams["learning_rate"], self.optimiser
        optimizers: list[torch.optim.Optimizer] = [
            torch.optim.AdamW(
                [p for p in network.parameters() if p.requires_grad],
                rate,
                config.betas,
                weight_decay=config.weight_decay,
            )
            for network in (self.trained, self.discriminator)
        ]
        return optimizers, [self._schedule(optimizer) for optimizer in optimizers]

    def _schedule(self, optimizer: torch.optim.Optimizer) -> LambdaLR:
        config, n_warmup = self.optimiser, self.hparams["n_warmup"]
        if config.schedule == "exponential":
            return exponential(optimizer, config.decay, config.n_decay, n_warmup)
        return warmup_cosine(optimizer, n_warmup, self.hparams["n_steps"], config.final)

    @contextmanager
    def frozen_discriminator(self) -> Iterator[None]:
        """Give the discriminator no gradient inside the block in which the generator is updated."""
        self.discriminator.requires_grad_(False)
        try:
            yield
        finally:
            self.discriminator.requires_grad_(True)

    def generator_step(self, loss: Tensor, batch_idx: int) -> None:
        """Let the trained part learn from its loss, and step the schedules of both: the end of an iteration."""
        if self._update(0, loss, batch_idx, self.optimiser.clip_norm):
            schedules: Any = self.lr_schedulers()
            for schedule in schedules:
                schedule.step()

    def discriminator_step(self, loss: Tensor | None, batch_idx: int) -> None:
        """Let the discriminator learn from its loss; without one it stays as it is, and the count of steps goes on."""
        self._update(1, loss, batch_idx, self.optimiser.discriminator_clip_norm)

    def _update(self, network: int, loss: Tensor | None, batch_idx: int, clip_norm: float | None) -> bool:
        """Gather the gradient of a loss, and step when all batches of an iteration are gathered."""
        optimizers: Any = self.optimizers()
        optimizer, n_batches = optimizers[network], self.optimiser.accumulate_iterations
        if batch_idx % n_batches == 0:
            optimizer.zero_grad()
        if loss is not None:
            self.manual_backward(loss / n_batches)
        if (batch_idx + 1) % n_batches:
            return False
        if clip_norm is not None and loss is not None:
            self.clip_gradients(optimizer, clip_norm, "norm")
        optimizer.step()
        return True


DECODER_OPTIMISER = OptimiserConfig(betas=(0.8, 0.95))


class PatchAdversarialTraining(AdversarialTraining):
    """Adversarial training of a tokenizer's decoder against a discriminator of patches of mel spectrograms.

    Args:
        mel: settings of the mel front end.
        optimiser: how both learn.
        net: the tokenizer, frozen but for its decoder.
        discriminator_width: channels of the discriminator.
    """

    net: Any
    n_ramp = 0  # steps in which the discriminator comes to count fully

    def __init__(self, mel: MelConfig, optimiser: OptimiserConfig, net: nn.Module, discriminator_width: int) -> None:
        super().__init__(mel, optimiser)
        self.net = net
        self.net.decoder.requires_grad_(True)
        self.discriminator = MelPatchDiscriminator(discriminator_width)

    @property
    def trained(self) -> nn.Module:
        """The part that the discriminator is trained against."""
        return self.net.decoder

    def decoder_step(self, mel: Tensor, estimate: Tensor, batch_idx: int, further: Tensor | float = 0.0) -> None:
        """Let discriminator and decoder learn, one after the other, from true and decoded spectrograms (b, f, m).

        The decoder loses by its error and that of its slopes, by whatever is ``further`` given, and, after the steps in
        which the discriminator learns alone, by being told apart and by the distance of the discriminator's features.
        """
        own = self.hparams
        n_against = self.n_iterations - own["n_discriminator_only"]
        real, _ = self.discriminator(mel)
        generated, _ = self.discriminator(estimate.detach())
        discriminator_loss = losses.discriminator_hinge(real, generated)
        self.discriminator_step(discriminator_loss, batch_idx)

        error = F.l1_loss(estimate, mel)
        loss = error + 0.5 * losses.slope_loss(estimate, mel) + further
        if n_against >= 0:
            with self.frozen_discriminator():
                _, wanted = self.discriminator(mel)
                output, features = self.discriminator(estimate)
            adversarial = own["adversarial_weight"] * losses.generator_hinge(output)
            share = min(1.0, n_against / self.n_ramp) if self.n_ramp else 1.0
            loss = loss + share * (adversarial + own["feature_weight"] * losses.feature_matching(wanted, features))
        self.generator_step(loss, batch_idx)
        self.log_dict({"l1": error, "discriminator": discriminator_loss}, prog_bar=True)
