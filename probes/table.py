"""Results as a table for people, Markdown, and as JSON for programs; ours beside those that others published."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from probes.results import ProbeResult, Score

_METRICS = {"roc_auc": "ROC-AUC", "average_precision": "mAP", "accuracy": "accuracy"}


@dataclass(frozen=True)
class Published:
    """A row of somebody else's table, with what is known of how it came about."""

    name: str
    roc_auc: float | None  # %
    average_precision: float | None  # %
    protocol: str
    accuracy: float | None = None  # %


def to_json(
    results: Sequence[ProbeResult], published: Sequence[Published] = (), run: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Return everything: scores as shares of 1 for ours, as percentages for what was published.

    Args:
        results: ours.
        published: of others, on the same data.
        run: how ours were made: the command, versions.
    """
    return {
        "format": 1,
        "run": run or {},
        "results": [result.to_dict() for result in results],
        "published_percent": [asdict(row) for row in published],
    }


def to_markdown(
    results: Sequence[ProbeResult], published: Sequence[Published] = (), run: dict[str, Any] | None = None
) -> str:
    """Return the tables: results, those of others, the sweep of layers, the labels of the first row; and the protocol.

    Args:
        results: ours, of one data set.
        published: of others, on the same data.
        run: how ours were made.
    """
    parts = [f"# {results[0].data}", _results(results), _how_to_read(results[0])]
    if published:
        parts += ["## Published", _published(published, results[0])]
    if any(len(result.sweep) > len(result.layers) for result in results):
        parts += ["## Layers", _sweep(results)]
    parts += ["## Labels", f"Of the first row, {results[0].name}.", _labels(results[0])]
    parts += ["## Protocol", _protocol(results)]
    if run:
        parts += ["## Run", "\n".join(f"- {key}: {_told(value)}" for key, value in run.items())]
    return "\n\n".join(parts) + "\n"


def _results(results: Sequence[ProbeResult]) -> str:
    metrics = list(results[0].scores)
    head = ["features", "probe", "layer", *(_METRICS[name] for name in metrics), "labels scored", "clips tested"]
    rows = [
        [
            result.name,
            result.preset,
            " ".join(dict.fromkeys(result.layers)),
            *(_score(result.scores[name]) for name in metrics),
            f"{result.n_scored} of {len(result.labels)}",
            f"{result.n_test:,}",
        ]
        for result in results
    ]
    return _table(head, rows)


def _how_to_read(result: ProbeResult) -> str:
    protocol = result.protocol
    n_seeds = len(protocol["seeds"])
    told = [f"In %, the mean of {n_seeds} seeds ± their standard deviation" if n_seeds > 1 else "In %, of one seed"]
    score = next(iter(result.scores.values()))
    if score.over_clips:
        told.append(f"then the {100 * protocol['level']:g} % interval over clips of the test")
    if score.over_groups:
        told.append("then that over their groups (artists, speakers, sources)")
    return "; ".join(told) + "."


def _score(score: Score) -> str:
    text = f"{100 * score.mean:.1f}" + ("" if score.std is None else f" ± {100 * score.std:.1f}")
    for interval in (score.over_clips, score.over_groups):
        text += "" if interval is None else f" [{100 * interval.low:.1f}, {100 * interval.high:.1f}]"
    return text


def _published(published: Sequence[Published], result: ProbeResult) -> str:
    names = list(result.scores)
    head = ["features", *(_METRICS[name] for name in names), "protocol"]
    return _table(
        head, [[row.name, *(_percent(getattr(row, name)) for name in names), row.protocol] for row in published]
    )


def _percent(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"


def _sweep(results: Sequence[ProbeResult]) -> str:
    metrics = list(results[0].scores)
    head = ["features", "probe", "round", "layer", "valid", *(f"test {_METRICS[name]}" for name in metrics), ""]
    rows = []
    for result in results:
        chosen = dict(zip(result.protocol["rounds"], result.layers, strict=True))
        for one in result.sweep:
            mark = "chosen" if chosen[one.round] == one.layer else ""
            scores = [f"{100 * one.test[name]:.1f}" for name in metrics]
            rows.append([result.name, result.preset, one.round, one.layer, f"{100 * one.valid:.1f}", *scores, mark])
    return f"The layer is chosen by {results[0].protocol['chosen_by']}.\n\n" + _table(head, rows)


def _labels(result: ProbeResult) -> str:
    rows = [
        [one.label, f"{one.n_positive:,}", _share(one.roc_auc), _share(one.average_precision)]
        for one in sorted(result.labels, key=lambda one: -one.n_positive)
    ]
    return _table(["label", "clips of the test", "ROC-AUC", "AP"], rows)


def _share(value: float | None) -> str:
    return "not scored" if value is None else f"{100 * value:.1f}"


def _protocol(results: Sequence[ProbeResult]) -> str:
    first = results[0]
    lines = [
        f"- data: {first.protocol['data'] or first.data}",
        f"- clips to train, validate and test, over all rounds: {first.n_train:,} / {first.n_valid:,} / "
        f"{first.n_test:,}",
        *(f"- probe {name}: {about}" for name, about in {one.preset: one.protocol["probe"] for one in results}.items()),
        f"- layer, grid and stopping: {first.protocol['chosen_by']}; the test chooses nothing",
        "- a label that the test lacks, or that all its clips have, counts in neither macro average",
    ]
    for result in results:
        about = result.protocol["vectors"]
        told = ", ".join(f"{key} {_told(about[key])}" for key in about if about[key] is not None)
        lines.append(f"- vectors of {result.name}: {told}")
        if result.left_out:
            lines.append(f"- left out of {result.name}: {len(result.left_out)} clips that could not be read")
    return "\n".join(dict.fromkeys(lines))


def _told(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_told(one)}" for key, one in value.items())
    return " ".join(str(value).split())


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |" for line in lines)
