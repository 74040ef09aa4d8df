"""Training runs from recipes."""

import logging
import os
import sys
import warnings
from argparse import ArgumentError
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn
from zipfile import is_zipfile

import lightning.pytorch as pl
from lightning.pytorch.callbacks import ProgressBar
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI

from masktools.core.errors import CheckpointError, DeviceError, MasktoolsError, ParameterError
from masktools.training.checkpoints import LastStep
from masktools.training.monitor import ProgressLine, RunHistory, RunReport

_MAX_LENGTH = 300  # characters of a reason that stay readable on one line
_NOISE = (
    "Parser key",
    "Does not validate against any",
    "Subtypes:",
    "Errors:",
    "Given value",
    "Expected a <class 'NoneType'>",
    "Problem with given class_path",
)


def one_line(message: str) -> str:
    r"""Return the most informative line of a parser's message, which may be pages long.

    >>> one_line('Parser key "trainer.max_steps":\n  Expected a <class int>. Got value: ten')
    'trainer.max_steps: Expected a <class int>. Got value: ten'
    """
    lines = [line.strip(" -\t") for line in message.splitlines() if line.strip(" -\t")]
    keyed = [line.split('"', 2) for line in lines if line.startswith('Parser key "')]
    key = ".".join(dict.fromkeys(parts[1] for parts in keyed))
    rests = [parts[2].lstrip(": ") for parts in keyed]
    telling = [line for line in (*lines, *rests) if line and not line.startswith(_NOISE)] or lines[:1] or ["no reason"]
    expected = [line for line in dict.fromkeys(telling) if line.startswith("Expected")]
    reason = " or ".join(expected) if len(expected) == len(set(telling)) else telling[0]
    text = f"{key}: {reason}" if key else reason
    return text if len(text) <= _MAX_LENGTH else f"{text[: _MAX_LENGTH - 3]}..."


class RecipeParser(LightningArgumentParser):
    """A parser that raises errors instead of leaving the process."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Raise an error.

        Raises:
            ArgumentError: always.
        """
        raise ArgumentError(None, message) from ex


class RecipeCLI(LightningCLI):
    """Reads a recipe and its overrides, makes the module, the data and the trainer, and trains.

    The recipe is the only source of settings: those in a checkpoint do not override it.
    """

    def __init__(self, arguments: list[str], resume: bool = False) -> None:
        self.history = RunHistory()
        self._resume = resume
        super().__init__(
            pl.LightningModule,
            pl.LightningDataModule,
            subclass_mode_model=True,
            subclass_mode_data=True,
            save_config_kwargs={"overwrite": True},
            trainer_defaults={"enable_model_summary": False},
            parser_class=RecipeParser,
            args=["fit", *arguments],
        )

    @staticmethod
    def subcommands() -> dict[str, set[str]]:
        """Return the only subcommand of recipes."""
        return {"fit": {"model", "train_dataloaders", "val_dataloaders", "datamodule"}}

    def _parse_ckpt_path(self) -> None:
        """Keep the recipe's settings: Lightning would override them by those in the checkpoint."""

    def before_instantiate_classes(self) -> None:
        """Find the checkpoint to resume from, if asked to."""
        if self._resume:
            found = newest_checkpoint(_folders(self.config["fit"]))
            self.config["fit"]["ckpt_path"] = None if found is None else str(found)
            self.history.resumed_from = found

    def instantiate_trainer(self, **kwargs: Any) -> pl.Trainer:
        """Return the trainer, with our progress line unless the recipe has another or none."""
        trainer = self._get(self.config_init, "trainer", default={})
        own: list[pl.Callback] = [self.history]
        given = trainer.get("callbacks") or []
        given = given if isinstance(given, list) else [given]
        if trainer.get("enable_progress_bar") is not False and not any(isinstance(c, ProgressBar) for c in given):
            own.append(ProgressLine(sys.stdout))
        self.trainer_defaults["callbacks"] = own
        if trainer.get("logger") is False:
            self.save_config_callback = None  # nothing is logged, and no files are left in the working folder
        made = super().instantiate_trainer(**kwargs)
        if made.checkpoint_callbacks:
            made.callbacks.append(LastStep())  # type: ignore[attr-defined]  # after those that it looks after
        return made


def _folders(config: Any) -> Iterator[Path]:
    """Yield the checkpoint folders of a recipe."""
    trainer = config["trainer"]
    callbacks = trainer.get("callbacks") or []
    for callback in callbacks if isinstance(callbacks, list) else [callbacks]:
        dirpath = (callback.get("init_args") or {}).get("dirpath")
        if dirpath:
            yield Path(dirpath)
    loggers = trainer.get("logger")
    for logger in loggers if isinstance(loggers, list) else [loggers]:
        settings = {} if logger is None or isinstance(logger, bool) else logger.get("init_args") or {}
        place = Path(settings.get("save_dir") or trainer.get("default_root_dir") or ".")
        yield from (place / (settings.get("name") or "lightning_logs")).glob("version_*/checkpoints")


def newest_checkpoint(folders: Iterable[Path]) -> Path | None:
    """Return the newest complete checkpoint in some folders, None if there is none; truncated ones are skipped."""
    found = {path.resolve(): path for folder in folders for path in folder.glob("*.ckpt")}
    complete = [path for path in found.values() if is_zipfile(path)]
    return max(complete, key=lambda path: path.stat().st_mtime_ns, default=None)


_RESUME = "--resume"
# Messages of Lightning and torch about themselves or about deliberate choices of recipes: nothing to act on.
_KNOWN_WARNINGS = (
    r".*LightningCLI's args parameter is intended",
    r".*does not have many workers",
    r".*isinstance\(treespec, LeafSpec\)",
    r".*Checkpoint directory .* exists and is not empty",
    r".*checkpoint that ended before the epoch ended and your dataloader",
    r".*Your `IterableDataset` has `__len__` defined",
    r".*is smaller than the logging interval",
    r".*Trying to infer the `batch_size` from an ambiguous collection",
    r".*The given NumPy array is not writable",
    r".*Experiment logs directory .* exists and is not empty",
    r".*`lr_scheduler.step\(\)` before `optimizer.step\(\)`",
    r".*callbacks used to create the checkpoint need to be provided",
)


def run_recipe(path: str | os.PathLike[str], overrides: Sequence[str] = (), resume: bool = False) -> RunReport | None:
    """Train a recipe, e.g. ``run_recipe("recipes/mini/tokenizer.yaml", ["--trainer.max_steps", "10"])``.

    Args:
        path: path of the YAML file.
        overrides: keys and their values, as on the command line.
        resume: whether to resume from the newest checkpoint of the recipe, if there is one; the same as the word
            ``--resume`` among the overrides.

    Returns:
        Report of the run; None on ranks other than the first.

    Raises:
        ParameterError: there is no such recipe, or a key or a value is invalid.
        CheckpointError: a checkpoint that is missing, or of other settings.
        DeviceError: a device that this machine does not have.
    """
    recipe = Path(path)
    if not recipe.is_file():
        raise ParameterError(f"no recipe at {recipe}")
    words = [word for word in overrides if word != _RESUME]

    with _quiet(), _our_errors():
        cli = RecipeCLI(["--config", str(recipe), *words], resume or len(words) < len(overrides))
    return cli.history.report if cli.trainer.is_global_zero else None


@contextmanager
def _quiet() -> Iterator[None]:
    """Suppress messages of Lightning and torch that nobody can act on."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        for message in _KNOWN_WARNINGS:
            warnings.filterwarnings("ignore", message)
        for logger in loggers:
            logger.setLevel(logging.WARNING)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)


@contextmanager
def _our_errors() -> Iterator[None]:
    """Turn Lightning's errors about settings into our errors, of one line each."""
    try:
        yield
    except (MasktoolsError, ModuleNotFoundError):
        raise
    except SystemExit as leaving:
        if isinstance(leaving.__context__, KeyboardInterrupt):  # Lightning shuts down, then exits
            raise KeyboardInterrupt from None
        raise
    except ArgumentError as error:
        raise ParameterError(f"the recipe cannot be used: {one_line(str(error))}") from error
    except (OSError, RuntimeError, ValueError, TypeError, KeyError) as error:
        translated = _translated(error)
        if translated is None:
            raise
        raise translated from error
    except Exception as error:
        if type(error).__name__ != "MisconfigurationException":
            raise
        raise _of_setting(str(error)) from error


def _translated(error: Exception) -> MasktoolsError | None:
    """Return our error for one of Lightning's, None where it may be a bug of ours."""
    text = " ".join(str(error).split())
    if "Error(s) in loading state_dict" in text:
        mismatch = text.split("Error(s) in loading state_dict")[1].split(":", 1)[-1].strip()
        return CheckpointError(f"the checkpoint is of other settings than the recipe: {mismatch[:200]}")
    if isinstance(error, FileNotFoundError) and ".ckpt" in text:
        return CheckpointError(f"the checkpoint to go on from is missing: {text}")
    raised_in = _module_of(error)
    if raised_in.startswith("jsonargparse."):
        return ParameterError(f"the recipe cannot be used: {one_line(str(error))}")
    if raised_in.startswith("lightning.") and isinstance(error, ValueError):
        return _of_setting(text)
    return None


def _of_setting(text: str) -> MasktoolsError:
    reason = " ".join(text.split()).replace("`", "")
    if "can not run on your system" in reason or "No supported gpu backend" in reason:
        return DeviceError(f"the recipe asks for a device that is not here: {reason} (try --trainer.accelerator cpu)")
    return ParameterError(f"the recipe's settings cannot work together: {reason}")


def _module_of(error: BaseException) -> str:
    """Return the name of the module in which an error was raised."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return "" if trace is None else str(trace.tb_frame.f_globals.get("__name__", ""))
