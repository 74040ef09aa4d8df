"""The figures by which one model is set beside another: what each reaches, with its interval, and what is wanted."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from masktools.evaluation.report import Figure, Report

__all__ = ["TARGETS", "Target", "targets_table"]

_ALL = "all, real"


@dataclass(frozen=True)
class Target:
    """One figure of a report, and what is wanted of it."""

    name: str
    protocol: str
    method: str
    metric: str
    case: str = ""
    group: str = _ALL  # or the only group of real recordings there is
    embedder: str | None = None  # how its name begins
    at_least: float | None = None
    at_most: float | None = None

    def figure(self, report: Report) -> Figure | None:
        """Return the figure of a report; None where it has none."""
        there = {one.group for one in report.figures}
        group = self.group
        if group == _ALL and group not in there:  # a single kind of recordings
            kinds = sorted(name for name in there if ", " not in name)
            group = kinds[0] if len(kinds) == 1 else group
        for one in report.figures:
            if (one.group, one.method, one.metric, one.case) == (group, self.method, self.metric, self.case) and (
                (one.embedder is None) if self.embedder is None else (one.embedder or "").startswith(self.embedder)
            ):
                return one
        return None

    def holds(self, value: float) -> bool:
        """Tell whether a value is what is wanted."""
        above = self.at_least is None or value >= self.at_least
        return above and (self.at_most is None or value <= self.at_most)

    @property
    def wanted(self) -> str:
        """What is wanted, in words."""
        if self.at_least is not None and self.at_most is not None:
            return f"{self.at_least:g} to {self.at_most:g}"
        return f">= {self.at_least:g}" if self.at_least is not None else f"<= {self.at_most:g}"


_GAP, _BAND = "1000 ms", "above 4000 Hz"

TARGETS = (
    Target(
        "true tokens of 1 s gaps, rendered: third-octave error in music, dB",
        "inpaint", "true_tokens", "third_octave_db", _GAP, "music", at_most=5.0,
    ),
    Target(
        "masked cross-entropy, smoothed, a quarter masked, nats",
        "transformer", "transformer", "smoothed_cross_entropy", "ratio 0.25", at_most=5.2,
    ),
    Target(
        "masked cross-entropy, smoothed, 1 s gaps, nats",
        "transformer", "transformer", "smoothed_cross_entropy", "gap 1000 ms", at_most=5.5,
    ),
    Target(
        "true token first of all codes, 1 s gaps",
        "transformer", "transformer", "first_right", "gap 1000 ms", at_least=0.08,
    ),
    Target("band above 4 kHz: FAD, default texture", "bwe", "model", "fad", _BAND, embedder="aisfx", at_most=4.0),
    Target(
        "band above 4 kHz: FAD, the model's own texture", "bwe", "model_alone", "fad", _BAND,
        embedder="aisfx", at_most=6.0,
    ),
    Target("generation: FAD of clips", "generate", "model", "fad_clips", embedder="aisfx", at_most=35.0),
    Target("generation: FAD of clips", "generate", "model", "fad_clips", embedder="musicnn", at_most=13.0),
    Target(
        "generation: own clip among the nearest five", "generate", "model", "clip_r5", embedder="aisfx", at_least=0.45
    ),
    *(
        Target(
            f"generation: level against the real clips, {kind}, dB", "generate", "model", "level_error_db",
            group=kind, at_least=-3.0, at_most=3.0,
        )
        for kind in ("environment", "music", "speech")
    ),
    Target("generation: class named by a probe", "generate", "model", "probe_top1", embedder="aisfx", at_least=0.75),
)  # fmt: skip
"""What the second edition of the bundled model is wanted to reach."""


def targets_table(reports: Mapping[str, Mapping[str, Report]], targets: Sequence[Target] = TARGETS) -> str:
    """Return a table of Markdown, a row a figure, a column a model; figures that nobody measured are left out.

    Args:
        reports: of each model by its name, each by the name of its protocol.
        targets: the figures.
    """
    lines = [f"| figure | wanted | {' | '.join(reports)} |", f"|---|---|{'---|' * len(reports)}"]
    for target in targets:
        found = [target.figure(own[target.protocol]) if target.protocol in own else None for own in reports.values()]
        if any(found):
            ear = f" ({target.embedder})" if target.embedder else ""
            cells = " | ".join("-" if one is None else _cell(one, target) for one in found)
            lines.append(f"| {target.name}{ear} | {target.wanted} | {cells} |")
    return "\n".join(lines) + "\n"


def _cell(figure: Figure, target: Target) -> str:
    interval = "" if figure.low is None or figure.high is None else f" [{figure.low:.3g}, {figure.high:.3g}]"
    return f"{figure.value:.3g}{interval}{', holds' if target.holds(figure.value) else ''}"
