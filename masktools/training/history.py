"""What is left of a run when it is over: its figures, last and best, how long it took, and where its weights are."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import ModelCheckpoint

from masktools.training.progress import clock

__all__ = ["Figure", "RunHistory", "RunReport"]

_HIGHER_IS_BETTER = ("accuracy", "cosine", "gain", "map", "perplexity", "recall", "synonyms", "used")


@dataclass(frozen=True)
class Figure:
    """One figure of a run: its last value, its best, and at which step that was."""

    name: str
    last: float
    best: float
    best_step: int


@dataclass(frozen=True)
class RunReport:
    """What a run came to."""

    part: str
    n_steps: int  # in all, those before a resumption included
    n_steps_here: int
    seconds: float
    finished: bool  # all the steps that the recipe asks for are done
    figures: tuple[Figure, ...]
    checkpoint: str  # "" where none was written
    log_folder: str

    def to_text(self) -> str:
        """Return the table that is shown when a run is over."""
        rate = f", {self.n_steps_here / self.seconds:.3g} steps/s" if self.seconds > 0 else ""
        lines = [f"{self.part}: {self.n_steps:,} steps, {self.n_steps_here:,} of them in {clock(self.seconds)}{rate}"]
        if self.figures:
            width = max(len(figure.name) for figure in self.figures)
            lines.append(f"  {'':<{width}} {'last':>10} {'best':>10}  at step")
            lines += [f"  {f.name:<{width}} {f.last:>10.4g} {f.best:>10.4g}  {f.best_step:,}" for f in self.figures]
        lines.append(f"  checkpoint  {self.checkpoint or 'none was written'}")
        if self.log_folder:
            lines.append(f"  log         {self.log_folder}")
        return "\n".join(lines)


class RunHistory(pl.Callback):
    """Gathers the figures of a run, over resumptions too; it logs and writes nothing."""

    def __init__(self) -> None:
        self.resumed_from: Path | None = None
        self.figures: dict[str, Figure] = {}
        self._start = time.monotonic()
        self._first_step = 0
        self.report: RunReport | None = None

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock."""
        self._start, self._first_step = time.monotonic(), trainer.global_step

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Take the figures of a validation."""
        if not trainer.sanity_checking:
            self._take(trainer, [name for name in trainer.callback_metrics if name.startswith("valid")])

    def _take(self, trainer: pl.Trainer, names: list[str]) -> None:
        for name in names:
            value = float(trainer.callback_metrics[name])
            before = self.figures.get(name)
            better = before is None or (value > before.best if _is_gain(name) else value < before.best)
            best, step = (value, trainer.global_step) if before is None or better else (before.best, before.best_step)
            self.figures[name] = Figure(name, value, best, step)

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the report."""
        self._take(trainer, [name for name in ("loss",) if name in trainer.callback_metrics])
        self.report = RunReport(
            part=str(getattr(pl_module, "part", type(pl_module).__name__)),
            n_steps=trainer.global_step,
            n_steps_here=trainer.global_step - self._first_step,
            seconds=time.monotonic() - self._start,
            finished=not 0 < trainer.max_steps > trainer.global_step,
            figures=tuple(self.figures.values()),
            checkpoint=_checkpoint(trainer),
            log_folder=str(trainer.log_dir or "") if trainer.loggers else "",
        )

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint keeps of the figures."""
        return {name: [f.last, f.best, f.best_step] for name, f in self.figures.items()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on with the figures of a checkpoint."""
        self.figures = {name: Figure(name, *values) for name, values in state_dict.items()}


def _is_gain(name: str) -> bool:
    return any(word in name for word in _HIGHER_IS_BETTER)


def _checkpoint(trainer: pl.Trainer) -> str:
    """Return the newest checkpoint that the run wrote."""
    paths = [
        Path(path)
        for callback in trainer.checkpoint_callbacks
        if isinstance(callback, ModelCheckpoint)
        for path in (callback.last_model_path, callback.best_model_path)
        if path and Path(path).is_file()
    ]
    return str(max(paths, key=lambda path: path.stat().st_mtime_ns, default=""))
