"""Generate audio from a text, from a stored vector (.npy), or, without either, from nothing."""

import argparse
from pathlib import Path

from masktools.cli import files, options
from masktools.errors import ParameterError

__all__ = ["HELP", "add_arguments", "numbered", "run"]

HELP = "make audio from a text"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument(
        "prompt", nargs="?", metavar="TEXT", help="what to hear, or a .npy file of vectors; left out: unconditional"
    )
    options.add_output(parser, "the recording; with -n above 1, a number is put before its ending")
    parser.add_argument("-n", type=options.whole_number(1), default=1, metavar="N", help="how many recordings")
    parser.add_argument(
        "--seconds", type=options.number(0.0, "s", above=True), metavar="S", help="length of each, in seconds"
    )
    options.add_report(parser)
    options.add_decoding(parser)
    options.add_model(parser)


def numbered(output: Path, n: int) -> list[Path]:
    """Return the names of ``n`` results: the name itself for one, else name-1, name-2 and so on.

    >>> [path.name for path in numbered(Path("rain.wav"), 2)]
    ['rain-1.wav', 'rain-2.wav']
    """
    if n == 1:
        return [output]
    width = len(str(n))
    return [output.with_stem(f"{output.stem}-{number:0{width}d}") for number in range(1, n + 1)]


def run(args: argparse.Namespace) -> int:
    """Generate, write."""
    if args.prompt is not None and not args.prompt.strip():
        raise ParameterError("the text must not be empty: leave it out to generate without one")
    outputs = numbered(args.output, args.n)
    files.check_audio_outputs(outputs, args.report)
    results = options.load_model(args).generate(args.prompt, args.n, args.seconds, **options.decoding(args))
    if len(results) != len(outputs):
        raise ParameterError(f"{args.prompt} must hold one vector, got {len(results) // args.n}")
    for output, result in zip(outputs, results, strict=True):
        files.write_audio(output, result.samples, result.sample_rate)
    files.write_report(args.report, results[0].report | {"seeds": [r.report["seeds"][0] for r in results]})
    for output in outputs:
        print(output)
    return 0
