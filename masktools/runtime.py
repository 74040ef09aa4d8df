"""Where a model runs: its device, its precision and its threads, chosen by name and checked before use."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from masktools.errors import DeviceError, ParameterError, unknown_name

__all__ = ["resolve_device", "resolve_precision", "threads"]

_DEVICES = ("auto", "cpu", "cuda", "cuda:N", "mps")
_PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def resolve_device(name: str | torch.device = "auto") -> torch.device:
    """Return the device of a name: ``auto`` is the first GPU if there is one, else the CPU.

    ``cuda`` and ``cuda:N`` are GPUs of NVIDIA or AMD; ``mps``, Apple's, is taken only when it is named.

    Raises:
        ParameterError: an unknown name.
        DeviceError: the device is not there.
    """
    named = re.fullmatch(r"(auto)|(cpu|mps)(?::0)?|(cuda)(?::([0-9]+))?", str(name))
    if named is None:
        raise unknown_name("device", str(name), _DEVICES)
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
    """Return the number type of a name: ``auto`` is bf16 on GPUs that compute in it, fp32 everywhere else.

    Raises:
        ParameterError: an unknown name.
        DeviceError: the device does not compute in that precision.
    """
    if name != "auto" and name not in _PRECISIONS:
        raise unknown_name("precision", name, ("auto", *_PRECISIONS))
    if name == "auto":
        return torch.bfloat16 if device.type == "cuda" and _has_bf16(device) else torch.float32
    if name == "fp16" and device.type == "cpu":
        raise DeviceError("fp16 needs a GPU, the device is cpu: use --precision fp32 or bf16")
    if name == "bf16" and device.type == "cuda" and not _has_bf16(device):
        raise DeviceError(f"{device} does not compute in bf16: use --precision fp16 or fp32")
    if name == "bf16" and device.type == "mps":
        raise DeviceError("bf16 is not offered on mps: use --precision fp16 or fp32")
    return _PRECISIONS[name]


def _has_bf16(device: torch.device) -> bool:
    with torch.cuda.device(device):
        return torch.cuda.is_bf16_supported(including_emulation=False)


@contextmanager
def threads(n: int | None) -> Iterator[None]:
    """Compute with n CPU threads inside the block, and with as many as before after it; None changes nothing.

    Raises:
        ParameterError: fewer than one thread.
    """
    if n is None:
        yield
        return
    if isinstance(n, bool) or n < 1:
        raise ParameterError(f"threads must be at least 1, got {n}")
    before = torch.get_num_threads()
    torch.set_num_threads(n)
    try:
        yield
    finally:
        torch.set_num_threads(before)
