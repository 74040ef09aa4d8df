"""A part in training: its settings, optimiser and learning rate, its checkpoint, and chance that a resumption repeats.

Learning rates are a linear warm-up, then half a cosine; or an exponential decay in steps.
"""

from collections.abc import Iterable, Mapping
from math import cos, pi
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from masktools.core.arguments import check_within, checked_name
from masktools.core.configs import from_dict, to_dict
from masktools.core.errors import ParameterError
from masktools.mel import MelConfig, MelFrontEnd
from masktools.solver.noise import derive_seed


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
    """Return the scheduler, to be stepped once a training step."""
    check_within(f"[0, {n_steps})", n_warmup=n_warmup)
    return LambdaLR(optimizer, lambda step: warmup_cosine_factor(step, n_warmup, n_steps, final))


def exponential_factor(step: int, decay: float, n_decay: int, n_warmup: int = 0) -> float:
    """Return the factor on the base rate: 0 to 1 over the warm-up, then ``decay`` times less every ``n_decay`` steps.

    >>> [exponential_factor(step, 0.5, 100) for step in (0, 99, 100, 200)]
    [1.0, 1.0, 0.5, 0.25]
    """
    return step / n_warmup if step < n_warmup else decay ** ((step - n_warmup) // n_decay)


def exponential(optimizer: Optimizer, decay: float, n_decay: int, n_warmup: int = 0) -> LambdaLR:
    """Return the scheduler, to be stepped once a training step."""
    return LambdaLR(optimizer, lambda step: exponential_factor(step, decay, n_decay, n_warmup))


def config_of(kinds: Mapping[str, tuple[type, type]], kind: str, given: Any, part: str) -> Any:
    """Return the settings of a part of some kind.

    Args:
        kinds: kind -> (class of its settings, class of its network).
        kind: one of them.
        given: its settings, or a dictionary of those that differ from its defaults, or None.
        part: what it is a kind of, for errors.

    Raises:
        ParameterError: a kind that there is not, settings of another kind, a key or a value that it does not accept.
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
    """Return weights as groups of an optimiser: matrices decay, vectors do not."""
    every = list(weights)
    return [
        {"params": [weight for weight in every if weight.ndim > 1], "weight_decay": weight_decay},
        {"params": [weight for weight in every if weight.ndim <= 1], "weight_decay": 0.0},
    ]


class PartTraining(pl.LightningModule):
    """A part ``net`` in training, beside the mel front end it works with.

    Before each batch the global generators are seeded by (seed of the run, rank, number of the batch), so that what
    is drawn from them, dropout included, is the same in a run that was stopped and resumed.
    """

    part: str  # its name in a bundle: tokenizer, vocoder or transformer
    kind: str  # which of the kinds of that part
    net: nn.Module
    compiled: tuple[str, ...] = ("net",)  # where a recipe wants it
    _frozen: tuple[Any, ...] = ()  # parts outside the module's state: a checkpoint holds what is trained, nothing else
    _run_seed: int = 0

    def __init__(self, mel: MelConfig) -> None:
        super().__init__()
        self.front_end = MelFrontEnd(mel)

    def setup(self, stage: str) -> None:
        """Take the seed of the run."""
        self._run_seed = torch.initial_seed()

    def on_fit_start(self) -> None:
        """Bring the frozen parts to the device, and compile where that is wanted."""
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
        """Seed what is drawn while a batch is computed."""
        torch.manual_seed(derive_seed(self._run_seed, self.global_rank, self.trainer.fit_loop.total_batch_idx))

    def adamw(
        self,
        learned: Iterable[Any] | None = None,
        betas: tuple[float, float] = (0.9, 0.999),
        weight_decay: float = 0.01,
        final: float = 0.0,
    ) -> dict[str, object]:
        """Return AdamW under a linear warm-up and half a cosine, by the recipe's learning_rate, n_warmup and n_steps.

        Args:
            learned: weights, or groups of them; all of ``net`` that are not frozen if None.
            betas: of the running means of the gradient and of its square, each in [0, 1).
            weight_decay: of those that do not say otherwise.
            final: share of ``learning_rate`` that is left after ``n_steps``.
        """
        own = self.hparams
        weights = (weight for weight in self.net.parameters() if weight.requires_grad)
        optimizer = torch.optim.AdamW(learned or weights, own["learning_rate"], betas, weight_decay=weight_decay)
        schedule = warmup_cosine(optimizer, own["n_warmup"], own["n_steps"], final)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    @property
    def learned_tokens(self) -> str | None:
        """The fingerprint of the tokenizer or codec whose tokens are learned, None where nobody knows."""
        return None

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Write the part's settings beside its weights, so that a bundle can be made of the file alone.

        Whose tokens are learned is written too, so that no bundle joins the weights to another tokenizer.
        """
        config: Any = self.net.config
        told = {"part": self.part, "kind": self.kind, "config": to_dict(config), "mel": to_dict(self.front_end.config)}
        learned = self.learned_tokens
        checkpoint["masktools"] = told if learned is None else told | {"tokenizer": learned}
