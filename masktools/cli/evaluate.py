"""Measure a model on recordings that are whole, beside what one can do without it, with intervals over the recordings.

PROTOCOL is what is measured: tokenizer, transformer, vocoder, inpaint, bwe, generate, conditioning or notes. SOURCE is
the folder of an audio cache, a manifest (CSV with path and split, and perhaps kind, labels, caption, origin and
bandwidth_hz), or a folder of audio; for notes, NSynth's files (examples.json and audio/, or a tar of them); several are
taken together. Recordings that cannot be read are named and left out;
the exit code is then 3.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from masktools.cli import files, options
from masktools.core.errors import ParameterError
from masktools.core.jsons import parse_json

if TYPE_CHECKING:
    from masktools.evaluation.clips import Clips
    from masktools.evaluation.embedders import Embedder
    from masktools.evaluation.protocols import Protocol
    from masktools.model import Model

HELP = "measure a model on recordings"
PROTOCOLS = ("tokenizer", "transformer", "vocoder", "inpaint", "bwe", "generate", "conditioning", "notes")
SPLITS = ("train", "valid", "test", "all")
SECONDS, ENOUGH_SECONDS = 10.0, 4.0
SOME_FAILED = 3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("protocol", choices=PROTOCOLS, metavar="PROTOCOL", help=", ".join(PROTOCOLS))
    parser.add_argument(
        "source", type=Path, nargs="+", metavar="SOURCE", help="an audio cache, a manifest or a folder of audio"
    )
    clips = parser.add_argument_group("recordings")
    clips.add_argument("--split", choices=SPLITS, default="test", metavar="NAME", help=", ".join(SPLITS))
    clips.add_argument("--n", type=options.whole_number(1), metavar="N", help="of each kind; all if left out")
    clips.add_argument("--kinds", type=_words, metavar="A,B", help="only recordings of these kinds")
    clips.add_argument(
        "--seconds",
        type=options.number(0.25, "s"),
        metavar="S",
        help=f"from the middle of each; {SECONDS:g} if neither this nor the preset says otherwise",
    )
    clips.add_argument(
        "--min-seconds",
        type=options.number(0.25, "s"),
        metavar="S",
        help=f"of recordings that have less than that; {ENOUGH_SECONDS:g} if left out",
    )
    clips.add_argument(
        "--training",
        type=options.whole_number(1),
        metavar="N",
        help="generate: compare with so many of each kind of the split train, too",
    )
    how = parser.add_argument_group("measurement")
    how.add_argument("--preset", metavar="NAME", help="a protocol of the paper: table3, table8_bwe_paper_like, ...")
    how.add_argument("--methods", type=_words, metavar="A,B", help="only these methods")
    how.add_argument(
        "--embedder",
        action="append",
        metavar="NAME",
        help="what distances between sets are computed with: mel (if left out), own, joint, aisfx=PATH, musicnn=PATH, "
        "clap=PATH, vggish=PATH (of a package's wheel or folder, or of the weights), or none; may be given again",
    )
    how.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="a setting of the protocol, as in gaps_s=[0.1,0.5] or solver.n_steps=8; may be given again",
    )
    options.add_seed(how)
    how.add_argument("--json", type=Path, metavar="FILE", help="write everything to this file")
    how.add_argument("--markdown", type=Path, metavar="FILE", help="write the tables to this file")
    options.add_overwrite(how)
    options.add_model(parser)


def run(args: argparse.Namespace) -> int:
    """Read, measure, tell."""
    sources = [source for source in args.source if source.is_file()]
    files.check_outputs([args.json, args.markdown], sources, overwrite=args.overwrite)
    from masktools.evaluation.protocols import PROTOCOLS as TABLE

    protocol = TABLE[args.protocol]
    if args.training and not protocol.reads_training:
        raise ParameterError(f"the protocol {args.protocol} reads no training recordings: leave out --training")
    model = options.load_model(args)
    settings, embedders = _settings(args, protocol, model), _embedders(args.embedder, model)
    clips = _notes(args, model) if protocol.of_notes else _clips(args, model, args.split, args.n)
    training = {"training": _clips(args, model, "train", args.training)} if args.training else {}
    report = protocol.evaluate(model, clips, settings, embedders, options.progress(), **training)
    for output, content in ((args.json, report.to_json), (args.markdown, report.to_markdown)):
        if output is not None:
            files.write_content(output, content())
    print(report.to_text(), end="")
    broken = [one for one in report.left_out if one.fault == "broken"]
    for one in broken:
        sys.stderr.write(f"masktools: skipped: {one.name}: {one.reason}\n")
    return SOME_FAILED if broken else 0


def _words(text: str) -> tuple[str, ...]:
    return tuple(filter(None, (word.strip() for word in text.split(","))))


def _clips(args: argparse.Namespace, model: "Model", split: str, n_each: int | None) -> "Clips":
    from masktools.evaluation.clips import read_clips
    from masktools.evaluation.protocols import PRESETS

    usual = PRESETS[args.preset].seconds if args.preset else SECONDS
    seconds = usual if args.seconds is None else args.seconds
    return read_clips(
        args.source,
        model.sample_rate,
        split,
        seconds,
        kinds=args.kinds,
        seed=args.seed,
        n_each=n_each,
        min_seconds=min(seconds, ENOUGH_SECONDS) if args.min_seconds is None else args.min_seconds,
    )


def _notes(args: argparse.Namespace, model: "Model") -> "Clips":
    from masktools.evaluation.notes import read_note_clips

    n_samples = model.pipeline.window_samples
    if args.seconds is not None:
        n_samples = min(n_samples, round(args.seconds * model.sample_rate))
    chosen: Any = read_note_clips(args.source, model.sample_rate, n_samples, args.split, args.n, args.seed)
    return chosen


def _embedders(names: Sequence[str] | None, model: "Model") -> "list[Embedder]":
    from masktools.evaluation.embedders import parse_embedder

    chosen = ["mel"] if names is None else [name for name in names if name != "none"]
    return [parse_embedder(name, model) for name in dict.fromkeys(chosen)]


def _settings(args: argparse.Namespace, protocol: "Protocol", model: "Model") -> Any:
    """Return the settings of a protocol: those of the preset, and over them what is set.

    What is set of the solver is set over the model's own settings of it.
    """
    from masktools.core.configs import from_dict, to_dict, to_plain
    from masktools.solver import SolverConfig

    known = {field.name for field in fields(protocol.settings)}
    values = to_dict(_preset(args, model)) if args.preset else {}
    if protocol.job is not None and any(pair.startswith("solver.") for pair in args.set) and not values.get("solver"):
        values["solver"] = to_plain(model.pipeline.decoding.get(protocol.job, SolverConfig()))
    if "seed" in known:
        values["seed"] = args.seed
    if "statistics" in known:
        values["statistics"] = values.get("statistics", {}) | {"seed": args.seed}
    if args.methods:
        if "methods" not in known:
            raise ParameterError(f"the protocol {args.protocol} has no methods to choose from: leave out --methods")
        values["methods"] = list(args.methods)
    for pair in args.set:
        _put(values, pair)
    return from_dict(protocol.settings, values)


def _preset(args: argparse.Namespace, model: "Model") -> Any:
    from masktools.evaluation.protocols import preset_settings

    protocol, settings = preset_settings(args.preset, model.pipeline.grid)
    if protocol != args.protocol:
        raise ParameterError(f"the preset {args.preset} is of the protocol {protocol}, got {args.protocol}")
    return settings


def _put(values: dict[str, Any], pair: str) -> None:
    """Put what KEY=VALUE says where it belongs."""
    key, equals, text = pair.partition("=")
    if not equals or not all(key.split(".")):
        raise ParameterError(f"--set must be KEY=VALUE, as in gaps_s=[0.1,0.5], got {pair!r}")
    try:
        value = parse_json(text)
    except ValueError:
        value = text
    *places, name = key.split(".")
    for place in places:
        values = values.setdefault(place, {})
        if not isinstance(values, dict):
            raise ParameterError(f"--set gives {place} a value of its own and, in {pair!r}, parts")
    values[name] = value
