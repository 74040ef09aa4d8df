"""How much arithmetic a model does: matrix products and convolutions, a multiplication and an addition being two.

What is added, normalised, exponentiated or transformed by Fourier is left out: it is little of the arithmetic.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from masktools.pipeline import Pipeline
from masktools.solver import SolverConfig, StepTrace, forward_count, make_plan
from masktools.solver.prediction import needed_passes
from masktools.transformer import TransformerConfig

__all__ = ["Costs", "counted", "model_costs", "transformer_flop"]


def transformer_flop(
    config: TransformerConfig, n_slots: float, n_context: float | None = None, head: bool = True
) -> float:
    """Return the FLOP of one pass of the transformer for one clip.

    Args:
        config: its sizes.
        n_slots: positions that are computed, the prefix among them.
        n_context: positions that they attend to; as many as are computed where it is not given.
        head: whether logits are computed, at all slots but the prefix.
    """
    width, hidden = config.width, round(config.width * config.mlp_ratio)
    context = n_slots if n_context is None else n_context
    linear = 2 * n_slots * (4 * width**2 + 2 * width * hidden)  # qkv and projection, two layers of the perceptron
    attention = 4 * n_slots * context * width  # queries by keys, weights by values
    logits = 2 * (n_slots - 1) * (width**2 + width * config.n_codes) if head else 0.0
    return config.depth * (linear + attention) + logits


def counted(call: Callable[[], object]) -> float:
    """Return the FLOP of what a call does with tensors, as torch counts them operator by operator."""
    from torch.utils.flop_counter import FlopCounterMode

    # Fused attention is an operator that the counter does not know on every device.
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        call()
    return float(counter.get_total_flops())


@dataclass(frozen=True)
class Costs:
    """The FLOP of a model's parts, for one clip of a full window."""

    transformer: TransformerConfig
    mel: float
    encode: float
    decode: float
    vocoder: float
    condition: float  # of the transformer, once for each conditional pass
    parameters: Mapping[str, int]  # part -> weights

    def one_pass(self) -> float:
        """Return the FLOP of one pass of the transformer over a full window."""
        return transformer_flop(self.transformer, 1 + self.transformer.n_tokens)

    def step(self, record: StepTrace) -> float:
        """Return the FLOP of one step of the solver, over all items, from the slots that it says were computed."""
        n_tokens, n_items = self.transformer.n_tokens, len(record.items)
        slots = sum(record.slots) or record.forwards * n_items * n_tokens
        n_passes = max(1, record.forwards) * n_items
        computed = 1 + slots / n_passes
        return n_passes * transformer_flop(self.transformer, computed, 1 + n_tokens)

    def solving(self, config: SolverConfig, conditional: bool) -> float:
        """Return the FLOP of the exact algorithm's passes for one clip with a full mask."""
        n_tokens = self.transformer.n_tokens
        plan = make_plan(n_tokens, n_tokens, config)
        n_conditional = sum(needed_passes(step.guidance)[1] for step in plan) if conditional else 0
        return forward_count(plan, conditional) * self.one_pass() + n_conditional * self.condition

    def hidden_states(self) -> float:
        """Return the FLOP of one clip's hidden states, all of them, from its tokens."""
        return transformer_flop(self.transformer, 1 + self.transformer.n_tokens, head=False)


def model_costs(pipeline: Pipeline) -> Costs:
    """Return the FLOP of a model's parts, counted on shapes alone: nothing is computed, and no memory taken.

    Parts are counted as their settings describe them, whatever fast paths the pipeline has put into them.
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
