"""Times of calls: to the end of what the device has to do, and of several variants in turn."""

import time
from collections.abc import Callable, Mapping

import torch

from masktools.errors import ParameterError
from masktools.pipeline import Progress

__all__ = ["interleaved", "seconds_of", "seconds_on_device", "settle"]

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
