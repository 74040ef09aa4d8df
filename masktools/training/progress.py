"""Progress and history of a run, as lines."""

import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import lightning.pytorch as pl
from lightning.pytorch.callbacks import ModelCheckpoint, ProgressBar


def clock(seconds: float) -> str:
    """Return a duration as people say it.

    >>> clock(42), clock(125), clock(3 * 3600 + 240), clock(50 * 3600)
    ('42 s', '2 min 05 s', '3 h 04 min', '2 d 2 h')
    """
    whole = max(0, round(seconds))
    days, hours, minutes = whole // 86_400, whole // 3600 % 24, whole // 60 % 60
    if days:
        return f"{days} d {hours} h"
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {whole % 60:02d} s" if minutes else f"{whole} s"


class ProgressLine(ProgressBar):
    """Steps done of all, steps a second, time left, and the figures that the module shows.

    On a terminal the line is rewritten in place; elsewhere a new one is written every ``every_s`` seconds, so that
    a log file stays short. Rate and time left are those of the last minutes, validation included.
    """

    def __init__(self, stream: TextIO, every_s: float = 30.0, window: int = 200) -> None:
        super().__init__()
        self.stream, self.every_s = stream, every_s
        self.in_place = stream.isatty()
        self._enabled, self._last, self._width = True, -float("inf"), 0
        self._seen: deque[tuple[float, int]] = deque(maxlen=window)

    def disable(self) -> None:
        """Write nothing, as on all ranks but the first."""
        self._enabled = False

    def enable(self) -> None:
        """Write again."""
        self._enabled = True

    def line(self, trainer: pl.Trainer) -> str:
        """Return the line."""
        done, total = trainer.global_step, trainer.max_steps
        rate = self._rate()
        parts = [f"step {done:,}" + (f" of {total:,} ({done / total:.1%})" if total > 0 else "")]
        if rate > 0:
            parts.append(f"{rate:.3g} steps/s" if rate >= 1 else f"{1 / rate:.3g} s a step")
            if total > 0:
                parts.append(f"{clock((total - done) / rate)} left")
        figures = [f"{name} {float(value):.4g}" for name, value in trainer.progress_bar_metrics.items()]
        return " | ".join([*parts, " ".join(figures)] if figures else parts)

    def _rate(self) -> float:
        if len(self._seen) < 2:
            return 0.0
        (start, first), (now, last) = self._seen[0], self._seen[-1]
        return (last - first) / (now - start) if now > start else 0.0

    def _write(self, trainer: pl.Trainer, last: bool = False) -> None:
        if not self._enabled:
            return
        text = self.line(trainer)
        if self.in_place:
            self.stream.write(f"\r{text.ljust(self._width)}" + ("\n" if last else ""))
            self._width = len(text)
        else:
            self.stream.write(f"{text}\n")
        self.stream.flush()
        self._last = time.monotonic()

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Say what is trained, and on what."""
        n_parameters = sum(p.numel() for p in pl_module.parameters() if p.requires_grad)
        place = f"{trainer.world_size} x {trainer.strategy.root_device.type}"
        name = " ".join(str(getattr(pl_module, key)) for key in ("part", "kind") if hasattr(pl_module, key))
        begun = f", going on after step {trainer.global_step:,}" if trainer.global_step else ""
        self.print(f"{name or type(pl_module).__name__}: {n_parameters / 1e6:.1f} M parameters on {place}{begun}")

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Count the step, and write where it is time."""
        now = time.monotonic()
        self._seen.append((now, trainer.global_step))
        if now - self._last >= (0.5 if self.in_place else self.every_s):
            self._write(trainer)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the last line."""
        self._write(trainer, last=True)

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Leave the line as it is and go on below it."""
        if self._enabled and self.in_place:
            self.stream.write("\n")

    def print(self, *args: Any, **kwargs: Any) -> None:
        """Write a message above the line."""
        if self._enabled:
            text = " ".join(str(part) for part in args)
            self.stream.write((f"\r{text.ljust(self._width)}" if self.in_place else text) + "\n")


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
    """Result of a training run: steps, time, figures and files."""

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
