"""Probe the bundled model and its baselines on the labels of a manifest, and write the tables of docs/probes.md.

Usage: python docs/measure_probes.py MANIFEST [--model mini] [--tasks A,B] [--presets logistic,paper] [--seeds 5]
           [--layers N,N] [--cache DIR] [-o docs/probes.md] [--picture docs/pictures/probes.png] [--json FILE]

MANIFEST is that of the recordings the model was trained on, whose splits valid and test it has not heard. Vectors of
all recordings are computed once and kept in the cache; then each row is probed on each task, by the protocol of
`python -m probes.run`, and compared with the pretrained row clip by clip. Prints what it writes between the marks of
the page. The pretrained model and those of random weights hear a recording four times, and have the mean and the
standard deviation of each row of tokens over time, as the statistics of mel bands and of MFCCs are both; their layer is
chosen on the validation clips.
"""

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from masktools.extraction import Worker
from probes.baselines import TITLES
from probes.data import TaggedData
from probes.datasets.labels import TASKS, read_labels
from probes.features import vectors_of
from probes.intervals import HeldOut
from probes.paired import Difference, differences
from probes.protocol import ProtocolSettings, probe_and_test
from probes.results import ProbeResult, Score
from probes.rows import extractors
from probes.vectors import Vectors

BEGIN, END = "<!-- measured: begin -->\n", "<!-- measured: end -->\n"
BASELINES = ("mel", "mel-stats", "mfcc", "codes", "codes-rows", "random")
TOKENIZER = "untrained"  # what is left of pretraining where only the transformer's is undone
LABELLED = ("conditioner", "condition")  # made by, or with, what was trained on captions made from these labels
ROWS = ("learned", *BASELINES, TOKENIZER, *LABELLED)
ENCODERS = ("learned", "random", "untrained", "condition")
NAMES = {"learned": "pretrained", "condition": "pretrained, conditioner as prefix", **TITLES}
SCORES = {"roc_auc": "ROC-AUC", "average_precision": "mAP", "accuracy": "accuracy"}
COLOURS = {"learned": "#0072b2", "condition": "#8cc5e8", "conditioner": "#e3b5cf"}
POOL, HOP_S = "rows_std", 0.05  # of the encoders: a quarter of a column
PLAINER = {"mean": ("mean", None), "rows and deviations": (POOL, None), "mean, four times": ("mean", HOP_S)}
Watch = Callable[[int, int], None]


@dataclass(frozen=True)
class Found:
    """What came out for one row on one task."""

    task: str
    row: str
    how: str  # the preset, or one of ``PLAINER``
    result: ProbeResult
    tests: list[HeldOut]


Board = Mapping[tuple[str, str, str], Found]
"""(how, task, row) -> what came out."""


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, and write the page."""
    args = _arguments(argv)
    every = {task: read_labels(args.manifest, task) for task in args.tasks}
    union = _union(list(every.values()))
    worker = Worker(args.model, threads=args.threads)
    exact = ProtocolSettings("logistic", 1, layers=None, n_resamples=args.resamples)
    drawn = ProtocolSettings("paper", args.seeds, layers=args.layers, n_resamples=args.resamples)
    found: list[Found] = []
    for row in ROWS:
        vectors = _vectors(union, worker, row, args, *((POOL, HOP_S) if row in ENCODERS else ()))
        if "logistic" in args.presets:
            found += _probed(every, row, "logistic", vectors, exact)
        if "paper" in args.presets:
            found += _probed(every, row, "paper", vectors, drawn)
    for how, (pool, hop_s) in PLAINER.items() if "logistic" in args.presets else ():
        found += _probed(every, "learned", how, _vectors(union, worker, "learned", args, pool, hop_s), exact)
    board = {(one.how, one.task, one.row): one for one in found}
    text = report(board, every, {"logistic": exact, "paper": drawn})
    print(text)
    _write(args, text, board, every)
    return 0


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    def names(text: str) -> list[str]:
        return text.split(",")

    here = Path(__file__).parent
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--model", default="mini")
    parser.add_argument("--tasks", type=names, default=list(TASKS))
    parser.add_argument("--presets", type=names, default=["logistic", "paper"])
    parser.add_argument("--seeds", type=int, default=5, help="of the probe paper")
    parser.add_argument("--layers", type=lambda text: tuple(map(int, names(text))), help="of the probe paper; else all")
    parser.add_argument("--resamples", type=int, default=2000)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--cache", type=Path, default=Path("runs/probes"))
    parser.add_argument("-o", "--output", type=Path, default=here / "probes.md")
    parser.add_argument("--picture", type=Path, default=here / "pictures" / "probes.png")
    parser.add_argument("--json", type=Path)
    return parser.parse_args(argv)


def _union(every: Sequence[TaggedData]) -> TaggedData:
    """Return all recordings of some tasks as one data set, whose vectors serve all of them."""
    clips = {clip.key: replace(clip, labels=(0,)) for data in every for clip in data.clips}
    return TaggedData("recordings", tuple(clips.values()), ("any",), True)


def _vectors(
    data: TaggedData, worker: Worker, row: str, args: argparse.Namespace, pool: str = "mean", hop_s: float | None = None
) -> Vectors:
    (extractor,) = extractors([row], worker, pool, hop_s=hop_s)
    return vectors_of(data, extractor, args.cache, said(f"{extractor.name}: recordings"))


def _probed(
    every: Mapping[str, TaggedData], row: str, how: str, vectors: Vectors, settings: ProtocolSettings
) -> list[Found]:
    own = settings if vectors.n_layers > 1 else replace(settings, layers=None)
    found = []
    for task, data in every.items():
        result, tests = probe_and_test(vectors, data, own, said(f"{NAMES[row]}, {how}, {task}: trainings"))
        found.append(Found(task, row, how, result, tests))
    return found


def said(what: str) -> Watch:
    """Return a progress callback that says on stderr where things stand."""

    def tell(done: int, total: int) -> None:
        if done % 50 == 0 or done == total:
            sys.stderr.write(f"\r{what} {done} of {total}" + ("\n" if done == total else ""))

    return tell


def report(board: Board, every: Mapping[str, TaggedData], settings: Mapping[str, ProtocolSettings]) -> str:
    """Return the tables."""
    presets = [preset for preset in settings if any(how == preset for how, *_ in board)]
    parts = []
    for preset in presets:
        parts += [f"## How far ahead, by the probe `{preset}`", _headline(board, every, settings[preset])]
    parts += ["![Scores of each row](pictures/probes.png)", "## Tasks", _tasks(every)]
    for preset in presets:
        parts += [f"## All rows, by the probe `{preset}`", _how_to_read(settings[preset])]
        for task, data in every.items():
            parts += [f"### {task}", f"{data.notes.split(';')[0].capitalize()}.", _rows(board, task, settings[preset])]
    if "logistic" in presets:
        parts += ["## How recordings are heard: the pretrained model, by the probe `logistic`", _plainer(board, every)]
    for preset in presets:
        parts += [f"## Layers, by the probe `{preset}`", _layers(board, every, preset)]
    return "\n\n".join(parts) + "\n"


def metrics_of(data: TaggedData) -> tuple[str, str]:
    """Return the two scores that tell most: the one that chooses, and average precision."""
    return ("roc_auc", "average_precision") if data.multilabel else ("accuracy", "average_precision")


def _apart(board: Board, task: str, row: str, settings: ProtocolSettings) -> dict[str, Difference]:
    """Return how far the pretrained row is ahead of another one, over groups where they are known."""
    ours, theirs = (board[settings.preset, task, one] for one in ("learned", row))
    by_group = ours.tests[0].groups is not None
    return differences(ours.tests, theirs.tests, settings.n_resamples, settings.level, by_group=by_group)


def _headline(board: Board, every: Mapping[str, TaggedData], settings: ProtocolSettings) -> str:
    lines = []
    for task, data in every.items():
        apart = {row: _apart(board, task, row, settings) for row in (*BASELINES, TOKENIZER)}
        for metric in metrics_of(data):
            results = {row: board[settings.preset, task, row].result for row in ("learned", *BASELINES)}
            score = {row: 100 * result.scores[metric].mean for row, result in results.items()}
            rival = max(BASELINES, key=lambda row: score[row])
            ahead = (_signed(apart[row][metric]) for row in (rival, "random", TOKENIZER))
            lines.append(
                [task, SCORES[metric], f"{score['learned']:.1f}", f"{NAMES[rival]}, {score[rival]:.1f}", *ahead]
            )
    columns = ("best of the baselines", "ahead of it", "of random weights", "of those with codes")
    return _table(["task", "score", "pretrained", *columns], lines)


def _signed(apart: Difference) -> str:
    low, high = (100 * edge for edge in apart.interval)
    text = f"{100 * apart.mean:+.1f} [{low:+.1f}, {high:+.1f}]"
    return f"**{text}**" if low > 0 else text


def _tasks(every: Mapping[str, TaggedData]) -> str:
    lines = []
    for task, data in every.items():
        rounds = list(data.rounds())
        tested = [data.clips[place] for one in rounds for place in one.test]
        groups = str(len({clip.group for clip in tested})) if tested[0].group else "too few"
        kind = "several labels" if data.multilabel else "one class"
        sizes = " + ".join(str(len(one.test)) for one in rounds)
        lines.append([task, f"{len(data.labels)}, {kind}", str(len(rounds[0].train)), sizes, groups])
    return _table(["task", "labels", "clips to train", "clips tested", "groups tested"], lines)


def _how_to_read(settings: ProtocolSettings) -> str:
    seeds = f"the mean of {settings.n_seeds} seeds ± their standard deviation, " if settings.n_seeds > 1 else ""
    return (
        f"In %: {seeds}[the {100 * settings.level:g} % interval over groups of the tested clips, or over clips where "
        "there are too few], and how far the pretrained row is ahead, with the interval of that difference over the "
        "same resamples."
    )


def _rows(board: Board, task: str, settings: ProtocolSettings) -> str:
    lines = []
    metrics = list(board[settings.preset, task, "learned"].result.scores)
    for row in ROWS:
        result = board[settings.preset, task, row].result
        apart = None if row == "learned" else _apart(board, task, row, settings)
        cells = [NAMES[row], _chosen(result)]
        for metric in metrics:
            cells.append(_score(result.scores[metric]) + (f", {_signed(apart[metric])}" if apart else ""))
        lines.append(cells)
    return _table(["features", "layers", *(SCORES[metric] for metric in metrics)], lines)


def _chosen(result: ProbeResult) -> str:
    """Return the layers that were chosen, one for each round, where there was a choice."""
    return "" if len(result.sweep) == len(result.layers) else " ".join(result.layers)


def _score(score: Score) -> str:
    interval = score.over_groups or score.over_clips
    spread = "" if score.std is None else f" ± {100 * score.std:.1f}"
    edges = "" if interval is None else f" [{100 * interval.low:.1f}, {100 * interval.high:.1f}]"
    return f"{100 * score.mean:.1f}{spread}{edges}"


def _plainer(board: Board, every: Mapping[str, TaggedData]) -> str:
    """Return what each way to hear a recording and to pool its vectors gives."""
    ways = (*PLAINER, "logistic")
    lines = []
    for task, data in every.items():
        for metric in metrics_of(data):
            scores = [board[way, task, "learned"].result.scores[metric].mean for way in ways]
            lines.append([task, SCORES[metric], *(f"{100 * score:.1f}" for score in scores)])
    return _table(["task", "score", *PLAINER, "rows and deviations, four times"], lines)


def _layers(board: Board, every: Mapping[str, TaggedData], preset: str) -> str:
    """Return what chooses, layer by layer: the mean over rounds of the score of the validation clips."""
    lines: list[list[str]] = []
    numbers: list[str] = []
    for task in every:
        for row in ENCODERS[:-1]:
            by_layer: dict[str, list[float]] = {}
            for one in board[preset, task, row].result.sweep:
                by_layer.setdefault(one.layer, []).append(one.valid)
            numbers = list(by_layer)
            means = (f"{100 * sum(found) / len(found):.1f}" for found in by_layer.values())
            lines.append([task, NAMES[row], *means])
    return _table(["task", "features", *(f"layer {number}" for number in numbers)], lines)


def _table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(line)} |" for line in (head, ["---"] * len(head), *lines))


def _write(args: argparse.Namespace, text: str, board: Board, every: Mapping[str, TaggedData]) -> None:
    if args.json:
        told = [{"row": one.row, "how": one.how, **one.result.to_dict()} for one in board.values()]
        args.json.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    page = args.output.read_text(encoding="utf-8") if args.output.exists() else f"{BEGIN}{END}"
    before, rest = page.split(BEGIN)
    args.output.write_text(before + BEGIN + text + END + rest.split(END)[1], encoding="utf-8")
    draw(board, every, args.presets[0], args.picture)


def draw(board: Board, every: Mapping[str, TaggedData], preset: str, path: Path) -> None:
    """Draw a bar for each row of each task, with its interval."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    n_columns = min(3, len(every))
    n_lines = -(-len(every) // n_columns)
    figure, grid = plt.subplots(
        n_lines, n_columns, figsize=(1.5 + 3.9 * n_columns, 0.6 + 3.2 * n_lines), sharey=True, squeeze=False,
        layout="constrained",
    )  # fmt: skip
    rows = list(reversed(ROWS))
    for axes, (task, data) in zip(grid.flat, every.items(), strict=False):
        scores = [board[preset, task, row].result.scores["average_precision"] for row in rows]
        means = [100 * score.mean for score in scores]
        edges = [score.over_groups or score.over_clips or (score.mean, score.mean) for score in scores]
        errors = [
            [max(0.0, mean - 100 * edge[0]) for mean, edge in zip(means, edges, strict=True)],
            [max(0.0, 100 * edge[1] - mean) for mean, edge in zip(means, edges, strict=True)],
        ]
        axes.barh(range(len(rows)), means, color=[COLOURS.get(row, "#bdbdbd") for row in rows], height=0.72)
        axes.errorbar(means, range(len(rows)), xerr=errors, fmt="none", ecolor="#333333", elinewidth=0.9, capsize=2)
        axes.axvline(means[-1], color=COLOURS["learned"], linewidth=0.9, linestyle=(0, (4, 3)))
        axes.set_yticks(range(len(rows)), [NAMES[row] for row in rows], fontsize=9)
        n_tested = sum(len(one.test) for one in data.rounds())
        axes.set_title(f"{task}: {len(data.labels)} labels, {n_tested} clips tested", fontsize=10)
        axes.set_xlim(0, 100)
        axes.spines[["top", "right"]].set_visible(False)
    for axes in list(grid.flat)[len(every) :]:
        axes.set_visible(False)
    figure.supxlabel("mean average precision in %, with the 95 % interval over the tested recordings", fontsize=9)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    plt.close(figure)


if __name__ == "__main__":
    sys.exit(main())
