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

_SILENCE = -1.0


def varied(mel: Tensor, amount: float) -> Tensor:
    """Return notes (b, f, m) in [-1, 1] as another instrument of the kind might sound: what is silent stays so.

    Each has its level changed along frequency and over time, by smooth curves of up to about ``amount``, begins up to
    three frames late, and loses a stretch of bins and one of frames.

    Source: the stretches are those of SpecAugment (Park et al., arXiv:1904.08779), section 2.
    """
    n_clips, n_bins, n_frames = mel.shape
    drawn = torch.rand(n_clips, 12, 1, device=mel.device)
    bins, frames = (torch.linspace(0, 1, size, device=mel.device) for size in (n_bins, n_frames))
    turns = torch.tensor([1.0, 2.0, 5.0], device=mel.device)[:, None]
    curves = torch.cos(torch.pi * (turns * bins + 2 * drawn[:, 3:6]))
    curve = ((drawn[:, :3] - 0.5) * curves).sum(dim=1)
    made = mel + 2 * amount * (curve[:, :, None] - drawn[:, 6, :, None] * frames)
    made = torch.where(mel <= _SILENCE, mel, made.clamp(_SILENCE, 1.0))
    source = torch.arange(n_frames, device=mel.device) - drawn[:, 7].mul(4).long()
    made = made.gather(2, source.clamp(min=0)[:, None].expand_as(made))
    for axis, where, longest in ((1, bins, 0.15), (2, frames, 0.25)):
        start, length = drawn[:, 6 + 2 * axis], drawn[:, 7 + 2 * axis] * longest
        lost = (where >= start) & (where < start + length)
        made = made.masked_fill(lost.unsqueeze(3 - axis), _SILENCE)
    return made


class NoteClassifierTraining(PartTraining):
    """Batches hold ``mel`` (b, f, m), ``pitch`` and ``family``; ``NoteData`` gives them, and names the classes.

    Args:
        mel: Settings of the front end.
        widths: Channels of the convolutions.
        dropout: Share of values dropped.
        n_steps: Of the schedule of the learning rate.
        n_warmup: Steps in which it rises.
        learning_rate: The highest.
        variety: How much the notes of a batch are varied, as for ``varied``; 0 leaves them as they are.
        smoothing: Share of the probability that a label leaves to the other families.
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
        variety: float = 0.0,
        smoothing: float = 0.0,
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
        own, mel = self.hparams, batch["mel"].float()
        guess = self.net(varied(mel, own["variety"]) if own["variety"] else mel)
        pitch = F.cross_entropy(guess.pitch.float(), batch["pitch"] - self.net.config.lowest)
        family = F.cross_entropy(guess.family.float(), batch["family"], label_smoothing=own["smoothing"])
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
