"""Which model made an embedding: one number that changes with the weights and settings it depends on."""

import hashlib
import json

from torch import nn

from masktools.configs import to_dict
from masktools.packing import feed_weights
from masktools.pipeline import Pipeline

__all__ = ["identity_of"]

_PARTS = ("tokenizer", "transformer", "conditioner")


def identity_of(pipeline: Pipeline) -> str:
    """Return the SHA-256, 64 hexadecimal digits, of what embeddings depend on: not of the vocoder, nor of the name.

    Weights count as bundles keep them, in fp16 and in the order of their names, so that a model is the same before it
    is saved and after it is loaded. Of a conditioner that loads its weights only when it is asked, the settings count.
    """
    digest = hashlib.sha256(json.dumps(to_dict(pipeline.mel), sort_keys=True).encode())
    for name in _PARTS:
        part = getattr(pipeline, name)
        settings = getattr(part, "config", None)
        words = [name, type(part).__name__, None if settings is None else to_dict(settings)]
        digest.update(json.dumps(words, sort_keys=True).encode())
        if isinstance(part, nn.Module):
            feed_weights(digest, part.state_dict())
    return digest.hexdigest()
