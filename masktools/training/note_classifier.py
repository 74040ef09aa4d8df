"""Training of the classifier of notes: cross-entropy of pitch and family; its settings say how often it is right."""

from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from masktools.core.configs import from_dict
from masktools.core.errors import CheckpointError
from masktools.mel import MelConfig
from masktools.networks.scales.classifier import NoteClassifier, NoteClassifierConfig
from masktools.training.checkpoints import network_state, part_description
from masktools.training.note_data import NoteData
from masktools.training.part import PartTraining
from masktools.training.streams import Batch


class NoteClassifierTraining(PartTraining):
    """Batches hold ``mel`` (b, f, m), ``pitch`` and ``family``; ``NoteData`` gives them, and names the classes.

    Args:
        mel: Settings of the front end.
        widths: Channels of the convolutions.
        dropout: Share of values dropped.
        n_steps: Of the schedule of the learning rate.
        n_warmup: Steps in which it rises.
        learning_rate: The highest.
    """

    part, kind = "classifier", "notes"
    net: NoteClassifier

    def __init__(
        self,
        mel: MelConfig = MelConfig(),
        widths: tuple[int, ...] = (24, 48, 96),
        dropout: float = 0.1,
        n_steps: int = 1500,
        n_warmup: int = 50,
        learning_rate: float = 1e-3,
    ) -> None:
        super().__init__(mel)
        self.save_hyperparameters(ignore=["mel"])

    def configure_model(self) -> None:
        """Make the network, whose classes are those of the data.

        Raises:
            CheckpointError: The data are no notes.
        """
        if hasattr(self, "net"):
            return
        data: Any = getattr(self.trainer, "datamodule", None)
        if not isinstance(data, NoteData):
            raise CheckpointError("a classifier of notes needs masktools.training.note_data.NoteData as its data")
        words, own = data.notes.words.config, self.hparams
        self.net = NoteClassifier(
            NoteClassifierConfig(
                self.front_end.config.n_mels,
                words.lowest,
                words.n_pitches,
                words.families,
                tuple(own["widths"]),
                own["dropout"],
            )
        )

    def configure_optimizers(self) -> dict[str, object]:
        """Return AdamW with warm-up and cosine."""
        return self.adamw(weight_decay=0.02, final=0.02)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the loss of a batch: the sum of both cross-entropies."""
        guess = self.net(batch["mel"].float())
        pitch = F.cross_entropy(guess.pitch.float(), batch["pitch"] - self.net.config.lowest)
        family = F.cross_entropy(guess.family.float(), batch["family"])
        self.log_dict({"pitch": pitch, "family": family}, prog_bar=True)
        return pitch + family

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Log how often pitch and family are right."""
        guess, lowest = self.net(batch["mel"].float()), self.net.config.lowest
        found = {
            "valid_pitch": (guess.pitch.argmax(1) + lowest == batch["pitch"]).float().mean(),
            "valid_family": (guess.family.argmax(1) == batch["family"]).float().mean(),
        }
        self.log_dict(found, prog_bar=True, sync_dist=True, batch_size=len(batch["mel"]))

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Write how often the very weights that are saved are right, on instruments that were not trained on."""
        data: Any = getattr(self.trainer, "datamodule", None)
        training = self.net.training
        self.net.eval()
        right, n_notes = torch.zeros(2), 0
        for batch in data.val_dataloader():
            guess = self.net.guess(batch["mel"].float().to(self.device))
            pitch = guess.pitch.argmax(1).cpu() + self.net.config.lowest == batch["pitch"]
            right += torch.stack([pitch, guess.family.argmax(1).cpu() == batch["family"]]).sum(1)
            n_notes += len(pitch)
        self.net.train(training)
        pitch, family = (right / n_notes).tolist()
        self.net.config = replace(self.net.config, accuracy=(round(pitch, 4), round(family, 4)))
        super().on_save_checkpoint(checkpoint)


def load_note_classifier(source: str) -> tuple[NoteClassifier, MelConfig]:
    """Return a trained classifier, frozen, and its mel settings; its own settings say how often it is right.

    Raises:
        CheckpointError: There is none, or it holds something else.
    """
    description = part_description(source)
    if description.get("part") != "classifier":
        raise CheckpointError(f"{source} must hold a classifier of notes, got a {description.get('part')}")
    made = NoteClassifier(from_dict(NoteClassifierConfig, description["config"]))
    made.load_state_dict(network_state(source))
    return made.eval().requires_grad_(False), from_dict(MelConfig, description["mel"])
