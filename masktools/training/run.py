"""Run a recipe: one YAML file of LightningCLI, every key overridable on the command line."""

import os
from collections.abc import Sequence
from pathlib import Path

from masktools.errors import ParameterError

__all__ = ["run_recipe"]


def run_recipe(path: str | os.PathLike[str], overrides: Sequence[str] = ()) -> None:
    """Train what the recipe says, e.g. ``run_recipe("recipes/mini/tokenizer.yaml", ["--trainer.max_steps", "10"])``.

    Raises:
        ParameterError: There is no such recipe.
        SystemExit: A key or a value that the recipe's classes do not accept (the message names it).
    """
    recipe = Path(path)
    if not recipe.is_file():
        raise ParameterError(f"no recipe at {recipe}")
    import lightning.pytorch as pl
    from lightning.pytorch.cli import LightningCLI

    LightningCLI(
        pl.LightningModule,
        pl.LightningDataModule,
        subclass_mode_model=True,
        subclass_mode_data=True,
        save_config_kwargs={"overwrite": True},
        args=["fit", "--config", str(recipe), *overrides],
    )
