"""The masked transformer over tokens."""

from masktools.transformer.model import MaskedTransformer, TransformerConfig

__all__ = ["MaskedTransformer", "TransformerConfig"]
