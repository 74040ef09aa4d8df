"""What a job must take at least: its arithmetic over the rates of the machine's best matrix products."""

from collections.abc import Mapping

from masktools.benchmark.ceilings import Ceilings
from masktools.pipeline import Pipeline
from masktools.runtime import PRECISIONS

__all__ = ["floor_figures", "precision_name", "rate_figures", "rest_of"]


def precision_name(pipeline: Pipeline) -> str:
    """Return the name of the precision in which a model's transformer computes."""
    return next(name for name, number_type in PRECISIONS.items() if number_type == pipeline.precision)


def rest_of(precision: str, ceilings: Ceilings) -> str:
    """Return the precision of decoder and vocoder beside a transformer's: beside int8 the fastest that there is."""
    if precision != "int8":
        return precision
    return max((name for name in ceilings.flop_per_s if name in ("fp32", "bf16")), key=ceilings.rate)


def rate_figures(flop: float, seconds: float, precision: str, ceilings: Ceilings) -> dict[str, float]:
    """Return the rate of some arithmetic, and its share of the machine's best; without arithmetic nothing."""
    if flop <= 0 or seconds <= 0:
        return {}
    figures = {"flop": flop, "flop_per_s": flop / seconds}
    if precision in ceilings.flop_per_s:
        figures["of_ceiling"] = flop / seconds / ceilings.rate(precision)
    return figures


def floor_figures(flop: Mapping[str, float], seconds: float, audio_s: float, ceilings: Ceilings) -> dict[str, float]:
    """Return the real-time factor of a job beside the two that the arithmetic allows.

    Args:
        flop: what must be done, precision -> FLOP.
        seconds: that the job took.
        audio_s: seconds of audio that it made or read.
        ceilings: of the machine.
    """
    total = sum(flop.values())
    figures = {
        "audio_s": audio_s,
        "real_time_factor": seconds / audio_s,
        "flop": total,
        "flop_per_s": total / seconds,
        "lowest_real_time_factor": total / ceilings.best / audio_s,
    }
    if all(name in ceilings.flop_per_s for name in flop):
        at_least_s = sum(amount / ceilings.rate(name) for name, amount in flop.items())
        figures["floor_real_time_factor"] = at_least_s / audio_s
    return figures
