"""What a job must take at least: its arithmetic over the rates of the machine's best matrix products."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from masktools.benchmark.ceilings import Ceilings
from masktools.packing import PackedLinear
from masktools.pipeline import Pipeline
from masktools.runtime import has_fast_bf16, precision_of

__all__ = ["floor_figures", "part_precision", "precision_name", "rate_figures"]


def precision_name(pipeline: Pipeline) -> str:
    """Return the name of the precision in which a model's transformer computes."""
    return precision_of(pipeline.precision)


def part_precision(pipeline: Pipeline, part: str) -> str:
    """Return the name of the precision in which most of a part's products are, of ``decoder`` or ``vocoder``.

    A packed part chooses its own; others compute in the model's, or, beside int8, in the next best.
    """
    owner: Any = pipeline.vocoder if part == "vocoder" else pipeline.tokenizer
    if not getattr(owner, "packed", False):
        reduced = torch.bfloat16 if has_fast_bf16() else torch.float32
        return precision_of(reduced if pipeline.precision == torch.int8 else pipeline.precision)
    weights: dict[torch.dtype, int] = {torch.float32: 0}
    layers: nn.Module = owner if part == "vocoder" else getattr(owner, "decoder", owner)
    for layer in layers.modules():
        if isinstance(layer, PackedLinear):
            number_type, n_weights = layer.dtype, layer.in_features * layer.out_features
        elif isinstance(layer, nn.Linear | nn.Conv1d | nn.Conv2d | nn.ConvTranspose1d):
            number_type, n_weights = layer.weight.dtype, layer.weight.numel()
        else:
            continue
        weights[number_type] = weights.get(number_type, 0) + n_weights
    return precision_of(max(weights, key=lambda number_type: weights[number_type]))


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
