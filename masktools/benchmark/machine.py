"""The machine that a benchmark runs on, whether it has others to serve, and times of calls on it."""

import os
import platform
import re
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from masktools.errors import ParameterError
from masktools.pipeline import Progress
from masktools.runtime import cpu_quota, n_cores, resolve_device

__all__ = ["Machine", "Neighbours", "describe_machine", "interleaved", "seconds_of", "seconds_on_device", "settle"]

_FEATURES = (
    *("avx2", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16", "avx512_fp16", "amx_tile", "amx_bf16", "amx_int8"),
    *("asimd", "asimddp", "bf16", "i8mm", "sve", "sve2"),
)
_BUSY_LOAD, _BUSY_SHARE = 0.5, 0.1  # of the cores


@dataclass(frozen=True)
class Machine:
    """What times depend on."""

    cpu: str
    architecture: str
    cores: int  # that this process may use
    cpu_quota: float | None  # cores that a container may keep busy
    memory_bytes: int | None
    cpu_features: tuple[str, ...]  # those that matter for matrix products
    gpu: str | None
    gpu_memory_bytes: int | None
    system: str
    python: str
    torch: str
    cuda: str | None
    threads: int  # that torch takes
    load_average: float | None  # over the last minute, before the benchmark

    def warnings(self) -> list[str]:
        """Return what makes times on this machine doubtful."""
        if self.load_average is not None and self.load_average > _BUSY_LOAD * self.cores:
            return [
                f"the machine is busy: a load of {self.load_average:.1f} on {self.cores} cores before the benchmark "
                "began; times are too long, ratios within a round hold better"
            ]
        return []


def describe_machine(device: torch.device | str = "cpu", threads: int | None = None) -> Machine:
    """Return what times on this machine depend on.

    Args:
        device: that the benchmark runs on; a GPU is named.
        threads: CPU threads at most, where they are limited.
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
    """How much of the machine other programs took from the start of this to a later moment; Linux only."""

    def __init__(self) -> None:
        self._began = time.perf_counter(), _busy_s(), _own_s()

    def share(self, cores: int) -> float | None:
        """Return the share of the cores that others kept busy, 0 to 1; None where the system does not tell."""
        (start, busy, own), now, busy_now = self._began, time.perf_counter(), _busy_s()
        if busy is None or busy_now is None or now <= start:
            return None
        others = (busy_now - busy) - (_own_s() - own)
        return min(1.0, max(0.0, others / ((now - start) * cores)))

    def warnings(self, cores: int) -> list[str]:
        """Return a sentence if others took so much that times are doubtful."""
        share = self.share(cores)
        if share is None or share < _BUSY_SHARE:
            return []
        return [f"other programs took {share:.0%} of the cores while the benchmark ran: times are too long"]


def _busy_s() -> float | None:
    """Return the seconds that all cores together have been busy since the machine was started."""
    words: Sequence[str] = _read("/proc/stat").partition("\n")[0].split()
    if sys.platform != "linux" or not words or words[0] != "cpu":
        return None
    ticks = [int(word) for word in words[1:9]]
    return (sum(ticks) - ticks[3] - ticks[4]) / os.sysconf("SC_CLK_TCK")  # without idle and waiting


def _own_s() -> float:
    """Return the seconds of processor time of this process and of those it has started and waited for."""
    taken = os.times()
    return taken.user + taken.system + taken.children_user + taken.children_system


Call = Callable[[], object]


def settle(device: torch.device) -> None:
    """Wait until the device has done everything that it was asked for; a CPU always has."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def seconds_of(call: Call, device: torch.device) -> float:
    """Return the wall-clock seconds of a call, to the end of what it has asked of the device."""
    settle(device)
    start = time.perf_counter()
    call()
    settle(device)
    return time.perf_counter() - start


def seconds_on_device(call: Call, device: torch.device) -> float:
    """Return the seconds between a call's first and last work on a GPU, by its own clock; elsewhere wall clock.

    What Python does before the first kernel starts does not count; gaps between kernels do.
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
    """Return the times of variants that are called in turn, round by round: A B A B.

    What slows the machine down for a while slows all of them down, so that ratios within a round stay true.

    Args:
        variants: name -> call.
        repeats: rounds that count, at least 1.
        device: that the calls keep busy.
        warm_up: rounds before them that do not count.
        progress: called with (calls done, calls in all).
        clock: how a call is timed.

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
