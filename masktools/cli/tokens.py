"""Commands between recordings and tokens, encode and decode; docs/formats.md describes the file."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from masktools.cli import files, options
from masktools.cli.options import Command
from masktools.core.errors import ParameterError

if TYPE_CHECKING:
    import numpy as np


def _add_encode(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("input", type=Path, metavar="IN", help="the recording")
    options.add_output(parser, "the tokens", metavar="OUT.npz")
    options.add_overwrite(parser)
    options.add_model(parser)


def _encode(args: argparse.Namespace) -> int:
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


def _add_decode(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("input", type=Path, metavar="IN.npz", help="the tokens, as `masktools encode` writes them")
    options.add_output(parser, "the recording; its ending names the format")
    options.add_overwrite(parser)
    options.add_model(parser)


def _decode(args: argparse.Namespace) -> int:
    """Read, decode, write."""
    files.check_audio_outputs([args.output], inputs=[args.input], overwrite=args.overwrite)
    stored = files.read_arrays(args.input, ("tokens", "sample_rate", "n_samples", "model"))
    sample_rate, n_samples = (_whole(stored[name], name) for name in ("sample_rate", "n_samples"))
    model = options.load_model(args)
    if str(stored["model"]) != model.name:
        raise ParameterError(
            f"tokens must be decoded by the model that made them, got --model {model.name} "
            f"for tokens of {stored['model']}"
        )
    longest = stored["tokens"].shape[-1] * model.pipeline.grid.column_s * sample_rate if stored["tokens"].ndim else 0
    if n_samples > longest + 1:
        raise ParameterError(f"n_samples must be what the tokens reach to, at most {longest:.0f}, got {n_samples}")
    result = model.decode(stored["tokens"], sample_rate, n_samples)
    files.write_audio(args.output, result.samples, result.sample_rate)
    print(f"{args.output}: {n_samples / sample_rate:.3f} s")
    return 0


def _whole(value: "np.ndarray", name: str) -> int:
    if value.ndim or value.dtype.kind not in "iu" or value < 1:
        raise ParameterError(f"{name} must be one positive whole number, got {value!r:.80}")
    return int(value)


ENCODE = Command(
    "a recording as tokens",
    "Turn a recording into tokens, which `masktools decode` turns back; docs/formats.md describes the file.",
    _add_encode,
    _encode,
)
DECODE = Command(
    "tokens as a recording",
    "Turn the tokens of `masktools encode` into a recording of the same rate and length as the original.",
    _add_decode,
    _decode,
)
