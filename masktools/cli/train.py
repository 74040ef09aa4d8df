"""Train what a recipe says; every key of it can be overridden, as in --trainer.max_steps 1000."""

import argparse
from pathlib import Path

from masktools.errors import ParameterError

__all__ = ["HELP", "add_arguments", "run"]

HELP = "train what a recipe says"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the recipe; everything after it belongs to the recipe."""
    parser.add_argument("recipe", type=Path, metavar="RECIPE.yaml", help="what to train, on what, and how")
    parser.add_argument("overrides", nargs=argparse.REMAINDER, metavar="--KEY VALUE", help="keys to set otherwise")


def run(args: argparse.Namespace) -> int:
    """Hand the recipe to the workshop."""
    try:
        from masktools.training.run import run_recipe

        run_recipe(args.recipe, args.overrides)
    except ModuleNotFoundError as error:
        raise ParameterError(f"training needs the package {error.name}: pip install 'masktools[train]'") from error
    return 0
