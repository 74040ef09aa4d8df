"""Probe a model: ``python -m probes.run DATA ROOT``, from data set to table with one command.

Exit codes: 0 done, 2 wrong usage or unusable input, 3 some clips could not be read or are missing, 4 labels that could
not be scored (--strict), 130 interrupted.
"""

import argparse
import importlib.util
import json
import os
import platform
import shlex
import sys
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, NoReturn

from masktools import __version__
from masktools.cli import files, options
from masktools.cli.options import CommandParser
from masktools.core.errors import MasktoolsError, ParameterError
from masktools.io import replacing
from probes.datasets import dataset, names
from probes.table import Published, to_json, to_markdown
from probes.verification import Verification

if TYPE_CHECKING:
    from probes.data import TaggedData
    from probes.protocol import ProtocolSettings
    from probes.results import ProbeResult

SOME_FAILED, NOT_SCORED, USAGE_ERROR, INTERRUPTED = 3, 4, 2, 130
_SHOWN = 20  # clips that could not be read, on the error stream


class _Parser(CommandParser):
    """A parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        """Leave with exit code 2 after one line."""
        self.exit(USAGE_ERROR, _line("error", f"{message} (see: {self.prog} --help)"))


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line: one sub-command for each data set."""
    parser = _Parser(prog="probes.run", description="Probe a model's vectors on a data set.")
    commands = parser.add_subparsers(dest="data", metavar="DATA", required=True, parser_class=_Parser)
    for name in names():
        module = dataset(name)
        one = commands.add_parser(name, help=module.HELP, description=module.__doc__)
        module.add_arguments(one)
        _add_arguments(one, hasattr(module, "verify"))
    return parser


def _add_arguments(parser: argparse.ArgumentParser, can_verify: bool) -> None:
    if can_verify:
        parser.add_argument("--verify", action="store_true", help="only say whether the data are those published")
    else:
        parser.set_defaults(verify=False)
    how = parser.add_argument_group("probe")
    how.add_argument(
        "--preset",
        type=options.names,
        default="paper",
        metavar="A,B",
        help="paper, jukemir, marble or logistic",
    )
    how.add_argument(
        "--rows",
        type=options.names,
        default="learned",
        metavar="A,B",
        help="learned, condition, a baseline, or all",
    )
    how.add_argument(
        "--layers", type=_layers, metavar="N,N", help="that are tried, negative ones from the end; all if left out"
    )
    how.add_argument("--pool", default="mean", metavar="HOW", help="mean, rows, max, mean_std or rows_std")
    how.add_argument(
        "--hop-s",
        type=options.number(0.0, "s", above=True),
        metavar="S",
        help="shorter than 0.186, clips are heard several times, each time a little later",
    )
    how.add_argument(
        "--windows",
        default="vector",
        metavar="WHAT",
        help="what is averaged over clips longer than the model's window: vector or prediction",
    )
    how.add_argument("--seeds", type=options.whole_number(1), default=5, metavar="N", help="trainings of each probe")
    how.add_argument("--first-seed", type=options.whole_number(0), default=0, metavar="N", help="of the seeds")
    how.add_argument("--trainings", type=options.whole_number(1), metavar="N", help="so many of the preset's grid")
    how.add_argument("--max-epochs", type=options.whole_number(1), metavar="N", help="the preset's own if left out")
    how.add_argument(
        "--resamples", type=options.whole_number(0), default=1000, metavar="N", help="of the intervals; 0 for none"
    )
    how.add_argument("--probe-device", default="cpu", metavar="NAME", help="where probes are trained: cpu or cuda")
    how.add_argument(
        "--shuffle-labels", action="store_true", help="a check: labels of other clips, whose ROC-AUC must be 50"
    )
    how.add_argument("--strict", action="store_true", help="exit with 4 if a label of the test cannot be scored")
    out = parser.add_argument_group("output")
    out.add_argument("--json", type=Path, metavar="FILE", help="write everything to this file")
    out.add_argument("--markdown", type=Path, metavar="FILE", help="write the tables to this file")
    out.add_argument(
        "--cache", type=Path, default=None, metavar="DIR", help="where vectors are kept; the user's cache if left out"
    )
    out.add_argument(
        "--dtype", choices=("float32", "float16"), default="float32", metavar="NAME", help="of vectors on the disk"
    )
    options.add_model(parser)


def _layers(text: str) -> tuple[int, ...] | None:
    """Return numbers, or None for all."""
    if text == "all":
        return None
    try:
        return tuple(int(one) for one in options.names(text.replace("last", "-1")))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"must be all, or numbers with commas, got {text!r}") from error


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    try:
        args = make_parser().parse_args(argv)
        with warnings.catch_warnings():
            warnings.showwarning = lambda message, *_: sys.stderr.write(_line("warning", str(message)))
            return _run(args, list(sys.argv[1:] if argv is None else argv))
    except SystemExit as leaving:
        return leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
    except MasktoolsError as error:
        return _report(str(error), error.exit_code)
    except KeyboardInterrupt:
        return _report("interrupted; what was computed is kept", INTERRUPTED)
    except OSError as error:
        where = f": {error.filename}" if error.filename else ""
        return _report(f"{error.strerror or error}{where}", USAGE_ERROR)


def _run(args: argparse.Namespace, argv: list[str]) -> int:
    module = dataset(args.data)
    if args.verify:
        return _verify(args, module)
    if importlib.util.find_spec("sklearn") is None:
        raise ParameterError("probes need the package scikit-learn: pip install 'masktools[probes]'")
    files.check_outputs([args.json, args.markdown], overwrite=True)  # rows are added as they are found
    from masktools.extraction.worker import Worker
    from probes.features import vectors_of
    from probes.protocol import probe
    from probes.rows import extractors

    settings = _settings(args)
    data: TaggedData = module.read(args)
    if args.shuffle_labels:
        data = data.shuffled(args.first_seed)
    worker = Worker(
        args.model, device=args.device, precision=args.precision, threads=args.threads, batch_size=args.batch_size
    )
    results: list[ProbeResult] = []
    for extractor in extractors(args.rows, worker, args.pool, args.windows, args.dtype, args.hop_s):
        vectors = vectors_of(data, extractor, _cache(args.cache), _watch(f"{extractor.name}: clips"))
        for one in settings:
            # A baseline of one layer has none to choose from.
            own = one if vectors.n_layers > 1 else replace(one, layers=None)
            results.append(probe(vectors, data, own, _watch(f"{extractor.name}, {one.preset}: trainings")))
            _write(args, results, _about(argv), getattr(module, "PUBLISHED", ()))
    print(to_markdown(results, getattr(module, "PUBLISHED", ())).split("\n## Labels")[0])
    return _code(args, results)


def _settings(args: argparse.Namespace) -> "list[ProtocolSettings]":
    from probes.protocol import ProtocolSettings

    return [
        ProtocolSettings(
            preset,
            args.seeds,
            args.first_seed,
            args.layers,
            args.trainings,
            args.max_epochs,
            args.resamples,
            device=args.probe_device,
        )
        for preset in args.preset
    ]


def _verify(args: argparse.Namespace, module: ModuleType) -> int:
    """Say what was found, and fail if something is missing."""
    verification: Verification = module.verify(args)
    for finding in verification.findings:
        print(finding)
    if verification.is_published:
        print("everything is as it was published")
    elif verification.is_complete:
        print("usable, but not what was published: say so beside results")
    return 0 if verification.is_complete else SOME_FAILED


def _write(
    args: argparse.Namespace, results: "Sequence[ProbeResult]", about: dict[str, Any], published: Sequence[Published]
) -> None:
    """Write what there is so far."""
    if args.json is not None:
        with replacing(args.json) as part:
            part.write_text(json.dumps(to_json(results, published, about), indent=1) + "\n", encoding="utf-8")
    if args.markdown is not None:
        with replacing(args.markdown) as part:
            part.write_text(to_markdown(results, published, about), encoding="utf-8")


def _about(argv: list[str]) -> dict[str, Any]:
    """Return what made the results."""
    packages = {name: version(name) for name in ("torch", "numpy", "scipy", "scikit-learn", "soundfile", "soxr")}
    return {
        "command": shlex.join(["python", "-m", "probes.run", *argv]),
        "masktools": __version__,
        "python": platform.python_version(),
        "packages": packages,
    }


def _code(args: argparse.Namespace, results: "Sequence[ProbeResult]") -> int:
    """Say what could not be read or scored, and return the exit code."""
    for place, result in enumerate(results):
        if result.left_out and all(result.left_out != earlier.left_out for earlier in results[:place]):
            for one in result.left_out[:_SHOWN]:
                sys.stderr.write(_line("left out", f"{one['key']}: {one['reason']}"))
            if len(result.left_out) > _SHOWN:
                sys.stderr.write(_line("left out", f"{len(result.left_out) - _SHOWN:,} more; --json lists all"))
    unscored = [one.label for one in results[0].labels if one.roc_auc is None]
    if results[0].n_scored < len(results[0].labels):
        shown = ", ".join(unscored) or "some, in some rounds"
        sys.stderr.write(_line("warning", f"labels that cannot be scored, and count in no average: {shown}"))
        if args.strict:
            return NOT_SCORED
    return SOME_FAILED if any(result.left_out for result in results) else 0


def _cache(given: Path | None) -> Path:
    """Return where vectors are kept."""
    if given is not None:
        return given
    user = os.environ.get("XDG_CACHE_HOME")
    return (Path(user) if user else Path.home() / ".cache") / "masktools" / "probes"


def _watch(what: str) -> Callable[[int, int], None] | None:
    """Return what shows how far something is, on a terminal; None elsewhere."""
    if not sys.stderr.isatty():
        return None

    def show(done: int, total: int) -> None:
        end = "\n" if done == total else ""
        sys.stderr.write(f"\r{what} {done} of {total}{end}")
        sys.stderr.flush()

    return show


def _line(kind: str, message: str) -> str:
    return f"probes: {kind}: {' '.join(message.splitlines())}\n"


def _report(message: str, code: int) -> int:
    sys.stderr.write(_line("error", message))
    return code


if __name__ == "__main__":
    sys.exit(main())
