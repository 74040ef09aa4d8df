"""Recipes as LightningCLI reads them: what the recipe says holds, and what is wrong with it is one line."""

import sys
from argparse import ArgumentError
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NoReturn
from zipfile import is_zipfile

import lightning.pytorch as pl
from lightning.pytorch.callbacks import ProgressBar
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI

from masktools.training.history import RunHistory
from masktools.training.last_step import LastStep
from masktools.training.progress import ProgressLine

__all__ = ["RecipeCLI", "newest_checkpoint", "one_line"]

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
    r"""Return what a parser has to say, which may be pages, as its most telling line.

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
    """A parser that raises what is wrong instead of leaving the process."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Raise what is wrong.

        Raises:
            ArgumentError: always.
        """
        raise ArgumentError(None, message) from ex


class RecipeCLI(LightningCLI):
    """Reads a recipe and its overrides, makes the module, the data and the trainer, and trains.

    The recipe is the only source of settings: those stored in a checkpoint do not override it.
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
        """Return the one thing that recipes are for."""
        return {"fit": {"model", "train_dataloaders", "val_dataloaders", "datamodule"}}

    def _parse_ckpt_path(self) -> None:
        """Leave the recipe as it is: Lightning would override it by what the checkpoint was once trained with."""

    def before_instantiate_classes(self) -> None:
        """Find where to go on, if that is wanted."""
        if self._resume:
            found = newest_checkpoint(_folders(self.config["fit"]))
            self.config["fit"]["ckpt_path"] = None if found is None else str(found)
            self.history.resumed_from = found

    def instantiate_trainer(self, **kwargs: Any) -> pl.Trainer:
        """Return the trainer, with our progress line unless the recipe has another or wants none."""
        trainer = self._get(self.config_init, "trainer", default={})
        own: list[pl.Callback] = [self.history]
        given = trainer.get("callbacks") or []
        given = given if isinstance(given, list) else [given]
        if trainer.get("enable_progress_bar") is not False and not any(isinstance(c, ProgressBar) for c in given):
            own.append(ProgressLine(sys.stdout))
        self.trainer_defaults["callbacks"] = own
        if trainer.get("logger") is False:
            self.save_config_callback = None  # nothing is logged, and nothing is to lie about in the working folder
        made = super().instantiate_trainer(**kwargs)
        if made.checkpoint_callbacks:
            made.callbacks.append(LastStep())  # type: ignore[attr-defined]  # after those that it looks after
        return made


def _folders(config: Any) -> Iterator[Path]:
    """Yield the folders where the checkpoints of a recipe lie."""
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
    """Return the newest complete checkpoint of some folders, None if there is none; one that was cut off is no one."""
    found = {path.resolve(): path for folder in folders for path in folder.glob("*.ckpt")}
    complete = [path for path in found.values() if is_zipfile(path)]
    return max(complete, key=lambda path: path.stat().st_mtime_ns, default=None)
