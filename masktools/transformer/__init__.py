"""The masked transformer over tokens."""

from masktools.transformer.block import Block
from masktools.transformer.model import MaskedTransformer, TransformerConfig

__all__ = ["Block", "MaskedTransformer", "TransformerConfig"]
