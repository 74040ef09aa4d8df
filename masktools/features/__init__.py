"""Embeddings: what the transformer makes of recordings, as one vector for each, and as one for each moment."""

from masktools.features.embedding import Embedding
from masktools.features.encoder import Encoder, embed
from masktools.features.inputs import Source
from masktools.features.layers import LayerLike
from masktools.features.module import EncoderModule
from masktools.features.pooling import POOLS
from masktools.features.prefix import PREFIXES, PrefixLike

__all__ = ["POOLS", "PREFIXES", "Embedding", "Encoder", "EncoderModule", "LayerLike", "PrefixLike", "Source", "embed"]
