"""Fill gaps: only the samples inside them change; length, rate, channels and sample format stay."""

import argparse
from pathlib import Path

from masktools.cli import files, options

__all__ = ["HELP", "add_arguments", "run"]

HELP = "fill gaps in a recording"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("input", type=Path, metavar="IN", help="the damaged recording")
    options.add_output(parser, "the repaired recording; its ending names the format")
    parser.add_argument(
        "--gaps", required=True, metavar="S-E,...", help="start and end of each gap in seconds: 1.20-1.55,3-3.2"
    )
    options.add_report(parser)
    options.add_channels(parser)
    options.add_texture(parser)
    options.add_decoding(parser)
    options.add_model(parser)


def run(args: argparse.Namespace) -> int:
    """Read, fill, write."""
    files.check_audio_outputs([args.output], args.report, [args.input])
    from masktools import io
    from masktools.gaps import check_gaps, parse_gaps

    gaps = parse_gaps(args.gaps)
    audio = io.read(args.input)
    check_gaps(gaps, audio.samples.shape[1] / audio.sample_rate)
    result = options.load_model(args).inpaint(
        audio.samples.T,
        audio.sample_rate,
        gaps,
        prompt=args.prompt,
        channels=args.channels,
        texture=args.texture,
        **options.decoding(args),
    )
    files.write_audio(args.output, result.samples, result.sample_rate, audio.subtype)
    files.write_report(args.report, result.report)
    n_gaps, filled_s = len(gaps), sum(end_s - start_s for start_s, end_s in gaps)
    print(f"{args.output}: {n_gaps} gap{'s' * (n_gaps > 1)} filled, {filled_s:.3f} s in all")
    return 0
