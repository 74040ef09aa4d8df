"""Replace what lies in regions of time and frequency: a whistle, a cough, a hum, and nothing beside it.

Outside the times of the regions every sample stays, and so do length, rate, channels, sample format and tags.
"""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from masktools.cli import options
from masktools.errors import ParameterError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from masktools.io import Recording
    from masktools.model import Model
    from masktools.restoration import FilledGap
    from masktools.restoration.regions import Region

HELP = "replace regions of time and frequency"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    add_common(parser, texture="blend")
    group = parser.add_argument_group("regions")
    group.add_argument(
        "--region",
        action="append",
        metavar="WHERE",
        help="start-end in seconds, lowest-highest in Hz: 1.2-1.5,3000-6000; several with semicolons between them, or "
        "each with its own --region",
    )
    group.add_argument(
        "--regions", type=Path, metavar="FILE", help="labels.txt of Audacity with frequencies, or regions.json"
    )
    group.add_argument(
        "--method",
        default="auto",
        choices=("auto", "model", "interpolate"),
        metavar="NAME",
        help="auto: the model for large regions and for prompts; model; interpolate: from the surroundings alone",
    )


def add_common(parser: argparse.ArgumentParser, texture: str) -> None:
    """Add one recording, one result, and how the model is used; ``texture`` is taken if none is named."""
    parser.add_argument("input", type=Path, metavar="IN", help="the recording")
    options.add_output(parser, "the result; its ending chooses the format")
    parser.add_argument(
        "--subtype",
        choices=options.SUBTYPES,
        default="keep",
        metavar="NAME",
        help="of the samples: keep, pcm16, pcm24, float",
    )
    options.add_report(parser)
    options.add_overwrite(parser)
    options.add_channels(parser)
    options.add_texture(parser)
    parser.set_defaults(texture=texture)
    options.add_decoding(parser)
    options.add_model(parser)


def run(args: argparse.Namespace) -> int:
    """Read the regions, repair, write."""
    from masktools import io
    from masktools.cli import files
    from masktools.restoration.regions import check_regions
    from masktools.restoration.repair import needs_model, repair_pieces
    from masktools.runtime import threads

    regions = _regions(args)
    sources = [args.input, *files.read_by(args)]
    files.check_audio_outputs([args.output], args.report, sources, overwrite=args.overwrite)
    with io.open_recording(args.input) as recording, threads(args.threads):
        size = (recording.n_samples, recording.n_channels, recording.sample_rate)
        check_regions(regions, size[0] / size[2], size[2], size[1])
        needed = needs_model(regions, args.method) or (args.prompt is not None and args.method == "auto")
        model = options.load_model(args) if needed else None
        repairing = repair_pieces(
            None if model is None else model.pipeline,
            recording.read,
            *size,
            regions,
            solver=solver(args, model),
            method=args.method,
            **common(args),
        )
        warnings = write_pieces(args, recording, repairing)
    report = {**repairing.report(), "input": str(args.input), "output": str(args.output), "warnings": warnings}
    files.write_report(args.report, report)
    print(f"{args.output}: {listed(report['regions'])}")
    return 0


def _regions(args: argparse.Namespace) -> "list[Region]":
    from masktools.restoration.regions import parse_regions, read_regions

    if (args.region is None) == (args.regions is None):
        given = "both" if args.region else "neither"
        raise ParameterError(f"the regions must be named by --region or by --regions FILE, got {given}")
    return read_regions(args.regions) if args.regions is not None else parse_regions(";".join(args.region))


def common(args: argparse.Namespace) -> dict[str, Any]:
    """Return the options that all jobs of one recording take."""
    return {
        "seed": args.seed,
        "prompt": args.prompt,
        "channels": args.channels,
        "texture": args.texture,
        "progress": options.progress(),
    }


def solver(args: argparse.Namespace, model: "Model | None") -> Any:
    """Return the settings of the decoding that were asked for, or are the model's own."""
    from masktools.solver import SolverConfig

    return SolverConfig() if model is None else model.solver("inpaint", **options.solver_settings(args))


def write_pieces(args: argparse.Namespace, recording: "Recording", pieces: "Iterable[FilledGap]") -> list[str]:
    """Write the recording with some stretches replaced, and return what there is to warn of."""
    import sys

    from masktools import io

    replaced = (io.Piece(piece.start, piece.samples, piece.channels) for piece in pieces)
    n_clipped = io.restore_into(args.input, args.output, recording, replaced, subtype=options.subtype(args))
    warnings = [f"{n_clipped} samples lay beyond full scale and were clipped"] if n_clipped else []
    for warning in warnings:
        sys.stderr.write(f"masktools: warning: {args.input}: {warning}\n")
    return warnings


def listed(regions: list[dict[str, Any]]) -> str:
    """Return what was done to regions, in words.

    >>> region = {"start_s": 1.0, "end_s": 1.5, "before_db": -20.1, "after_db": -41.6, "method": "interpolate"}
    >>> listed([region | {"low_hz": 3000.0, "high_hz": 6000.0, "channels": [0]}])
    '1.000-1.500 s, 3000-6000 Hz from -20.1 to -41.6 dB (interpolate)'
    """
    return "; ".join(
        f"{one['start_s']:.3f}-{one['end_s']:.3f} s, {one['low_hz']:.0f}-{one['high_hz']:.0f} Hz "
        f"from {one['before_db']:.1f} to {one['after_db']:.1f} dB ({one['method']})"
        for one in regions
    )
