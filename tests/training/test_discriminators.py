"""The discriminators: their published sizes and shapes, and the two outputs of a slicing adversarial network."""

import pytest
import torch

from masktools.core.errors import ParameterError
from masktools.training.losses import (
    DiscriminatorsConfig,
    MelPatchDiscriminator,
    PatchGan,
    PatchGanConfig,
    PeriodDiscriminator,
    ResolutionDiscriminator,
    ScaleDiscriminator,
    SlicedConv,
    WaveDiscriminator,
    normalise_directions,
)


def n_weights(module):
    """Return the number of parameters, the lengths of normalised weights left out."""
    return sum(p.numel() for name, p in module.named_parameters() if not name.endswith("original0"))


def on_meta(config):
    with torch.device("meta"):
        return WaveDiscriminator(config)


def tiny(kind, sliced=False):
    torch.manual_seed(0)
    return WaveDiscriminator(DiscriminatorsConfig(kind, (2, 3), (2, 4), 8, 4, sliced))


def test_the_patch_discriminator_of_specvqgan_has_2_76_million_parameters_and_judges_8_by_104_places():
    discriminator = PatchGan(PatchGanConfig())
    assert sum(p.numel() for p in discriminator.parameters()) == 2_763_585
    logits, features = discriminator(torch.zeros(1, 80, 848))
    assert logits[0].shape == (1, 1, 8, 104)
    assert [f.shape[1] for f in features] == [64, 128, 256, 512]


def test_hifigans_judges_have_their_published_sizes():
    discriminators = on_meta(DiscriminatorsConfig("hifigan")).discriminators
    periods = sum(n_weights(j) for j in discriminators if isinstance(j, PeriodDiscriminator))
    scales = sum(n_weights(j) for j in discriminators if isinstance(j, ScaleDiscriminator))
    assert periods == pytest.approx(41.1e6, rel=1e-3)
    assert scales == pytest.approx(29.6e6, rel=2e-3)


def test_bigvgans_judges_have_their_published_sizes():
    discriminators = on_meta(DiscriminatorsConfig("bigvgan")).discriminators
    assert sum(n_weights(j) for j in discriminators if isinstance(j, PeriodDiscriminator)) == pytest.approx(
        41.1e6, rel=1e-3
    )
    assert sum(n_weights(j) for j in discriminators if isinstance(j, ResolutionDiscriminator)) == 280_419


def test_the_first_scale_is_spectrally_normalised_and_the_others_by_weight():
    first, *others = (j for j in tiny("hifigan").discriminators if isinstance(j, ScaleDiscriminator))
    assert not any("original0" in name for name, _ in first.layers.named_parameters())
    assert all(
        any("original0" in name for name, _ in discriminator.layers.named_parameters()) for discriminator in others
    )


@pytest.mark.parametrize("kind", ["light", "hifigan", "bigvgan"])
@pytest.mark.parametrize("sliced", [False, True])
def test_every_judge_gives_one_map_of_logits_or_two_if_split(kind, sliced):
    discriminator, wave = tiny(kind, sliced).eval(), torch.randn(2, 8192) * 0.1
    output = discriminator(wave)
    assert len(output.logits) == len(discriminator.discriminators)
    assert all(logits.shape[:2] == (2, 1) for logits in output.logits)
    if sliced:
        for both, one in zip(discriminator(wave, split=True).logits, output.logits, strict=True):
            torch.testing.assert_close(both[0], one)
            torch.testing.assert_close(both[1], one)


def test_a_wave_is_folded_sample_by_sample():
    discriminator = PeriodDiscriminator(3, (2,), False, False)
    folded = discriminator.view(torch.arange(8.0)[None])
    assert folded[0, 0].tolist() == [[0, 1, 2], [3, 4, 5], [6, 7, 6]]


def test_resolutions_see_a_tone_in_its_bin():
    tone = torch.sin(2 * torch.pi * 0.125 * torch.arange(8192))[None]
    for sizes in ((1024, 120, 600), (512, 50, 240)):
        magnitudes = ResolutionDiscriminator(sizes, 2, False).view(tone)[0, 0]
        assert magnitudes.mean(1).argmax() == sizes[0] // 8


@pytest.mark.parametrize("kernel", [(3,), (3, 1)])
def test_the_direction_learns_from_one_output_and_all_else_from_the_other(kernel):
    torch.manual_seed(0)
    layer = SlicedConv(4, kernel)
    cells = torch.randn(2, 4, 9, *(5 for _ in kernel[1:]), requires_grad=True)
    moved = {}
    for index, output in enumerate(("judged", "aimed")):
        layer.zero_grad()
        cells.grad = None
        layer(cells, split=True)[index].square().sum().backward()
        leaves = {"direction": layer.weight, "scale": layer.scale, "bias": layer.bias, "features": cells}
        moved[output] = {name for name, leaf in leaves.items() if leaf.grad is not None and leaf.grad.any()}
    assert moved == {"judged": {"scale", "bias", "features"}, "aimed": {"direction"}}


def test_the_gradient_of_a_direction_is_at_right_angles_to_it():
    torch.manual_seed(0)
    layer = SlicedConv(4, (3, 3))
    layer(torch.randn(2, 4, 9, 9), split=True)[1].square().sum().backward()
    assert (layer.weight.grad * layer.weight).sum().abs() < 1e-4 * layer.weight.grad.norm()


def test_directions_are_brought_back_to_length_one_and_the_logits_stay():
    discriminator, wave = tiny("bigvgan", sliced=True), torch.randn(1, 8192) * 0.1
    layers = [layer for layer in discriminator.modules() if isinstance(layer, SlicedConv)]
    with torch.no_grad():
        for layer in layers:
            layer.weight.mul_(3.0)
    before = discriminator(wave).logits
    normalise_directions(discriminator)
    assert all(layer.weight.norm().item() == pytest.approx(1, abs=1e-5) for layer in layers)
    for a, b in zip(before, discriminator(wave).logits, strict=True):
        torch.testing.assert_close(a, b)


def test_a_group_norm_judges_every_clip_by_itself():
    torch.manual_seed(0)
    mel = torch.rand(2, 80, 48) * 2 - 1
    for norm, alone in (("group", True), ("batch", False)):
        discriminator = PatchGan(PatchGanConfig(width=4, norm=norm))
        together, single = discriminator(mel)[0][0][:1], discriminator(mel[:1])[0][0]
        assert torch.allclose(together, single, atol=1e-6) == alone


def test_the_small_patch_discriminator_gives_logits_and_features():
    logits, features = MelPatchDiscriminator(4)(torch.zeros(2, 80, 32))
    assert logits[0].shape == (2, 1, 10, 4)
    assert len(features) == 4


def test_judges_that_cannot_be_are_refused():
    with pytest.raises(
        ParameterError, match=r"unknown kind of discriminators 'bigvan': .* \(did you mean 'bigvgan'\?\)"
    ):
        DiscriminatorsConfig("bigvan")
    with pytest.raises(ParameterError, match="periods must have at least one entry, got none"):
        DiscriminatorsConfig(periods=())
    with pytest.raises(ParameterError, match=r"period_widths must be at least 1, got \(0,\)"):
        DiscriminatorsConfig(period_widths=(0,))
    with pytest.raises(ParameterError, match=r"scale_width must be a positive multiple of 8, got 12"):
        DiscriminatorsConfig(scale_width=12)
    with pytest.raises(ParameterError, match=r"resolution_width must be at least 1, got 0"):
        DiscriminatorsConfig(resolution_width=0)
    with pytest.raises(ParameterError, match=r"n_layers must be at least 1, got 0"):
        PatchGanConfig(n_layers=0)
    with pytest.raises(ParameterError, match=r"unknown norm 'layer'"):
        PatchGanConfig(norm="layer")
    with pytest.raises(ParameterError, match=r"width must be positive, for a group norm a multiple of 4, got 6"):
        PatchGanConfig(width=6, norm="group")
