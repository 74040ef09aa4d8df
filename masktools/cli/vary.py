"""Draw other detail for a sound, with a model over scales: its coarse scales stay, the finer ones are drawn anew."""

import argparse
from pathlib import Path

from masktools.cli import files, options
from masktools.cli.generate import numbered
from masktools.cli.progress import Watcher
from masktools.core.settings import VariationSettings

HELP = "the same sound with other detail"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("input", type=Path, metavar="IN", help="the recording")
    options.add_output(parser, "the version; with -n above 1, a number is put before its ending")
    parser.add_argument("-n", type=options.whole_number(1), default=1, metavar="N", help="how many versions")
    options.add_report(parser)
    options.add_overwrite(parser)
    options.add_progress(parser)
    options.add_settings(parser, VariationSettings)
    options.add_model(parser)


def run(args: argparse.Namespace) -> int:
    """Read, draw, write."""
    outputs = numbered(args.output, args.n)
    sources = [args.input, *files.read_by(args)]
    files.check_audio_outputs(outputs, args.report, sources, overwrite=args.overwrite)
    from masktools import io

    audio = io.read(args.input)
    watcher = Watcher(args.progress)
    watcher.begin(args.output)
    try:
        settings, step = options.settings_of(args, VariationSettings), watcher.step if watcher.watched else None
        model = options.load_model(args)
        results = model.vary(audio.samples.T, audio.sample_rate, args.n, settings, progress=step)
    finally:
        watcher.finish()
    for output, result in zip(outputs, results, strict=True):
        files.write_audio(output, result.samples, result.sample_rate)
        print(output)
    files.write_report(args.report, results[0].report | {"seeds": [r.report["seeds"][0] for r in results]})
    return 0
