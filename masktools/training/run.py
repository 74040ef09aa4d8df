"""Run a recipe: one YAML file of LightningCLI, every key overridable on the command line."""

import logging
import os
import warnings
from argparse import ArgumentError
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from masktools.errors import CheckpointError, DeviceError, MasktoolsError, ParameterError

if TYPE_CHECKING:
    from masktools.training.history import RunReport

__all__ = ["run_recipe"]

_RESUME = "--resume"
# Said by Lightning and torch about themselves or about choices that recipes make on purpose: nothing to act on.
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


def run_recipe(path: str | os.PathLike[str], overrides: Sequence[str] = (), resume: bool = False) -> "RunReport | None":
    """Train what the recipe says, e.g. ``run_recipe("recipes/mini/tokenizer.yaml", ["--trainer.max_steps", "10"])``.

    Args:
        path: The YAML file.
        overrides: Keys and their values, as on the command line.
        resume: Whether to go on from the newest checkpoint of the recipe, if there is one; the word ``--resume``
            among the overrides says the same.

    Returns:
        What the run came to; nothing on ranks other than the first.

    Raises:
        ParameterError: There is no such recipe, or a key or a value that the recipe's classes do not accept.
        CheckpointError: A checkpoint that is missing, or of other settings.
        DeviceError: A device that this machine does not offer.
    """
    recipe = Path(path)
    if not recipe.is_file():
        raise ParameterError(f"no recipe at {recipe}")
    words = [word for word in overrides if word != _RESUME]
    from masktools.training.recipe import RecipeCLI  # imports Lightning, which sets up its loggers

    with _quiet(), _our_errors():
        cli = RecipeCLI(["--config", str(recipe), *words], resume or len(words) < len(overrides))
    return cli.history.report if cli.trainer.is_global_zero else None


@contextmanager
def _quiet() -> Iterator[None]:
    """Leave out what Lightning and torch say that nobody can act on."""
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
    """Turn what Lightning raises for settings that cannot work into our errors, of one line each."""
    try:
        yield
    except (MasktoolsError, ModuleNotFoundError):
        raise
    except SystemExit as leaving:
        if isinstance(leaving.__context__, KeyboardInterrupt):  # Lightning shuts down, then leaves
            raise KeyboardInterrupt from None
        raise
    except ArgumentError as error:
        raise _unreadable(error) from error
    except (FileNotFoundError, OSError, RuntimeError, ValueError, TypeError, KeyError) as error:
        translated = _translated(error)
        if translated is None:
            raise
        raise translated from error
    except Exception as error:
        if type(error).__name__ != "MisconfigurationException":
            raise
        raise _of_setting(str(error)) from error


def _translated(error: Exception) -> MasktoolsError | None:
    """Return our error for one of Lightning's, None where it may be a fault of ours."""
    text = " ".join(str(error).split())
    if "Error(s) in loading state_dict" in text:
        mismatch = text.split("Error(s) in loading state_dict")[1].split(":", 1)[-1].strip()
        return CheckpointError(f"the checkpoint is of other settings than the recipe: {mismatch[:200]}")
    if isinstance(error, FileNotFoundError) and ".ckpt" in text:
        return CheckpointError(f"the checkpoint to go on from is missing: {text}")
    raised_in = _module_of(error)
    if raised_in.startswith("jsonargparse."):
        return _unreadable(error)
    if raised_in.startswith("lightning.") and isinstance(error, ValueError):
        return _of_setting(text)
    return None


def _unreadable(error: Exception) -> ParameterError:
    from masktools.training.recipe import one_line

    return ParameterError(f"the recipe cannot be used: {one_line(str(error))}")


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
