"""Make a recording loop: its end leads into its start; between the two halves of the seam nothing changes."""

import argparse
from pathlib import Path

from masktools.cli import files, options

__all__ = ["HELP", "add_arguments", "run"]

HELP = "make a recording that can be played round and round"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("input", type=Path, metavar="IN", help="the recording")
    options.add_output(parser, "the loop, as long as the recording; its ending names the format")
    parser.add_argument(
        "--seam", type=options.duration, default=0.5, metavar="TIME", help="what is replaced; 0.5s if left out"
    )
    options.add_report(parser)
    options.add_channels(parser)
    options.add_texture(parser)
    options.add_decoding(parser)
    options.add_model(parser)


def run(args: argparse.Namespace) -> int:
    """Read, fill the seam, write."""
    files.check_audio_outputs([args.output], args.report, [args.input])
    from masktools import io
    from masktools.restoration.looping import loop_pieces

    with io.open_recording(args.input) as recording:
        model = options.load_model(args)
        fills, report = loop_pieces(
            model.pipeline,
            recording.read,
            recording.n_samples,
            recording.sample_rate,
            args.seam,
            seed=args.seed,
            solver=model.solver("inpaint", **options.solver_settings(args)),
            prompt=args.prompt,
            channels=args.channels,
            texture=args.texture,
            progress=options.progress(),
        )
        pieces = [io.Piece(fill.start, fill.samples, fill.channels) for fill in fills]
        n_clipped = io.restore_into(args.input, args.output, recording, pieces)
    files.warn_clipped(args.output, n_clipped)
    files.write_report(args.report, report)
    print(f"{args.output}: loops, with a seam of {args.seam:.3f} s")
    return 0
