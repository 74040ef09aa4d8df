"""Scales: a spectrogram as grids of tokens from coarse to fine, drawn one after the other. After MARS and VAR."""

from masktools.scales.classifier import NoteClassifier, NoteClassifierConfig
from masktools.scales.multiplex import ChannelMultiplex, Truncation
from masktools.scales.pyramid import ScalePyramid
from masktools.scales.quantiser import MultiScaleQuantiser, ScaleQuantised, scale_usage
from masktools.scales.session import ScaleSession, check_steps, draw_scales, scale_plan
from masktools.scales.tokenizer import LINEAR, ScaleTokenizer, ScaleTokenizerConfig
from masktools.scales.transformer import ScaleTransformer, ScaleTransformerConfig

__all__ = [
    "LINEAR",
    "ChannelMultiplex",
    "MultiScaleQuantiser",
    "NoteClassifier",
    "NoteClassifierConfig",
    "ScalePyramid",
    "ScaleQuantised",
    "ScaleSession",
    "ScaleTokenizer",
    "ScaleTokenizerConfig",
    "ScaleTransformer",
    "ScaleTransformerConfig",
    "Truncation",
    "check_steps",
    "draw_scales",
    "scale_plan",
    "scale_usage",
]
