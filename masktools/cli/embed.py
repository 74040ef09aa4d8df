"""Embed recordings: one vector for each, and with --frames one for each moment, in one .npz file.

Recordings that cannot be read are named and left out; the exit code is then 3.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from masktools.cli import files, options
from masktools.errors import AudioError

if TYPE_CHECKING:
    from masktools.features import Embedding

__all__ = ["HELP", "add_arguments", "run"]

HELP = "vectors that describe recordings"
SOME_FAILED = 3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("inputs", nargs="+", type=Path, metavar="IN", help="the recordings")
    options.add_output(parser, "the vectors, one row for each recording", metavar="OUT.npz")
    parser.add_argument(
        "--layer",
        type=options.layer,
        default="last",
        metavar="N",
        help="0 is what enters the first block, 1 what leaves it, -1 or last the end; all: one after the other",
    )
    parser.add_argument(
        "--pool", default="mean", metavar="HOW", help="how vectors become one: mean, rows, max or mean_std"
    )
    parser.add_argument("--frames", action="store_true", help="store the vector of each moment too")
    options.add_model(parser)


def run(args: argparse.Namespace) -> int:
    """Embed each recording, write what came out, and say which failed."""
    files.check_outputs([args.output], args.inputs, ending=".npz")
    from masktools import io

    only = io.read(args.inputs[0]) if len(args.inputs) == 1 else None  # a bad one fails before a model is loaded
    model = options.load_model(args)
    embedded: dict[Path, Embedding] = {}
    for path in args.inputs:
        try:
            audio = only or io.read(path)
            embedded[path] = model.embed(
                audio.samples.T,
                audio.sample_rate,
                args.layer,
                args.pool,
                frames=args.frames,
                progress=options.progress(),
            )
        except AudioError as error:
            if only:
                raise
            sys.stderr.write(f"masktools: left out: {' '.join(str(error).splitlines())}\n")
    if not embedded:
        raise AudioError(f"none of the {len(args.inputs)} recordings could be embedded")
    files.write_arrays(args.output, table(list(embedded), list(embedded.values()), args.frames))
    n_failed = len(args.inputs) - len(embedded)
    print(f"{args.output}: {len(embedded)} embedded" + (f", {n_failed} left out" if n_failed else ""))
    return SOME_FAILED if n_failed else 0


def table(paths: Sequence[Path], embeddings: "Sequence[Embedding]", frames: bool) -> dict[str, Any]:
    """Return the arrays of the .npz file: see docs/formats.md."""
    import numpy as np

    arrays: dict[str, Any] = {
        "paths": np.array([str(path) for path in paths]),
        "clips": np.stack([np.asarray(one.clip) for one in embeddings]),
    }
    if frames:
        times = [np.asarray(one.times_s) for one in embeddings]
        # One row for each moment; with all layers asked for, the layers are the second axis, as in clips.
        arrays["frames"] = np.concatenate([np.moveaxis(np.asarray(one.frames), -2, 0) for one in embeddings])
        arrays["times_s"] = np.concatenate(times)
        arrays["starts"] = np.cumsum([0, *map(len, times)])
    return arrays
