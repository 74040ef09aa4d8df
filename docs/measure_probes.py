"""Probe the bundled model and its baselines on the labels of a manifest, and write the tables of docs/probes.md.

Usage: python docs/measure_probes.py MANIFEST [--model mini] [--tasks A,B] [--seeds 5] [--cache DIR]
                                     [-o docs/probes.md] [--picture docs/pictures/probes.png] [--json FILE]

MANIFEST is that of the recordings the model was trained on, whose splits valid and test it has not heard. Vectors of
all recordings are computed once and kept in the cache; then each row is probed on each task, by the protocol of
`python -m probes.run`, and compared with the pretrained row clip by clip. Prints what it writes.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from masktools.extraction import Worker
from probes.baselines import TITLES
from probes.data import TaggedData
from probes.datasets.labels import TASKS, read_labels
from probes.features import Extractor, FunctionExtractor, vectors_of
from probes.intervals import HeldOut
from probes.paired import Difference, differences
from probes.protocol import ProtocolSettings, probe_and_test
from probes.results import ProbeResult
from probes.rows import extractors
from probes.vectors import Vectors

BEGIN, END = "<!-- measured: begin -->\n", "<!-- measured: end -->\n"
ROWS = ("learned", "condition", *TITLES)
FREE = ("mel", "mel-stats", "mfcc", "codes", "codes-rows", "random", "untrained")  # of labels
ENCODERS = ("learned", "random", "untrained")
NAMES = {"learned": "pretrained", "condition": "pretrained, conditioner as prefix", **TITLES}
COLOURS = {"learned": "#0072b2", "condition": "#56b4e9", "conditioner": "#cc79a7", "random": "#777777"}
N_HEARINGS = 8  # of the row that hears short recordings several times


@dataclass(frozen=True)
class Found:
    """What came out for one row on one task."""

    task: str
    row: str
    pool: str
    result: ProbeResult
    tests: list[HeldOut]


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, and write the page."""
    args = _arguments(argv)
    every = {task: read_labels(args.manifest, task) for task in args.tasks}
    union = _union(list(every.values()))
    worker = Worker(args.model, threads=args.threads)
    settings = ProtocolSettings("paper", args.seeds, layers=args.layers, n_resamples=args.resamples)
    found: list[Found] = []
    for row in ROWS:
        if row not in ENCODERS:
            (extractor,) = extractors([row], worker)
            found += _probed(every, row, "mean", _vectors(union, extractor, args), settings, args)
            continue
        (extractor,) = extractors([row], worker, "rows")
        by_row = _vectors(union, extractor, args)
        found += _probed(every, row, "mean", _row_mean(by_row, worker.encoder.width), settings, args)
        found += _probed(every, row, "rows", by_row, settings, args)
        if "digits" in every:
            vectors = _vectors(every["digits"], _heard_often(extractor, row), args)
            found += _probed({"digits": every["digits"]}, row, "often", vectors, settings, args)
    text = report(found, every, settings)
    print(text)
    _write(args, text, found, settings)
    return 0


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--model", default="mini")
    parser.add_argument("--tasks", type=lambda text: text.split(","), default=list(TASKS))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--layers", type=lambda text: tuple(map(int, text.split(","))), help="all if left out")
    parser.add_argument("--resamples", type=int, default=2000)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--cache", type=Path, default=Path("runs/probes"))
    parser.add_argument("-o", "--output", type=Path, default=Path(__file__).parent / "probes.md")
    parser.add_argument("--picture", type=Path, default=Path(__file__).parent / "pictures" / "probes.png")
    parser.add_argument("--json", type=Path)
    return parser.parse_args(argv)


def _union(every: Sequence[TaggedData]) -> TaggedData:
    """Return all recordings of some tasks as one data set, whose vectors serve all of them."""
    clips = {clip.key: replace(clip, labels=(0,)) for data in every for clip in data.clips}
    return TaggedData("recordings", tuple(clips.values()), ("any",), True)


def _vectors(data: TaggedData, extractor: Extractor, args: argparse.Namespace) -> Vectors:
    return vectors_of(data, extractor, args.cache, said(f"{extractor.name}: recordings"))


def _row_mean(by_row: Vectors, width: int) -> Vectors:
    """Return the vectors of the pool mean, made from those of the pool rows: the average of the rows."""
    read = by_row.read
    return replace(
        by_row,
        read=lambda layer: (rows := read(layer)).reshape(len(rows), -1, width).mean(axis=1),
        about=by_row.about | {"pool": "mean"},
    )


def _heard_often(extractor: Extractor, row: str) -> FunctionExtractor:
    """Return the extractor of an encoder that hears a recording 8 times, each time an eighth of a column later."""
    encoder = extractor.worker.encoder

    def describe(wave, sample_rate):
        heard = encoder.encode(wave, sample_rate, layer="all", pool="rows", hop_s=encoder.hop_s / N_HEARINGS)
        return heard.frames.mean(axis=1)

    return FunctionExtractor(f"{NAMES[row]}, heard often", describe, f"{N_HEARINGS} times; {encoder.identity}")


def _probed(
    every: dict[str, TaggedData], row: str, pool: str, vectors: Vectors, settings: ProtocolSettings, args
) -> list[Found]:
    found = []
    if vectors.n_layers == 1:
        settings = replace(settings, layers=None)
    for task, data in every.items():
        result, tests = probe_and_test(vectors, data, settings, said(f"{NAMES[row]}, {pool}, {task}: trainings"))
        found.append(Found(task, row, pool, result, tests))
    return found


def said(what: str):
    """Return a progress callback that says on stderr where things stand."""

    def tell(done: int, total: int) -> None:
        if done % 50 == 0 or done == total:
            sys.stderr.write(f"\r{what} {done} of {total}" + ("\n" if done == total else ""))

    return tell


def report(found: Sequence[Found], every: dict[str, TaggedData], settings: ProtocolSettings) -> str:
    """Return the tables."""
    main_table = {(one.task, one.row): one for one in found if one.pool == "mean"}
    parts = [headline(main_table, every, settings), "![Scores of each row](pictures/probes.png)"]
    parts += ["## Tasks", _tasks(every)]
    parts += ["## Results", _how_to_read(settings)]
    for task, data in every.items():
        parts += [f"### {task}", f"{data.notes.split(';')[0].capitalize()}.", _results(main_table, task, settings)]
    parts += ["## Pooling", _pools(found, every)]
    often = [one for one in found if one.pool == "often"]
    if often:
        parts += ["## Short recordings", _short(found)]
    parts += ["## Layers", _layers(main_table, every)]
    return "\n\n".join(parts) + "\n"


def metrics_of(data: TaggedData) -> tuple[str, str]:
    """Return the two scores that tell most: the one that chooses, and average precision."""
    return ("roc_auc", "average_precision") if data.multilabel else ("accuracy", "average_precision")


LONG = {"roc_auc": "ROC-AUC", "average_precision": "mAP", "accuracy": "accuracy"}


def _apart(found: dict, task: str, row: str, settings: ProtocolSettings) -> dict[str, Difference]:
    """Return how far the pretrained row is ahead of another one, over groups where they are known."""
    ours, theirs = found[task, "learned"], found[task, row]
    by_group = ours.tests[0].groups is not None
    return differences(ours.tests, theirs.tests, settings.n_resamples, settings.level, by_group=by_group)


def headline(found: dict, every: dict[str, TaggedData], settings: ProtocolSettings) -> str:
    """Return by how much the pretrained row is ahead of the best of the others, task by task."""
    head = ["task", "score", "pretrained", "best of the others", "ahead by", "ahead in", "of random weights by"]
    rows = []
    for task, data in every.items():
        for metric in metrics_of(data):
            rival = max(FREE, key=lambda row: found[task, row].result.scores[metric].mean)
            apart = _apart(found, task, rival, settings)[metric]
            random = _apart(found, task, "random", settings)[metric]
            ours, theirs = (found[task, row].result.scores[metric].mean for row in ("learned", rival))
            rows.append(
                [
                    task,
                    LONG[metric],
                    f"{100 * ours:.1f}",
                    f"{NAMES[rival]}, {100 * theirs:.1f}",
                    _signed(apart),
                    f"{100 * apart.ahead:.0f} %",
                    _signed(random),
                ]
            )
    return _table(head, rows)


def _signed(apart: Difference) -> str:
    low, high = (100 * edge for edge in apart.interval)
    return f"{100 * apart.mean:+.1f} [{low:+.1f}, {high:+.1f}]"


def _tasks(every: dict[str, TaggedData]) -> str:
    rows = []
    for task, data in every.items():
        sizes = [sum(clip.split == split for clip in data.clips) for split in ("train", "valid", "test")]
        tested = [clip for clip in data.clips if clip.split != "train"]
        groups = len({clip.group for clip in tested}) if tested[0].group else "not resampled"
        kind = "several labels" if data.multilabel else "one class"
        rows.append([task, f"{len(data.labels)}, {kind}", f"{sizes[0]}", f"{sizes[1]} + {sizes[2]}", f"{groups}"])
    return _table(["task", "labels", "clips to train", "clips tested", "groups tested"], rows)


def _how_to_read(settings: ProtocolSettings) -> str:
    return (
        f"In %: the mean of {settings.n_seeds} seeds ± their standard deviation, [the {100 * settings.level:g} % "
        "interval over groups of the tested clips], and how far the pretrained row is ahead, with the interval of that "
        "difference over the same resamples."
    )


def _results(found: dict, task: str, settings: ProtocolSettings) -> str:
    rows = []
    metrics = list(found[task, "learned"].result.scores)
    for row in ROWS:
        result = found[task, row].result
        apart = None if row == "learned" else _apart(found, task, row, settings)
        cells = [NAMES[row], " ".join(result.layers) if len(result.sweep) > 2 else ""]
        for metric in metrics:
            score = result.scores[metric]
            interval = score.over_groups or score.over_clips
            cells.append(
                f"{100 * score.mean:.1f} ± {100 * (score.std or 0):.1f} [{100 * interval.low:.1f}, "
                f"{100 * interval.high:.1f}]" + (f", {_signed(apart[metric])}" if apart else "")
            )
        rows.append(cells)
    return _table(["features", "layers", *(LONG[metric] for metric in metrics)], rows)


def _pools(found: Sequence[Found], every: dict[str, TaggedData]) -> str:
    scores = {(one.task, one.row, one.pool): one.result.scores for one in found}
    rows = [
        [f"{NAMES[row]}, {pool}", *(_two(scores[task, row, pool], data) for task, data in every.items())]
        for pool in ("mean", "rows")
        for row in ENCODERS
    ]
    return _table(["features, pool", *every], rows)


def _two(scores: dict, data: TaggedData) -> str:
    return " / ".join(f"{100 * scores[metric].mean:.1f}" for metric in metrics_of(data))


def _short(found: Sequence[Found]) -> str:
    rows = [
        [f"{NAMES[one.row]}, {'heard 8 times' if one.pool == 'often' else 'heard once'}", *_three(one.result)]
        for one in found
        if one.task == "digits" and one.pool in ("rows", "often")
    ]
    return _table(["features, rows side by side", "ROC-AUC", "mAP", "accuracy", "layers"], rows)


def _three(result: ProbeResult) -> list[str]:
    return [f"{100 * result.scores[name].mean:.1f}" for name in LONG if name in result.scores] + [
        " ".join(result.layers)
    ]


def _layers(found: dict, every: dict[str, TaggedData]) -> str:
    lines = []
    for task in every:
        for row in ENCODERS:
            by_layer: dict[str, list[float]] = {}
            for one in found[task, row].result.sweep:
                by_layer.setdefault(one.layer, []).append(one.valid)
            lines.append([f"{task}, {NAMES[row]}", *(f"{100 * sum(v) / len(v):.1f}" for v in by_layer.values())])
    return _table(["task, features", *(str(layer) for layer in range(len(lines[0]) - 1))], lines)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _write(args: argparse.Namespace, text: str, found: Sequence[Found], settings: ProtocolSettings) -> None:
    if args.json:
        args.json.write_text(
            json.dumps([{"row": one.row, "pool": one.pool, **one.result.to_dict()} for one in found], indent=1) + "\n",
            encoding="utf-8",
        )
    page = args.output.read_text(encoding="utf-8") if args.output.exists() else f"{BEGIN}{END}"
    before, rest = page.split(BEGIN)
    args.output.write_text(before + BEGIN + text + END + rest.split(END)[1], encoding="utf-8")
    draw({(one.task, one.row): one for one in found if one.pool == "mean"}, args.tasks, args.picture)


def draw(found: dict, tasks: Sequence[str], path: Path) -> None:
    """Draw a bar for each row of each task, with its interval over groups."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, every_axes = plt.subplots(2, 3, figsize=(13, 7.5), sharey=True, layout="constrained")
    rows = list(reversed(ROWS))
    for axes, task in zip(every_axes.flat, tasks, strict=False):
        scores = [found[task, row].result.scores["average_precision"] for row in rows]
        means = [100 * score.mean for score in scores]
        edges = [score.over_groups or score.over_clips for score in scores]
        low = [mean - 100 * edge.low for mean, edge in zip(means, edges, strict=True)]
        high = [100 * edge.high - mean for mean, edge in zip(means, edges, strict=True)]
        colours = [COLOURS.get(row, "#bbbbbb") for row in rows]
        axes.barh([NAMES[row] for row in rows], means, color=colours, height=0.75)
        axes.errorbar(
            means,
            range(len(rows)),
            xerr=[[max(0, v) for v in low], [max(0, v) for v in high]],
            fmt="none",
            ecolor="#222222",
            elinewidth=1,
            capsize=2,
        )
        axes.axvline(means[-1], color=COLOURS["learned"], linewidth=0.8, linestyle=":")
        n_tested = found[task, "learned"].result.n_test
        axes.set_title(f"{task}: {n_tested} clips tested", fontsize=10)
        axes.set_xlim(0, 100)
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
    figure.supxlabel("mean average precision, %, with 95 % intervals over groups of tested clips", fontsize=10)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    plt.close(figure)


if __name__ == "__main__":
    sys.exit(main())
