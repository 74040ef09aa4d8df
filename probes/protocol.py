"""From vectors and labels to a result: seeds, the layer chosen on the validation split, one look at the test.

The test chooses nothing: neither when training stops, nor which training of a grid, nor which layer.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from masktools.core.errors import ParameterError
from probes.data import Round, TaggedData
from probes.intervals import HeldOut, Interval, bootstrap_scores
from probes.linear import LinearProbe, mean_by_clip
from probes.presets import PRESETS, grid
from probes.results import LabelResult, LayerResult, ProbeResult, Score
from probes.scores import TagScores, accuracy, as_indicators, macro_roc_auc, score_tags
from probes.vectors import Vectors

Progress = Callable[[int, int], object]
"""Called with (trainings done, trainings in all)."""

_WEIGHTED = "weighted"


@dataclass(frozen=True)
class ProtocolSettings:
    """How vectors are probed."""

    preset: str = "paper"
    n_seeds: int = 5
    first_seed: int = 0
    layers: tuple[int, ...] | None = None  # that are tried, negative ones from the end; all if None
    n_trainings: int | None = None  # of the preset's grid; all if None
    max_epochs: int | None = None  # the preset's own if None
    n_resamples: int = 1000  # of the intervals; 0 for none
    level: float = 0.95  # of the intervals
    device: str = "cpu"

    def __post_init__(self) -> None:
        grid(self.preset)
        for name, least in (("n_seeds", 1), ("first_seed", 0), ("n_resamples", 0)):
            if getattr(self, name) < least:
                raise ParameterError(f"{name} must be at least {least}, got {getattr(self, name)}")
        if self.layers is not None and not self.layers:
            raise ParameterError("layers must name at least one layer, got none")
        if not 0 < self.level < 1:
            raise ParameterError(f"level must lie in (0, 1), got {self.level:g}")

    @property
    def seeds(self) -> range:
        """The seeds of the trainings."""
        return range(self.first_seed, self.first_seed + self.n_seeds)


class _Layer(NamedTuple):
    """One layer, or all of them for presets that weigh them, as what a probe reads."""

    name: str
    read: Callable[[], np.ndarray]  # -> (rows, d) or (rows, layers, d)


class _Outcome(NamedTuple):
    """One training."""

    valid: tuple[float, ...]  # what chooses, the first number first
    predicted: np.ndarray  # of the test's clips, (n, labels)


class _Task(NamedTuple):
    """One round of a data set; clips are places in ``vectors``, targets those of the clips of the data set."""

    round: Round
    vectors: Vectors
    place_of: np.ndarray  # clip of the data set -> clip of the vectors
    targets: np.ndarray
    n_labels: int

    def rows_of(self, clips: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return self.vectors.rows_of(self.place_of[clips])

    def tested(self, predicted: list[np.ndarray], groups: np.ndarray | None) -> HeldOut:
        test = self.round.test
        return HeldOut(self.targets[test], predicted, None if groups is None else groups[test])


def probe(
    vectors: Vectors, data: TaggedData, settings: ProtocolSettings | None = None, progress: Progress | None = None
) -> ProbeResult:
    """Return what a probe reads off the vectors of a data set.

    Clips without vectors are left out. Where a clip has several vectors, each trains with the clip's labels, and the
    clip's prediction is the mean of theirs.

    Args:
        vectors: of the clips; their keys are those of the data set.
        data: the clips with their labels and splits.
        settings: of the protocol; the paper's probe with five seeds if None.
        progress: called with (trainings done, trainings in all).

    Raises:
        ParameterError: no clip with vectors, a split without clips, a layer that is not there.
    """
    return probe_and_test(vectors, data, settings, progress)[0]


def probe_and_test(
    vectors: Vectors, data: TaggedData, settings: ProtocolSettings | None = None, progress: Progress | None = None
) -> tuple[ProbeResult, list[HeldOut]]:
    """Return what ``probe`` does, and what the probes of the chosen layers predicted for the test, round by round.

    Two results on the same clips can be compared clip by clip (``paired.differences``).

    Args:
        vectors: of the clips; their keys are those of the data set.
        data: the clips with their labels and splits.
        settings: of the protocol; the paper's probe with five seeds if None.
        progress: called with (trainings done, trainings in all).

    Raises:
        ParameterError: as ``probe``.
    """
    settings = settings or ProtocolSettings()
    known = data.only(vectors.keys)
    number = {key: place for place, key in enumerate(vectors.keys)}
    place_of = np.array([number[clip.key] for clip in known.clips])
    targets, groups = known.targets(), known.groups()
    tasks = [_Task(one, vectors, place_of, targets, len(known.labels)) for one in known.rounds()]
    layers = _layers(vectors, settings)
    best: list[tuple[str, list[_Outcome]]] = [("", [])] * len(tasks)
    sweep: list[LayerResult] = []
    n_done, n_all = 0, len(tasks) * len(layers) * settings.n_seeds
    for layer in layers:
        rows = layer.read()
        for place, task in enumerate(tasks):
            outcomes = []
            for seed in settings.seeds:
                outcomes.append(_train(task, rows, settings, seed))
                n_done += 1
                if progress is not None:
                    progress(n_done, n_all)
            sweep.append(_of_layer(task, layer.name, outcomes))
            if not best[place][0] or _worth(outcomes) > _worth(best[place][1]):
                best[place] = layer.name, outcomes
    tested = [
        task.tested([one.predicted for one in outcomes], groups)
        for task, (_, outcomes) in zip(tasks, best, strict=True)
    ]
    result = _result(vectors, known, settings, tasks, tested, tuple(sweep), tuple(name for name, _ in best))
    return result, tested


def _layers(vectors: Vectors, settings: ProtocolSettings) -> list[_Layer]:
    """Return the layers that are tried."""
    n_layers = vectors.n_layers
    for layer in settings.layers or ():
        if not -n_layers <= layer < n_layers:
            raise ParameterError(
                f"layers must lie in [{-n_layers}, {n_layers - 1}], got {layer}: {vectors.name} has {n_layers}"
            )
    places = range(n_layers) if settings.layers is None else [layer % n_layers for layer in settings.layers]
    numbers = list(dict.fromkeys(places))
    if grid(settings.preset)[0].weigh_layers and len(numbers) > 1:
        return [_Layer(_WEIGHTED, lambda: _together(vectors, numbers))]
    return [_Layer(str(number), lambda number=number: vectors.read(number)) for number in numbers]


def _together(vectors: Vectors, numbers: list[int]) -> np.ndarray:
    """Return several layers side by side, (rows, layers, d), without a second copy of them."""
    first = vectors.read(numbers[0])
    rows = np.empty((len(first), len(numbers), first.shape[1]), np.float32)
    for place, number in enumerate(numbers):
        rows[:, place] = vectors.read(number)
    return rows


def _train(task: _Task, rows: np.ndarray, settings: ProtocolSettings, seed: int) -> _Outcome:
    """Return how one training did on the validation split, and what it predicts for the test."""
    of_train, clip_of_train = task.rows_of(task.round.train)
    of_valid, clip_of_valid = task.rows_of(task.round.valid)
    of_test, clip_of_test = task.rows_of(task.round.test)
    labelled = LinearProbe(settings.preset, seed, settings.n_trainings, settings.max_epochs, settings.device).fit(
        rows[of_train],
        task.targets[task.round.train][clip_of_train],
        rows[of_valid],
        task.targets[task.round.valid],
        clip_of_valid,
    )
    valid = _predict(labelled, rows[of_valid], clip_of_valid, task.n_labels)
    predicted = _predict(labelled, rows[of_test], clip_of_test, task.n_labels)
    wanted = task.targets[task.round.valid]
    roc_auc = macro_roc_auc(as_indicators(wanted, task.n_labels), valid)
    return _Outcome((roc_auc,) if wanted.ndim == 2 else (accuracy(wanted, valid), roc_auc), predicted)


def _predict(labelled: LinearProbe, rows: np.ndarray, clip_of: np.ndarray, n_labels: int) -> np.ndarray:
    """Return the probability of each label of each clip; 0 for one that the training split lacks."""
    by_clip = mean_by_clip(labelled.predict_proba(rows), clip_of, int(clip_of[-1]) + 1)
    predicted = np.zeros((len(by_clip), n_labels))
    predicted[:, labelled.classes_] = by_clip
    return predicted


def _worth(outcomes: list[_Outcome]) -> tuple[float, ...]:
    return tuple(np.mean([one.valid for one in outcomes], axis=0))


def _of_layer(task: _Task, layer: str, outcomes: list[_Outcome]) -> LayerResult:
    scores = _test_scores(task.tested([one.predicted for one in outcomes], None))
    return LayerResult(
        task.round.name, layer, float(_worth(outcomes)[0]), {name: float(np.mean(of)) for name, of in scores.items()}
    )


def _test_scores(tested: HeldOut) -> dict[str, list[float]]:
    """Return the scores of one round, one for each seed."""
    every = [_tags(tested, predicted) for predicted in tested.predicted]
    scores = {
        "roc_auc": [one.roc_auc for one in every],
        "average_precision": [one.average_precision for one in every],
    }
    if tested.targets.ndim == 1:
        scores["accuracy"] = [accuracy(tested.targets, predicted) for predicted in tested.predicted]
    return scores


def _tags(tested: HeldOut, predicted: np.ndarray) -> TagScores:
    return score_tags(as_indicators(tested.targets, predicted.shape[1]), predicted)


def _result(
    vectors: Vectors,
    data: TaggedData,
    settings: ProtocolSettings,
    tasks: list[_Task],
    tested: list[HeldOut],
    sweep: tuple[LayerResult, ...],
    chosen: tuple[str, ...],
) -> ProbeResult:
    of_rounds = [_test_scores(one) for one in tested]
    over_clips = _intervals(tested, settings, by_group=False)
    over_groups = _intervals(tested, settings, by_group=True) if tested[0].groups is not None else {}
    scores = {
        name: Score.of(np.mean([one[name] for one in of_rounds], axis=0), over_clips.get(name), over_groups.get(name))
        for name in of_rounds[0]
    }
    labels, n_scored = _by_label(data.labels, tested)
    sizes = {part: sum(len(getattr(task.round, part)) for task in tasks) for part in ("train", "valid", "test")}
    return ProbeResult(
        name=vectors.name,
        data=data.name,
        preset=settings.preset,
        layers=chosen,
        scores=scores,
        sweep=sweep,
        labels=labels,
        n_train=sizes["train"],
        n_valid=sizes["valid"],
        n_test=sizes["test"],
        n_scored=n_scored,
        left_out=tuple({"key": one.key, "reason": one.reason} for one in vectors.left_out),
        protocol={
            "data": data.notes,
            "probe": PRESETS[settings.preset].about,
            "n_trainings_of_grid": settings.n_trainings or len(grid(settings.preset)),
            "max_epochs": settings.max_epochs,
            "seeds": list(settings.seeds),
            "rounds": [task.round.name for task in tasks],
            "chosen_by": "macro ROC-AUC on valid" if data.multilabel else "accuracy on valid",
            "n_resamples": settings.n_resamples,
            "level": settings.level,
            "vectors": vectors.about,
        },
    )


def _intervals(tested: list[HeldOut], settings: ProtocolSettings, by_group: bool) -> dict[str, Interval]:
    if settings.n_resamples == 0:
        return {}
    return bootstrap_scores(tested, settings.n_resamples, settings.level, by_group=by_group)


def _by_label(names: tuple[str, ...], tested: list[HeldOut]) -> tuple[tuple[LabelResult, ...], int]:
    """Return how each label was predicted, and how many labels every round could score."""
    every = [[_tags(one, predicted) for predicted in one.predicted] for one in tested]
    roc_auc = np.array([[tags.by_label_roc_auc for tags in seeds] for seeds in every])  # (rounds, seeds, labels)
    precision = np.array([[tags.by_label_average_precision for tags in seeds] for seeds in every])
    n_positive = np.sum([seeds[0].n_positive for seeds in every], axis=0)
    results = []
    for place, name in enumerate(names):
        found = np.isfinite(roc_auc[..., place])
        means = [float(of[..., place][found].mean()) if found.any() else None for of in (roc_auc, precision)]
        results.append(LabelResult(name, int(n_positive[place]), means[0], means[1]))
    return tuple(results), int(np.isfinite(roc_auc).all(axis=(0, 1)).sum())
