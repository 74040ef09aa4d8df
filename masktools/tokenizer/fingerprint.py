"""What tells the tokens of one tokenizer from those of another."""

from collections.abc import Mapping

from torch import Tensor

from masktools.packing import weights_digest

__all__ = ["token_fingerprint"]

_DECODING = ("decoder.", "post_quant_conv.")  # which may be trained further, and tokens stay what they are
_HITS = "hits"  # how often the entries of a codebook were met in training


def token_fingerprint(state: Mapping[str, Tensor]) -> str:
    """Return 16 hexadecimal digits of a tokenizer's weights, of encoder and codebook alone.

    Two tokenizers with the same one give the same tokens, whatever their decoders make of them. Weights count as
    bundles keep them, in fp16, so that a tokenizer has the same one before it is saved and after it is loaded.
    """
    names = [name for name in state if not name.startswith(_DECODING) and name.rsplit(".", 1)[-1] != _HITS]
    return weights_digest(state, names)[:16]
