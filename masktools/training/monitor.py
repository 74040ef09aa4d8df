"""Monitoring of a training run: progress line, history, images and audio of validation clips."""

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import ModelCheckpoint, ProgressBar
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor

from masktools.core.arguments import check_least
from masktools.core.errors import MelMismatchError, ParameterError
from masktools.mel import MelConfig, differing_fields
from masktools.networks.tokenizer.local import codebook_usage
from masktools.networks.vocoder import GriffinLim, GriffinLimConfig
from masktools.solver import SolverConfig, item_seeds, solve
from masktools.training.checkpoints import load_tokenizer, load_vocoder


def clock(seconds: float) -> str:
    """Return a duration in words.

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
    """Steps done of the total, steps per second, time left, and the figures of the progress bar.

    On a terminal the line is rewritten in place; elsewhere a new one is printed every ``every_s`` seconds, so that
    a log file stays short. Rate and time left are averages over the last minutes, validation included.
    """

    def __init__(self, stream: TextIO, every_s: float = 30.0, window: int = 200) -> None:
        super().__init__()
        self.stream, self.every_s = stream, every_s
        self.in_place = stream.isatty()
        self._enabled, self._last, self._width = True, -float("inf"), 0
        self._seen: deque[tuple[float, int]] = deque(maxlen=window)

    def disable(self) -> None:
        """Print nothing, on all ranks but the first."""
        self._enabled = False

    def enable(self) -> None:
        """Print again."""
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
        """Print what is trained, and on which device."""
        n_parameters = sum(p.numel() for p in pl_module.parameters() if p.requires_grad)
        place = f"{trainer.world_size} x {trainer.strategy.root_device.type}"
        name = " ".join(str(getattr(pl_module, key)) for key in ("part", "kind") if hasattr(pl_module, key))
        begun = f", going on after step {trainer.global_step:,}" if trainer.global_step else ""
        self.print(f"{name or type(pl_module).__name__}: {n_parameters / 1e6:.1f} M parameters on {place}{begun}")

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Count the step, and print the line if it is due."""
        now = time.monotonic()
        self._seen.append((now, trainer.global_step))
        if now - self._last >= (0.5 if self.in_place else self.every_s):
            self._write(trainer)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Print the last line."""
        self._write(trainer, last=True)

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """End the line and go on below it."""
        if self._enabled and self.in_place:
            self.stream.write("\n")

    def print(self, *args: Any, **kwargs: Any) -> None:
        """Print a message above the line."""
        if self._enabled:
            text = " ".join(str(part) for part in args)
            self.stream.write((f"\r{text.ljust(self._width)}" if self.in_place else text) + "\n")


_HIGHER_IS_BETTER = ("accuracy", "cosine", "gain", "map", "perplexity", "recall", "synonyms", "used")


@dataclass(frozen=True)
class Figure:
    """One figure of a run: its last value, its best, and the step of that."""

    name: str
    last: float
    best: float
    best_step: int


@dataclass(frozen=True)
class RunReport:
    """Result of a training run: steps, time, figures and files."""

    part: str
    n_steps: int  # in total, including those before a resumption
    n_steps_here: int
    seconds: float
    finished: bool  # whether all steps of the recipe are done
    figures: tuple[Figure, ...]
    checkpoint: str  # "" without one
    log_folder: str

    def to_text(self) -> str:
        """Return the summary table at the end of a run."""
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
    """Collects the figures of a run, across resumptions; it logs and prints nothing."""

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
        """Collect the figures of a validation."""
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
        """Make the report."""
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
        """Return the figures for a checkpoint."""
        return {name: [f.last, f.best, f.best_step] for name, f in self.figures.items()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the figures from a checkpoint."""
        self.figures = {name: Figure(name, *values) for name, values in state_dict.items()}


def _is_gain(name: str) -> bool:
    return any(word in name for word in _HIGHER_IS_BETTER)


def _checkpoint(trainer: pl.Trainer) -> str:
    """Return the newest checkpoint of the run."""
    paths = [
        Path(path)
        for callback in trainer.checkpoint_callbacks
        if isinstance(callback, ModelCheckpoint)
        for path in (callback.last_model_path, callback.best_model_path)
        if path and Path(path).is_file()
    ]
    return str(max(paths, key=lambda path: path.stat().st_mtime_ns, default=""))


# From silence to full scale: night, violet, red, orange, light yellow; equal steps in lightness.
_STOPS = ((0, 0, 10), (80, 18, 110), (185, 50, 85), (245, 130, 35), (252, 250, 165))
_BIN_PIXELS = 2  # height of a mel bin
_SEAM_PIXELS = 4  # between spectrograms, white


def mel_picture(mels: Sequence[Tensor]) -> Tensor:
    """Return an image (3, h, w), uint8, of mel spectrograms (f, m) in [-1, 1], the first on top, low bins below.

    Raises:
        ParameterError: no spectrograms, or different shapes.
    """
    if not mels or len({mel.shape for mel in mels}) != 1:
        raise ParameterError(f"the spectrograms must be of one shape, got {[tuple(mel.shape) for mel in mels]}")
    stops = torch.tensor(_STOPS, dtype=torch.float32)
    panels = []
    for mel in mels:
        place = (mel.float().cpu().nan_to_num(-1.0).clamp(-1, 1) + 1) / 2 * (len(stops) - 1)
        below = place.floor().long().clamp(max=len(stops) - 2)
        colours = torch.lerp(stops[below], stops[below + 1], (place - below)[..., None])
        panel = colours.flip(0).repeat_interleave(_BIN_PIXELS, 0)
        panels += [torch.full((_SEAM_PIXELS, *panel.shape[1:]), 255.0), panel]
    return torch.cat(panels[1:]).round().to(torch.uint8).permute(2, 0, 1)


@dataclass(frozen=True)
class Sample:
    """One clip as images and audio, or a figure."""

    name: str  # "reconstruction/0"
    mels: tuple[Tensor, ...] = ()  # (f, m) each, from top to bottom, the original first
    wave: Tensor | None = None  # (t,)
    figure: float | None = None


@dataclass(frozen=True)
class Tools:
    """Vocoder, tokenizer and settings for making samples."""

    mel: MelConfig
    render: Callable[[Tensor], Tensor]  # mel (b, f, m) -> wave (b, t)
    tokenizer: Any = None
    n_clips: int = 2
    solver: SolverConfig = SolverConfig()
    seed: int = 0


@torch.no_grad()
def samples_of(module: Any, batch: Mapping[str, Any], tools: Tools) -> list[Sample]:
    """Return samples of a part in training from a validation batch, none for parts without audio."""
    makers = {"tokenizer": _reconstructions, "vocoder": _renderings, "transformer": _generations}
    maker = makers.get(getattr(module, "part", ""))
    return [] if maker is None else list(maker(module, batch, tools))


def _mel_of(module: Any, batch: Mapping[str, Any], n_clips: int, patch: int = 1) -> Tensor:
    """Return mel spectrograms of a batch of either kind, cropped to whole patches."""
    mel = batch["mel"][:n_clips] if "mel" in batch else module.front_end(batch["wave"][:n_clips].float())
    return mel[..., : mel.shape[-1] // patch * patch].float()


def _shown(name: str, originals: Tensor, estimates: Tensor, waves: Tensor) -> Iterator[Sample]:
    for index, (original, estimate, wave) in enumerate(zip(originals, estimates, waves, strict=True)):
        yield Sample(f"{name}/{index}", (original, estimate), wave)


def _originals(batch: Mapping[str, Any], mel: Tensor, tools: Tools) -> Iterator[Sample]:
    waves = batch["wave"][: len(mel)] if "wave" in batch else tools.render(mel)
    for index, wave in enumerate(waves):
        yield Sample(f"original/{index}", (), wave)


def _reconstructions(module: Any, batch: Mapping[str, Any], tools: Tools) -> Iterator[Sample]:
    mel = _mel_of(module, batch, tools.n_clips, module.net.patch)
    estimate = module.net.decode(module.net.encode(mel)).float().clamp(-1, 1)
    yield from _originals(batch, mel, tools)
    yield from _shown("reconstruction", mel, estimate, tools.render(estimate))


def _renderings(module: Any, batch: Mapping[str, Any], tools: Tools) -> Iterator[Sample]:
    mel = _mel_of(module, batch, tools.n_clips)
    waves = module.net(mel).float().clamp(-1, 1)
    heard = module.front_end(waves)[..., : mel.shape[-1]]
    yield from _originals(batch, mel, tools)
    yield from _shown("rendered", mel, heard, waves)


def _generations(module: Any, batch: Mapping[str, Any], tools: Tools) -> Iterator[Sample]:
    """Yield clips generated with and without the condition of other clips, and clips with a gap filled."""
    tokens = module.clip_tokens(batch)[: tools.n_clips]
    conditions = batch.get("condition")
    everything = torch.ones_like(tokens, dtype=torch.bool)
    generated = {"unconditional": _filled(module, tokens, everything, None, tools)}
    if conditions is not None:
        chosen = conditions[: len(tokens)].float()
        generated["conditioned"] = _filled(module, tokens, everything, chosen, tools)
    n_cols = tokens.shape[-1]
    gap = torch.zeros_like(everything)
    width = max(1, n_cols // 5)
    gap[..., (n_cols - width) // 2 : (n_cols + width) // 2] = True
    generated["filled"] = _filled(module, tokens, gap, None, tools)
    for name, made in generated.items():
        usage = codebook_usage(made, module.net.config.n_codes)
        yield Sample(f"{name}_codes_used", figure=float(usage.n_used))
        yield Sample(f"{name}_codes_perplexity", figure=float(usage.perplexity))
    yield Sample("filled_accuracy", figure=float((generated["filled"] == tokens)[gap].float().mean()))
    if tools.tokenizer is not None:
        originals = tools.tokenizer.decode(tokens).float()
        yield from _originals({}, originals, tools)
        for name, made in generated.items():
            mel = tools.tokenizer.decode(made).float()
            yield from _shown(name, originals, mel, tools.render(mel))


def _filled(module: Any, tokens: Tensor, mask: Tensor, conditions: Tensor | None, tools: Tools) -> Tensor:
    """Return tokens (b, r, w) with the masked ones predicted."""

    def predict(given: Tensor, masked: Tensor, items: Tensor, conditional: bool) -> Tensor:
        own = conditions[items] if conditional and conditions is not None else None
        return module.net.logits(given, masked, own).float()

    use = [conditions is not None] * len(tokens)
    result = solve(predict, tokens, mask, item_seeds(tools.seed, len(tokens)), tools.solver, use)
    return result.tokens


class MonitorSamples(pl.Callback):
    """Log samples of the first validation clips, at a validation, at most every ``every_n_steps``.

    A tokenizer reconstructs, a vocoder renders, a transformer generates with and without condition and fills a gap.
    Samples use the validated weights: averaged ones if the run keeps an average. An error here is reported
    once, and the run goes on without samples. Loggers without images and audio are skipped.
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
        """Set the kind and number of samples.

        Args:
            every_n_steps: least number of steps between samples.
            n_clips: number of clips.
            vocoder: checkpoint of a vocoder for the audio of mel spectrograms; Griffin-Lim by default.
            tokenizer: checkpoint of the tokenizer, if the training itself does not have it.
            n_decoding_steps: decoding steps of a generation.
            guidance: scale of the guidance.
            seed: random seed; the same every time, so that samples can be compared.

        Raises:
            ParameterError: fewer than one step or clip, or settings that the solver refuses.
        """
        super().__init__()
        check_least(1, every_n_steps=every_n_steps, n_clips=n_clips)
        self.every_n_steps, self.n_clips, self.seed = every_n_steps, n_clips, seed
        self.solver = SolverConfig(n_steps=n_decoding_steps, guidance=guidance)
        self._vocoder: Any = load_vocoder(vocoder) if vocoder else None
        self._tokenizer = load_tokenizer(tokenizer) if tokenizer else None
        self._shown_at: int | None = None
        self._failed = False

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Check that the vocoder has the run's mel settings.

        Raises:
            MelMismatchError: it does not.
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
        """Log samples of the first batch, if they are due."""
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
        return Tools(
            mel, lambda mel: self._vocoder(mel).float().clamp(-1, 1), tokenizer, self.n_clips, self.solver, self.seed
        )


def _writer(logger: Any) -> Any:
    """Return the object of a logger that writes images and audio, None if it has none."""
    writer = getattr(logger, "experiment", None)
    return writer if hasattr(writer, "add_image") and hasattr(writer, "add_audio") else None


def _write(writer: Any, sample: Sample, step: int, sample_rate: int) -> None:
    if sample.figure is not None:
        writer.add_scalar(f"samples/{sample.name}", sample.figure, step)
    if sample.mels:
        writer.add_image(sample.name, mel_picture(sample.mels), step)
    if sample.wave is not None:
        writer.add_audio(sample.name, sample.wave.detach().float().cpu()[None], step, sample_rate=sample_rate)
