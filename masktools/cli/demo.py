"""Restore, extend, generate and embed recordings that the project plays itself; hear and see it on one page."""

import argparse
from functools import partial
from pathlib import Path

from masktools.cli import options

HELP = "see and hear what the model does"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument(
        "-o", "--output", type=Path, default=Path("masktools-demo"), metavar="FOLDER", help="where the page goes"
    )
    options.add_seed(parser)
    options.add_model(parser)


def run(args: argparse.Namespace) -> int:
    """Run the demonstration, and say what was measured."""
    from masktools.demo.run import run_demo

    run_demo(args.output, options.load_model(args), args.seed, say=partial(print, flush=True))
    return 0
