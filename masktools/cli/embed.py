"""The command that embeds recordings."""

import argparse
import os
import sys
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from masktools.cli import files, options
from masktools.cli.files import Meter
from masktools.cli.options import Command, fail
from masktools.core.errors import AudioError, ParameterError

if TYPE_CHECKING:
    from masktools.extraction import Item, Store, Summary, Worker

SOME_FAILED, INTERRUPTED = 3, 130
FORMATS = ("npz", "npy", "parquet", "h5", "dir")  # as in extraction.formats, which must not be imported here
COLUMNS = ("path", "key", "start", "stop", "member")  # as in extraction.Columns
_SHOWN = 20  # recordings named on stderr


def _add_embed(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("inputs", nargs="+", metavar="IN", help="recordings, folders, manifests, shards or URLs")
    options.add_output(parser, "the vectors: .npz, .npy, .parquet, .h5, or a folder of .npz files")
    _add_vectors(parser)
    _add_files(parser)
    _add_work(parser)
    options.add_model(parser)


def _add_vectors(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("vectors")
    group.add_argument(
        "--layer",
        type=_layer,
        default="last",
        metavar="WHICH",
        help="0 is what enters the first block, 1 what leaves it, -1 or last the end; mean of all; all, or 2,5,8: side "
        "by side; or as many weights as there are layers: 0.5,0.25,...",
    )
    group.add_argument(
        "--pool",
        default="mean",
        metavar="HOW",
        help="how they become one vector: mean, rows, max, mean_std, rows_std or none",
    )
    group.add_argument(
        "--hop-s",
        type=options.number(0.0, "s", above=True),
        metavar="S",
        help="seconds between moments; 0.186 if left out; shorter hears a recording several times",
    )
    group.add_argument("--frames", action="store_true", help="store the vector of each moment too")
    group.add_argument("--tokens", action="store_true", help="store the tokens too")
    group.add_argument(
        "--prefix",
        default="learned",
        metavar="WHAT",
        help="learned; condition (or clap): what the conditioner hears; or a .npy file of one vector",
    )
    group.add_argument(
        "--dtype", choices=("float32", "float16"), default="float32", metavar="NAME", help="float32, float16"
    )


def _add_files(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("files")
    options.add(group, "--recursive")
    group.add_argument(
        "--format", choices=FORMATS, metavar="NAME", help=f"{', '.join(FORMATS)}; that of OUT's ending if left out"
    )
    group.add_argument(
        "--manifest",
        type=_columns,
        metavar="NAMES",
        help="columns of manifests that are called otherwise than path, id, start, stop and member, as in "
        "path=file,key=clip,start=from_s",
    )
    group.add_argument("--root", metavar="DIR", help="what paths in manifests are relative to; its folder if left out")
    options.add(group, "--resume", "--overwrite")
    group.add_argument("--shard", type=_shard, metavar="I/N", help="only part I of N, from 0/N to N-1/N")
    group.add_argument("--merge", action="store_true", help="join the shards IN of one run")
    group.add_argument("--dry-run", action="store_true", help="say what would be done, and do nothing")


def _add_work(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("work")
    group.add_argument(
        "--on-error", choices=("skip", "fail"), default="skip", metavar="WHAT", help="skip bad recordings, or fail"
    )
    options.add(group, "--jobs")
    group.add_argument(
        "--engine", choices=("local", "ray"), default="local", metavar="NAME", help="local, or ray for many machines"
    )
    group.add_argument(
        "--address", metavar="ADDRESS", help="of the Ray cluster; one of its own on this machine if left out"
    )
    options.add(group, "--progress")


def _layer(text: str) -> "int | str | tuple[int, ...] | tuple[float, ...]":
    """Parse a layer of ``ExtractionSettings``."""
    words = text.split(",")
    try:
        return int(text) if len(words) == 1 else tuple(int(word) for word in words)
    except ValueError:
        try:
            return tuple(float(word) for word in words) if len(words) > 1 else text
        except ValueError:
            return text


def _columns(text: str) -> dict[str, str]:
    """Parse the names of columns, for argparse."""
    pairs = [pair.partition("=") for pair in text.split(",")]
    for name, equals, _ in pairs:
        if not equals or name.strip() not in COLUMNS:
            raise argparse.ArgumentTypeError(
                f"must be names such as path=file,key=clip for {', '.join(COLUMNS)}, got {text!r}"
            )
    return {name.strip(): column.strip() for name, _, column in pairs}


def _shard(text: str) -> tuple[int, int]:
    """Parse index and count of a shard, for argparse."""
    index, _, count = text.partition("/")
    if not (index.isdecimal() and count.isdecimal() and int(index) < int(count)):
        raise argparse.ArgumentTypeError(f"must be I/N with I from 0 to N - 1, as in 0/4, got {text!r}")
    return int(index), int(count)


def _embed(args: argparse.Namespace) -> int:
    """Embed recordings: one vector for each, and with --frames one for each moment, in one file or a tree of files.

    IN is a recording, a folder, a manifest (.csv, .tsv, .jsonl, .parquet, .txt), a WebDataset shard (.tar) or a URL of
    one. What is done is kept in OUT.parts until all is done: a run that was stopped goes on with --resume. Recordings
    that cannot be embedded are listed in OUT.errors.jsonl and left out; the exit code is then 3. With --merge, IN are
    the outputs of all shards of one run (--shard), and OUT is what one run without shards would have made.
    """
    if args.output.is_symlink():  # a link stays a link
        args.output = Path(os.path.realpath(args.output))
    if args.merge:
        return _merge(args)
    from masktools.extraction import (
        Columns,
        ExtractionSettings,
        Worker,
        check_output,
        find_items,
        items_hash,
        open_store,
        take_shard,
    )

    if args.address and args.engine != "ray":
        raise ParameterError("--address is that of a Ray cluster: say --engine ray, too")
    settings = options.settings_of(args, ExtractionSettings, prefix=_prefix(args.prefix))
    check_output(args.output, settings, args.format, is_free=not (args.resume or args.overwrite or args.dry_run))
    named = {field.name: (args.manifest or {}).get(field.name, field.default) for field in fields(Columns)}
    every = find_items(args.inputs, recursive=args.recursive, columns=Columns(**named), root=args.root)
    _refuse_to_replace(args, [*args.inputs, *map(str, files.read_by(args)), *(item.location for item in every)])
    items = list(take_shard(every, *args.shard)) if args.shard else every
    if not items:
        raise ParameterError(
            f"shard {args.shard[0]}/{args.shard[1]} of {len(every)} recordings is empty: make fewer shards"
        )
    if args.dry_run:
        return _tell_plan(args, items)
    from masktools.core.runtime import usable_cores

    threads = args.threads or (usable_cores() // args.jobs or 1 if args.jobs > 1 else None)
    worker = Worker(args.model, settings, args.device, args.precision, threads, args.batch_size)
    worker.check()
    with open_store(
        args.output,
        [item.key for item in items],
        settings,
        settings.fingerprint(worker.identity),
        format=args.format,
        items_hash=items_hash(every),
        shard=args.shard,
        model=worker.encoder.name,
        resume=args.resume,
        overwrite=args.overwrite,
    ) as store:
        return _work(args, items, worker, store)


def _work(args: argparse.Namespace, items: "list[Item]", worker: "Worker", store: "Store") -> int:
    meter = Meter(args.progress)
    try:
        _engine(args, items, worker, store, meter)
        meter.finish()
        summary = store.close()
    except (KeyboardInterrupt, AudioError) as error:  # Ctrl-C, and other ways to end a command
        meter.finish()
        done = len(store.finished())
        left = f"{done} of {len(items)} recordings are done, --resume goes on" if done else "nothing is done yet"
        if isinstance(error, AudioError):
            raise type(error)(f"{error} ({left})" if len(items) > 1 else str(error)) from error
        sys.stderr.write(fail(f"interrupted: {left}"))
        return getattr(error, "exit_code", INTERRUPTED)
    return _conclude(summary, store, args.shard is not None)


def _engine(args: argparse.Namespace, items: "list[Item]", worker: "Worker", store: "Store", meter: Meter) -> None:
    fail_fast = args.on_error == "fail"
    if args.engine == "ray":
        from masktools.extraction.ray_engine import run_ray

        n_workers = args.jobs if args.jobs > 1 else None
        run_ray(items, worker, store, meter, address=args.address, n_workers=n_workers, fail_fast=fail_fast)
        return
    from masktools.extraction import run_local

    run_local(items, worker, store, meter, n_jobs=args.jobs, fail_fast=fail_fast)


def _merge(args: argparse.Namespace) -> int:
    from masktools.extraction import merge

    given = [name for name in ("resume", "shard", "dry_run") if getattr(args, name)]
    if given:
        raise ParameterError(f"--merge joins what is there already: leave out --{given[0].replace('_', '-')}")
    summary = merge(args.inputs, args.output, format=args.format, overwrite=args.overwrite)
    print(f"{args.output}: {summary.n_rows} embedded, in {len(args.inputs)} shards" + _left_out(summary))
    return SOME_FAILED if summary.n_failed else 0


def _conclude(summary: "Summary", store: "Store", is_shard: bool) -> int:
    """Print a summary, and return the exit code; an empty shard is needed to merge the others, too."""
    if not summary.n_rows and summary.n_items == 1 and not is_shard:
        raise AudioError(summary.reason or "")
    for number, failure in enumerate(store.failures()):
        if number == _SHOWN:
            sys.stderr.write(f"masktools: left out: {summary.n_failed - _SHOWN} more, which {summary.errors} names\n")
            break
        sys.stderr.write(f"masktools: left out: {failure.error}\n")
    if not summary.n_rows and not is_shard:
        raise AudioError(f"none of the {summary.n_items} recordings could be embedded")
    print(f"{summary.path}: {summary.n_rows} embedded" + _left_out(summary))
    return SOME_FAILED if summary.n_failed else 0


def _left_out(summary: "Summary") -> str:
    return f", {summary.n_failed} left out" if summary.n_failed else ""


def _tell_plan(args: argparse.Namespace, items: "list[Item]") -> int:
    from masktools.extraction import finished_before

    before = finished_before(args.output, [item.key for item in items], args.format) if args.resume else set()
    left = [item for item in items if item.key not in before]
    for item in left[:_SHOWN]:
        print(item.key)
    more = f" ({len(left) - _SHOWN} of them are not named here)" if len(left) > _SHOWN else ""
    said = f", {len(before)} are done" if before else ""
    print(f"{args.output}: {len(left)} recordings would be embedded{more}{said}")
    return 0


def _prefix(text: str) -> str | tuple[float, ...]:
    """Parse a prefix of ``ExtractionSettings``."""
    if not text.lower().endswith(".npy"):
        return text
    import numpy as np

    try:
        vector: Any = np.load(text, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise ParameterError(f"--prefix must be a .npy file of one vector, got {text}: it cannot be read") from error
    if vector.dtype.kind not in "fiu" or vector.size != max(vector.shape, default=0):
        raise ParameterError(f"--prefix must be a .npy file of one vector, got {vector.dtype} of shape {vector.shape}")
    return tuple(float(number) for number in vector.reshape(-1))


def _refuse_to_replace(args: argparse.Namespace, locations: list[str]) -> None:
    """Raise where an output is one of the input files."""
    from masktools.extraction import files_of
    from masktools.io import check_places

    sources = (
        [Path(path) for path in locations if files.is_file(path)] if args.output.exists() else map(Path, locations)
    )
    check_places(files_of(args.output, args.format), sources, overwrite=True)


EMBED = Command("vectors that describe recordings", _add_embed, _embed)
