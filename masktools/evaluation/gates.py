"""What a model must reach before it ships: each gate compares figures of reports, and says by how much it holds."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from masktools.errors import ParameterError
from masktools.evaluation.report import Report

__all__ = ["Gate", "gates_of", "gates_table"]

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
        """Whether it does."""
        compare = {"<=": float.__le__, ">=": float.__ge__, "<": float.__lt__, ">": float.__gt__}[self.relation]
        return compare(float(self.found), float(self.limit))

    @property
    def margin(self) -> float:
        """By how much it holds; negative where it does not."""
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
    group = _whole(report)
    return [
        Gate("tokenizer: codes used of 1024", report.value(group, _TOKENS, "codes_used"), ">=", 900),
        Gate("tokenizer: perplexity", report.value(group, _TOKENS, "perplexity"), ">=", 400),
        Gate("tokenizer: mel L1", report.value(group, _TOKENS, "mel_l1"), "<=", 0.08),
    ]


def _vocoder(report: Report) -> list[Gate]:
    group = _whole(report)
    rival = "griffin_lim_32"
    return [
        Gate(
            f"vocoder: {metric.replace('_', ' ')} below Griffin-Lim 32",
            report.value(group, "vocoder", metric), "<", report.value(group, rival, metric),
        )
        for metric in ("stft_distance", "mel_l1")
    ]  # fmt: skip


def _cases(report: Report) -> list[str]:
    return list(dict.fromkeys(figure.case for figure in report.figures))


def _gaps(report: Report, groups: Sequence[str]) -> list[Gate]:
    gates = []
    for case in _cases(report):
        for group in _real_groups(report, groups):
            own = report.value(group, _OWN_FILL, "third_octave_db", case)
            gates += [
                Gate(
                    f"gap {case}, {group}: third-octave error below {rival}",
                    own, "<", report.value(group, rival, "third_octave_db", case),
                )
                for rival in GAP_RIVALS
            ]  # fmt: skip
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
            if (embedder, "copy") in found:
                limit = _TO_COPY * found[embedder, "copy"]
                gates.append(Gate(f"{name} within {_TO_COPY:g} times copy's", own, "<=", limit))
    return gates


def _bands(report: Report, groups: Sequence[str]) -> list[Gate]:
    gates = []
    for case in _cases(report):
        for group in _real_groups(report, groups):
            own = report.value(group, "model", "third_octave_db", case)
            gates += [
                Gate(
                    f"band {case}, {group}: envelope below {rival}",
                    own, "<", report.value(group, rival, "third_octave_db", case),
                )
                for rival in BAND_RIVALS
            ]  # fmt: skip
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
    """Return whether captions are found again far above chance, and whether nothing is learned by heart."""
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
