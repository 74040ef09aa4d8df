"""Base classes for training a part, alone or with a discriminator: settings, optimiser, checkpoints, random seeds.

Learning-rate schedules are a linear warm-up, then half a cosine; or an exponential decay in steps.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import cos, pi
from typing import Any

import lightning.pytorch as pl
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from masktools.core.arguments import check_within, checked_name, settle
from masktools.core.configs import from_dict, ranged, to_dict
from masktools.core.errors import ParameterError
from masktools.mel import MelConfig, MelFrontEnd
from masktools.solver.choice import derive_seed
from masktools.training import losses
from masktools.training.losses import DiscriminatorOutput, MelPatchDiscriminator


def warmup_cosine_factor(step: int, n_warmup: int, n_steps: int, final: float = 0.0) -> float:
    """Return the factor on the base rate: 0 to 1 over the warm-up, then down to ``final`` by half a cosine.

    >>> [round(warmup_cosine_factor(step, 10, 110), 2) for step in (0, 5, 10, 60, 110)]
    [0.0, 0.5, 1.0, 0.5, 0.0]
    """
    if step < n_warmup:
        return step / n_warmup
    progress = min(1.0, (step - n_warmup) / max(1, n_steps - n_warmup))
    return final + (1.0 - final) * 0.5 * (1.0 + cos(pi * progress))


def warmup_cosine(optimizer: Optimizer, n_warmup: int, n_steps: int, final: float = 0.0) -> LambdaLR:
    """Return the scheduler, with one step per training step."""
    check_within(f"[0, {n_steps})", n_warmup=n_warmup)
    return LambdaLR(optimizer, lambda step: warmup_cosine_factor(step, n_warmup, n_steps, final))


def exponential_factor(step: int, decay: float, n_decay: int, n_warmup: int = 0) -> float:
    """Return the factor on the base rate: 0 to 1 over the warm-up, then times ``decay`` every ``n_decay`` steps.

    >>> [exponential_factor(step, 0.5, 100) for step in (0, 99, 100, 200)]
    [1.0, 1.0, 0.5, 0.25]
    """
    return step / n_warmup if step < n_warmup else decay ** ((step - n_warmup) // n_decay)


def exponential(optimizer: Optimizer, decay: float, n_decay: int, n_warmup: int = 0) -> LambdaLR:
    """Return the scheduler, with one step per training step."""
    return LambdaLR(optimizer, lambda step: exponential_factor(step, decay, n_decay, n_warmup))


def config_of(kinds: Mapping[str, tuple[type, type]], kind: str, given: Any, part: str) -> Any:
    """Return the settings of a part of a given kind.

    Args:
        kinds: kind -> (class of its settings, class of its network).
        kind: one of the kinds.
        given: settings, or a dictionary of those that differ from the defaults, or None.
        part: name of the part, for errors.

    Raises:
        ParameterError: an unknown kind, settings of another kind, or an invalid key or value.
    """
    config_class = kinds[checked_name(f"kind of {part}", kind, kinds)][0]
    if given is None:
        return config_class()
    if isinstance(given, Mapping):
        return from_dict(config_class, given)
    if type(given) is not config_class:
        raise ParameterError(f"the {part} must have the settings of kind {kind!r}, got {type(given).__name__}")
    return given


def decaying_matrices(weights: Iterable[Tensor], weight_decay: float) -> list[dict[str, Any]]:
    """Return parameter groups for an optimiser: weight decay on matrices, none on vectors."""
    every = list(weights)
    return [
        {"params": [weight for weight in every if weight.ndim > 1], "weight_decay": weight_decay},
        {"params": [weight for weight in every if weight.ndim <= 1], "weight_decay": 0.0},
    ]


class PartTraining(pl.LightningModule):
    """Training of a part ``net``, with its mel front end.

    Before each batch the global generators are seeded by (seed of the run, rank, number of the batch), so that all
    random numbers, those of dropout included, are the same in a run that was stopped and resumed.
    """

    part: str  # name in a bundle: tokenizer, vocoder or transformer
    kind: str  # one of the kinds of that part
    net: nn.Module
    compiled: tuple[str, ...] = ("net",)  # modules to compile, if a recipe asks for it
    _frozen: tuple[Any, ...] = ()  # parts outside the module's state: checkpoints hold only trained weights
    _run_seed: int = 0

    def __init__(self, mel: MelConfig) -> None:
        super().__init__()
        self.front_end = MelFrontEnd(mel)

    def setup(self, stage: str) -> None:
        """Take the seed of the run."""
        self._run_seed = torch.initial_seed()

    def on_fit_start(self) -> None:
        """Move the frozen parts to the device, and compile if asked to."""
        for part in self._frozen:
            if isinstance(part, nn.Module):
                part.to(self.device)
        if self.hparams.get("compile"):
            for name in self.compiled:
                self.get_submodule(name).compile()

    def mel_of(self, batch: Mapping[str, Any]) -> Tensor:
        """Return the mel spectrograms (b, f, m) of a batch, or of its waves, in fp32."""
        if "mel" in batch:
            return batch["mel"].float()
        wave = batch["wave"].float()
        with torch.autocast(wave.device.type, enabled=False):
            return self.front_end(wave)

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Seed the random generators for a batch."""
        torch.manual_seed(derive_seed(self._run_seed, self.global_rank, self.trainer.fit_loop.total_batch_idx))

    def adamw(
        self,
        learned: Iterable[Any] | None = None,
        betas: tuple[float, float] = (0.9, 0.999),
        weight_decay: float = 0.01,
        final: float = 0.0,
    ) -> dict[str, object]:
        """Return AdamW with a linear warm-up and half a cosine, by the recipe's learning_rate, n_warmup and n_steps.

        Args:
            learned: weights, or groups of them; all of ``net`` that are not frozen if None.
            betas: of the running means of the gradient and of its square, each in [0, 1).
            weight_decay: weight decay of groups that do not set it.
            final: share of ``learning_rate`` that is left after ``n_steps``.
        """
        own = self.hparams
        weights = (weight for weight in self.net.parameters() if weight.requires_grad)
        optimizer = torch.optim.AdamW(learned or weights, own["learning_rate"], betas, weight_decay=weight_decay)
        schedule = warmup_cosine(optimizer, own["n_warmup"], own["n_steps"], final)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    @property
    def learned_tokens(self) -> str | None:
        """Fingerprint of the tokenizer or codec that the part is trained with, None if unknown."""
        return None

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Store the part's settings with its weights, so that a bundle can be made of the file alone.

        The fingerprint of the tokenizer is stored too, so that no bundle combines the weights with another one.
        """
        config: Any = self.net.config
        told = {"part": self.part, "kind": self.kind, "config": to_dict(config), "mel": to_dict(self.front_end.config)}
        learned = self.learned_tokens
        checkpoint["masktools"] = told if learned is None else told | {"tokenizer": learned}


@dataclass(frozen=True)
class AdversarialLoss:
    """Losses of discriminators and generator, and the feature distance of real and generated waves.

    ``sliced`` losses need the discriminators of a slicing adversarial network.
    """

    discriminators: Callable[[Sequence[Tensor], Sequence[Tensor]], Tensor]  # of the logits of real and generated waves
    generator: Callable[[Sequence[Tensor]], Tensor]  # of the logits of generated waves
    features: Callable[[DiscriminatorOutput, DiscriminatorOutput], Tensor]  # of real and generated waves
    sliced: bool = False


def _relative(real: DiscriminatorOutput, generated: DiscriminatorOutput) -> Tensor:
    return losses.feature_matching(real.features, generated.features)


def _absolute(real: DiscriminatorOutput, generated: DiscriminatorOutput) -> Tensor:
    """Return the feature distance as published: summed, not averaged, and including the logits."""
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
    final: float = ranged(0.1, "[0, 1]")  # share of the initial rate that is left at the end of the cosine
    decay: float = ranged(0.999, "(0, 1]")  # factor of the exponential schedule; 1: a constant rate
    n_decay: int = ranged(1000, "[1, inf]")  # iterations between two of its steps
    clip_norm: float | None = ranged(1.0, "(0, inf]")  # limit on the trained part's gradient norm
    discriminator_clip_norm: float | None = ranged(None, "(0, inf]")
    accumulate_iterations: int = ranged(1, "[1, inf]")  # batches per optimiser step

    __post_init__ = settle


class AdversarialTraining(PartTraining):
    """Alternating generator and discriminator updates (manual optimisation).

    Every optimiser step counts in Lightning's ``global_step``, so that an iteration counts as two: ``max_steps`` of a
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
        """Disable the discriminator's gradients inside the block in which the generator is updated."""
        self.discriminator.requires_grad_(False)
        try:
            yield
        finally:
            self.discriminator.requires_grad_(True)

    def generator_step(self, loss: Tensor, batch_idx: int) -> None:
        """Update the trained part by its loss, and step both schedules: the end of an iteration."""
        if self._update(0, loss, batch_idx, self.optimiser.clip_norm):
            schedules: Any = self.lr_schedulers()
            for schedule in schedules:
                schedule.step()

    def discriminator_step(self, loss: Tensor | None, batch_idx: int) -> None:
        """Update the discriminator by its loss; without one only the count of steps goes on."""
        self._update(1, loss, batch_idx, self.optimiser.discriminator_clip_norm)

    def _update(self, network: int, loss: Tensor | None, batch_idx: int, clip_norm: float | None) -> bool:
        """Accumulate the gradient of a loss, and step when all batches of an iteration are there."""
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
        optimiser: settings of both optimisers.
        net: the tokenizer, frozen except for its decoder.
        discriminator_width: channels of the discriminator.
    """

    net: Any
    n_ramp = 0  # steps over which the adversarial weight rises

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
        """Update discriminator and decoder, in this order, on true and decoded spectrograms (b, f, m).

        The decoder's loss is its error, that of its slopes, an optional ``further`` loss, and, after the steps in
        which only the discriminator is trained, the adversarial loss and the feature distance.
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
