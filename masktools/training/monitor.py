"""Pictures and sounds of a part in training, for TensorBoard: how it reconstructs, generates and fills by now."""

from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor

from masktools.errors import MelMismatchError, ParameterError
from masktools.mel import MelConfig, differing_fields
from masktools.solver import SolverConfig
from masktools.training.checkpoints import load_tokenizer, load_vocoder
from masktools.training.pictures import mel_picture
from masktools.training.samples import Sample, Tools, samples_of
from masktools.vocoder import GriffinLim, GriffinLimConfig

__all__ = ["MonitorSamples"]


class MonitorSamples(pl.Callback):
    """Shows what a part makes of the first validation clips, at a validation each ``every_n_steps`` at most.

    A tokenizer reconstructs, a vocoder renders, a transformer generates with and without condition and fills a gap.
    It sees the weights that are validated: averaged ones where the run keeps an average. What fails here is warned of
    once, and the run goes on without samples. Loggers without pictures and sounds are left alone.
    """

    def __init__(
        self,
        every_n_steps: int = 1,
        n_clips: int = 2,
        vocoder: str | None = None,
        tokenizer: str | None = None,
        n_decoding_steps: int = 16,
        guidance: float = 3.0,
        seed: int = 0,
    ) -> None:
        """Set what is shown.

        Args:
            every_n_steps: Steps from one showing to the next, at least.
            n_clips: How many clips are shown.
            vocoder: Checkpoint of the vocoder that lets mel spectrograms be heard; Griffin-Lim where there is none.
            tokenizer: Checkpoint of the tokenizer that tokens are of, where the training itself needs none.
            n_decoding_steps: Steps of a generation.
            guidance: Scale of its guidance.
            seed: Of its chance; the same in all showings, so that they can be compared.

        Raises:
            ParameterError: Fewer than one step or clip, or settings that the solver refuses.
        """
        super().__init__()
        for name, value in (("every_n_steps", every_n_steps), ("n_clips", n_clips)):
            if value < 1:
                raise ParameterError(f"{name} must be at least 1, got {value}")
        self.every_n_steps, self.n_clips, self.seed = every_n_steps, n_clips, seed
        self.solver = SolverConfig(n_steps=n_decoding_steps, guidance=guidance)
        self._vocoder: Any = load_vocoder(vocoder) if vocoder else None
        self._tokenizer = load_tokenizer(tokenizer) if tokenizer else None
        self._shown_at: int | None = None
        self._failed = False

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Check that the vocoder is of the run's mel settings.

        Raises:
            MelMismatchError: It is not.
        """
        front_end: Any = getattr(pl_module, "front_end", None)
        if self._vocoder is None or front_end is None:
            return
        fields = differing_fields(front_end.config, self._vocoder.mel_config)
        if fields:
            listed = ", ".join(f"{field} {ours:g} and {theirs:g}" for field, (ours, theirs) in fields.items())
            raise MelMismatchError(f"the vocoder that samples are heard by must be of the run's mel settings: {listed}")

    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Show samples of the first batch, where it is time."""
        step = trainer.global_step
        due = self._shown_at is None or step - self._shown_at >= self.every_n_steps
        if batch_idx or trainer.sanity_checking or self._failed or not due or not trainer.is_global_zero:
            return
        writers = [writer for writer in map(_writer, trainer.loggers) if writer is not None]
        if not writers:
            return
        self._shown_at = step
        try:
            devices = [pl_module.device] if pl_module.device.type == "cuda" else []
            with torch.random.fork_rng(devices):
                tools = self._tools(pl_module)
                for sample in samples_of(pl_module, batch, tools):
                    for writer in writers:
                        _write(writer, sample, step, tools.mel.sample_rate)
        except Exception as error:
            self._failed = True
            rank_zero_warn(f"no samples are shown from here on: {type(error).__name__}: {error}")

    def _tools(self, module: Any) -> Tools:
        mel: MelConfig = module.front_end.config
        if self._vocoder is None:
            self._vocoder = GriffinLim(GriffinLimConfig(), mel)
        tokenizer = self._tokenizer or getattr(module, "tokenizer", None)
        for part in (self._vocoder, tokenizer):
            if part is not None:
                part.to(module.device)
        return Tools(mel, self._render, tokenizer, self.n_clips, self.solver, self.seed)

    def _render(self, mel: Tensor) -> Tensor:
        return self._vocoder(mel).float().clamp(-1, 1)


def _writer(logger: Any) -> Any:
    """Return what a logger writes pictures and sounds with, None if it does not."""
    writer = getattr(logger, "experiment", None)
    return writer if hasattr(writer, "add_image") and hasattr(writer, "add_audio") else None


def _write(writer: Any, sample: Sample, step: int, sample_rate: int) -> None:
    if sample.figure is not None:
        writer.add_scalar(f"samples/{sample.name}", sample.figure, step)
    if sample.mels:
        writer.add_image(sample.name, mel_picture(sample.mels), step)
    if sample.wave is not None:
        writer.add_audio(sample.name, sample.wave.detach().float().cpu()[None], step, sample_rate=sample_rate)
