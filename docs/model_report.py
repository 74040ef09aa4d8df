"""Measure bundles on recordings they have not heard, check the first one's gates, and write what was found.

Usage: python docs/model_report.py SOURCE... [--model mini] [--embedder aisfx=PATH] [-o docs/model-report.md]

SOURCE is an audio cache, a manifest or a folder; several are taken together. Their split `test` is measured; their
split `train` is what the model may know. --model may be given again: all bundles are measured in the same run, on the
same recordings, and stand side by side in the first table; gates are those of the first. Embedders that nobody here
trained (aisfx, musicnn, vggish, clap) judge beside the mel statistics. Prints every table and the gates, and writes
them as Markdown; the exit code is 0 whether the gates hold or not, since a gate that fails is a result, too.

With --keep FOLDER each part's report is kept as JSON, and what is there already is not measured again: a run that was
stopped goes on. Empty the folder when weights, recordings or settings change.
"""

import argparse
import sys
from pathlib import Path

from model_gates import gates_of, gates_table, targets_table  # beside this file

import masktools
from masktools.core.errors import MasktoolsError
from masktools.evaluation.clips import read_clips
from masktools.evaluation.embedders import parse_embedder
from masktools.evaluation.generation import GenerationSettings
from masktools.evaluation.report import Report
from masktools.evaluation.sweep import PROTOCOLS

PARTS = ("tokenizer", "transformer", "vocoder", "inpaint", "bwe", "conditioning", "generate")
GENERATED_S = 5.0
N_TRAINING = 6  # recordings of the split train for each that is measured


def measure(part, model, args):
    """Return the report of one part."""
    rate, protocol = model.sample_rate, PROTOCOLS[part]
    names = ["mel", *args.embedder] if args.embedder and part != "generate" else ["mel", "own", *args.embedder]
    embedders = [parse_embedder(name, model) for name in names]
    about = {"n_each": args.n, "seed": args.seed}
    if part == "inpaint":  # a fill may be looked for in the whole recording
        clips = read_clips(args.source, rate, seconds=30.0, min_seconds=4.5, **about)
    elif part == "bwe":
        clips = read_clips(args.source, rate, seconds=8.0, min_seconds=4.5, **about)
    elif part == "generate":
        short = {"seconds": GENERATED_S, "min_seconds": 1.0, "seed": args.seed}
        n_each = max(args.n, -(-args.prompts // 3))
        clips = read_clips(args.source, rate, n_each=n_each, **short)
        training = read_clips(args.source, rate, split="train", n_each=N_TRAINING * args.n, **short)
        settings = GenerationSettings(n_prompts=args.prompts, n_unconditional=args.n, seconds=GENERATED_S)
        return protocol.evaluate(model, clips, settings, embedders, said(part), training=training)
    else:
        clips = read_clips(args.source, rate, seconds=10.0, min_seconds=1.0, **about)
    return protocol.evaluate(model, clips, embedders=embedders, progress=said(part))


def kept(name, part, model, args):
    """Return the report of one part, from where it is kept if it is there."""
    if args.keep is None:
        return measure(part, model, args)
    place = args.keep / f"{'_'.join(Path(name).parts).strip('_/')}-{part}.json"  # two folders may end alike
    if place.exists():
        return Report.from_json(place.read_text(encoding="utf-8"))
    report = measure(part, model, args)
    args.keep.mkdir(parents=True, exist_ok=True)
    report.write(place)
    return report


def said(part):
    """Return a progress callback that says where things stand on stderr."""

    def tell(done, total):
        sys.stderr.write(f"\r{part}: {done} of {total} ")
        if done >= total:
            sys.stderr.write("\n")

    return tell


def parsed():
    """Return the arguments."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", nargs="+", help="audio caches, manifests or folders")
    parser.add_argument("--model", action="append", help="name or folder of a bundle; may be given again")
    parser.add_argument("--embedder", action="append", default=[], metavar="NAME=PATH", help="may be given again")
    parser.add_argument("--n", type=int, default=24, help="recordings of each kind, at most")
    parser.add_argument("--prompts", type=int, default=80, help="captions that are generated")
    parser.add_argument("--parts", default=",".join(PARTS), help="only these, joined with commas")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="folder of finished reports")
    parser.add_argument("-o", "--output", type=Path, default=Path("docs/model-report.md"))
    return parser.parse_args()


def main():
    """Measure, print and write."""
    args = parsed()
    names = list(dict.fromkeys(args.model or ["mini"]))
    parts = args.parts.split(",")
    unknown = [part for part in parts if part not in PARTS]
    if unknown:
        sys.exit(f"unknown part {unknown[0]!r}: choose from {', '.join(PARTS)}")
    reports = {name: {} for name in names}
    try:
        for name in names:
            model = masktools.load(name)
            for part in parts:
                reports[name][part] = kept(name, part, model, args)
                print(reports[name][part].to_text(), flush=True)
    except MasktoolsError as error:
        sys.exit(str(error))
    first, *others = names
    gates = gates_of(reports[first])
    n_hold = sum(gate.holds for gate in gates)
    table = targets_table(reports)
    print(table, gates_table(gates), f"{n_hold} of {len(gates)} gates hold", sep="\n")
    beside = f", beside {', '.join(others)}" if others else ""
    text = [f"# What {first} reaches on recordings it has not heard{beside}\n"]
    text.append(
        "Made by `make model-report`. The figures by which models are compared, with what is wanted:\n\n" + table
    )
    text.append(f"Of the gates of {first} {n_hold} of {len(gates)} hold. Gates compare point estimates,")
    text.append("the tables below give their intervals.\n\n" + gates_table(gates))
    for name in names:
        text += [report.to_markdown() for report in reports[name].values()]
    args.output.write_text("\n".join(text), encoding="utf-8")


if __name__ == "__main__":
    main()
