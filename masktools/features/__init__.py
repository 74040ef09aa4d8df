"""Embeddings: what the transformer makes of recordings, as one vector for each, and as one for each moment."""

from masktools.features.encoder import PREFIXES, Encoder, EncoderModule, PrefixLike, embed
from masktools.features.layers import POOLS, Embedding, LayerLike
from masktools.features.windows import Source

__all__ = ["POOLS", "PREFIXES", "Embedding", "Encoder", "EncoderModule", "LayerLike", "PrefixLike", "Source", "embed"]
