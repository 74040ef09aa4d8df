"""Embeddings: hidden states of the transformer, as one vector for each recording, and as one for each frame."""

from masktools.features.encoder import PREFIXES, Encoder, EncoderModule, PrefixLike, embed
from masktools.features.layers import POOLS, Embedding, LayerLike
from masktools.features.windows import Source

__all__ = ["POOLS", "PREFIXES", "Embedding", "Encoder", "EncoderModule", "LayerLike", "PrefixLike", "Source", "embed"]
