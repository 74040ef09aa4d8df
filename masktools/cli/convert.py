"""Turn a checkpoint of another project into a part that ``masktools bundle`` takes; nothing in it is executed."""

import argparse
from pathlib import Path

from masktools.cli import files, options

__all__ = ["HELP", "add_arguments", "run"]

HELP = "import a checkpoint of another project"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("kind", metavar="KIND", help="specvqgan, hifigan or bigvgan")
    parser.add_argument("checkpoint", type=Path, metavar="CHECKPOINT", help="the file of weights")
    options.add_output(parser, "the part, for `masktools bundle`", metavar="OUT.safetensors")
    parser.add_argument("--config", type=Path, metavar="JSON", help="its settings; config.json beside it if left out")
    options.add_overwrite(parser)


def run(args: argparse.Namespace) -> int:
    """Read, convert, write."""
    inputs = [args.checkpoint, *([args.config] if args.config else [])]
    files.check_outputs([args.output], inputs, ending=".safetensors", overwrite=args.overwrite)
    from masktools.cli.parts import write_part
    from masktools.convert import SPECVQGAN_MEL, convert_checkpoint

    module = convert_checkpoint(args.kind, args.checkpoint, args.config)
    part, kind = write_part(args.output, module, getattr(module, "mel_config", SPECVQGAN_MEL))
    n_weights = sum(parameter.numel() for parameter in module.parameters())
    print(f"{args.output}: a {part} of kind {kind}, {n_weights / 1e6:.2f} million parameters")
    return 0
