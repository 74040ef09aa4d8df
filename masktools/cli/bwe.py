"""Extend the bandwidth: what is missing above the cutoff is added; below it the original is kept."""

import argparse
from pathlib import Path

from masktools.cli import files, options

__all__ = ["HELP", "add_arguments", "run"]

HELP = "add what is missing above a cutoff frequency"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("input", type=Path, metavar="IN", help="the band-limited recording")
    options.add_output(parser, "the extended recording; its ending names the format")
    parser.add_argument(
        "--cutoff",
        required=True,
        type=options.number(0.0, "Hz", above=True),
        metavar="HZ",
        help="where the recording's own band ends, in Hz",
    )
    parser.add_argument(
        "--lfr", action="store_true", default=True, help="keep the original below the cutoff (the default)"
    )
    parser.add_argument(
        "--no-lfr", action="store_false", dest="lfr", help="give the model's version of all frequencies"
    )
    options.add_report(parser)
    options.add_channels(parser)
    options.add_texture(parser)
    options.add_decoding(parser)
    options.add_model(parser)


def run(args: argparse.Namespace) -> int:
    """Read, extend, write."""
    files.check_audio_outputs([args.output], args.report, [args.input])
    from masktools import io

    audio = io.read(args.input)
    result = options.load_model(args).bwe(
        audio.samples.T,
        audio.sample_rate,
        args.cutoff,
        lfr=args.lfr,
        prompt=args.prompt,
        channels=args.channels,
        texture=args.texture,
        **options.decoding(args),
    )
    files.write_audio(args.output, result.samples, result.sample_rate, audio.subtype)
    files.write_report(args.report, result.report)
    print(f"{args.output}: extended above {args.cutoff:g} Hz, at {result.sample_rate} Hz")
    return 0
