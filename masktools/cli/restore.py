"""Restore recordings: they are looked through, their gaps filled and their bands extended, with one encoding.

What is not damaged stays as it is.
"""

import argparse
from typing import Any

from masktools.cli import bwe, inpaint, options
from masktools.cli.recordings import add_recordings, restore_recordings

HELP = "find damage, fill gaps and extend the bandwidth"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    add_recordings(parser, "_restored")
    inpaint.add_filling(parser)
    bwe.add_extending(parser)
    options.add_channels(parser)
    options.add_texture(parser)
    options.add_decoding(parser)
    options.add_model(parser)


def run(args: argparse.Namespace) -> int:
    """Look through, fill, extend, write."""
    from masktools.batch.restoring import Restoring

    settings = Restoring(
        fill=inpaint.filling(args),
        extend=bwe.extending(args),
        seed=args.seed,
        channels=args.channels,
        texture=args.texture,
        prompt=args.prompt,
        decoding=options.solver_settings(args),
        subtype=options.subtype(args),
    )
    return restore_recordings(args, settings, _said)


def _said(report: dict[str, Any]) -> str:
    if report["status"] == "nothing_to_repair":
        return f"nothing to repair ({report['reason']}): copied as it is"
    gaps = inpaint.said(report) if report["gaps"] else "no gaps"
    return f"{gaps}; {bwe.said(report | {'status': report['status']})}"
