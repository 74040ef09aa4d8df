"""Rebuild a sound of its coarse scales, with a model over scales; --picture shows all of them from coarse to fine."""

import argparse
from pathlib import Path

from masktools.cli import files, options

HELP = "rebuild a sound of its coarse scales"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("input", type=Path, metavar="IN", help="the recording")
    options.add_output(parser, "the rebuilt recording; its ending names the format")
    parser.add_argument(
        "--scales", type=options.whole_number(1), default=1, metavar="N", help="that it is made of; 1 if left out"
    )
    parser.add_argument("--picture", type=Path, metavar="PNG", help="draw one scale, two, and so on, and the original")
    options.add_overwrite(parser)
    options.add_model(parser)


def run(args: argparse.Namespace) -> int:
    """Read, rebuild, draw, write."""
    files.check_audio_outputs([args.output], inputs=[args.input], overwrite=args.overwrite)
    files.check_outputs([args.picture], [args.input, args.output], ".png", overwrite=args.overwrite)
    from masktools import io
    from masktools.restoration.generation import refinements

    audio = io.read(args.input)
    model = options.load_model(args)
    result = model.coarsen(audio.samples.T, audio.sample_rate, args.scales)
    files.write_audio(args.output, result.samples, result.sample_rate)
    print(f"{args.output}: of {', '.join(result.report['scales'])}")
    if args.picture is not None:
        from masktools.review.refinements import draw_refinements

        mel, coarse = refinements(model.pipeline, audio.samples, audio.sample_rate)
        names = [f"to {rows}x{cols}" for rows, cols in model.pipeline.pyramid.scales]
        files.write_content(args.picture, draw_refinements([*coarse, mel], [*names, "original"]))
        print(args.picture)
    return 0
