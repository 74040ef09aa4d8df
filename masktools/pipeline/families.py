"""Which kinds of parts there are, how parts are made, and what makes a model of them."""

from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn

from masktools.core.configs import from_dict
from masktools.core.errors import ParameterError
from masktools.core.runtime import single_precision
from masktools.mel import MelConfig
from masktools.networks.conditioning import CONDITIONERS, DeferredT5, T5Config
from masktools.networks.packing import StoredWeights, fill_rest, give_back, keep_stored, laid_out
from masktools.networks.scales import (
    NoteClassifier,
    NoteClassifierConfig,
    ScaleTokenizer,
    ScaleTokenizerConfig,
    ScaleTransformer,
    ScaleTransformerConfig,
)
from masktools.networks.tokenizer import CODECS, TOKENIZERS
from masktools.networks.transformer import (
    DelayedPrior,
    DelayedPriorConfig,
    MaskedTransformer,
    StreamTransformer,
    StreamTransformerConfig,
    TransformerConfig,
)
from masktools.networks.vocoder import VOCODERS
from masktools.pipeline.scales import ScaleWalk
from masktools.pipeline.streams import StreamWalk
from masktools.pipeline.walk import Pipeline

KINDS: Mapping[str, Mapping[str, tuple[type, type]]] = {
    "tokenizer": {**TOKENIZERS, "scales": (ScaleTokenizerConfig, ScaleTokenizer)},
    "codec": CODECS,
    "transformer": {
        "masked": (TransformerConfig, MaskedTransformer),
        "streams": (StreamTransformerConfig, StreamTransformer),
        "scales": (ScaleTransformerConfig, ScaleTransformer),
    },
    "vocoder": VOCODERS,
    "conditioner": {**CONDITIONERS, "t5": (T5Config, DeferredT5)},
    "prior": {"delayed": (DelayedPriorConfig, DelayedPrior)},
    "classifier": {"notes": (NoteClassifierConfig, NoteClassifier)},
}
"""Each part's kinds, name -> (class of its settings, class of itself)."""


WALKS: Mapping[str, type[Any]] = {"masked": Pipeline, "streams": StreamWalk, "scales": ScaleWalk}
"""What makes a model of the parts of a family: a ``Walk``."""


@single_precision()
def build_part(part: str, kind: str, config: Mapping[str, Any], mel: MelConfig) -> nn.Module:
    """Return a part without its weights, from its kind and its settings.

    Raises:
        ParameterError: an unknown part or kind, or settings that are not those of its kind.
    """
    for what, name, known in (("part", part, KINDS), (f"kind of {part}", kind, KINDS.get(part, {}))):
        if name not in known:
            raise ParameterError(f"unknown {what} {name!r}: choose from {', '.join(known)}")
    config_class, part_class = KINDS[part][kind]
    settings = from_dict(config_class, config)
    return part_class(settings, mel) if part == "vocoder" else part_class(settings)


def make_part(
    part: str,
    kind: str,
    config: Mapping[str, Any],
    mel: MelConfig,
    weights: Mapping[str, Tensor],
    precision: torch.dtype | None,
    device: torch.device | str = "cpu",
) -> nn.Module:
    """Return a part with weights, packed for inference; each weight is asked for once, and let go of when it is used.

    Args:
        part: one of ``KINDS``.
        kind: one of the part's.
        config: its settings, as JSON has them.
        mel: settings of the model.
        weights: by name, of any float type.
        precision: in which the model computes; None leaves the part unpacked, in single precision.
        device: where to.

    Raises:
        ParameterError: an unknown part or kind, or settings that are not those of its kind.
        DeviceError: int8 on a processor that does not compute in it.
    """
    with laid_out():
        module = build_part(part, kind, config, mel)
    kept = module.state_dict()
    if any(value.is_meta for name, value in module.named_buffers() if name not in kept):
        module = build_part(part, kind, config, mel)  # it has constants, which are nowhere but in it
        module.load_state_dict({name: weights[name] for name in kept})
        own: Mapping[str, Tensor] | None = None
    else:
        own = weights
    module.eval().requires_grad_(False)
    if precision is not None and hasattr(module, "pack"):
        cast(Any, module).pack(precision, own, device)
    elif own is not None:
        fill_rest(module, own, device)
    if isinstance(weights, StoredWeights):
        keep_stored(module, weights)
    module.to(device)
    give_back()
    return module
