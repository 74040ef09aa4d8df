"""The protocols by name with their settings, and the presets of the paper."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from masktools.core.arguments import checked_name
from masktools.evaluation.bandwidth import BandwidthSettings, evaluate_bandwidth
from masktools.evaluation.generation import GenerationSettings, evaluate_generation
from masktools.evaluation.inpainting import InpaintSettings, evaluate_inpainting
from masktools.evaluation.notes import NoteSettings, evaluate_notes
from masktools.evaluation.reconstruction import TokenizerSettings, VocoderSettings, evaluate_tokenizer, evaluate_vocoder
from masktools.evaluation.report import Report
from masktools.evaluation.scores import Statistics
from masktools.evaluation.transformer import (
    ConditioningSettings,
    TransformerSettings,
    evaluate_conditioning,
    evaluate_transformer,
)
from masktools.mel.grid import TokenGrid
from masktools.solver import PRESETS as SOLVERS


@dataclass(frozen=True)
class Protocol:
    """A way to measure a model."""

    evaluate: Callable[..., Report]  # of (model, clips, settings, embedders, progress)
    settings: type[Any]  # a dataclass
    job: str | None = None  # of the model, whose settings of the decoding hold
    reads_training: bool = False  # whether it takes recordings that the model was trained on, as ``training``
    of_notes: bool = False  # whether its clips are single notes in NSynth's files


PROTOCOLS: Mapping[str, Protocol] = {
    "tokenizer": Protocol(evaluate_tokenizer, TokenizerSettings),
    "transformer": Protocol(evaluate_transformer, TransformerSettings),
    "vocoder": Protocol(evaluate_vocoder, VocoderSettings),
    "inpaint": Protocol(evaluate_inpainting, InpaintSettings, "inpaint"),
    "bwe": Protocol(evaluate_bandwidth, BandwidthSettings, "bwe"),
    "generate": Protocol(evaluate_generation, GenerationSettings, "generate", reads_training=True),
    "conditioning": Protocol(evaluate_conditioning, ConditioningSettings),
    "notes": Protocol(evaluate_notes, NoteSettings, "generate", of_notes=True),
}
"""The protocols by name."""


@dataclass(frozen=True)
class Preset:
    """A protocol of the paper: its name here, and its settings for a model's grid of tokens."""

    protocol: str
    settings: Callable[[TokenGrid], Any]
    seconds: float = 10.0  # of the clips


_PAPER = SOLVERS["paper"]  # 16 steps, cosine, temperature 1.5, guidance 3.0 rising linearly
_PUBLISHED = Statistics(n_components=0)
_COLUMNS = (25, 35)


def _inpaint(paper_like: bool) -> InpaintSettings:
    return InpaintSettings(
        columns=_COLUMNS,
        around_s=None,
        leak_free=not paper_like,
        composite=not paper_like,
        solver=_PAPER,
        statistics=_PUBLISHED,
    )


def _bandwidth(grid: TokenGrid, paper_like: bool) -> BandwidthSettings:
    return BandwidthSettings(
        cutoffs_hz=(grid.row_edges_hz[-2],),
        min_bandwidth_hz=0.0 if paper_like else BandwidthSettings().min_bandwidth_hz,  # the paper takes all clips
        leak_free=not paper_like,
        solver=_PAPER,
        statistics=_PUBLISHED,
    )


PRESETS: Mapping[str, Preset] = MappingProxyType(
    {
        "table3": Preset("tokenizer", lambda grid: TokenizerSettings(_PUBLISHED)),
        "audiocaps": Preset("generate", lambda grid: GenerationSettings(solver=_PAPER, statistics=_PUBLISHED)),
        "table8_inpaint_paper_like": Preset("inpaint", lambda grid: _inpaint(paper_like=True)),
        "table8_inpaint_leak_free": Preset("inpaint", lambda grid: _inpaint(paper_like=False)),
        "table8_bwe_paper_like": Preset("bwe", lambda grid: _bandwidth(grid, paper_like=True)),
        "table8_bwe_leak_free": Preset("bwe", lambda grid: _bandwidth(grid, paper_like=False)),
    }
)
"""The protocols of SpecMaskGIT (arXiv:2406.17672) by name: rFAD of table 3; tables 1, 2, 5, 6 and 7, and sections 4.2
and 5.1; table 8, time inpaint and BWE with and without LFR, section 4.2.

Figures can be compared where FAD is by VGGish on the AudioCaps test split, one clip for each caption. Paper-like, known
tokens are computed from audio that holds the answer, and the whole clip is the decoder's; leak-free, the answer is
erased before tokens are computed, and known audio is kept.

The paper's "25th to 35th Mel-spec frames (around 1.9 s)" are columns of tokens: ten of them last 1.86 s, ten frames
0.12 s. Its "top 16 Mel-spec bins, beyond 4.3 kHz" are the top row of tokens; where that begins is the model's matter.
Both run without a condition.
"""


def preset_settings(name: str, grid: TokenGrid) -> tuple[str, Any]:
    """Return the protocol of a preset and its settings for a model's grid of tokens.

    Raises:
        ParameterError: there is no such preset; the message lists them.
    """
    checked_name("preset", name, PRESETS)
    return PRESETS[name].protocol, PRESETS[name].settings(grid)
