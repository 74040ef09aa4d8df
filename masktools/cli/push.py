"""The command that writes a bundle to the Hugging Face hub: push."""

import argparse
from pathlib import Path

from masktools.cli.options import Command


def _add_push(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="FOLDER", help="the bundle: its folder, or the name of a model at hand")
    parser.add_argument("name", metavar="OWNER/NAME", help="the repository; it is made if it does not exist")
    parser.add_argument("--private", action="store_true", help="a new repository is for you alone")
    parser.add_argument(
        "--licence", metavar="ID", help="the hub's name of the licence; else the one that the card names"
    )
    parser.add_argument("--dataset", action="append", default=[], metavar="NAME", help="on the hub; may be repeated")
    parser.add_argument(
        "--report",
        action="append",
        default=[],
        type=Path,
        metavar="JSON",
        help="of `masktools evaluate`; may be repeated",
    )
    parser.add_argument("--message", default="A masktools bundle", metavar="TEXT", help="of the commit")
    parser.add_argument("--dry-run", action="store_true", help="print the card as it would be, and write nothing")


def _push(args: argparse.Namespace) -> int:
    """Write a bundle to the Hugging Face hub, in one commit, as whom you are signed in there (`hf auth login`).

    The model card becomes the repository's README.md, with the head that the hub reads: licence, library, task, tags,
    and with --report what was measured. Afterwards everyone can load the model by its name: --model OWNER/NAME.
    """
    from masktools.core.downloads import is_hub_name, upload
    from masktools.core.errors import ParameterError
    from masktools.pipeline.bundles import find_bundle, verify_files
    from masktools.pipeline.cards import files_for_hub

    if not is_hub_name(args.name):
        raise ParameterError(f"the repository must be OWNER/NAME, got {args.name!r}")
    folder = find_bundle(args.model)
    verify_files(folder)
    files = files_for_hub(folder, args.licence, args.dataset, args.report)
    if args.dry_run:
        print(files["README.md"].decode(), end="")
        return 0
    print(upload(folder, args.name, True if args.private else None, files=files, message=args.message))
    return 0


PUSH = Command("write a model to the Hugging Face hub", _add_push, _push)
