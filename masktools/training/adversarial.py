"""What all trainings against a discriminator share: two players that move in turn, each with its optimiser."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR

from masktools.errors import ParameterError, unknown_name
from masktools.mel import MelConfig
from masktools.training.part import PartTraining
from masktools.training.schedules import exponential, warmup_cosine

__all__ = ["SCHEDULES", "AdversarialTraining", "OptimiserConfig"]

SCHEDULES = ("cosine", "exponential")


@dataclass(frozen=True)
class OptimiserConfig:
    """How both players learn: AdamW, and a rate that falls by half a cosine or by a factor every ``n_decay`` rounds."""

    betas: tuple[float, float] = (0.8, 0.99)
    weight_decay: float = 0.01  # 0: plain Adam
    schedule: str = "cosine"
    final: float = 0.1  # of the first rate, at the end of the cosine
    decay: float = 0.999  # of the exponential schedule; 1: a constant rate
    n_decay: int = 1000  # rounds between two of its steps
    clip_norm: float | None = 1.0  # of the trained part's gradient
    judge_clip_norm: float | None = None
    accumulate_rounds: int = 1  # batches for each step of the optimisers

    def __post_init__(self) -> None:
        """Check every range."""
        if self.schedule not in SCHEDULES:
            raise unknown_name("schedule", self.schedule, SCHEDULES)
        if not all(0 <= beta < 1 for beta in self.betas):
            raise ParameterError(f"betas must lie in [0, 1), got {self.betas}")
        if self.weight_decay < 0:
            raise ParameterError(f"weight_decay must be at least 0, got {self.weight_decay:g}")
        if not 0 <= self.final <= 1:
            raise ParameterError(f"final must lie in [0, 1], got {self.final:g}")
        if not 0 < self.decay <= 1:
            raise ParameterError(f"decay must lie in (0, 1], got {self.decay:g}")
        for name in ("n_decay", "accumulate_rounds"):
            if getattr(self, name) < 1:
                raise ParameterError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name in ("clip_norm", "judge_clip_norm"):
            if (value := getattr(self, name)) is not None and value <= 0:
                raise ParameterError(f"{name} must be positive, or null for none, got {value:g}")


class AdversarialTraining(PartTraining):
    """A part and its judge, which move in turn.

    Every optimiser step counts in Lightning's ``global_step``, so that a round makes two: ``max_steps`` of a recipe is
    twice ``n_steps``. With ``accumulate_rounds`` a round takes as many batches; a remainder at the end of an epoch is
    dropped.
    """

    judge: nn.Module

    def __init__(self, mel: MelConfig, optimiser: OptimiserConfig) -> None:
        super().__init__(mel)
        self.optimiser = optimiser
        self.automatic_optimization = False

    @property
    def n_rounds(self) -> int:
        """Rounds that are done."""
        return self.global_step // 2

    @property
    def trained(self) -> nn.Module:
        """What plays against the judge."""
        return self.net

    def configure_optimizers(self) -> tuple[list[torch.optim.Optimizer], list[Any]]:
        """Return the optimisers of the trained part and of the judge, and their schedules."""
        rate, config = self.hparams["learning_rate"], self.optimiser
        optimizers: list[torch.optim.Optimizer] = [
            torch.optim.AdamW(
                [p for p in player.parameters() if p.requires_grad],
                rate,
                config.betas,
                weight_decay=config.weight_decay,
            )
            for player in (self.trained, self.judge)
        ]
        return optimizers, [self._schedule(optimizer) for optimizer in optimizers]

    def _schedule(self, optimizer: torch.optim.Optimizer) -> LambdaLR:
        config, n_warmup = self.optimiser, self.hparams["n_warmup"]
        if config.schedule == "exponential":
            return exponential(optimizer, config.decay, config.n_decay, n_warmup)
        return warmup_cosine(optimizer, n_warmup, self.hparams["n_steps"], config.final)

    @contextmanager
    def judge_at_rest(self) -> Iterator[None]:
        """Give the judge no gradient inside the block, where the other player moves."""
        self.judge.requires_grad_(False)
        try:
            yield
        finally:
            self.judge.requires_grad_(True)

    def move_trained(self, loss: Tensor, batch_idx: int) -> None:
        """Let the trained part learn from its loss, and step the schedules of both: the end of a round."""
        if self._move(0, loss, batch_idx, self.optimiser.clip_norm):
            schedules: Any = self.lr_schedulers()
            for schedule in schedules:
                schedule.step()

    def move_judge(self, loss: Tensor | None, batch_idx: int) -> None:
        """Let the judge learn from its loss; without one it stays as it is, and the count of steps goes on."""
        self._move(1, loss, batch_idx, self.optimiser.judge_clip_norm)

    def _move(self, player: int, loss: Tensor | None, batch_idx: int, clip_norm: float | None) -> bool:
        """Gather the gradient of a loss, and step when all batches of a round are gathered."""
        optimizers: Any = self.optimizers()
        optimizer, n_batches = optimizers[player], self.optimiser.accumulate_rounds
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
