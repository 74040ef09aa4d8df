"""The losses at the points where their value is known."""

import math

import pytest
import torch

from masktools.core.errors import ParameterError
from masktools.training.losses import (
    codebook_loss,
    discriminator_hinge,
    discriminator_sliced,
    discriminator_squares,
    feature_distance,
    feature_matching,
    generator_hinge,
    generator_sliced,
    generator_squares,
    masked_cross_entropy,
    slope_loss,
    stft_loss,
)
from masktools.training.part import exponential_factor, warmup_cosine, warmup_cosine_factor


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


def test_distances_of_features_are_summed_and_vanish_for_equal_ones():
    real = [torch.ones(2, 3), torch.full((2, 3), 100.0)]
    assert feature_distance(real, real).item() == 0
    assert feature_distance(real, [r + 0.5 for r in real]).item() == pytest.approx(1.0)


def test_least_squares_want_one_for_real_and_nought_for_generated():
    one, nought = [torch.ones(2, 3)] * 2, [torch.zeros(2, 3)] * 2
    assert discriminator_squares(one, nought).item() == 0
    assert discriminator_squares(nought, one).item() == pytest.approx(4.0)
    assert generator_squares(nought).item() == pytest.approx(2.0)


def softened(value):
    return math.log1p(math.exp(value)) ** 2


def test_the_sliced_losses_have_their_closed_form():
    real, generated = torch.stack([torch.full((4,), 2.0), torch.full((4,), 3.0)]), torch.stack([torch.zeros(4)] * 2)
    wanted = softened(1 - 2.0) + softened(0.0) + softened(1 - 3.0) - softened(1.0)
    assert discriminator_sliced([real], [generated]).item() == pytest.approx(wanted, rel=1e-5)
    assert discriminator_sliced([real] * 3, [generated] * 3).item() == pytest.approx(3 * wanted, rel=1e-5)
    assert generator_sliced([generated[0]]).item() == pytest.approx(softened(1.0), rel=1e-5)


def test_the_commitment_is_the_weaker_pull_and_legacy_puts_it_on_the_other_side():
    pulls = {}
    for legacy in (False, True):
        latents, entries = torch.ones(4, requires_grad=True), torch.zeros(4, requires_grad=True)
        codebook_loss(latents, entries, 0.25, legacy).backward()
        pulls[legacy] = (latents.grad.norm().item(), entries.grad.norm().item())
    assert pulls[False] == pytest.approx((0.25, 1.0))
    assert pulls[True] == pytest.approx((1.0, 0.25))


def test_slopes_of_equal_mels_agree_and_a_level_shift_does_not_count():
    mel = torch.rand(1, 80, 32)
    assert slope_loss(mel, mel).item() == 0
    assert slope_loss(mel + 0.3, mel).item() == pytest.approx(0, abs=1e-6)


def test_the_exponential_rate_falls_in_steps_after_its_warm_up():
    assert [exponential_factor(s, 0.5, 10, 4) for s in (0, 2, 4, 13, 14, 24)] == [0, 0.5, 1, 1, 0.5, 0.25]


def test_the_learning_rate_rises_linearly_and_falls_by_half_a_cosine():
    assert [warmup_cosine_factor(s, 16_000, 500_000) for s in (0, 16_000, 500_000)] == pytest.approx([0, 1, 0])
    assert warmup_cosine_factor(258_000, 16_000, 500_000) == pytest.approx(0.5)
    assert warmup_cosine_factor(10**6, 16_000, 500_000, final=0.1) == pytest.approx(0.1)
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], 1.0)
    with pytest.raises(ParameterError, match=r"n_warmup must lie in \[0, 10\), got 10"):
        warmup_cosine(optimizer, 10, 10)
