"""A part in training: its settings as a recipe gives them, its checkpoint, and chance that a resumption repeats."""

from collections.abc import Mapping
from typing import Any

import lightning.pytorch as pl
import torch
from torch import nn

from masktools.configs import from_dict, to_dict
from masktools.errors import ParameterError, unknown_name
from masktools.mel import MelConfig, MelFrontEnd
from masktools.solver.noise import derive_seed


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
    if kind not in kinds:
        raise unknown_name(f"kind of {part}", kind, kinds)
    config_class = kinds[kind][0]
    if given is None:
        return config_class()
    if isinstance(given, Mapping):
        return from_dict(config_class, given)
    if type(given) is not config_class:
        raise ParameterError(f"the {part} must have the settings of kind {kind!r}, got {type(given).__name__}")
    return given


class PartTraining(pl.LightningModule):
    """A part ``net`` in training, beside the mel front end it works with.

    Before each batch the global generators are seeded by (seed of the run, rank, number of the batch), so that what
    is drawn from them, dropout included, is the same in a run that was stopped and resumed.
    """

    part: str  # its name in a bundle: tokenizer, vocoder or transformer
    kind: str  # which of the kinds of that part
    net: nn.Module
    _run_seed: int = 0

    def __init__(self, mel: MelConfig) -> None:
        super().__init__()
        self.front_end = MelFrontEnd(mel)

    def setup(self, stage: str) -> None:
        """Take the seed of the run."""
        self._run_seed = torch.initial_seed()

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Seed what is drawn while a batch is computed."""
        torch.manual_seed(derive_seed(self._run_seed, self.global_rank, self.trainer.fit_loop.total_batch_idx))

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Write the part's settings beside its weights, so that a bundle can be made of the file alone."""
        config: Any = self.net.config
        description = {"part": self.part, "kind": self.kind, "config": to_dict(config)}
        checkpoint["masktools"] = description | {"mel": to_dict(self.front_end.config)}
