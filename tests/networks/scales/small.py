"""Small networks over scales, with weights as after some training: nothing begins at zero."""

import torch
from hypothesis import strategies as st

from masktools.networks.scales import (
    MultiScaleQuantiser,
    ScaleTokenizer,
    ScaleTokenizerConfig,
    ScaleTransformer,
    ScaleTransformerConfig,
)

SCALES = ((2, 1), (2, 3), (4, 6))


@st.composite
def scale_lists(draw, least=1, most=5):
    """Draw the scales of any pyramid of few tokens."""
    scales = [(draw(st.integers(1, 3)), draw(st.integers(1, 3)))]
    for _ in range(draw(st.integers(least, most)) - 1):
        rows, cols = draw(st.integers(0, 2)), draw(st.integers(0, 3))
        scales.append((scales[-1][0] + rows, scales[-1][1] + (cols or rows == 0)))
    return tuple(scales)


def quantiser(pyramid, seed=0, n_codes=16, dim=5, n_items=24, **options):
    """Return a quantiser whose codebooks are placed on noise."""
    torch.manual_seed(seed)
    made = MultiScaleQuantiser(pyramid, n_codes, dim, **options).eval()
    with torch.no_grad():
        for convolution in made.phi:
            convolution.weight.add_(0.1 * torch.randn_like(convolution.weight))
        made.place(latents(pyramid, n_items, dim))
    return made


def latents(pyramid, n, dim=5):
    """Return noise (n, dim, h, w) of a pyramid's grid, in which neighbours are alike."""
    return torch.randn(n, dim, *pyramid.grid).cumsum(3) / 2


def tokenizer(seed=0, n_codes=12, **settings):
    """Return a tokenizer of 16 bins and up to 24 frames, whose codebooks are placed on noise."""
    torch.manual_seed(seed)
    config = ScaleTokenizerConfig(
        n_mels=16, scales=SCALES, multiplex=(2, 2), widths=(8, 8), n_codes=n_codes, code_dim=6, **settings
    )
    made = ScaleTokenizer(config).eval()
    with torch.no_grad():
        for convolution in made.quantiser.phi:
            convolution.weight.add_(0.05 * torch.randn_like(convolution.weight))
        made.quantiser.place(made.to_latents(mels(32, 24)))
    return made


def transformer(seed=0, n_codes=12, condition_dim=5, scales=SCALES, **settings):
    """Return a transformer over these scales, all of whose maps are random."""
    torch.manual_seed(seed)
    config = ScaleTransformerConfig(
        scales=scales,
        n_codes=n_codes,
        code_dim=6,
        condition_dim=condition_dim,
        width=16,
        depth=2,
        n_heads=2,
        **settings,
    )
    made = ScaleTransformer(config).eval()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return made


def mels(n, n_frames, n_mels=16):
    """Return noise in [-1, 1], (n, n_mels, n_frames)."""
    return torch.rand(n, n_mels, n_frames) * 2 - 1
