"""The training modules: each learns, says what it is in its checkpoint, and repeats itself for a seed."""

import lightning.pytorch as pl
import pytest
import torch

from masktools.core.errors import CheckpointError, ParameterError
from masktools.mel import MelConfig
from masktools.networks.grain import GrainConfig
from masktools.networks.tokenizer import LocalTokenizer, token_fingerprint
from masktools.networks.vocoder.light import LightVocoderConfig
from masktools.training.checkpoints import load_tokenizer, network_state, part_description
from masktools.training.grain import GrainTraining
from masktools.training.tokenizer import DecoderTraining, TokenizerTraining
from masktools.training.vocoder import VocoderTraining
from tests.training.small import TOKENIZER, fit

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning", "ignore::FutureWarning")


def tokenizer_training():
    pl.seed_everything(0, verbose=False)
    return TokenizerTraining(TOKENIZER, n_steps=8, n_warmup=1, n_unquantised=3, n_placing_vectors=64)


def test_a_tokenizer_places_its_codebook_after_the_warm_up_and_reports_its_use(cache_folder):
    module = tokenizer_training()
    before = module.net.codebook.weight.clone()
    metrics = fit(module, cache_folder, 8).callback_metrics
    assert not torch.allclose(module.net.codebook.weight, before)
    assert 0 < metrics["valid_l1"] < 2
    assert 1 <= metrics["valid_perplexity"] <= 16


def test_the_same_seed_trains_the_same_tokenizer(cache_folder):
    first, second = tokenizer_training(), tokenizer_training()
    for module in (first, second):
        fit(module, cache_folder, 5)
    for a, b in zip(first.net.parameters(), second.net.parameters(), strict=True):
        assert torch.equal(a, b)


def test_a_checkpoint_says_which_part_it_holds_and_loads_into_it(stage_a):
    description = part_description(stage_a)
    assert (description["part"], description["kind"]) == ("tokenizer", "local")
    assert description["config"]["n_codes"] == 16
    assert description["mel"]["f_max"] == 8000
    LocalTokenizer(TOKENIZER).load_state_dict(network_state(stage_a))


def test_stage_b_moves_the_decoder_and_leaves_every_token_as_it_was(stage_a, cache_folder):
    module = DecoderTraining(str(stage_a), n_steps=6, n_warmup=1, n_discriminator_only=2, discriminator_width=4)
    fit(module, cache_folder, 12)
    before = network_state(stage_a)
    after = module.net.state_dict()
    assert all(torch.equal(after[k], v) for k, v in before.items() if not k.startswith("decoder."))
    assert not all(torch.equal(after[k], v) for k, v in before.items() if k.startswith("decoder."))


def test_a_decoder_that_is_averaged_leaves_the_tokens_what_they_are_to_the_last_bit(stage_a, cache_folder, tmp_path):
    from lightning.pytorch.callbacks import EMAWeightAveraging

    module = DecoderTraining(str(stage_a), n_steps=6, n_discriminator_only=1, n_warmup=1, discriminator_width=4)
    fit(module, cache_folder, 12, callbacks=[EMAWeightAveraging(decay=0.7)]).save_checkpoint(tmp_path / "b.ckpt")
    before, after = network_state(stage_a), network_state(tmp_path / "b.ckpt")
    assert token_fingerprint(after) == token_fingerprint(before)
    assert all(torch.equal(after[name], value) for name, value in before.items() if not name.startswith("decoder."))
    assert not all(torch.equal(after[name], value) for name, value in before.items())


def test_the_grain_learns_how_far_recordings_lie_from_what_is_decoded(stage_a, cache_folder, tmp_path):
    module = GrainTraining(str(stage_a), grain=GrainConfig(width=4), n_steps=40, n_warmup=5, learning_rate=5e-3)
    wrong = fit(module, cache_folder, 1).callback_metrics["valid_nats"]
    trainer = fit(module, cache_folder, 40)
    assert trainer.callback_metrics["valid_nats"] < wrong - 0.1
    trainer.save_checkpoint(tmp_path / "grain.ckpt")
    told = part_description(tmp_path / "grain.ckpt")
    assert (told["part"], told["kind"], told["config"]["width"]) == ("grain", "normal", 4)
    assert {"place", "last.weight"} <= set(network_state(tmp_path / "grain.ckpt")), "of its own, without the decoder"
    assert not any(name.startswith("decoder") for name in network_state(tmp_path / "grain.ckpt"))


def test_grain_has_the_bins_of_the_spectrogram(stage_a):
    with pytest.raises(ParameterError, match="the grain must have the 80 bins of the mel, got 64"):
        GrainTraining(str(stage_a), grain=GrainConfig(n_mels=64))


def test_a_vocoder_plays_both_phases_of_its_training(cache_folder):
    small = {"period_widths": (2, 4, 4, 4), "resolution_width": 2}
    module = VocoderTraining(
        LightVocoderConfig(width=16, depth=1), MelConfig(), n_steps=6, n_spectral=3, n_warmup=1, **small
    )
    discriminator = [p.clone() for p in module.discriminator.parameters()]
    metrics = fit(module, cache_folder, 12).callback_metrics
    assert {"mel", "discriminator"} <= set(metrics)
    assert any(not torch.equal(a, b) for a, b in zip(discriminator, module.discriminator.parameters(), strict=True))


def test_a_vocoder_is_given_what_the_tokenizer_gives_back_for_a_share_of_clips(stage_a):
    tokenizer = load_tokenizer(stage_a)
    mel = torch.empty(4, 80, 32).uniform_(-1, 1)
    small = LightVocoderConfig(width=16, depth=1)
    given = {
        share: VocoderTraining(small, tokenizer_checkpoint=str(stage_a), reconstructed_share=share)._given(mel)
        for share in (0.0, 1.0)
    }
    assert torch.equal(given[0.0], mel)
    torch.testing.assert_close(given[1.0], tokenizer.decode(tokenizer.encode(mel)))


def test_what_is_no_training_checkpoint_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match=r"no training checkpoint at .*nothing.ckpt"):
        network_state(tmp_path / "nothing.ckpt")
    (tmp_path / "text.ckpt").write_text("hello")
    with pytest.raises(CheckpointError, match="is not a readable training checkpoint"):
        part_description(tmp_path / "text.ckpt")
    torch.save({"state_dict": {"other.weight": torch.zeros(1)}}, tmp_path / "other.ckpt")
    with pytest.raises(CheckpointError, match="holds no weights under 'net.'"):
        network_state(tmp_path / "other.ckpt")
    with pytest.raises(CheckpointError, match="does not say which part it holds"):
        part_description(tmp_path / "other.ckpt")
