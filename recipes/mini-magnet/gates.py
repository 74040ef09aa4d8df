"""Whether a small model over token streams is good enough to be given away: its runs, and what it makes, by figures.

Usage: python recipes/mini-magnet/gates.py SOURCE [--model mini-magnet] [--runs runs] [--beside mini] [--embedder NAME]

The codec: each stream takes 3 % off the error of those before it, and uses codes with a perplexity of 150 or more. The
transformer: the cross-entropy of the first stream is below 5.0, and a condition takes something off it. What is made of
the captions of SOURCE's split `test` lies nearer to its recordings than the same tokens with their columns shuffled;
the model named by --beside is measured for the same captions. Gates whose runs are not there are left out; the exit
code is 1 where one fails.
"""

import argparse
import csv
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np

import masktools
from masktools.evaluation.clips import read_clips
from masktools.evaluation.embedders import parse_embedder
from masktools.metrics import frechet_distance
from masktools.restoration.generation import generate

LEAST_GAIN, LEAST_PERPLEXITY, MOST_NATS = 0.03, 150.0, 5.0
SECONDS = 6.0  # of what is compared, about a window


def validated(run, name):
    """Return the figures of the last validation of a run that has such a one, None where there is no run."""
    logs = sorted(run.glob("version_*/metrics.csv"), key=lambda path: path.stat().st_mtime)
    rows = [row for log in logs for row in csv.DictReader(log.open(encoding="utf-8")) if row.get(name)]
    return {key: float(value) for key, value in rows[-1].items() if value} if rows else None


def numbered(found, prefix):
    """Return the figures whose names are a prefix and a number, in order."""
    names = [name for name in found if name.startswith(prefix) and name.removeprefix(prefix).isdigit()]
    return [found[name] for name in sorted(names, key=lambda name: int(name.removeprefix(prefix)))]


def gates_of_runs(runs):
    """Yield (what is asked, what was found, whether it is enough)."""
    codec = validated(runs / "mini-magnet-codec", "valid_l1_1")
    if codec is not None:
        errors = numbered(codec, "valid_l1_")
        gains = [1.0 - after / before for before, after in pairwise(errors)]
        yield f"each stream takes {LEAST_GAIN:.0%} off", ", ".join(f"{g:.1%}" for g in gains), min(gains) >= LEAST_GAIN
        used = numbered(codec, "valid_perplexity_")
        told = ", ".join(f"{perplexity:.0f}" for perplexity in used)
        yield f"perplexity of {LEAST_PERPLEXITY:g}", told, min(used) >= LEAST_PERPLEXITY
    transformer = validated(runs / "mini-magnet", "valid_0")
    if transformer is not None:
        nats, gain = transformer["valid_0"], transformer.get("valid_condition_gain_0", 0.0)
        yield f"cross-entropy of the first stream below {MOST_NATS:g}", f"{nats:.3f}", nats < MOST_NATS
        yield "a condition takes something off it", f"{gain:.3f}", gain > 0


def made_by(model, captions, shuffled=False, seed=0):
    """Return what a model makes of captions, its columns in another order where that is wanted."""
    made = []
    for number, caption in enumerate(captions):
        one = generate(model.pipeline, caption, seconds=SECONDS, seed=seed + number)
        wave = one.samples[0]
        if shuffled:
            heard = one.tokens[0][:, : model.pipeline.grid.n_columns(len(wave))]
            order = np.random.default_rng(seed + number).permutation(heard.shape[1])
            wave = model.decode(heard[:, order], n_samples=len(wave)).samples
        made.append((wave, one.sample_rate))
    return made


def distances(real, sets, embedders):
    """Return the distance of each set of recordings to the real ones, (set, embedder) -> number."""
    found = {}
    for embedder in embedders:

        def vectors(recordings, embedder=embedder):
            return np.concatenate([embedder.embed(wave, rate) for wave, rate in recordings])

        reference = vectors(real)
        found |= {(name, embedder.name): frechet_distance(reference, vectors(made)) for name, made in sets.items()}
    return found


def main(arguments=None):
    """Look at the runs, make, measure, tell."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", nargs="+", metavar="SOURCE", help="a cache, a manifest or a folder of audio")
    parser.add_argument("--model", default="mini-magnet", help="the model; a name or a folder")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="the folder of its runs")
    parser.add_argument("--beside", default="mini", help="a model to compare with")
    parser.add_argument("--n", type=int, default=24, metavar="N", help="captions of each kind")
    parser.add_argument(
        "--embedder", action="append", default=[], metavar="NAME", help="as `masktools evaluate` has it"
    )
    args = parser.parse_args(arguments)
    gates = list(gates_of_runs(args.runs))
    model, other = masktools.load(args.model), masktools.load(args.beside)
    embedders = [parse_embedder(name, other) for name in args.embedder or ["mel"]]
    clips = read_clips(args.source, 22_050, seconds=SECONDS, n_each=args.n, min_seconds=SECONDS)
    captions = [clip.caption or "sound" for clip in clips]
    sets = {
        args.model: made_by(model, captions),
        "the same, shuffled": made_by(model, captions, shuffled=True),
        args.beside: made_by(other, captions),
    }
    found = distances([(clip.wave, 22_050) for clip in clips], sets, embedders)
    print(f"| made of {len(captions)} captions | {' | '.join(embedder.name for embedder in embedders)} |")
    print(f"|---|{'---|' * len(embedders)}")
    for name in sets:
        print(f"| {name} | {' | '.join(f'{found[name, embedder.name]:.3g}' for embedder in embedders)} |")
    print()
    for embedder in embedders:
        ours, theirs = (found[name, embedder.name] for name in list(sets)[:2])
        gates.append((f"nearer than shuffled, {embedder.name}", f"{ours:.3g} and {theirs:.3g}", ours < theirs))
    for asked, got, passed in gates:
        print(f"{'passes' if passed else 'FAILS'}: {asked}: {got}")
    return 0 if all(passed for _, _, passed in gates) else 1


if __name__ == "__main__":
    sys.exit(main())
