"""One line that tells how far a run is, how fast it goes and how long it will take, on a terminal or in a log file."""

import time
from collections import deque
from typing import Any, TextIO

import lightning.pytorch as pl
from lightning.pytorch.callbacks import ProgressBar

from masktools.errors import ParameterError

__all__ = ["ProgressLine", "clock"]


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
        if every_s < 0:
            raise ParameterError(f"every_s must be at least 0 s, got {every_s:g} s")
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
