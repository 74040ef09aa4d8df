"""Transformers over tokens: masked ones on a grid, and on streams; a causal one on delayed streams."""

from masktools.networks.transformer.model import Block, MaskedTransformer, TransformerConfig
from masktools.networks.transformer.streams import (
    DelayedPrior,
    DelayedPriorConfig,
    StreamTransformer,
    StreamTransformerConfig,
    Text,
)

__all__ = [
    "Block", "DelayedPrior", "DelayedPriorConfig", "MaskedTransformer", "StreamTransformer", "StreamTransformerConfig",
    "Text", "TransformerConfig",
]  # fmt: skip
