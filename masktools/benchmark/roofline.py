"""The roofline: FLOP of a model, peak rates of the machine, and lower bounds on the time of a job.

Additions, normalisation, exponentials and Fourier transforms are left out: they are a small part.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from masktools.benchmark.measurements import Measurement, Value, seconds_on_device
from masktools.core.arguments import checked_name
from masktools.core.runtime import has_fast_bf16, precision_of
from masktools.core.runtime import threads as use_threads
from masktools.networks.packing import PackedLinear, can_pack
from masktools.networks.transformer import TransformerConfig
from masktools.pipeline import Pipeline
from masktools.solver import SolverConfig, StepTrace, forward_count, make_plan
from masktools.solver.request import needed_passes


def transformer_flop(
    config: TransformerConfig, n_slots: float, n_context: float | None = None, head: bool = True
) -> float:
    """Return the FLOP of one pass of the transformer for one clip.

    Args:
        config: settings of the transformer.
        n_slots: positions that are computed, including the prefix.
        n_context: positions that they attend to; by default as many as are computed.
        head: whether logits are computed, at all positions but the prefix.
    """
    width, hidden = config.width, round(config.width * config.mlp_ratio)
    context = n_slots if n_context is None else n_context
    linear = 2 * n_slots * (4 * width**2 + 2 * width * hidden)  # qkv and projection, two layers of the perceptron
    attention = 4 * n_slots * context * width  # queries by keys, weights by values
    logits = 2 * (n_slots - 1) * (width**2 + width * config.n_codes) if head else 0.0
    return config.depth * (linear + attention) + logits


def counted(call: Callable[[], object]) -> float:
    """Return the FLOP of a call, counted by torch operator by operator."""
    from torch.utils.flop_counter import FlopCounterMode

    # Fused attention is an operator that the counter does not know on every device.
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        call()
    return float(counter.get_total_flops())


@dataclass(frozen=True)
class Costs:
    """FLOP of a model's parts, for one clip of a full window."""

    transformer: TransformerConfig
    mel: float
    encode: float
    decode: float
    vocoder: float
    condition: float  # of the transformer, once for each conditional pass
    parameters: Mapping[str, int]  # part -> number of weights

    def one_pass(self) -> float:
        """Return the FLOP of one pass of the transformer over a full window."""
        return transformer_flop(self.transformer, 1 + self.transformer.n_tokens)

    def step(self, record: StepTrace) -> float:
        """Return the FLOP of one step of the solver, over all items, by the computed positions in its record."""
        n_tokens, n_items = self.transformer.n_tokens, len(record.items)
        slots = sum(record.slots) or record.forwards * n_items * n_tokens
        n_passes = max(1, record.forwards) * n_items
        computed = 1 + slots / n_passes
        return n_passes * transformer_flop(self.transformer, computed, 1 + n_tokens)

    def solving(self, config: SolverConfig, conditional: bool) -> float:
        """Return the FLOP of all passes for one clip with a full mask, without caching."""
        n_tokens = self.transformer.n_tokens
        plan = make_plan(n_tokens, n_tokens, config)
        n_conditional = sum(needed_passes(step.guidance)[1] for step in plan) if conditional else 0
        return forward_count(plan, conditional) * self.one_pass() + n_conditional * self.condition

    def hidden_states(self) -> float:
        """Return the FLOP of one clip's hidden states, in all layers, from its tokens."""
        return transformer_flop(self.transformer, 1 + self.transformer.n_tokens, head=False)


def model_costs(pipeline: Pipeline) -> Costs:
    """Return the FLOP of a model's parts, counted on the meta device: nothing is computed or allocated.

    Parts are counted by their settings, whatever fast paths the pipeline uses.
    """
    from torch._subclasses.fake_tensor import FakeTensorMode

    mel_config, n_cols = pipeline.mel, pipeline.window_cols
    n_frames = n_cols * pipeline.grid.patch_frames
    with FakeTensorMode():
        tokenizer = _plain(type(pipeline.tokenizer)(pipeline.tokenizer.config))
        vocoder = _plain(type(pipeline.vocoder)(pipeline.vocoder.config, mel_config))
        mel = torch.zeros(1, mel_config.n_mels, n_frames)
        tokens = torch.zeros(1, pipeline.grid.n_rows, n_cols, dtype=torch.int64)
        encode = counted(lambda: tokenizer.encode(mel))
        decode = counted(lambda: tokenizer.decode(tokens))
        render = counted(lambda: vocoder(mel))
        parts = {
            "tokenizer": tokenizer,
            "transformer": type(pipeline.transformer)(pipeline.transformer.config),
            "vocoder": vocoder,
        }
        parameters = {name: sum(weight.numel() for weight in part.parameters()) for name, part in parts.items()}
    config = pipeline.transformer.config
    filters = 2.0 * mel_config.n_mels * (1 + mel_config.n_fft // 2) * n_frames
    return Costs(config, filters, encode, decode, render, 2.0 * config.condition_dim * config.width, parameters)


def _plain(part: nn.Module) -> Any:
    return part.eval().requires_grad_(False)


_TYPES: Mapping[str, torch.dtype] = MappingProxyType(
    {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16, "int8": torch.int8}
)
PRECISIONS = tuple(_TYPES)
_SIZES: Mapping[str, Sequence[int]] = MappingProxyType({"cpu": (1024, 2048), "cuda": (4096, 8192), "mps": (2048, 4096)})
_COPY_BYTES: Mapping[str, int] = MappingProxyType({"cpu": 1 << 28, "cuda": 1 << 30, "mps": 1 << 28})
_MIN_CALLS, _MAX_CALLS = 3, 200


@dataclass(frozen=True)
class Peaks:
    """Peak rates, measured on one device with a fixed number of threads."""

    flop_per_s: Mapping[str, float]  # precision -> peak rate
    measurements: tuple[Measurement, ...]

    def rate(self, precision: str) -> float:
        """Return the peak rate of matrix products at a precision, in FLOP/s.

        Raises:
            ParameterError: it was not measured.
        """
        checked_name("precision", precision, self.flop_per_s)
        return self.flop_per_s[precision]

    @property
    def best(self) -> float:
        """The peak rate of matrix products at any precision."""
        return max(self.flop_per_s.values())


def measure_peaks(
    device: torch.device,
    precisions: Sequence[str] = ("fp32", "bf16", "int8"),
    threads: int | None = None,
    seconds: float = 0.4,
    sizes: Sequence[int] | None = None,
    copy_bytes: int | None = None,
) -> Peaks:
    """Measure the rates of large square matrix products, and of a large copy within the device's memory.

    The best of all calls at all sizes counts, on a CPU also with the second matrix packed. A precision without
    matrix products on the device is left out.

    Args:
        device: device to measure.
        precisions: names in ``PRECISIONS``.
        threads: CPU threads; as many as torch takes by default.
        seconds: time for each precision and size in seconds.
        sizes: rows of the matrices; by default chosen for the device.
        copy_bytes: bytes that are copied; by default chosen for the device.

    Raises:
        ParameterError: an unknown precision.
    """
    rates: dict[str, float] = {}
    found: list[Measurement] = []
    with use_threads(threads), torch.inference_mode():
        case: dict[str, Value] = {"device": device.type, "threads": threads or torch.get_num_threads()}
        for precision in precisions:
            checked_name("precision", precision, PRECISIONS)
            for size in sizes or _SIZES[device.type]:
                flop = 2.0 * size**3
                times: list[float] = []
                for make in (_product, _packed_product):
                    try:
                        call = make(size, precision, device)
                        times += [] if call is None else _times(call, device, seconds)
                    except (RuntimeError, TypeError):
                        continue  # the device does not support it
                if not times:
                    continue
                rates[precision] = max(rates.get(precision, 0.0), flop / min(times))
                rate = {"flop": flop, "flop_per_s": flop / min(times)}
                own = {"precision": precision, "size": size}
                found.append(Measurement.of_times("ceilings", "matrix product", case | own, times, rate))
        found.append(_copy(device, case, seconds, copy_bytes or _COPY_BYTES[device.type]))
    return Peaks(rates, tuple(found))


def _product(size: int, precision: str, device: torch.device) -> Callable[[], Tensor]:
    """Return a function for the product of two random matrices, the second stored by columns, as weights are."""
    if precision == "int8":
        left, right = (torch.randint(-100, 100, (size, size), dtype=torch.int8).to(device) for _ in range(2))
        return lambda: torch.ops.aten._int_mm(left, right.T)
    left, right = (torch.randn(size, size).to(device, _TYPES[precision]) for _ in range(2))
    return lambda: left @ right.T


def _packed_product(size: int, precision: str, device: torch.device) -> Callable[[], Tensor] | None:
    """Return the same with the second matrix packed, as weights are on a CPU; None where that is unsupported."""
    if device.type != "cpu" or precision == "int8" or not can_pack(_TYPES[precision]):
        return None
    packed = PackedLinear(nn.Linear(size, size, bias=False), _TYPES[precision])
    rows = torch.randn(size, size).to(_TYPES[precision])
    return lambda: packed(rows)


def _times(call: Callable[[], object], device: torch.device, seconds: float) -> list[float]:
    """Return the times of calls, repeated for so many seconds."""
    call()
    times: list[float] = []
    end = time.perf_counter() + seconds
    while len(times) < _MIN_CALLS or (time.perf_counter() < end and len(times) < _MAX_CALLS):
        times.append(seconds_on_device(call, device))
    return times


def _copy(device: torch.device, case: Mapping[str, Value], seconds: float, n_bytes: int) -> Measurement:
    source = torch.zeros(n_bytes // 4, device=device)
    target = torch.empty_like(source)
    times = _times(lambda: target.copy_(source), device, seconds)
    moved = {"bytes_per_s": 2 * n_bytes / min(times)}
    return Measurement.of_times("ceilings", "copy", {**case, "bytes": n_bytes}, times, moved)


def precision_name(pipeline: Pipeline) -> str:
    """Return the name of the precision of a model's transformer."""
    return precision_of(pipeline.precision)


def part_precision(pipeline: Pipeline, part: str) -> str:
    """Return the name of the precision of most products in a part, ``decoder`` or ``vocoder``.

    A packed part has its own; others use the model's, or, with int8, the next one.
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


def rate_figures(flop: float, seconds: float, precision: str, peaks: Peaks) -> dict[str, float]:
    """Return the rate in FLOP/s, and its share of the machine's peak; empty without FLOP."""
    if flop <= 0 or seconds <= 0:
        return {}
    figures = {"flop": flop, "flop_per_s": flop / seconds}
    if precision in peaks.flop_per_s:
        figures["of_ceiling"] = flop / seconds / peaks.rate(precision)
    return figures


def bound_figures(flop: Mapping[str, float], seconds: float, audio_s: float, peaks: Peaks) -> dict[str, float]:
    """Return the real-time factor of a job with its two lower bounds by the roofline.

    Args:
        flop: FLOP of the job by precision.
        seconds: time of the job in seconds.
        audio_s: seconds of audio that it reads or writes.
        peaks: peak rates of the machine.
    """
    total = sum(flop.values())
    figures = {
        "audio_s": audio_s,
        "real_time_factor": seconds / audio_s,
        "flop": total,
        "flop_per_s": total / seconds,
        "lowest_real_time_factor": total / peaks.best / audio_s,
    }
    if all(name in peaks.flop_per_s for name in flop):
        at_least_s = sum(amount / peaks.rate(name) for name, amount in flop.items())
        figures["floor_real_time_factor"] = at_least_s / audio_s
    return figures
