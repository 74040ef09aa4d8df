"""Draw other detail for a sound, with a model over scales: its coarse scales stay, the finer ones are drawn anew."""

import argparse
from pathlib import Path

from masktools.cli import files, options
from masktools.cli.generate import numbered
from masktools.cli.progress import Watcher

HELP = "the same sound with other detail"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("input", type=Path, metavar="IN", help="the recording")
    options.add_output(parser, "the version; with -n above 1, a number is put before its ending")
    parser.add_argument("-n", type=options.whole_number(1), default=1, metavar="N", help="how many versions")
    parser.add_argument(
        "--keep", type=options.whole_number(0), default=1, metavar="N", help="coarse scales that stay; 1 if left out"
    )
    parser.add_argument("--prompt", metavar="TEXT", help="what the detail is of, or a .npy file of one vector")
    options.add_report(parser)
    options.add_overwrite(parser)
    options.add_progress(parser)
    options.add_decoding(parser)
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
        settings = options.decoding(args, watcher.step if watcher.watched else None)
        model = options.load_model(args)
        results = model.vary(audio.samples.T, audio.sample_rate, args.keep, args.n, prompt=args.prompt, **settings)
    finally:
        watcher.finish()
    for output, result in zip(outputs, results, strict=True):
        files.write_audio(output, result.samples, result.sample_rate)
        print(output)
    files.write_report(args.report, results[0].report | {"seeds": [r.report["seeds"][0] for r in results]})
    return 0
