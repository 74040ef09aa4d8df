"""Decode the recordings of manifests once, for training: mono, at one rate, in one file.

A manifest is a CSV file with the columns path and split, and where there are any, labels, caption, kind and nc (1 for
a non-commercial licence). Recordings that cannot be decoded are skipped, and named at the end.
"""

import argparse
import sys
from pathlib import Path

from masktools.cli import options
from masktools.errors import ParameterError

__all__ = ["HELP", "add_arguments", "run"]

HELP = "decode recordings once, for training"
SOME_FAILED = 3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("manifests", nargs="+", type=Path, metavar="MANIFEST.csv", help="which recordings")
    parser.add_argument("-o", "--output", required=True, type=Path, metavar="FOLDER", help="the cache")
    parser.add_argument(
        "--sample-rate", type=options.whole_number(1_000, 192_000), default=22_050, metavar="HZ", help="of the cache"
    )
    parser.add_argument("--non-commercial", action="store_true", help="take recordings of such licences too")


def run(args: argparse.Namespace) -> int:
    """Build the cache, and say what is in it."""
    try:
        from masktools.training.data import build_cache
    except ModuleNotFoundError as error:
        raise ParameterError(f"training needs the package {error.name}: pip install 'masktools[train]'") from error
    cache = build_cache(args.manifests, args.output, args.sample_rate, args.non_commercial, options.progress())
    hours = sum(r.n_samples for r in cache.recordings) / cache.sample_rate / 3600
    print(f"{args.output}: {len(cache.recordings)} recordings, {hours:.2f} hours, {len(cache.skipped)} skipped")
    for path, reason in cache.skipped:
        sys.stderr.write(f"masktools: skipped: {path}: {reason}\n")
    return SOME_FAILED if cache.skipped else 0
