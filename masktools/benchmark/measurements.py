"""What a benchmark found, in one form for everything: a name, what was set, and figures whose names have units."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from math import isfinite
from statistics import median, quantiles
from types import MappingProxyType
from typing import Any

from masktools.errors import ParameterError, unknown_name
from masktools.jsons import parse_json

__all__ = ["FIGURES", "FORMAT", "SUBJECTS", "Benchmark", "Measurement", "Spread", "Value", "ratio_to", "spread_of"]

FORMAT = 1
Value = str | int | float | bool

SUBJECTS = ("ceilings", "stages", "jobs", "memory", "start-up", "accuracy", "peers")
"""What can be measured, in the order in which it is; ceilings are, whatever is asked for."""

FIGURES: Mapping[str, str] = MappingProxyType(
    {
        "seconds": "median over the repeats",
        "seconds_low": "lower quartile over the repeats",
        "seconds_high": "upper quartile over the repeats",
        "seconds_best": "shortest of the repeats",
        "share": "of the time of all stages, 0 to 1",
        "flop": "floating-point operations of matrix products and convolutions; a multiplication and an addition are 2",
        "flop_per_s": "flop / seconds",
        "of_ceiling": "flop_per_s over the rate of the best matrix product at that precision",
        "bytes_per_s": "read and written by a large copy, a second",
        "audio_s": "audio made or read, all clips together",
        "real_time_factor": "seconds / audio_s: below 1 is faster than real time",
        "floor_real_time_factor": "flop over the rates of the best matrix products at the precisions in use, / audio_s",
        "lowest_real_time_factor": "flop over the rate of the best matrix product at any precision, / audio_s",
        "n_passes": "passes of the transformer, of a batch each",
        "ratio": "seconds over those of the first variant, or real-time factor over ours: medians of one run",
        "ratio_low": "lower quartile of the ratios within a round",
        "ratio_high": "upper quartile of the ratios within a round",
        "imported_bytes": "resident when everything is imported, before the model is loaded",
        "private_bytes": "resident after the job without the pages of files, such as those of libraries",
        "loaded_bytes": "resident when the model is loaded",
        "peak_bytes": "resident at most while the job runs",
        "load_peak_bytes": "resident at most until the model is loaded",
        "device_bytes": "allocated on the GPU when the model is loaded",
        "device_peak_bytes": "allocated on the GPU at most while the job runs",
        "import_s": "of the seconds, spent in importing modules",
        "import_share": "import_s / seconds",
        "token_agreement": "share of the decoded tokens that are those of fp32 under the same seeds",
        "choice_agreement": "share of masked slots of one prediction whose most likely code is that of fp32",
        "draw_agreement": "share of masked slots of one prediction that the same random number gives the same code",
        "divergence_nats": "Kullback-Leibler, of a slot's prediction from that of fp32",
        "mel_db": "mean absolute difference of the results' mel spectrograms, in dB",
        "decoded_mel_db": "the same, where both decode the tokens of fp32",
        "other_seed_mel_db": "the same between two seeds of fp32: how far two results lie apart that are as good",
        "other_seed_agreement": "share of tokens that two seeds of fp32 have in common",
        "recording_mel_db": "mean absolute difference of what fills a gap from what the recording had there, in dB",
        "further_db": "recording_mel_db less that of fp32 under the same seeds",
        "further_error_db": "standard error of further_db over the clips",
        "n_steps": "steps of a whole run",
        "parameters": "weights",
    }
)
"""Figures of a measurement, name -> what it is. Times are in seconds of wall clock unless it says otherwise."""


@dataclass(frozen=True)
class Spread:
    """The middle of some values, and the quartiles around it."""

    median: float
    low: float
    high: float


def spread_of(values: Sequence[float]) -> Spread:
    """Return the median and the quartiles.

    Raises:
        ParameterError: no values.

    >>> spread_of([3.0, 1.0, 2.0])
    Spread(median=2.0, low=1.5, high=2.5)
    """
    if not values:
        raise ParameterError("a spread must be of at least one value, got none")
    if len(values) == 1:
        return Spread(values[0], values[0], values[0])
    low, middle, high = quantiles(values, n=4, method="inclusive")
    return Spread(middle, low, high)


def ratio_to(values: Sequence[float], base: Sequence[float]) -> dict[str, float]:
    """Return the figures of the ratio of two variants that were timed in turn, round by round.

    >>> ratio_to([2.0, 4.0], [1.0, 1.0])
    {'ratio': 3.0, 'ratio_low': 2.5, 'ratio_high': 3.5}
    """
    within = spread_of([value / other for value, other in zip(values, base, strict=True)])
    return {"ratio": median(values) / median(base), "ratio_low": within.low, "ratio_high": within.high}


@dataclass(frozen=True)
class Measurement:
    """One thing that was measured."""

    subject: str  # one of SUBJECTS
    name: str
    case: Mapping[str, Value]  # what was set: precision, threads, batch, steps, ...
    figures: Mapping[str, float]  # names in FIGURES
    samples_s: tuple[float, ...] = ()  # the repeats, in their order
    note: str = ""

    def __post_init__(self) -> None:
        """Check the names."""
        if self.subject not in SUBJECTS:
            raise unknown_name("subject", self.subject, SUBJECTS)
        for name, value in self.figures.items():
            if name not in FIGURES:
                raise unknown_name("figure", name, FIGURES)
            if not isfinite(value):
                raise ParameterError(f"{self.name}: {name} must be finite, got {value:g}")

    @classmethod
    def of_times(
        cls,
        subject: str,
        name: str,
        case: Mapping[str, Value],
        samples_s: Sequence[float],
        figures: Mapping[str, float] | None = None,
        note: str = "",
    ) -> "Measurement":
        """Return the measurement of something that was timed several times, with what else is known of it."""
        spread = spread_of(samples_s)
        timed = {"seconds": spread.median, "seconds_low": spread.low, "seconds_high": spread.high}
        timed["seconds_best"] = min(samples_s)
        return cls(subject, name, dict(case), timed | dict(figures or {}), tuple(samples_s), note)


@dataclass(frozen=True)
class Benchmark:
    """Everything that one run found: on what machine, of which model, with which settings."""

    machine: Mapping[str, Any]  # what JSON has
    model: Mapping[str, Any]
    settings: Mapping[str, Any]
    measurements: tuple[Measurement, ...]
    warnings: tuple[str, ...] = field(default=())  # what makes the figures doubtful, a sentence each

    def of(self, subject: str, name: str | None = None, **case: Value) -> tuple[Measurement, ...]:
        """Return the measurements of a subject, of one name if it is given, and of cases that agree with ``case``."""
        return tuple(
            one
            for one in self.measurements
            if one.subject == subject
            and (name is None or one.name == name)
            and all(one.case.get(key) == value for key, value in case.items())
        )

    def to_json(self) -> str:
        """Return everything as JSON: ``format``, ``machine``, ``model``, ``settings``, ``measurements``, ``warnings``.

        A measurement has ``subject``, ``name``, ``case``, ``figures`` (names in ``FIGURES``), ``samples_s`` and
        ``note``. Names that a later version adds leave ``format`` as it is.
        """
        content = {
            "format": FORMAT,
            "machine": dict(self.machine),
            "model": dict(self.model),
            "settings": dict(self.settings),
            "measurements": [asdict(one) for one in self.measurements],
            "warnings": list(self.warnings),
        }
        return json.dumps(content, indent=1, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, content: str) -> "Benchmark":
        """Return what ``to_json`` wrote.

        Raises:
            ParameterError: it is none.
        """
        try:
            data = parse_json(content)
            if data["format"] != FORMAT:
                raise ParameterError(f"a benchmark must be of format {FORMAT}, got {data['format']!r}")
            found = tuple(Measurement(**{**one, "samples_s": tuple(one["samples_s"])}) for one in data["measurements"])
            return cls(data["machine"], data["model"], data["settings"], found, tuple(data["warnings"]))
        except (ValueError, KeyError, TypeError) as error:
            if isinstance(error, ParameterError):
                raise
            raise ParameterError(f"a benchmark must be JSON that `masktools bench` wrote: {error}") from error
