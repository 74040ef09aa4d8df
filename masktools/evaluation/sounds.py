"""The sets of recordings for the evaluation of generation, real and generated, and collection of their figures."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import isfinite
from typing import NamedTuple

import numpy as np
import torch

from masktools.evaluation.clips import Clip
from masktools.evaluation.common import Meter, batches, stacked
from masktools.evaluation.report import Figure, Row, groups_of
from masktools.evaluation.scores import Statistics
from masktools.metrics import Interval
from masktools.model import Model
from masktools.solver import Plan, derive_seed

ANY = "any"
"""Kind of sounds without a clip."""

_AT_ONCE = 16  # fixed, since the random numbers of a recording depend on it


@dataclass(frozen=True, eq=False)
class Sound:
    """A recording of a set."""

    name: str
    wave: np.ndarray  # (t,) float32
    kind: str = ANY
    origin: str = "real"  # of its clip
    prompt: int | None = None  # index of the text that describes it
    clip: int | None = None  # index of the clip that it is, or whose caption it was made from
    counted: bool = True  # whether its own values count; distances between sets take all sounds


class Prompt(NamedTuple):
    """A text, and the indices of the clips that it describes."""

    text: str
    clips: tuple[int, ...]


def prompts_of(clips: Sequence[Clip], texts: Sequence[str] = ()) -> list[Prompt]:
    """Return each different caption once, or given texts, with the clips whose caption it is."""
    found: dict[str, list[int]] = {text: [] for text in texts}
    for place, clip in enumerate(clips):
        if clip.caption and (not texts or clip.caption in found):
            found.setdefault(clip.caption, []).append(place)
    return [Prompt(text, tuple(places)) for text, places in found.items()]


def spread(clips: Sequence[Clip], chosen: Sequence[int], n: int | None, seed: int = 0) -> list[int]:
    """Return n of some indices of clips, in order, drawn at random, spread evenly over the groups; or all of them."""
    if n is None or n >= len(chosen):
        return list(chosen)
    rng = np.random.default_rng(seed)
    groups: dict[str, list[int]] = {}
    for place in chosen:
        groups.setdefault(clips[place].group, []).append(place)
    queues = [list(rng.permutation(groups[name])) for name in sorted(groups)]
    drawn: list[int] = []
    while len(drawn) < n:
        drawn += [int(queue.pop()) for queue in queues if queue]
    return sorted(drawn[:n])


def groups_with(clips: Sequence[Clip]) -> dict[str, frozenset[tuple[str, str]]]:
    """Return the kinds and origins of each group; the largest group of an origin includes sounds of no kind, too."""
    pairs = [(clip.kind, clip.origin) for clip in clips]
    groups = {name: frozenset(pairs[place] for place in places) for name, places in groups_of(pairs).items()}
    widest = {
        origin: max((name for name in groups if (origin in {o for _, o in groups[name]})), key=lambda n: len(groups[n]))
        for origin in {origin for _, origin in pairs}
    }
    return {
        name: members | {(ANY, origin) for origin, wide in widest.items() if wide == name}
        for name, members in groups.items()
    }


def fitted(wave: np.ndarray, n_samples: int) -> np.ndarray:
    """Return a wave (t,) of n samples: the middle of a longer one, or a shorter one repeated.

    >>> fitted(np.arange(5), 3), fitted(np.arange(2), 5)
    (array([1, 2, 3]), array([0, 1, 0, 1, 0]))
    """
    if len(wave) >= n_samples:
        start = (len(wave) - n_samples) // 2
        return wave[start : start + n_samples]
    return np.resize(wave, n_samples)


class Maker:
    """Makes recordings with a model: from prompts, unconditionally, and by reconstruction."""

    def __init__(
        self,
        model: Model,
        seconds: float | None,
        solver: Plan | None,
        seed: int,
        meter: Meter,
        n_candidates: int = 1,
    ) -> None:
        """Take the settings that all sets share.

        Args:
            model: the model.
            seconds: length of each recording in seconds; the model's window if None.
            solver: settings of the decoding; the model's own if None.
            seed: random seed.
            meter: counts recordings.
            n_candidates: candidates for each recording with a prompt.
        """
        self.model, self.seconds, self.solver, self.seed, self.meter = model, seconds, solver, seed, meter
        self.n_candidates = n_candidates

    @property
    def n_samples(self) -> int:
        """Length of generated sounds in samples."""
        window = self.model.pipeline.window_samples
        return window if self.seconds is None else max(1, round(self.seconds * self.model.sample_rate))

    def of_nothing(self, n: int) -> list[Sound]:
        """Return n unconditional recordings."""
        waves: list[np.ndarray] = []
        for start in range(0, n, _AT_ONCE):
            waves += self._generate(None, min(_AT_ONCE, n - start), start)
        return [Sound(f"sample {number}", wave) for number, wave in enumerate(waves, 1)]

    def of_prompts(
        self, prompts: Sequence[Prompt], chosen: Sequence[int], n_each: int, clips: Sequence[Clip]
    ) -> list[Sound]:
        """Return ``n_each`` recordings for each chosen prompt, assigned in turn to the clips that it describes."""
        made: list[Sound] = []
        for start in range(0, len(chosen), _AT_ONCE):
            part = chosen[start : start + _AT_ONCE]
            waves = self._generate([prompts[number].text for number in part], n_each, start)
            for index, wave in enumerate(waves):
                number, which = part[index // n_each], index % n_each
                text, places = prompts[number]
                sound = Sound(f"{text} ({which + 1})", wave, prompt=number)
                if places:
                    place = places[which % len(places)]
                    sound = replace(sound, kind=clips[place].kind, origin=clips[place].origin, clip=place)
                made.append(sound)
        return made

    def _generate(self, texts: list[str] | None, n_each: int, start: int) -> list[np.ndarray]:
        n = n_each * (1 if texts is None else len(texts))
        seed = derive_seed(self.seed, start)
        within = self.meter.within(n)
        made = {"seed": seed, "solver": self.solver, "n_candidates": 1 if texts is None else self.n_candidates}
        results = self.model.generate(texts, n_each, self.seconds, **made, progress=within)
        self.meter.step(n)
        return [result.samples for result in results]

    def of_recordings(self, sounds: Sequence[Sound]) -> list[Sound]:
        """Return recordings after tokenizer and vocoder: an upper bound on the quality of generated ones."""
        pipeline, made = self.model.pipeline, dict[int, Sound]()
        for part in batches(sounds, pipeline.batch_size):
            waves = torch.from_numpy(stacked(sounds, part))
            again = pipeline.decode(pipeline.encode(waves), waves.shape[1]).cpu().numpy()
            made |= {place: replace(sounds[place], wave=wave) for place, wave in zip(part, again, strict=True)}
            self.meter.step(len(part))
        return [made[place] for place in range(len(sounds))]


Groups = Mapping[str, frozenset[tuple[str, str]]]
"""Kinds and origins of each group, by its name."""


@dataclass(eq=False)
class Results:
    """Collects values of sounds, and figures of whole sets."""

    groups: Groups
    statistics: Statistics
    means: frozenset[str]  # measures that are averaged; others are summarised by the median
    rows: list[Row] = field(default_factory=list)
    figures: list[Figure] = field(default_factory=list)
    _embedders: list[str | None] = field(default_factory=list)  # of each row

    def add(
        self, sound: Sound, method: str, values: Mapping[str, float], embedder: str | None = None, case: str = ""
    ) -> None:
        """Add the values of a counted sound, by measure; values that are not finite count as missing.

        Args:
            sound: sound of the values.
            method: set of the sound.
            values: measure -> value.
            embedder: embedder of the values, if any.
            case: further settings.
        """
        for metric, value in values.items():
            if sound.counted and isfinite(value):
                self.rows.append(Row(sound.name, sound.kind, sound.origin, method, metric, float(value), case))
                self._embedders.append(embedder)

    def members(self, group: str, sounds: Sequence[Sound]) -> list[int]:
        """Return the indices of the sounds that belong to a group."""
        return [place for place, sound in enumerate(sounds) if (sound.kind, sound.origin) in self.groups[group]]

    def add_set(
        self,
        group: str,
        method: str,
        metric: str,
        value: float | Interval | tuple[float, float | None, float | None],
        n: int,
        embedder: str | None = None,
    ) -> None:
        """Add a figure of a whole set.

        Args:
            group: name of the group.
            method: name of the set.
            metric: name of the measure.
            value: value of the measure, with its interval if it has one.
            n: number of sounds in the set.
            embedder: embedder of the value, if any.
        """
        ends = value if isinstance(value, tuple) else (float(value), None, None)
        self.figures.append(Figure(group, method, metric, *ends, n, embedder, statistic="set"))

    def all_figures(self) -> tuple[Figure, ...]:
        """Return the figures of values and of sets, group by group."""
        figures: list[Figure] = []
        means = sorted(self.means)
        for group, members in self.groups.items():
            for embedder in dict.fromkeys(self._embedders):
                chosen = [
                    replace(row, kind=group, origin="real")
                    for row, own in zip(self.rows, self._embedders, strict=True)
                    if own == embedder and (row.kind, row.origin) in members
                ]
                figures += [replace(one, embedder=embedder) for one in self.statistics.summary(chosen, means)]
            figures += [figure for figure in self.figures if figure.group == group]
        return tuple(figures)

    def named_rows(self) -> tuple[Row, ...]:
        """Return the values with the embedder's name after the measure."""
        return tuple(
            row if embedder is None else replace(row, metric=f"{row.metric} [{embedder}]")
            for row, embedder in zip(self.rows, self._embedders, strict=True)
        )
