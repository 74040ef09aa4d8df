"""Continue a recording beyond its end, or before its beginning; what was given stays as it is."""

import argparse
from pathlib import Path

from masktools.cli import files, options

__all__ = ["HELP", "add_arguments", "run"]

HELP = "continue a recording"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("input", type=Path, metavar="IN", help="the recording")
    options.add_output(parser, "the longer recording; its ending names the format")
    parser.add_argument(
        "--seconds", type=options.number(0.0, "s", above=True), required=True, metavar="S", help="how much is added"
    )
    parser.add_argument(
        "--side", default="end", choices=("end", "start"), metavar="WHERE", help="end or start: where it is added"
    )
    parser.add_argument(
        "--fade", type=options.duration, default=0.5, metavar="TIME", help="of the outer end; 0.5s if left out"
    )
    options.add_report(parser)
    options.add_channels(parser)
    options.add_texture(parser)
    options.add_decoding(parser)
    options.add_model(parser)
    parser.set_defaults(texture="model")  # nothing on the other side to take a texture from


def run(args: argparse.Namespace) -> int:
    """Read, continue, write."""
    files.check_audio_outputs([args.output], args.report, [args.input])
    from masktools import io
    from masktools.restoration.continuation import continuation

    with io.open_recording(args.input) as recording:
        model = options.load_model(args)
        added, report = continuation(
            model.pipeline,
            recording.read,
            recording.n_samples,
            recording.sample_rate,
            args.seconds,
            side=args.side,
            fade_s=args.fade,
            seed=args.seed,
            solver=model.solver("inpaint", **options.solver_settings(args)),
            prompt=args.prompt,
            channels=args.channels,
            texture=args.texture,
            progress=options.progress(),
        )
        coding = io.coding_for(args.output, recording.subtype)
        size = (recording.sample_rate, recording.n_channels)
        n_samples = recording.n_samples + added.shape[1]
        with io.open_writer(
            args.output, *size, subtype=coding.subtype, like=recording.path, n_samples=n_samples
        ) as writer:
            if args.side == "start":
                writer.write(added)
            for _, block in recording.blocks():
                writer.write(block)
            if args.side == "end":
                writer.write(added)
    files.warn_clipped(args.output, writer.n_clipped)
    files.write_report(args.report, report)
    print(f"{args.output}: {added.shape[1] / recording.sample_rate:.3f} s added at the {args.side}")
    return 0
