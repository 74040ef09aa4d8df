"""A whole model with random weights, small enough for tests: all its parts are real, only small."""

import string
from dataclasses import replace

import numpy as np
import torch

from masktools.mel import MelConfig
from masktools.networks.conditioning import JointEncoder, JointEncoderConfig
from masktools.networks.tokenizer import LocalTokenizer, LocalTokenizerConfig
from masktools.networks.transformer import MaskedTransformer, TransformerConfig
from masktools.networks.vocoder import LightVocoder, LightVocoderConfig
from masktools.pipeline import Pipeline

MEL = MelConfig(f_max=11_025.0)
SAMPLE_RATE = MEL.sample_rate
COLUMN = 4096  # samples
_PIECES = [*string.ascii_lowercase, *(f"##{letter}" for letter in string.ascii_lowercase)]


def tiny_pipeline(seed: int = 0, n_cols: int = 16, conditioner: bool = True, **settings) -> Pipeline:
    """Return a pipeline of about 30,000 weights whose window is ``n_cols`` columns of 0.19 s."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        tokenizer = LocalTokenizer(LocalTokenizerConfig(n_codes=16, code_dim=8, widths=(8, 8, 16)))
        latents = tokenizer.to_latents(torch.rand(1, MEL.n_mels, 256) * 2 - 1)
        with torch.no_grad():  # codes where the encoder's outputs are, so that all are in use
            tokenizer.codebook.weight.copy_(latents.flatten(2)[0].T[torch.randperm(80)[:16]])
        config = TransformerConfig(n_codes=16, n_cols=n_cols, width=32, depth=2, n_heads=2, condition_dim=8)
        transformer = MaskedTransformer(config)
        vocoder = LightVocoder(LightVocoderConfig(width=16, depth=1), MEL)
        joint = JointEncoderConfig(MEL, dim=8, text_hidden=8, widths=(4, 4, 8), n_blocks=1)
        encoder = JointEncoder.from_vectors(_PIECES, torch.randn(len(_PIECES), 8), joint) if conditioner else None
    return Pipeline(MEL, tokenizer, transformer, vocoder, encoder, **({"name": "tiny"} | settings))


def noise(seconds: float, sample_rate: int = SAMPLE_RATE, n_channels: int = 1, seed: int = 0, level: float = 0.1):
    """Return white noise (channels, t) in float32."""
    rng = np.random.default_rng(seed)
    shape = (n_channels, round(seconds * sample_rate))
    return (level * rng.standard_normal(shape)).astype(np.float32)


def tone(hertz: float, seconds: float, sample_rate: int = SAMPLE_RATE, level: float = 0.3):
    """Return a sine (1, t) in float32."""
    time_s = np.arange(round(seconds * sample_rate)) / sample_rate
    return (level * np.sin(2 * np.pi * hertz * time_s)).astype(np.float32)[None]


def other_mel(**changes) -> MelConfig:
    """Return the mel settings of the tiny model with changes."""
    return replace(MEL, **changes)


def states_of(transformer, tokens, mask=None, condition=None):
    """Return the states (b, 1 + n, width) of a transformer: what enters its first block, what leaves each."""
    nothing = torch.zeros_like(tokens, dtype=torch.bool)
    states = [transformer.enter(tokens, nothing if mask is None else mask, condition)]
    for block in transformer.blocks:
        states.append(block(states[-1]))
    return states
