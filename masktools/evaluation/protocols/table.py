"""The protocols by name, with their settings."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from masktools.evaluation.protocols.bandwidth import BandwidthSettings, evaluate_bandwidth
from masktools.evaluation.protocols.conditioning import ConditioningSettings, evaluate_conditioning
from masktools.evaluation.protocols.generation import GenerationSettings, evaluate_generation
from masktools.evaluation.protocols.inpainting import InpaintSettings, evaluate_inpainting
from masktools.evaluation.protocols.tokenizer import TokenizerSettings, evaluate_tokenizer
from masktools.evaluation.protocols.transformer import TransformerSettings, evaluate_transformer
from masktools.evaluation.protocols.vocoder import VocoderSettings, evaluate_vocoder
from masktools.evaluation.report import Report

__all__ = ["PROTOCOLS", "Protocol"]


@dataclass(frozen=True)
class Protocol:
    """A way to measure a model."""

    evaluate: Callable[..., Report]  # of (model, clips, settings, embedders, progress)
    settings: type[Any]  # a dataclass
    job: str | None = None  # of the model, whose settings of the decoding hold
    reads_training: bool = False  # whether it takes recordings that the model was trained on, as ``training``


PROTOCOLS: Mapping[str, Protocol] = {
    "tokenizer": Protocol(evaluate_tokenizer, TokenizerSettings),
    "transformer": Protocol(evaluate_transformer, TransformerSettings),
    "vocoder": Protocol(evaluate_vocoder, VocoderSettings),
    "inpaint": Protocol(evaluate_inpainting, InpaintSettings, "inpaint"),
    "bwe": Protocol(evaluate_bandwidth, BandwidthSettings, "bwe"),
    "generate": Protocol(evaluate_generation, GenerationSettings, "generate", reads_training=True),
    "conditioning": Protocol(evaluate_conditioning, ConditioningSettings),
}
"""The protocols by name."""
