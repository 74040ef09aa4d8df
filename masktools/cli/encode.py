"""Turn a recording into tokens, which ``masktools decode`` turns back; docs/formats.md describes the file."""

import argparse
from pathlib import Path

from masktools.cli import files, options

HELP = "a recording as tokens"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("input", type=Path, metavar="IN", help="the recording")
    options.add_output(parser, "the tokens", metavar="OUT.npz")
    options.add_overwrite(parser)
    options.add_model(parser)


def run(args: argparse.Namespace) -> int:
    """Read, encode, write."""
    files.check_outputs([args.output], [args.input], ending=".npz", overwrite=args.overwrite)
    import numpy as np

    from masktools import io

    audio = io.read(args.input)
    model = options.load_model(args)
    encoded = model.encode(audio.samples.T, audio.sample_rate)
    files.write_arrays(
        args.output,
        {
            "tokens": encoded.tokens.astype(np.int32),
            "sample_rate": np.int64(encoded.sample_rate),
            "n_samples": np.int64(encoded.n_samples),
            "model": np.array(model.name),
        },
    )
    n_channels, n_rows, n_columns = encoded.tokens.shape
    print(f"{args.output}: {n_channels} x {n_rows} x {n_columns} tokens (channels, rows, columns)")
    return 0
