"""List the models at hand: those in the package, and those in the folders of the variable MASKTOOLS_MODELS."""

import argparse
import sys

HELP = "list the models at hand"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add nothing: the command has no options."""


def run(args: argparse.Namespace) -> int:
    """Print the name and the folder of each model."""
    from masktools.pipeline import hub

    models = hub.list_models()
    width = max(map(len, models), default=0)
    for name, folder in models.items():
        print(f"{name:<{width}}  {folder}")
    if not models:
        sys.stderr.write("no models at hand: put bundles into a folder and its name into MASKTOOLS_MODELS\n")
    return 0
