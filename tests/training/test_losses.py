"""The losses at the points where their value is known."""

import math

import pytest
import torch

from masktools.errors import ParameterError
from masktools.training.losses import (
    discriminator_hinge,
    feature_matching,
    generator_hinge,
    masked_cross_entropy,
    stft_loss,
)
from masktools.training.schedules import warmup_cosine, warmup_cosine_factor


def clip():
    torch.manual_seed(0)
    return torch.randint(0, 1024, (2, 40)), torch.rand(2, 40) < 0.5


def test_uniform_logits_cost_the_logarithm_of_the_codebook():
    tokens, mask = clip()
    assert masked_cross_entropy(torch.zeros(2, 40, 1024), tokens, mask).item() == pytest.approx(
        math.log(1024), abs=1e-4
    )


def test_smoothing_keeps_perfect_logits_at_a_floor_of_1_017():
    tokens, mask = clip()
    on, off = 0.9 + 0.1 / 1024, 0.1 / 1024
    logits = torch.full((2, 40, 1024), math.log(off)).scatter(2, tokens[..., None], math.log(on))
    assert masked_cross_entropy(logits, tokens, mask).item() == pytest.approx(1.017, abs=1e-3)


def test_known_slots_get_no_gradient():
    tokens, mask = clip()
    logits = torch.randn(2, 40, 1024, requires_grad=True)
    masked_cross_entropy(logits, tokens, mask).backward()
    assert not logits.grad[~mask].any()
    assert logits.grad[mask].abs().sum(dim=1).min() > 0


def test_a_wave_is_at_no_distance_from_itself_and_far_from_silence():
    wave = torch.randn(2, 8192) * 0.1
    assert stft_loss(wave, wave).item() == 0
    assert stft_loss(torch.zeros_like(wave), wave) > stft_loss(0.9 * wave, wave) > 0


def test_the_hinge_is_at_rest_beyond_its_margins():
    sure = [torch.full((2, 3), 1.5)], [torch.full((2, 3), -1.5)]
    assert discriminator_hinge(*sure).item() == 0
    assert discriminator_hinge(sure[1], sure[0]).item() == pytest.approx(5.0)
    assert generator_hinge(sure[1]).item() == pytest.approx(1.5)


def test_features_that_match_cost_nothing_and_scale_does_not_matter():
    real = [torch.ones(2, 3), torch.full((2, 3), 100.0)]
    assert feature_matching(real, real).item() == 0
    assert feature_matching(real, [1.5 * r for r in real]).item() == pytest.approx(0.5)


def test_the_learning_rate_rises_linearly_and_falls_by_half_a_cosine():
    assert [warmup_cosine_factor(s, 16_000, 500_000) for s in (0, 16_000, 500_000)] == pytest.approx([0, 1, 0])
    assert warmup_cosine_factor(258_000, 16_000, 500_000) == pytest.approx(0.5)
    assert warmup_cosine_factor(10**6, 16_000, 500_000, final=0.1) == pytest.approx(0.1)
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], 1.0)
    with pytest.raises(ParameterError, match=r"n_warmup must lie in \[0, 10\), got 10"):
        warmup_cosine(optimizer, 10, 10)
