"""Measurements: figures and their spread, the machine, and interleaved timing."""

import json
import os
import platform
import re
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from math import isfinite
from pathlib import Path
from statistics import median, quantiles
from types import MappingProxyType
from typing import Any, TypeVar

import torch

from masktools.core.arguments import checked_name
from masktools.core.configs import parse_json
from masktools.core.errors import ParameterError
from masktools.core.runtime import cpu_quota, n_cores, resolve_device
from masktools.pipeline import Progress

FORMAT = 1
Value = str | int | float | bool
Item = TypeVar("Item")

SUBJECTS = ("ceilings", "stages", "jobs", "memory", "start-up", "accuracy", "peers")
"""Subjects of a benchmark, in their order; ceilings, the peak rates of the machine, are always measured."""

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
"""Figures of a measurement, name -> description. Times are in seconds of wall clock unless stated otherwise."""


@dataclass(frozen=True)
class Spread:
    """Median and quartiles of some values."""

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
    """Return the figures of the ratio of two variants that were timed in alternation, round by round.

    >>> ratio_to([2.0, 4.0], [1.0, 1.0])
    {'ratio': 3.0, 'ratio_low': 2.5, 'ratio_high': 3.5}
    """
    within = spread_of([value / other for value, other in zip(values, base, strict=True)])
    return {"ratio": median(values) / median(base), "ratio_low": within.low, "ratio_high": within.high}


@dataclass(frozen=True)
class Measurement:
    """One measured case: its settings and its figures."""

    subject: str  # one of SUBJECTS
    name: str
    case: Mapping[str, Value]  # settings: precision, threads, batch, steps, ...
    figures: Mapping[str, float]  # names in FIGURES
    samples_s: tuple[float, ...] = ()  # the repeats, in order
    note: str = ""

    def __post_init__(self) -> None:
        """Check the names."""
        checked_name("subject", self.subject, SUBJECTS)
        for name, value in self.figures.items():
            checked_name("figure", name, FIGURES)
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
        """Return the measurement of a case that was timed several times, with further figures."""
        spread = spread_of(samples_s)
        timed = {"seconds": spread.median, "seconds_low": spread.low, "seconds_high": spread.high}
        timed["seconds_best"] = min(samples_s)
        return cls(subject, name, dict(case), timed | dict(figures or {}), tuple(samples_s), note)


@dataclass(frozen=True)
class Benchmark:
    """Results of one run: machine, model, settings and measurements."""

    machine: Mapping[str, Any]  # in JSON types
    model: Mapping[str, Any]
    settings: Mapping[str, Any]
    measurements: tuple[Measurement, ...]
    warnings: tuple[str, ...] = field(default=())  # reasons to doubt the figures, a sentence each

    def of(self, subject: str, name: str | None = None, **case: Value) -> tuple[Measurement, ...]:
        """Return the measurements of a subject, of one name if it is given, and of cases that match ``case``."""
        return tuple(
            one
            for one in self.measurements
            if one.subject == subject
            and (name is None or one.name == name)
            and all(one.case.get(key) == value for key, value in case.items())
        )

    def to_json(self) -> str:
        """Return the results as JSON: ``format``, ``machine``, ``model``, ``settings``, ``measurements``, ``warnings``.

        A measurement has ``subject``, ``name``, ``case``, ``figures`` (names in ``FIGURES``), ``samples_s`` and
        ``note``. New names in later versions do not change ``format``.
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
        """Parse the output of ``to_json``.

        Raises:
            ParameterError: another document.
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


_FEATURES = (
    *("avx2", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16", "avx512_fp16", "amx_tile", "amx_bf16", "amx_int8"),
    *("asimd", "asimddp", "bf16", "i8mm", "sve", "sve2"),
)
_BUSY_LOAD, _BUSY_SHARE = 0.5, 0.1  # share of the cores


@dataclass(frozen=True)
class Machine:
    """Properties of the machine that times depend on."""

    cpu: str
    architecture: str
    cores: int  # available to this process
    cpu_quota: float | None  # CPU quota of a container in cores
    memory_bytes: int | None
    cpu_features: tuple[str, ...]  # those that matter for matrix products
    gpu: str | None
    gpu_memory_bytes: int | None
    system: str
    python: str
    torch: str
    cuda: str | None
    threads: int  # used by torch
    load_average: float | None  # over the last minute, before the benchmark

    def warnings(self) -> list[str]:
        """Return the reasons to doubt times on this machine."""
        if self.load_average is not None and self.load_average > _BUSY_LOAD * self.cores:
            return [
                f"the machine is busy: a load of {self.load_average:.1f} on {self.cores} cores before the benchmark "
                "began; times are too long, ratios within a round hold better"
            ]
        return []


def describe_machine(device: torch.device | str = "cpu", threads: int | None = None) -> Machine:
    """Return the properties of this machine that times depend on.

    Args:
        device: device of the benchmark; a GPU is named.
        threads: limit on CPU threads, if there is one.
    """
    place = resolve_device(device)
    gpu = torch.cuda.get_device_properties(place) if place.type == "cuda" else None
    text = _read("/proc/cpuinfo")
    return Machine(
        cpu=_cpu_name(text),
        architecture=platform.machine(),
        cores=n_cores(),
        cpu_quota=cpu_quota(),
        memory_bytes=_memory(),
        cpu_features=_features(text),
        gpu=gpu.name if gpu is not None else None,
        gpu_memory_bytes=gpu.total_memory if gpu is not None else None,
        system=platform.platform(terse=True),
        python=platform.python_version(),
        torch=torch.__version__,
        cuda=torch.version.cuda if gpu is not None else None,
        threads=threads or torch.get_num_threads(),
        load_average=round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
    )


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _cpu_name(cpuinfo: str) -> str:
    named = re.search(r"^model name\s*:\s*(.+)$", cpuinfo, re.MULTILINE)
    return named[1].strip() if named else platform.processor() or "unknown"


def _features(cpuinfo: str) -> tuple[str, ...]:
    listed = re.search(r"^(?:flags|Features)\s*:\s*(.+)$", cpuinfo, re.MULTILINE)
    known = set(listed[1].split()) if listed else set[str]()
    return tuple(name for name in _FEATURES if name in known)


def _memory() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None


class Neighbours:
    """Load by other programs, since the creation of this object; Linux only."""

    def __init__(self) -> None:
        self._began = time.perf_counter(), _busy_s(), _own_s()

    def share(self, cores: int) -> float | None:
        """Return the share of the cores used by others, 0 to 1; None where the system does not report it."""
        (start, busy, own), now, busy_now = self._began, time.perf_counter(), _busy_s()
        if busy is None or busy_now is None or now <= start:
            return None
        others = (busy_now - busy) - (_own_s() - own)
        return min(1.0, max(0.0, others / ((now - start) * cores)))

    def warnings(self, cores: int) -> list[str]:
        """Return a warning if others used so much that times are doubtful."""
        share = self.share(cores)
        if share is None or share < _BUSY_SHARE:
            return []
        return [f"other programs took {share:.0%} of the cores while the benchmark ran: times are too long"]


def _busy_s() -> float | None:
    """Return the busy time of all cores in seconds, since the machine was started."""
    words: Sequence[str] = _read("/proc/stat").partition("\n")[0].split()
    if sys.platform != "linux" or not words or words[0] != "cpu":
        return None
    ticks = [int(word) for word in words[1:9]]
    return (sum(ticks) - ticks[3] - ticks[4]) / os.sysconf("SC_CLK_TCK")  # without idle and iowait


def _own_s() -> float:
    """Return the processor time in seconds of this process and of its finished children."""
    taken = os.times()
    return taken.user + taken.system + taken.children_user + taken.children_system


Call = Callable[[], object]


def settle(device: torch.device) -> None:
    """Wait until the device has finished all its work; a CPU always has."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def seconds_of(call: Call, device: torch.device) -> float:
    """Return the wall-clock seconds of a call, until the device has finished its work."""
    settle(device)
    start = time.perf_counter()
    call()
    settle(device)
    return time.perf_counter() - start


def seconds_on_device(call: Call, device: torch.device) -> float:
    """Return the seconds between a call's first and last work on a GPU, by its own clock; elsewhere wall clock.

    Python's time before the first kernel does not count; gaps between kernels do.
    """
    if device.type != "cuda":
        return seconds_of(call, device)
    start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    with torch.cuda.device(device):
        settle(device)
        start.record()
        call()
        end.record()
        settle(device)
    return start.elapsed_time(end) / 1000.0


def interleaved(
    variants: Mapping[str, Call],
    repeats: int,
    device: torch.device,
    warm_up: int = 1,
    progress: Progress | None = None,
    clock: Callable[[Call, torch.device], float] = seconds_of,
) -> dict[str, tuple[float, ...]]:
    """Return the times of variants that are called in alternation, round by round: A B A B.

    A temporary slowdown of the machine affects all of them, so that ratios within a round stay true.

    Args:
        variants: name -> call.
        repeats: number of rounds that count, at least 1.
        device: device of the calls.
        warm_up: number of rounds before them that do not count.
        progress: called with (calls done, calls in total).
        clock: function that times a call.

    Raises:
        ParameterError: no variant, or no round.
    """
    if repeats < 1 or warm_up < 0 or not variants:
        raise ParameterError(
            "something must be timed at least once: "
            f"got {len(variants)} variants, {repeats} repeats and {warm_up} to warm up"
        )
    times: dict[str, list[float]] = {name: [] for name in variants}
    rounds = warm_up + repeats
    for number in range(rounds):
        for place, (name, call) in enumerate(variants.items()):
            seconds = clock(call, device)
            if number >= warm_up:
                times[name].append(seconds)
            if progress is not None:
                progress(number * len(variants) + place + 1, rounds * len(variants))
    return {name: tuple(values) for name, values in times.items()}
