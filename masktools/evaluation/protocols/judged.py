"""What is measured of the sounds of several sets, brought together into figures by group."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import isfinite

from masktools.evaluation.protocols.sounds import Sound
from masktools.evaluation.report import Figure, Row
from masktools.evaluation.scores import Statistics
from masktools.metrics import Interval

__all__ = ["Groups", "Judged"]

Groups = Mapping[str, frozenset[tuple[str, str]]]
"""The kinds and origins of each group, by its name."""


@dataclass(eq=False)
class Judged:
    """Collects values of sounds, and figures of whole sets."""

    groups: Groups
    statistics: Statistics
    means: frozenset[str]  # measures that are averaged; of the others the median is taken
    rows: list[Row] = field(default_factory=list)
    figures: list[Figure] = field(default_factory=list)
    _embedders: list[str | None] = field(default_factory=list)  # of each row

    def add(
        self, sound: Sound, method: str, metric: str, value: float, embedder: str | None = None, case: str = ""
    ) -> None:
        """Add a value of a sound that is counted; what is not finite was not measured.

        Args:
            sound: which.
            method: the set that it is of.
            metric: the measure.
            value: its value.
            embedder: what it was measured with.
            case: what else was set.
        """
        if sound.counted and isfinite(value):
            self.rows.append(Row(sound.name, sound.kind, sound.origin, method, metric, float(value), case))
            self._embedders.append(embedder)

    def members(self, group: str, sounds: Sequence[Sound]) -> list[int]:
        """Return the places of the sounds that belong to a group."""
        return [place for place, sound in enumerate(sounds) if (sound.kind, sound.origin) in self.groups[group]]

    def add_set(
        self,
        group: str,
        method: str,
        metric: str,
        values: Interval | tuple[float, float | None, float | None],
        n: int,
        embedder: str | None = None,
    ) -> None:
        """Add a figure of a whole set.

        Args:
            group: which group.
            method: which set of it.
            metric: the measure.
            values: the value and its interval, or None for the ends where it has none.
            n: sounds of the set.
            embedder: what it was measured with.
        """
        value, low, high = values
        self.figures.append(Figure(group, method, metric, value, low, high, n, embedder, statistic="set"))

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
        """Return the values, the embedder's name beside the measure."""
        return tuple(
            row if embedder is None else replace(row, metric=f"{row.metric} [{embedder}]")
            for row, embedder in zip(self.rows, self._embedders, strict=True)
        )
