"""Cost of the points of a sweep, their Pareto frontier of cost and quality, and the loss of the cheap ones."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import hypot, isfinite

from masktools.errors import ParameterError
from masktools.evaluation.report import Figure
from masktools.pipeline import Pipeline
from masktools.solver import SolveResult

COST = "forwards"
"""The measure of cost: full forwards of the transformer per decoded window, passes of the guidance counted singly."""

DIRECTIONS = {
    "fad": -1,
    "kad": -1,
    "kid": -1,
    "kl": -1,
    "lsd_db": -1,
    "lsd_hi_db": -1,
    "mel_l1": -1,
    "third_octave_db": -1,
    "ndb_share": -1,
    "caption_rank": -1,
    "text_score": 1,
    "caption_r1": 1,
    "caption_r5": 1,
    "probe_top1": 1,
    "inception_score": 1,
}
"""The measures of quality: 1 where more is better, -1 where less is."""

Measure = tuple[str, str, str, str | None]
"""Group, case, measure and the name of the embedder."""


@dataclass
class Spending:
    """Cost of decodings so far."""

    n_windows: int = 0
    forwards: float = field(default=0.0)

    def __call__(self, result: SolveResult) -> None:
        """Add a decoding."""
        self.n_windows += len(result.tokens)
        self.forwards += result.work * len(result.tokens)

    def figures(self, method: str) -> tuple[Figure, ...]:
        """Return the cost of a window on average; nothing where nothing was decoded."""
        if not self.n_windows:
            return ()
        each = self.forwards / self.n_windows
        return (Figure("cost", method, COST, each, None, None, self.n_windows, statistic="mean"),)


@contextmanager
def counting(pipeline: Pipeline) -> Iterator[Spending]:
    """Count what is decoded inside the block."""
    spending, before = Spending(), pipeline.on_solved
    pipeline.on_solved = spending
    try:
        yield spending
    finally:
        pipeline.on_solved = before


@dataclass(frozen=True)
class Priced:
    """A point of a sweep by one measure."""

    name: str
    cost: float  # forwards per window
    figure: Figure
    best: bool = False  # whether no other point is as cheap and as good, and better in one of the two

    @property
    def value(self) -> float:
        """Value of the measure."""
        return self.figure.value


def priced(points: Sequence[tuple[str, Sequence[Figure]]], measure: Measure, method: str = "model") -> list[Priced]:
    """Return the points that have a cost and a value by a measure, those on the frontier marked.

    Args:
        points: names and figures.
        measure: group, case, measure and embedder; the measure is one of ``DIRECTIONS``.
        method: which method of the protocol.

    Raises:
        ParameterError: a measure of no quality.
    """
    metric = measure[2]
    if metric not in DIRECTIONS:
        raise ParameterError(f"the measure must be one of {', '.join(DIRECTIONS)}, got {metric!r}")
    found = []
    for name, figures in points:
        costs = [one.value for one in figures if one.metric == COST]
        values = [
            one
            for one in figures
            if one.method == method and (one.group, one.case, one.metric, one.embedder) == measure
        ]
        if costs and values and isfinite(values[0].value):
            found.append(Priced(name, costs[0], values[0]))
    best = frontier([(one.cost, one.value) for one in found], DIRECTIONS[metric])
    return [Priced(one.name, one.cost, one.figure, number in best) for number, one in enumerate(found)]


def frontier(pairs: Sequence[tuple[float, float]], direction: int) -> list[int]:
    """Return the places of the pairs of cost and value that no other beats, from the cheapest on.

    Args:
        pairs: cost and value.
        direction: 1 if higher values are better, -1 if lower ones are.

    >>> frontier([(30, 1.0), (16, 1.1), (20, 1.3)], direction=-1)
    [1, 0]
    """
    best: list[int] = []
    for place in sorted(range(len(pairs)), key=lambda place: (pairs[place][0], -direction * pairs[place][1])):
        if not best or direction * pairs[place][1] > direction * pairs[best[-1]][1]:
            best.append(place)
    return best


def loss_lines(points: Sequence[tuple[str, Sequence[Figure]]], measures: Sequence[Measure], base: str) -> list[str]:
    """Return a table in Markdown: by each measure, what each point costs and loses against one of them.

    A loss is within noise where it is less than the root of the sum of squares of what the two intervals reach towards
    each other. With repeats these are of the decoding's own randomness; without, of the clips, which the points share,
    and then they are too wide.

    Args:
        points: names and figures.
        measures: group, case, measure and embedder of each table row.
        base: name of the point that the others are compared with.
    """
    lines = ["| measure | settings | forwards | value | worse by | |", "|---|---|---|---|---|---|"]
    for measure in measures:
        rows = priced(points, measure)
        own = next((row for row in rows if row.name == base), None)
        if own is None:
            continue
        for row in rows:
            loss = DIRECTIONS[measure[2]] * (own.value - row.value) + 0.0  # no minus before nothing
            about = ", ".join(filter(None, (measure[2], measure[0], measure[1], measure[3])))
            verdict = _verdict(own.figure, row.figure, loss) if row is not own else "what it is compared with"
            marked = f"**{row.name}**" if row.best else row.name
            value = f"{row.value:.4g}{_interval(row.figure)}"
            lines.append(f"| {about} | {marked} | {row.cost:.2f} | {value} | {loss:+.3g} | {verdict} |")
    return [
        *lines,
        "",
        "Settings in bold are on the frontier: no other is as cheap and better, or as good and cheaper.",
    ]


def _interval(figure: Figure) -> str:
    return "" if figure.low is None or figure.high is None else f" [{figure.low:.4g}, {figure.high:.4g}]"


def _verdict(own: Figure, other: Figure, loss: float) -> str:
    """Return in words whether a loss can be told from noise."""
    low, high = (own, other) if own.value <= other.value else (other, own)
    if low.high is None or high.low is None:
        return "no intervals"
    if abs(loss) <= hypot(max(0.0, low.high - low.value), max(0.0, high.value - high.low)):
        return "within noise"
    return "worse" if loss > 0 else "better"
