"""Train what a recipe says; every key of it can be overridden, as in --trainer.max_steps 1000.

With --resume a run goes on from its newest checkpoint, and begins anew if it has none yet.
"""

import argparse
import shlex
from pathlib import Path

from masktools.errors import ParameterError

HELP = "train what a recipe says"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the recipe; everything after it belongs to the recipe, but for --resume."""
    parser.add_argument("recipe", type=Path, metavar="RECIPE.yaml", help="what to train, on what, and how")
    parser.add_argument("--resume", action="store_true", help="go on from the newest checkpoint, if there is one")
    parser.add_argument("--base", metavar="MODEL", help="the bundle to begin with, for a recipe that fine-tunes one")
    parser.add_argument("overrides", nargs=argparse.REMAINDER, metavar="--KEY VALUE", help="keys to set otherwise")


def run(args: argparse.Namespace) -> int:
    """Hand the recipe to the workshop, and show what the run came to."""
    overrides = [word for word in args.overrides if word != "--resume"]
    resume = args.resume or len(overrides) < len(args.overrides)
    base, overrides = _base(args.base, overrides)
    try:
        from masktools.training.run import run_recipe

        report = run_recipe(args.recipe, [*_of_both(base), *overrides], resume)
    except ModuleNotFoundError as error:
        missing = f"the package {error.name}" if error.name else f"more packages ({' '.join(str(error).split())})"
        raise ParameterError(f"training needs {missing}: pip install 'masktools[train]'") from error
    if report is None:  # another process of the same run reports
        return 0
    print(report.to_text())
    if not report.finished:
        begun_with = ["--base", base] if base else []
        words = shlex.join(["masktools", "train", str(args.recipe), "--resume", *begun_with, *overrides])
        print(f"  next        {words}")
    elif report.checkpoint:
        print(f"  next        masktools bundle {report.checkpoint} --base {base or 'mini'} --card CARD.md -o MODEL")
    return 0


def _base(given: str | None, overrides: list[str]) -> tuple[str | None, list[str]]:
    """Return the bundle to begin with, which may stand among the keys of the recipe, and the other keys."""
    if "--base" not in overrides:
        return given, overrides
    place = overrides.index("--base")
    if place + 1 == len(overrides):
        raise ParameterError("--base must be followed by the name or the folder of a bundle")
    return overrides[place + 1], overrides[:place] + overrides[place + 2 :]


def _of_both(base: str | None) -> list[str]:
    """Return the keys that say a bundle to the training and to its data."""
    return [] if base is None else [f"--model.init_args.base={base}", f"--data.init_args.base={base}"]
