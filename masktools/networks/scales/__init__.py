"""Scale-wise models: a spectrogram as grids of tokens from coarse to fine, drawn scale by scale. After MARS and VAR."""

from masktools.networks.scales.classifier import NoteClassifier, NoteClassifierConfig
from masktools.networks.scales.pyramid import ChannelMultiplex, ScalePyramid, Truncation
from masktools.networks.scales.session import ScaleSession, check_steps, draw_scales, scale_plan
from masktools.networks.scales.tokenizer import (
    LINEAR,
    MultiScaleQuantiser,
    ScaleQuantised,
    ScaleTokenizer,
    ScaleTokenizerConfig,
    scale_usage,
)
from masktools.networks.scales.transformer import ScaleTransformer, ScaleTransformerConfig

__all__ = [
    "LINEAR", "ChannelMultiplex", "MultiScaleQuantiser", "NoteClassifier", "NoteClassifierConfig", "ScalePyramid",
    "ScaleQuantised", "ScaleSession", "ScaleTokenizer", "ScaleTokenizerConfig", "ScaleTransformer",
    "ScaleTransformerConfig", "Truncation", "check_steps", "draw_scales", "scale_plan", "scale_usage",
]  # fmt: skip
