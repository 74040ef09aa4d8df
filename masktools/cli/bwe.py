"""Extend the bandwidth: what is missing above the cutoff is added; below it the original is kept.

The cutoff is found, or given. A recording that has its whole band, or none that the model can go on from, is copied,
and the reason is said.
"""

import argparse
from typing import TYPE_CHECKING, Any

from masktools.cli import options
from masktools.cli.recordings import add_recordings, restore_recordings

if TYPE_CHECKING:
    from masktools.batch.restoring import Extending

HELP = "add what is missing above a cutoff frequency"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    add_recordings(parser, "_extended")
    add_extending(parser)
    options.add_channels(parser)
    options.add_texture(parser)
    options.add_decoding(parser)
    options.add_model(parser)


def add_extending(parser: argparse.ArgumentParser) -> None:
    """Add from where on the band is extended, and how."""
    group = parser.add_argument_group("bandwidth")
    group.add_argument(
        "--cutoff",
        type=options.auto_or(options.number(0.0, "Hz", above=True)),
        metavar="HZ",
        help="where the recording's own band ends; auto, or left out: as it is found",
    )
    group.add_argument(
        "--to",
        type=options.auto_or(options.number(0.0, "Hz", above=True)),
        metavar="HZ",
        help="up to where; auto, or left out: 20 kHz, or half the sample rate where that is less",
    )
    group.add_argument(
        "--like",
        metavar="FILE",
        help="a full-band take of the same source, which lends the missing band in place of the model; "
        "own: the full-band moments of each recording lend to its dull ones, from --cutoff on",
    )
    group.add_argument(
        "--min-drop",
        type=options.number(0.0, "dB"),
        default=15.0,
        metavar="DB",
        help="of an edge that is taken for the end of the band",
    )
    group.add_argument(
        "--lfr", action="store_true", default=True, help="keep the original below the cutoff (the default)"
    )
    group.add_argument("--no-lfr", action="store_false", dest="lfr", help="give the model's version of all frequencies")
    group.add_argument(
        "--quiet-guard",
        type=options.number(0.0, "dB"),
        default=3.0,
        metavar="DB",
        help="how far the added band may rise above the noise floor in pauses",
    )
    group.add_argument("--hf-gain", type=options.any_number, default=0.0, metavar="DB", help="gain of the added band")
    group.add_argument(
        "--clean-above",
        action="store_true",
        help="take away what faint rest the recording has above its cutoff (hiss, traces of a codec)",
    )


def extending(args: argparse.Namespace) -> "Extending":
    """Return what the options say about the band."""
    from masktools.batch.restoring import Extending

    return Extending(
        args.cutoff,
        args.min_drop,
        args.lfr,
        args.quiet_guard,
        args.hf_gain,
        args.clean_above,
        args.to,
        args.like,
    )


def run(args: argparse.Namespace) -> int:
    """Find, extend, write."""
    from masktools.batch.restoring import Restoring

    settings = Restoring(
        extend=extending(args),
        seed=args.seed,
        channels=args.channels,
        texture=args.texture,
        prompt=args.prompt,
        decoding=options.solver_settings(args),
        subtype=options.subtype(args),
    )
    return restore_recordings(args, settings, said)


def said(report: dict[str, Any]) -> str:
    """Return what was done to the band, in words.

    >>> said({"cutoff_hz": 4000.0, "sample_rate": 44100, "status": "restored"})
    'extended above 4000 Hz, at 44100 Hz'
    """
    if report["status"] == "planned":
        return f"to extend above {report['cutoff_hz']:g} Hz"
    if report["status"] == "restored" and "reason" not in report:
        return f"extended above {report['cutoff_hz']:g} Hz, at {report['sample_rate']} Hz"
    return f"not extended: {report['reason']}" + ("" if report["status"] == "restored" else "; copied as it is")
