"""Device, precision, threads and memory of a model: names are checked before use."""

import math
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor

from masktools.core.arguments import checked_name, checked_whole, shown
from masktools.core.errors import DeviceError, MasktoolsError, ParameterError, unknown_name

Made = TypeVar("Made")

_DEVICES = ("auto", "cpu", "cuda", "cuda:N", "mps")
PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16, "int8": torch.int8}
"""Number types for computation, by name."""

_BYTES_OF_A_CLIP = 2**29  # most memory that a clip takes, at the paper's size
_MAX_BATCH, _CPU_BATCH = 128, 8


def resolve_device(name: str | torch.device = "auto") -> torch.device:
    """Return the device of a name: ``auto`` is the first GPU if there is one, else the CPU.

    ``cuda`` and ``cuda:N`` are GPUs of NVIDIA or AMD; ``mps``, Apple's, is used only when it is named.

    Raises:
        ParameterError: an unknown name.
        DeviceError: there is no such device.
    """
    named = re.fullmatch(r"(auto)|(cpu|mps)(?::0)?|(cuda)(?::([0-9]+))?", str(name))
    if named is None or not isinstance(name, str | torch.device):
        raise unknown_name("device", name if isinstance(name, str) else shown(name), _DEVICES)
    auto, other, cuda, number = named.groups()
    if auto:
        return torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cpu")
    if cuda:
        return _cuda(int(number or 0))
    if other == "mps" and not torch.backends.mps.is_available():
        raise DeviceError("no Apple GPU found (mps): use --device cpu")
    return torch.device(other)


def _cuda(number: int) -> torch.device:
    if not torch.cuda.is_available():
        built = torch.version.cuda or torch.version.hip
        hint = "" if built else " (this build of torch knows none: install one with CUDA)"
        raise DeviceError(f"no GPU found{hint}: use --device cpu")
    n_devices = torch.cuda.device_count()
    if number >= n_devices:
        names = ", ".join(f"cuda:{index}" for index in range(n_devices))
        raise DeviceError(f"no GPU cuda:{number} found, this machine has {names}: use one of them or --device cpu")
    return torch.device("cuda", number)


def resolve_precision(name: str, device: torch.device) -> torch.dtype:
    """Return the number type of a name.

    ``auto`` is bf16 where the device multiplies faster in it than in single precision, fp32 everywhere else.
    ``int8`` computes the linear layers of the transformer in integers, on CPUs.

    Raises:
        ParameterError: an unknown name.
        DeviceError: the device does not support that precision.
    """
    checked_name("precision", name, ("auto", *PRECISIONS))
    if name == "auto":
        if device.type == "cpu":
            return torch.bfloat16 if has_fast_bf16() else torch.float32
        return torch.bfloat16 if device.type == "cuda" and _has_bf16(device) else torch.float32
    if name == "fp16" and device.type == "cpu":
        raise DeviceError("fp16 needs a GPU, the device is cpu: use --precision fp32 or bf16")
    if name == "int8" and device.type != "cpu":
        raise DeviceError(f"int8 needs a CPU, the device is {device}: use --precision bf16 or fp32")
    if name == "bf16" and device.type == "cuda" and not _has_bf16(device):
        raise DeviceError(f"{device} does not compute in bf16: use --precision fp16 or fp32")
    if name == "bf16" and device.type == "mps":
        raise DeviceError("bf16 is not offered on mps: use --precision fp16 or fp32")
    return PRECISIONS[name]


def precision_of(number_type: torch.dtype) -> str:
    """Return the name of a number type, one of ``PRECISIONS``.

    >>> precision_of(torch.bfloat16)
    'bf16'
    """
    return next(name for name, known in PRECISIONS.items() if known == number_type)


@cache
def has_fast_bf16() -> bool:
    """Return whether this CPU multiplies faster in bf16 than in single precision."""
    asked = (getattr(torch.cpu, name, None) for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"))
    return torch.backends.mkldnn.is_available() and any(ask() for ask in asked if ask is not None)


def _has_bf16(device: torch.device) -> bool:
    with torch.cuda.device(device):
        return torch.cuda.is_bf16_supported(including_emulation=False)


def usable_cores(root: Path = Path("/")) -> int:
    """Return the number of cores for this process: those of its affinity, or fewer where a container has a quota.

    Args:
        root: root of the file system with the control groups (cgroup v2 and v1).
    """
    quota = cpu_quota(root)
    return max(1, min(n_cores(), n_cores() if quota is None else math.ceil(quota)))


def n_cores() -> int:
    """Return the number of cores that this process may run on, without regard to quotas."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def cpu_quota(root: Path = Path("/")) -> float | None:
    """Return the CPU quota of a container in cores; None where there is no limit.

    Args:
        root: root of the file system with the control groups (cgroup v2 and v1).
    """
    return min(_quotas(root), default=None)


def _quotas(root: Path) -> Iterator[float]:
    """Yield the CPU quotas of the control groups of this process and of their parents, in cores.

    Source: the kernel's cgroup-v2 (cpu.max: quota and period in microseconds) and sched-bwc (cpu.cfs_quota_us).
    """
    mounts = root / "sys" / "fs" / "cgroup"
    for line in _words(root / "proc" / "self" / "cgroup", "\n"):
        if line.count(":") < 2:
            continue
        _, controllers, group = line.split(":", 2)
        if not controllers:
            places, files = (mounts, mounts / "unified"), ("cpu.max",)
        elif "cpu" in controllers.split(","):
            places, files = (mounts / controllers, mounts / "cpu"), ("cpu.cfs_quota_us", "cpu.cfs_period_us")
        else:
            continue
        inner = Path(group.strip("/"))
        for place in places:
            for folder in (inner, *inner.parents):  # a container may see its own group as the root
                words = [word for file in files for word in _words(place / folder / file)]
                if len(words) == 2 and all(word.isdecimal() and int(word) for word in words):
                    yield int(words[0]) / int(words[1])


def _words(path: Path, separator: str | None = None) -> list[str]:
    try:
        return path.read_text(encoding="ascii", errors="replace").split(separator)
    except OSError:
        return []


@contextmanager
def single_precision() -> Iterator[None]:
    """Make tensors in single precision inside the block, whatever ``torch.set_default_dtype`` is."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


@contextmanager
def threads(n: int | None) -> Iterator[None]:
    """Compute with n CPU threads inside the block, and with the previous number after it.

    The number is limited to the cores of the process, since more would wait for each other; None changes nothing else.

    Raises:
        ParameterError: fewer than one thread.
    """
    before = torch.get_num_threads()
    wanted = before if n is None else checked_whole("threads", n)
    if wanted < 1:
        raise ParameterError(f"threads must be at least 1, got {n}")
    wanted = min(wanted, usable_cores())
    if wanted == before:
        yield
        return
    torch.set_num_threads(wanted)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def fitting_batch_size(device: torch.device) -> int:
    """Return a batch size in clips: as many as the memory of a GPU certainly holds, and a few on a CPU."""
    if device.type != "cuda":
        return _CPU_BATCH
    free, _ = torch.cuda.mem_get_info(device)
    n_fitting = max(1, min(_MAX_BATCH, free // _BYTES_OF_A_CLIP))
    return 2 ** (n_fitting.bit_length() - 1)


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error means that memory ran out, on a GPU or on the CPU."""
    # torch has no error class for the CPU's memory
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error)


def in_batches(compute: Callable[[slice], Made], n: int, size: int) -> tuple[list[Made], int]:
    """Return the results of a function for n items, in batches, and the batch size that worked.

    Where memory runs out, the batch size is halved from then on.

    Args:
        compute: function of a slice of the items.
        n: number of items.
        size: batch size to begin with.

    Raises:
        MasktoolsError: memory ran out for a single item.
    """
    made: list[Made] = []
    start = 0
    while start < n:
        try:
            made.append(compute(slice(start, min(start + size, n))))
            start += size
            continue
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            if size == 1:
                raise MasktoolsError(
                    "memory ran out while one clip was computed: close other programs, or use --device cpu, a smaller "
                    "model, or --precision bf16"
                ) from error
        size //= 2  # not in the except block: there the error still holds the tensors
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
    return made, size


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """Return a tensor on a device; a copy to a GPU is asynchronous."""
    if device.type == "cuda" and tensor.device.type == "cpu":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)
