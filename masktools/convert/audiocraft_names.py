"""Audiocraft's names of weights -> ours: the transformers over token streams, masked or causal.

Nothing is transposed; the packed projections of a text's attention are cut into queries, and keys and values.
"""

import re
from collections.abc import Mapping

from torch import Tensor

__all__ = ["stream_weights"]

_TEXT = "condition_provider.conditioners.description.output_proj"
_RULES = (
    (r"^emb\.(\d+)\.", r"streams.\1."),
    (r"^linears\.(\d+)\.", r"heads.\1."),
    (r"^out_norm\.", "norm."),
    (rf"^{re.escape(_TEXT)}\.", "text."),
    (r"^transformer\.layers\.(\d+)\.", r"blocks.\1."),
    (r"\.self_attn\.in_proj_weight$", ".attn.qkv.weight"),
    (r"\.self_attn\.out_proj\.", ".attn.proj."),
    (r"\.cross_attention\.out_proj\.", ".cross.proj."),
    (r"\.linear1\.", ".mlp.fc1."),
    (r"\.linear2\.", ".mlp.fc2."),
)
_CROSS = ".cross_attention.in_proj_weight"


def stream_weights(theirs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return weights of MAGNeT's or MusicGen's kind under our names; what is not known keeps its own."""
    ours: dict[str, Tensor] = {}
    for name, value in theirs.items():
        renamed = name
        for pattern, replacement in _RULES:
            renamed = re.sub(pattern, replacement, renamed)
        if renamed.endswith(_CROSS):
            block, third = renamed.removesuffix(_CROSS), len(value) // 3
            ours[f"{block}.cross.q.weight"], ours[f"{block}.cross.kv.weight"] = value[:third], value[third:]
        else:
            ours[renamed] = value
    return ours


_ENCODEC_RULES = (
    (r"^(encoder|decoder)\.model\.", r"\1.layers."),
    (r"\.conv\.conv\.", ".conv."),
    (r"\.convtr\.convtr\.", ".conv."),
    (r"\.weight_g$", ".parametrizations.weight.original0"),
    (r"\.weight_v$", ".parametrizations.weight.original1"),
    (r"^quantizer\.vq\.layers\.", "quantizer.layers."),
    (r"\._codebook\.", ".codebook."),
)


def encodec_weights(theirs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return weights of EnCodec under the names of our wrapper, which are those of transformers."""
    ours: dict[str, Tensor] = {}
    for name, value in theirs.items():
        renamed = name
        for pattern, replacement in _ENCODEC_RULES:
            renamed = re.sub(pattern, replacement, renamed)
        ours[f"model.{renamed}"] = value
    return ours
