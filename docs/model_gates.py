"""Criteria for a release: gates that a model must pass, and the figures by which two models are compared."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from masktools.core.errors import ParameterError
from masktools.evaluation.report import Figure, Report

GAP_RIVALS = ("copy", "spectral_noise")
BAND_RIVALS = ("unprocessed", "noise", "replication")
BIASED = ("own encoder", "text-audio encoder")  # how embedders begin that are parts of the model under test
_ALL, _TOKENS = "all, real", "tokenizer + vocoder"
_OWN_FILL = "default"
_FEWEST_ONSETS = 0.70  # F-measure in music
_TO_COPY = 1.5  # FAD of a fill over that of plain copying, which takes everything from the recording itself


@dataclass(frozen=True)
class Gate:
    """One thing that must hold."""

    name: str
    found: float
    relation: str  # "<=" or ">=" or "<" or ">"
    limit: float

    @property
    def holds(self) -> bool:
        """Whether the figure meets its limit."""
        compare = {"<=": float.__le__, ">=": float.__ge__, "<": float.__lt__, ">": float.__gt__}[self.relation]
        return compare(float(self.found), float(self.limit))

    @property
    def margin(self) -> float:
        """Distance of the figure from its limit; negative where it fails."""
        return self.limit - self.found if self.relation.startswith("<") else self.found - self.limit


def gates_of(reports: Mapping[str, Report], groups: Sequence[str] = ()) -> list[Gate]:
    """Return the gates of the reports there are: of tokenizer, vocoder, inpaint, bwe and generate.

    Fills of gaps are judged by the levels of third octaves from moment to moment, by onsets in music, and by embedders
    that are not part of the model; a log-spectral distance would reward what is smooth.

    Args:
        reports: by the name of their protocol.
        groups: for which gaps and bands are compared; those of real recordings where none is named.

    Raises:
        ParameterError: A report lacks a figure that its gates need.
    """
    makers = {"tokenizer": _tokenizer, "vocoder": _vocoder, "generate": _generation}
    gates = [gate for name, maker in makers.items() if name in reports for gate in maker(reports[name])]
    if "inpaint" in reports:
        gates += _gaps(reports["inpaint"], groups)
    if "bwe" in reports:
        gates += _bands(reports["bwe"], groups)
    return gates


def gates_table(gates: Iterable[Gate]) -> str:
    """Return the gates as a table of Markdown."""
    lines = ["| gate | found | wanted | |", "|---|---|---|---|"]
    for gate in gates:
        verdict = "holds" if gate.holds else f"fails by {-gate.margin:.3g}"
        lines.append(f"| {gate.name} | {gate.found:.4g} | {gate.relation} {gate.limit:.4g} | {verdict} |")
    return "\n".join(lines) + "\n"


def _real_groups(report: Report, groups: Sequence[str]) -> list[str]:
    """Return the groups of real recordings in a report, or those asked for that it has."""
    there = list(dict.fromkeys(figure.group for figure in report.figures))
    return [g for g in there if (g in groups if groups else ", " not in g)]


def _whole(report: Report) -> str:
    """Return the group of all real recordings, which is the only one where there is one kind."""
    there = {figure.group for figure in report.figures}
    return _ALL if _ALL in there else next(iter(sorted(g for g in there if ", " not in g)))


def _tokenizer(report: Report) -> list[Gate]:
    limits = {
        "codes used of 1024": ("codes_used", ">=", 900),
        "perplexity": ("perplexity", ">=", 400),
        "mel L1": ("mel_l1", "<=", 0.08),
    }
    return [
        Gate(f"tokenizer: {name}", report.value(_whole(report), _TOKENS, metric), relation, limit)
        for name, (metric, relation, limit) in limits.items()
    ]


def _vocoder(report: Report) -> list[Gate]:
    own, rival = (
        {metric: report.value(_whole(report), method, metric) for metric in ("stft_distance", "mel_l1")}
        for method in ("vocoder", "griffin_lim_32")
    )
    return [
        Gate(f"vocoder: {metric.replace('_', ' ')} below Griffin-Lim 32", own[metric], "<", rival[metric])
        for metric in own
    ]


def _cases(report: Report) -> list[str]:
    return list(dict.fromkeys(figure.case for figure in report.figures))


def _nearer(report: Report, name: str, group: str, method: str, rivals: Sequence[str], case: str) -> list[Gate]:
    """Return whether a method's third-octave error lies below those of others."""
    own, *others = (report.value(group, one, "third_octave_db", case) for one in (method, *rivals))
    return [Gate(f"{name} below {rival}", own, "<", other) for rival, other in zip(rivals, others, strict=True)]


def _gaps(report: Report, groups: Sequence[str]) -> list[Gate]:
    gates = []
    for case in _cases(report):
        for group in _real_groups(report, groups):
            name = f"gap {case}, {group}: third-octave error"
            gates += _nearer(report, name, group, _OWN_FILL, GAP_RIVALS, case)
            if group == "music":
                onsets = report.value(group, _OWN_FILL, "onset_f", case)
                gates.append(Gate(f"gap {case}, music: onset F", onsets, ">=", _FEWEST_ONSETS))
        found = _fads(report, _whole(report), case)
        for embedder in dict.fromkeys(embedder for embedder, _ in found):
            name = f"gap {case}: FAD ({embedder})"
            own = found[embedder, _OWN_FILL]
            gates += [
                Gate(f"{name} below {rival}", own, "<", found[embedder, rival])
                for rival in ("unprocessed", "spectral_noise")
                if (embedder, rival) in found
            ]
        copying = [group for group in _real_groups(report, groups) if group == "music"]  # words are not copied
        in_music = {key: value for group in copying for key, value in _fads(report, group, case).items()}
        for embedder in dict.fromkeys(embedder for embedder, method in in_music if method == "copy"):
            name, limit = f"gap {case}, music: FAD ({embedder})", _TO_COPY * in_music[embedder, "copy"]
            gates.append(Gate(f"{name} within {_TO_COPY:g} times copy's", in_music[embedder, _OWN_FILL], "<=", limit))
    return gates


def _bands(report: Report, groups: Sequence[str]) -> list[Gate]:
    gates = []
    for case in _cases(report):
        for group in _real_groups(report, groups):
            gates += _nearer(report, f"band {case}, {group}: envelope", group, "model", BAND_RIVALS, case)
            bias = abs(report.value(group, "model", "bias_db", case))
            gates.append(Gate(f"band {case}, {group}: bias", bias, "<=", 2.0))
        found = _fads(report, _whole(report), case)
        gates += [
            Gate(f"band {case}: FAD ({embedder}) below {rival}", found[embedder, "model"], "<", found[embedder, rival])
            for embedder in dict.fromkeys(embedder for embedder, _ in found)
            for rival in (*BAND_RIVALS, "model_no_lfr")
            if (embedder, rival) in found
        ]
    return gates


def _fads(report: Report, group: str, case: str) -> dict[tuple[str, str], float]:
    """Return the Frechet distances of a case by embedder and method, without those of embedders that are biased."""
    return {
        (figure.embedder, figure.method): figure.value
        for figure in report.figures
        if (figure.group, figure.case, figure.metric) == (group, case, "fad")
        and figure.embedder
        and not figure.embedder.startswith(BIASED)
    }


def _generation(report: Report) -> list[Gate]:
    """Return whether captions are found again far above chance, and whether there is no memorisation."""
    group, gates = _whole(report), []
    for metric in ("caption_r1", "probe_top1"):
        for figure in report.figures:
            if (figure.group, figure.method, figure.metric) == (group, "model", metric):
                chance = report.value(group, "chance", metric, figure.case, figure.embedder)
                name = f"generation: {metric} ({figure.embedder}) above twice chance"
                gates.append(Gate(name, figure.value, ">", 2 * chance))
    for figure in report.figures:
        if (figure.group, figure.method, figure.metric) == (group, "unconditional", "nearest_ratio"):
            name = f"generation: samples as far from training as real recordings ({figure.embedder})"
            gates.append(Gate(name, figure.value, ">=", 0.9))
    if not gates:
        raise ParameterError("the report of generation must have captions found again, it has none")
    return gates


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
        """The limits in words."""
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
        "masked cross-entropy, smoothed, a quarter masked, music, nats",
        "transformer", "transformer", "smoothed_cross_entropy", "ratio 0.25", "music", at_most=5.2,
    ),
    Target(
        "masked cross-entropy, smoothed, 1 s gaps in music, nats",
        "transformer", "transformer", "smoothed_cross_entropy", "gap 1000 ms", "music", at_most=5.5,
    ),
    Target(
        "true token first of all codes, 1 s gaps in music",
        "transformer", "transformer", "first_right", "gap 1000 ms", "music", at_least=0.08,
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
"""Targets of the second edition of the bundled model."""


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
