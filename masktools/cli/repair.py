"""Repair regions of time and frequency: a whistle, a cough, a band that failed; nothing outside their times changes."""

import argparse
from pathlib import Path

from masktools.cli import files, options

__all__ = ["HELP", "add_arguments", "run"]

HELP = "replace regions of time and frequency"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("input", type=Path, metavar="IN", help="the recording")
    options.add_output(parser, "the repaired recording; its ending names the format")
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument(
        "--region", metavar="S-E,HZ-HZ;...", help="times in seconds and frequencies: 1.2-1.5,3000-6000;2-2.4,500-900"
    )
    which.add_argument(
        "--regions", type=Path, metavar="FILE", help="regions.json, or labels.txt of Audacity with frequencies"
    )
    parser.add_argument(
        "--method",
        default="auto",
        choices=("auto", "model", "interpolate"),
        metavar="NAME",
        help="auto, model, or interpolate, which needs no model",
    )
    options.add_report(parser)
    options.add_channels(parser)
    options.add_texture(parser)
    options.add_decoding(parser)
    options.add_model(parser)


def run(args: argparse.Namespace) -> int:
    """Read, repair, write."""
    files.check_audio_outputs([args.output], args.report, [args.input])
    from masktools import io
    from masktools.restoration.regions import parse_regions, read_regions
    from masktools.restoration.repair import repair_pieces
    from masktools.solver import SolverConfig

    regions = parse_regions(args.region) if args.region is not None else read_regions(args.regions)
    with io.open_recording(args.input) as recording:
        needed = args.method != "interpolate"
        model = options.load_model(args) if needed else None
        repairing = repair_pieces(
            model.pipeline if model is not None else None,
            recording.read,
            recording.n_samples,
            recording.n_channels,
            recording.sample_rate,
            regions,
            seed=args.seed,
            solver=model.solver("inpaint", **options.solver_settings(args)) if model is not None else SolverConfig(),
            prompt=args.prompt if needed else None,
            progress=options.progress(),
            channels=args.channels,
            texture=args.texture,
            method=args.method,
        )
        pieces = [io.Piece(one.start, one.samples, one.channels) for one in repairing]
        n_clipped = io.restore_into(args.input, args.output, recording, pieces)
    files.warn_clipped(args.output, n_clipped)
    files.write_report(args.report, repairing.report())
    print(f"{args.output}: {len(regions)} region{'s' * (len(regions) > 1)} repaired")
    return 0
