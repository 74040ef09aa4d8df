"""The games: who learns when, what the losses come to, and that what is left of them makes a model."""

import lightning.pytorch as pl
import pytest
import torch
from torch.utils.data import DataLoader

from masktools.cli.parts import read_part
from masktools.core.errors import ParameterError
from masktools.mel import MelConfig
from masktools.networks.tokenizer import SpecVqganConfig
from masktools.networks.tokenizer.local import Codebook
from masktools.networks.vocoder import Hifigan, HifiganConfig, LightVocoderConfig
from masktools.training.checkpoints import network_state
from masktools.training.clips import AudioData
from masktools.training.losses import PatchGanConfig, SlicedConv
from masktools.training.part import OptimiserConfig, config_of
from masktools.training.tokenizer import (
    AdversarialSchedule,
    CodebookCare,
    SpecVqganTraining,
    TokenizerTraining,
    adaptive_weight,
)
from masktools.training.vocoder import (
    TRAINABLE,
    AdversarialConfig,
    VocoderTraining,
    add_plain_weights,
    normalise_weights,
    remove_plain_weights,
)
from tests.training.small import fit

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning", "ignore::FutureWarning")

SMALL = {
    "n_codes": 16,
    "code_dim": 8,
    "channels": 4,
    "multipliers": (1, 1, 1, 1, 2),
    "n_blocks": 1,
    "latent_channels": 8,
    "n_groups": 2,
}
RATES = {"channels": 16, "upsample_rates": (16, 16), "upsample_kernels": (32, 32)}
BLOCKS = {"block_kernels": (3,), "block_dilations": ((1,),)}
DISCRIMINATORS = {"periods": (2, 3), "period_widths": (2, 4), "resolution_width": 2}
SOON = AdversarialSchedule(start=2)
EXACT = OptimiserConfig((0.8, 0.99), schedule="exponential", clip_norm=None)


def specvqgan(codebook="gradient", adversarial=SOON, **settings):
    torch.manual_seed(0)
    discriminator = PatchGanConfig(width=4)
    return SpecVqganTraining(
        SMALL | {"codebook": codebook}, n_steps=8, discriminator=discriminator, adversarial=adversarial, **settings
    )


def vocoder(kind="hifigan", discriminators="bigvgan", rules="san", optimiser=EXACT, **settings):
    torch.manual_seed(0)
    config = {"width": 16, "depth": 1} if kind == "light" else RATES | BLOCKS
    adversarial = AdversarialConfig(discriminators, rules, scale_width=8, mel_scale="log")
    weights = {"mel_weight": 45.0, "stft_weight": 0.0, "n_warmup": 0, "n_spectral": 0}
    return VocoderTraining(
        config,
        kind=kind,
        adversarial=adversarial,
        optimiser=optimiser,
        n_steps=8,
        **weights | DISCRIMINATORS | settings,
    )


def copied(module):
    return {name: value.detach().clone() for name, value in module.state_dict().items()}


def same(before, module):
    return all(torch.equal(before[name], value) for name, value in module.state_dict().items())


def test_a_game_that_starts_late_leaves_no_trace_before_it(cache_folder):
    before = copied(specvqgan(adversarial=AdversarialSchedule(start=2)).discriminator)
    late, never = (specvqgan(adversarial=AdversarialSchedule(start=start)) for start in (2, 99))
    for module in (late, never):
        fit(module, cache_folder, 4)
    assert same(copied(late.net), never.net)
    assert same(before, late.discriminator)
    assert "adversarial" not in late.trainer.callback_metrics
    for module in (late, never):
        fit(module, cache_folder, 8)
    assert not same(copied(late.net), never.net)
    assert not same(before, late.discriminator)
    assert same(before, never.discriminator)


def test_a_judge_may_learn_before_it_is_listened_to(cache_folder):
    early = specvqgan(adversarial=AdversarialSchedule(start=99, discriminator_start=0))
    before = copied(early.discriminator)
    fit(early, cache_folder, 4)
    assert not same(before, early.discriminator)


def test_the_weight_of_the_game_rises_over_its_ramp():
    adversarial = AdversarialSchedule(start=10, discriminator_start=8, n_ramp=4, weight=0.8)
    assert [adversarial.weight_at(step) for step in (9, 10, 11, 13, 50)] == pytest.approx([0, 0.2, 0.4, 0.8, 0.8])
    assert [adversarial.discriminator_learns(step) for step in (7, 8)] == [False, True]
    assert AdversarialSchedule().weight_at(30_000) == 0
    assert AdversarialSchedule().weight_at(30_001) == 0.8


def test_an_adaptive_game_pulls_as_hard_as_the_reconstruction():
    weight = torch.tensor([1.0, 2.0], requires_grad=True)
    reconstruction, adversarial = (weight * torch.tensor([3.0, 4.0])).sum(), (weight * torch.tensor([0.0, 0.1])).sum()
    assert adaptive_weight(reconstruction, adversarial, weight).item() == pytest.approx(50, rel=2e-3)
    assert adaptive_weight(reconstruction, adversarial, weight, highest=1.0).item() == 1


@pytest.mark.parametrize("codebook", ["ema", "gradient"])
def test_specvqgan_trains_with_an_adaptive_game_and_tells_its_codes(cache_folder, codebook):
    module = specvqgan(codebook, AdversarialSchedule(start=1, adaptive=True), legacy_codebook=True, n_unquantised=1)
    module.care.waiting.n_wanted = 16
    metrics = fit(module, cache_folder, 6).callback_metrics
    assert metrics["adaptive"] > 0
    assert {"l1", "codebook", "discriminator", "adversarial", "loss"} <= set(metrics)


class Batches(pl.LightningDataModule):
    """These batches and no others."""

    def __init__(self, batches):
        super().__init__()
        self.batches = batches

    def train_dataloader(self):
        return DataLoader(self.batches, batch_size=None)


def repeat(module, cache_folder, n_iterations):
    """Train on one batch again and again, and return the losses."""
    losses = []
    data = AudioData(str(cache_folder), n_samples=8192, batch_size=4, n_valid_clips=2)
    data.setup()
    batch = next(iter(data.train_dataloader()))
    log_dict = module.log_dict

    def record(figures, **settings):
        losses.append(dict(figures))
        log_dict(figures, **settings)

    module.log_dict = record
    fit(module, cache_folder, 2 * n_iterations, Batches([batch] * n_iterations))
    return losses


def test_a_batch_that_comes_again_and_again_is_learned_by_heart(cache_folder):
    losses = repeat(specvqgan(adversarial=AdversarialSchedule(start=99), learning_rate=1e-3), cache_folder, 30)
    assert losses[-1]["l1"] < 0.6 * losses[0]["l1"]
    told = repeat(vocoder(learning_rate=5e-3), cache_folder, 8)
    mels = [float(figures["mel"]) for figures in told if "mel" in figures]
    assert mels[-1] < 0.6 * mels[0]


@pytest.mark.parametrize(
    ("kind", "discriminators", "rules"),
    [
        ("hifigan", "hifigan", "least_squares"),
        ("bigvgan", "bigvgan", "san"),
        ("hifigan", "bigvgan", "san"),
        ("light", "bigvgan", "san"),
    ],
)
def test_any_vocoder_plays_with_any_judges_and_makes_a_part(cache_folder, tmp_path, kind, discriminators, rules):
    module = vocoder(kind, discriminators, rules, normalised=kind != "light")
    before = copied(module.discriminator)
    trainer = fit(module, cache_folder, 4)
    assert not same(before, module.discriminator)
    trainer.save_checkpoint(tmp_path / "vocoder.ckpt")
    part = read_part(str(tmp_path / "vocoder.ckpt"))
    assert (part.name, part.mel) == ("vocoder", MelConfig())
    assert type(part.module) is TRAINABLE[kind][1]
    mel = torch.rand(1, 80, 32) * 2 - 1
    with torch.no_grad():
        torch.testing.assert_close(part.module.eval()(mel), module.net.eval()(mel))


def test_directions_have_length_one_after_every_round(cache_folder):
    module = vocoder()
    fit(module, cache_folder, 2)
    layers = [layer for layer in module.discriminator.modules() if isinstance(layer, SlicedConv)]
    assert len(layers) == 5
    assert all(layer.weight.norm().item() == pytest.approx(1, abs=1e-5) for layer in layers)


def test_a_tokenizer_trained_in_one_stage_makes_a_part(cache_folder, tmp_path):
    module = specvqgan("ema")
    fit(module, cache_folder, 4).save_checkpoint(tmp_path / "tokenizer.ckpt")
    part = read_part(str(tmp_path / "tokenizer.ckpt"))
    assert part.name == "tokenizer"
    assert part.module.config == SpecVqganConfig(**SMALL)
    mel = torch.rand(1, 80, 32) * 2 - 1
    assert torch.equal(part.module.encode(mel), module.net.encode(mel))


def test_a_specvqgan_trains_by_reconstruction_alone_too(cache_folder):
    module = TokenizerTraining(SMALL, n_steps=8, n_warmup=1, n_unquantised=3, n_placing_vectors=64, kind="specvqgan")
    assert fit(module, cache_folder, 8).callback_metrics["valid_l1"] < 2


def test_normalised_weights_come_back_as_they_were_and_train_on_as_they_are():
    torch.manual_seed(0)
    network = Hifigan(HifiganConfig(**RATES, **BLOCKS), MelConfig())
    plain = copied(network)
    normalise_weights(network)
    state = {f"net.{name}": value for name, value in network.state_dict().items()} | {
        "discriminator.bias": torch.ones(1)
    }
    added = add_plain_weights(state)
    own = {name.removeprefix("net."): value for name, value in added.items() if name.startswith("net.")}
    assert own.keys() == plain.keys()
    for name, value in plain.items():
        torch.testing.assert_close(own[name], value)
    removed = remove_plain_weights(added)
    assert removed.keys() == state.keys()
    assert all(torch.equal(removed[name], value) for name, value in state.items())
    assert add_plain_weights({"net.weight": torch.ones(1)}) == {"net.weight": torch.ones(1)}


def test_a_run_goes_on_with_normalised_weights(cache_folder, tmp_path):
    first = vocoder(normalised=True)
    fit(first, cache_folder, 4).save_checkpoint(tmp_path / "half.ckpt")
    second = vocoder(normalised=True, learning_rate=1e-9)
    trainer = pl.Trainer(
        accelerator="cpu",
        max_steps=6,
        limit_val_batches=0,
        enable_checkpointing=False,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    data = AudioData(str(cache_folder), n_samples=8192, batch_size=2, n_valid_clips=2)
    trainer.fit(second, data, ckpt_path=tmp_path / "half.ckpt", weights_only=True)
    assert trainer.global_step == 6
    for name, value in first.net.state_dict().items():
        torch.testing.assert_close(second.net.state_dict()[name], value, atol=5e-3, rtol=0)
    started = vocoder(normalised=True, start_checkpoint=str(tmp_path / "half.ckpt"))
    mel = torch.rand(1, 80, 32) * 2 - 1
    with torch.no_grad():
        torch.testing.assert_close(started.net(mel), first.net(mel), atol=1e-5, rtol=1e-4)
    assert "conv_pre.weight" in network_state(tmp_path / "half.ckpt")


def test_two_half_batches_teach_what_one_whole_batch_does(cache_folder):
    torch.manual_seed(0)
    waves = 0.1 * torch.randn(4, 8192)
    learned = []
    for size, n_batches in ((4, 1), (2, 2)):
        data = Batches([{"wave": part} for part in waves.split(size)])
        module = vocoder(rules="least_squares", optimiser=OptimiserConfig(accumulate_iterations=n_batches))
        assert fit(module, cache_folder, 2, data).global_step == 2
        learned.append(copied(module))
    for name, value in learned[0].items():
        torch.testing.assert_close(learned[1][name], value, atol=1e-5, rtol=1e-3)


def test_what_is_compiled_keeps_its_names(cache_folder, monkeypatch):
    compiled = []

    def remember(function, **settings):  # torch's own compiler cannot look into the shape checks of the tests
        compiled.append(type(function.__self__).__name__)
        return function

    monkeypatch.setattr(torch, "compile", remember)
    module = vocoder("light", "light", "hinge", compile=True)
    names = set(module.state_dict())
    fit(module, cache_folder, 2)
    assert compiled == ["LightVocoder"]
    assert set(module.state_dict()) == names
    fit(specvqgan(compile=True), cache_folder, 2)
    assert compiled[-2:] == ["Encoder", "Decoder"]


def test_dead_codes_are_restarted_and_the_placing_waits_for_enough_latents():
    class Alone:
        world_size = 1

    torch.manual_seed(0)
    book = Codebook(8, 4)
    care = CodebookCare(book, n_unquantised=2, n_placing_vectors=16, n_restarting=100)
    latents = torch.randn(1, 4, 4, 4)
    assert care.quantise(latents, 0, Alone()) is None
    assert care.waiting.state().shape == (16, 4)
    assert care.quantise(latents, 1, Alone()) is None
    assert care.waiting.state() is None
    book.hits[:3] = 0.0
    assert care.quantise(latents, 50, Alone()).tokens.shape == (1, 4, 4)
    assert care.n_restarted >= 3
    assert set(care.figures(50)) == {"used", "perplexity", "restarted"}
    assert care.figures(51) == {}
    hungry = CodebookCare(Codebook(32, 4), n_unquantised=1, n_placing_vectors=32, n_restarting=0)
    with pytest.raises(ParameterError, match=r"the codebook needs 32 latents to be placed, got 16"):
        hungry.quantise(latents, 0, Alone())


def test_settings_of_a_game_that_cannot_be_are_refused(cache_folder):
    with pytest.raises(ParameterError, match=r"unknown adversarial loss 'hinges'.*did you mean 'hinge'"):
        AdversarialConfig(rules="hinges")
    with pytest.raises(ParameterError, match=r"unknown mel scale 'db': choose from unit, log"):
        AdversarialConfig(mel_scale="db")
    with pytest.raises(ParameterError, match="start must be at least 0, got -1"):
        AdversarialSchedule(start=-1)
    with pytest.raises(ParameterError, match=r"discriminator_start must lie in \[0, start = 5\], got 6"):
        AdversarialSchedule(start=5, discriminator_start=6)
    with pytest.raises(ParameterError, match="weight must be at least 0, got -1"):
        AdversarialSchedule(weight=-1.0)
    with pytest.raises(ParameterError, match=r"reconstructed_share must lie in \[0, 1\], got 2"):
        VocoderTraining(reconstructed_share=2.0)
    with pytest.raises(ParameterError, match="n_unquantised must be at least 0, got -1"):
        CodebookCare(Codebook(8, 4), -1, 16, 0)
    with pytest.raises(ParameterError, match=r"n_placing_vectors must be at least the 8 codes, got 4"):
        CodebookCare(Codebook(8, 4), 1, 4, 0)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"schedule": "linear"}, r"unknown schedule 'linear': choose from cosine, exponential"),
        ({"betas": (0.9, 1.0)}, r"betas must lie in \[0, 1\), got \(0.9, 1.0\)"),
        ({"weight_decay": -1.0}, r"weight_decay must be at least 0, got -1"),
        ({"final": 2.0}, r"final must lie in \[0, 1\], got 2"),
        ({"decay": 0.0}, r"decay must lie in \(0, 1\], got 0"),
        ({"n_decay": 0}, r"n_decay must be at least 1, got 0"),
        ({"accumulate_iterations": 0}, r"accumulate_iterations must be at least 1, got 0"),
        ({"clip_norm": 0.0}, r"clip_norm must be above 0, got 0"),
        ({"discriminator_clip_norm": -1.0}, r"discriminator_clip_norm must be above 0, got -1"),
    ],
)
def test_settings_of_the_optimisers_that_cannot_be_are_refused(settings, message):
    with pytest.raises(ParameterError, match=message):
        OptimiserConfig(**settings)


def test_the_settings_of_a_part_are_those_of_its_kind():
    assert config_of(TRAINABLE, "light", {"width": 8}, "vocoder") == LightVocoderConfig(width=8)
    assert config_of(TRAINABLE, "hifigan", None, "vocoder") == HifiganConfig()
    with pytest.raises(ParameterError, match=r"unknown kind of vocoder 'griffin_lim': choose from light, hifigan"):
        config_of(TRAINABLE, "griffin_lim", None, "vocoder")
    with pytest.raises(ParameterError, match=r"LightVocoderConfig has no key 'widht': did you mean 'width'"):
        config_of(TRAINABLE, "light", {"widht": 8}, "vocoder")
    with pytest.raises(ParameterError, match=r"vocoder must have the settings of kind 'light', got HifiganConfig"):
        config_of(TRAINABLE, "light", HifiganConfig(), "vocoder")
