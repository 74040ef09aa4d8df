"""Train the small model over token streams in variants, and tell them apart: spans, and the context of later streams.

Usage: python recipes/mini-magnet/ablation.py CACHE --codec CHECKPOINT [-o ablation] [--set KEY=VALUE] [--embedder NAME]

Each variant is trained by recipes/mini-magnet/transformer.yaml with one setting changed, and generates for the same
prompts; what was done is not done again, so that the same command goes on after a kill. The table in ablation.md has,
for each, the cross-entropy of every stream on the validation clips, what a condition takes off that of the first, and
distances to the recordings of the split `test`. Cross-entropies may be compared within a length of spans only: a span
of three hides what would tell of its middle.

--set changes a key of the recipe in all variants, as in --set trainer.max_steps=600; --embedder is as `masktools
evaluate` takes it.

Source: MAGNeT (arXiv:2401.04577), table 2, in which spans of three and a restricted context were the best.
"""

import argparse
import csv
import json
import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
VARIANTS = {
    "span 3, near": {"span": 3, "context": 5},
    "span 3, all": {"span": 3, "context": "null"},
    "span 1, near": {"span": 1, "context": 5},
    "span 1, all": {"span": 1, "context": "null"},
}
"""Name -> settings of the transformer: the length of spans, and columns on either side that later streams attend."""

CARD = "# {name}\n\nOne of four models of an ablation, trained for a short while: to be measured, not to be used.\n"


def command(*words):
    """Return a command of masktools, to be run in the folder of the ablation."""
    return [sys.executable, "-m", "masktools", *map(str, words)]


def run_of(name):
    """Return the folder of a variant within that of the ablation."""
    return f"runs/{name.replace(', ', '-').replace(' ', '')}"


def steps_of(name, args):
    """Yield what is done for a variant, in order: (the file that tells that it was done, the command)."""
    run = run_of(name)
    keys = {
        "data.init_args.cache": args.cache,
        "data.init_args.conditioner": args.base,
        "model.init_args.conditioner": args.base,
        "model.init_args.codec": args.codec,
    }
    own = [f"--{key}={value}" for key, value in keys.items()] + [f"--{pair}" for pair in args.set]
    recipe = args.output / f"{run.removeprefix('runs/')}.yaml"
    text = (HERE / "transformer.yaml").read_text(encoding="utf-8")
    for place in ("dirpath: runs/", "name: "):
        text = text.replace(f"{place}mini-magnet", f"{place}{run.removeprefix('runs/')}")
    changed = ", ".join(f"{key}: {value}" for key, value in VARIANTS[name].items())
    text = text.replace("transformer: {", f"transformer: {{{changed}, ")
    recipe.write_text(text, encoding="utf-8")
    yield f"{run}/trained", command("train", recipe.resolve(), "--resume", *own)
    parts = (args.codec, f"{run}/last.ckpt", "--base", args.base, "--decoding", "decoding.json")
    yield f"{run}/model", command("bundle", *parts, "--card", "card.md", "-o", f"{run}/model")
    embedders = [word for one in args.embedder for word in ("--embedder", one)]
    measured = ("--model", f"{run}/model", "--n", args.n, "--json", f"{run}/generate.json", *embedders)
    yield f"{run}/generate.json", command("evaluate", "generate", args.cache, *measured)


def trained(run):
    """Return the figures of the last validation of a run."""
    logs = sorted(run.parent.glob(f"{run.name}/version_*/metrics.csv"), key=lambda path: path.stat().st_mtime)
    rows = [row for log in logs for row in csv.DictReader(log.open(encoding="utf-8")) if row.get("valid_0")]
    last = rows[-1]
    streams = [float(last[name]) for name in sorted(last) if name.startswith("valid_") and name[6:].isdigit()]
    return [*streams, float(last.get("valid_condition_gain_0") or "nan")]


def distances(path):
    """Return the distances of what a variant makes for prompts, (kind, embedder) -> number."""
    figures = json.loads(path.read_text(encoding="utf-8"))["figures"]
    return {
        (one["group"], one["embedder"]): one["value"]
        for one in figures
        if one["method"] == "model" and one["metric"] == "fad" and one["value"] is not None
    }


def table(folder, names):
    """Return the table of all variants, as markdown."""
    runs = {name: folder / run_of(name) for name in names}
    found = {name: (trained(run), distances(run / "generate.json")) for name, run in runs.items()}
    columns = sorted({key for _, far in found.values() for key in far})
    n_streams = max(len(losses) for losses, _ in found.values()) - 1
    heads = [*(f"CE {stream}" for stream in range(n_streams)), "gain 0", *(f"FAD {k}, {e}" for k, e in columns)]
    lines = [f"| variant | {' | '.join(heads)} |", f"|---|{'---|' * len(heads)}"]
    for name, (losses, far) in found.items():
        cells = [f"{value:.3f}" for value in losses] + [f"{far[key]:.3g}" if key in far else "-" for key in columns]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main(arguments=None):
    """Do what is not done yet, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cache", type=Path, metavar="CACHE", help="an audio cache")
    parser.add_argument("--codec", type=Path, required=True, metavar="CHECKPOINT", help="of the codec")
    parser.add_argument("--base", default="mini", help="the bundle that gives vocoder and text-audio encoder")
    parser.add_argument("-o", "--output", type=Path, default=Path("ablation"), help="the folder of the runs")
    parser.add_argument("--n", type=int, default=32, metavar="N", help="recordings of each kind to measure against")
    parser.add_argument("--variants", nargs="+", default=list(VARIANTS), choices=VARIANTS, metavar="NAME")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--embedder", action="append", default=[], metavar="NAME")
    args = parser.parse_args(arguments)
    args.cache, args.codec = args.cache.resolve(), args.codec.resolve()
    args.base = str(Path(args.base).resolve()) if Path(args.base).is_dir() else args.base
    args.output.mkdir(parents=True, exist_ok=True)
    (args.output / "card.md").write_text(CARD.format(name=args.output.name), encoding="utf-8")
    decoding = json.loads((HERE / "decoding.json").read_text(encoding="utf-8"))
    alone = {job: [stage | {"prior_start": 0.0} for stage in stages] for job, stages in decoding.items()}  # no prior
    (args.output / "decoding.json").write_text(json.dumps(alone), encoding="utf-8")
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]  # a checkout need not be installed
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths)}
    for name in args.variants:
        for mark, words in steps_of(name, args):
            if (args.output / mark).exists():
                continue
            print(f"== {name}: {words[3]}", flush=True)
            code = subprocess.run(words, cwd=args.output, env=environment, check=False).returncode  # noqa: S603
            if code and not (words[3] == "evaluate" and code == 3):  # 3: some recordings could not be read
                print(f"{words[3]} of {name} ended with {code}: the same command goes on with it", file=sys.stderr)
                return code
            if mark.endswith("trained"):
                (args.output / mark).touch()
    text = table(args.output, args.variants)
    (args.output / "ablation.md").write_text(text, encoding="utf-8")
    print(text, end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
