"""Training of the transformer: what it reads, what it drops, what it counts, and that it learns."""

import json
import math
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from masktools.core.configs import to_dict
from masktools.core.errors import CheckpointError, MasktoolsError, ParameterError
from masktools.mel import MelConfig
from masktools.networks.conditioning.joint import JointEncoder, JointEncoderConfig
from masktools.networks.tokenizer import LocalTokenizer, SpecVqgan, SpecVqganConfig
from masktools.networks.transformer import TransformerConfig
from masktools.training.checkpoints import load_conditioner, load_joint_encoder, load_tokenizer, load_vocoder
from masktools.training.masking import ClipDraws, MaskingConfig
from masktools.training.mel_clips import MelClipData, MelClipStream, sound_embeddings
from masktools.training.transformer import TransformerTraining
from tests.training.small import fit
from tests.training.toys import ToyClips

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning", "ignore::FutureWarning")


@pytest.fixture(scope="module")
def conditioner(tmp_path_factory):
    torch.manual_seed(0)
    small = JointEncoderConfig(dim=6, widths=(4, 4, 8), n_blocks=1, text_hidden=8)
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "hum", "blip", "."]
    encoder = JointEncoder.from_vectors(pieces, torch.randn(len(pieces), 6), small)
    folder = tmp_path_factory.mktemp("conditioner")
    save_file(encoder.state_dict(), folder / "conditioner.safetensors")
    (folder / "conditioner.json").write_text(json.dumps(to_dict(encoder.config)))
    return folder


TOKENS = TransformerConfig(n_codes=16, n_rows=2, n_cols=6, width=32, depth=1, n_heads=2, condition_dim=4)


def training(stage, conditioner, **settings):
    """Return a training on mels of two columns."""
    transformer = TransformerConfig(n_codes=16, n_cols=2, width=16, depth=1, n_heads=2, condition_dim=6)
    torch.manual_seed(0)
    return TransformerTraining(
        str(stage), str(conditioner), transformer, n_steps=4, n_warmup=1, learning_rate=1e-3, **settings
    )


def on_tokens(n_steps=4, **settings):
    """Return a training on tokens, as ToyClips gives them."""
    torch.manual_seed(0)
    settings = {"n_warmup": 1, "learning_rate": 1e-2, "transformer": TOKENS, **settings}
    return TransformerTraining(n_steps=n_steps, **settings)


def batch():
    torch.manual_seed(1)
    condition = torch.nn.functional.normalize(torch.randn(6, 6), dim=1)
    return {"mel": torch.empty(6, 80, 32).uniform_(-1, 1), "condition": condition, "caption": ["a hum."] * 6}


@pytest.fixture(scope="module")
def clips(cache_folder, conditioner, tmp_path_factory):
    folder = tmp_path_factory.mktemp("mels")
    return MelClipData(str(cache_folder), str(folder), str(conditioner), n_frames=32, batch_size=4, n_valid_clips=2)


def test_it_trains_and_reports_its_loss_by_ratio_and_with_the_condition(stage_a, conditioner, clips):
    shares = MaskingConfig(full_share=0.2, gap_share=0.3, row_share=0.3)
    module = training(stage_a, conditioner, masking=shares, text_share=0.5, short_share=0.3)
    frozen = {k: v.clone() for k, v in module.tokenizer.state_dict().items()}
    metrics = fit(module, None, 4, clips).callback_metrics
    names = {"25", "50", "75", "full", "full_conditioned", "gap", "rows"}
    assert {f"valid_{name}" for name in names} | {f"valid_accuracy_{name}" for name in names} <= set(metrics)
    gain = metrics["valid_full"] - metrics["valid_full_conditioned"]
    assert metrics["valid_condition_gain"] == pytest.approx(gain.item(), abs=1e-6)
    assert 1 <= metrics["valid_codes_perplexity"] <= metrics["valid_codes_used"] <= 16
    assert all(torch.equal(v, frozen[k]) for k, v in module.tokenizer.state_dict().items())


def test_it_trains_on_tokens_without_a_tokenizer_and_without_conditions(monkeypatch):
    metrics = fit(on_tokens(), None, 4, ToyClips(batch_size=4)).callback_metrics
    assert {"valid_condition_gain", "valid_rows", "accuracy", "learning_rate"} <= set(metrics)
    monkeypatch.setattr("tests.training.toys.clip", lambda i, *_: {"tokens": torch.ones(2, 6).long(), "index": i})
    metrics = fit(on_tokens(), None, 4, ToyClips(batch_size=4)).callback_metrics
    assert "valid_condition_gain" not in metrics
    assert "valid_full" in metrics


@pytest.mark.parametrize("mask_token", ["conditional", "learned"])
@pytest.mark.parametrize("per_batch", [True, False])
def test_every_parameter_learns_from_every_batch(mask_token, per_batch):
    transformer = replace(TOKENS, mask_token=mask_token)
    module = on_tokens(2, transformer=transformer, masking=MaskingConfig(per_batch=per_batch), condition_drop=1.0)
    missing, step = [], module.on_before_optimizer_step

    def watched(optimizer):
        missing.extend(name for name, p in module.net.named_parameters() if p.grad is None)
        step(optimizer)

    module.on_before_optimizer_step = watched
    fit(module, None, 2, ToyClips(batch_size=4))
    assert not missing, "DDP waits for ever for a gradient that does not come"


def test_a_batch_that_comes_again_and_again_is_learned_by_heart(monkeypatch):
    from tests.training.toys import clip

    known = [clip(index, 16, 2, 6, 4) for index in range(4)]
    monkeypatch.setattr("tests.training.toys.clip", lambda index, *_: known[index % 4] | {"index": index})
    module = on_tokens(240, masking=MaskingConfig(mean=0.3, high=0.5), condition_drop=0.0, n_warmup=10)
    metrics = fit(module, None, 240, ToyClips(batch_size=16)).callback_metrics
    on, off = 0.9 + 0.1 / 16, 0.1 / 16
    floor = -on * math.log(on) - 15 * off * math.log(off)
    assert floor < metrics["loss"] < floor + 0.1
    assert metrics["accuracy"] > 0.97


def test_the_loss_of_a_step_is_the_mean_over_its_masked_tokens():
    module = on_tokens(condition_drop=0.0)
    with torch.no_grad():
        for parameter in module.net.head.parameters():
            parameter.zero_()  # uniform logits
    metrics = fit(module, None, 1, ToyClips(batch_size=4)).callback_metrics
    assert metrics["loss"].item() == pytest.approx(math.log(16), abs=1e-5)


def test_a_loss_that_is_not_finite_ends_the_run():
    module = on_tokens(condition_drop=1.0)
    with torch.no_grad():
        module.net.mask_vector.fill_(torch.nan)
    with pytest.raises(MasktoolsError, match="the loss must be finite, got nan at step 0: .*lower learning_rate"):
        fit(module, None, 1, ToyClips(batch_size=4))


def test_conditions_are_dropped_for_the_share_asked_for_clip_by_clip():
    module = on_tokens(condition_drop=0.1)
    given = {"condition": torch.randn(4000, 4)}
    conditions, use = module._conditions(given, ClipDraws(0, range(4000)))
    assert torch.equal(conditions, given["condition"])
    assert use.float().mean().item() == pytest.approx(0.9, abs=0.015)


def test_vectors_are_not_decayed_and_the_rate_warms_up_and_falls_to_nothing():
    module = on_tokens(10, n_warmup=4, learning_rate=1e-3)
    settings = module.configure_optimizers()
    decayed, free = settings["optimizer"].param_groups
    assert {p.ndim for p in free["params"]} == {1}
    assert (decayed["weight_decay"], free["weight_decay"]) == (0.05, 0.0)
    assert min(p.ndim for p in decayed["params"]) == 2
    factor = settings["lr_scheduler"]["scheduler"].lr_lambdas[0]
    assert [factor(step) for step in (0, 2, 4, 10)] == pytest.approx([0, 0.5, 1, 0])


def test_a_finetuning_begins_with_the_weights_of_a_checkpoint(tmp_path):
    first = on_tokens()
    fit(first, None, 4, ToyClips(batch_size=4)).save_checkpoint(tmp_path / "first.ckpt")
    second = on_tokens(start_checkpoint=str(tmp_path / "first.ckpt"))
    assert all(torch.equal(a, b) for a, b in zip(first.net.parameters(), second.net.parameters(), strict=True))
    with pytest.raises(ParameterError, match="start_checkpoint must be of the recipe's transformer: .*size mismatch"):
        on_tokens(start_checkpoint=str(tmp_path / "first.ckpt"), transformer=replace(TOKENS, width=16))


def test_a_deeper_network_begins_as_the_shallower_one_and_learns_in_every_block(tmp_path):
    assert TOKENS.depth == 1
    first = on_tokens()
    fit(first, None, 4, ToyClips(batch_size=4)).save_checkpoint(tmp_path / "first.ckpt")
    second = on_tokens(start_checkpoint=str(tmp_path / "first.ckpt"), transformer=replace(TOKENS, depth=3))
    tokens = torch.arange(TOKENS.n_tokens)[None] % TOKENS.n_codes
    mask = torch.arange(TOKENS.n_tokens)[None] % 2 > 0
    torch.testing.assert_close(second.net(tokens, mask), first.net(tokens, mask), atol=1e-5, rtol=1e-5)
    before = {name: weight.clone() for name, weight in second.net.state_dict().items()}
    fit(second, None, 4, ToyClips(batch_size=4)).save_checkpoint(tmp_path / "second.ckpt")
    for number in range(3):
        name = f"blocks.{number}.mlp.fc2.weight"
        assert not torch.equal(second.net.state_dict()[name], before[name]), name
    with pytest.raises(ParameterError, match="the depth must be a multiple of that of the weights, 3, got 4"):
        on_tokens(start_checkpoint=str(tmp_path / "second.ckpt"), transformer=replace(TOKENS, depth=4))


def test_the_compiled_network_keeps_the_names_of_its_weights(monkeypatch):
    compiled = []
    monkeypatch.setattr(torch.nn.Module, "compile", lambda self, **_: compiled.append(type(self).__name__))
    module = on_tokens(compile=True)
    fit(module, None, 1, ToyClips(batch_size=4))
    assert compiled == ["MaskedTransformer"]
    assert "net.token_embedding.weight" in module.state_dict()


def test_known_tokens_of_an_erased_clip_are_those_of_damaged_audio_and_the_targets_are_clean(stage_a, conditioner):
    module = training(stage_a, conditioner)
    mel = batch()["mel"]
    masks = torch.zeros(6, 5, 2, dtype=torch.bool)
    masks[:, :, 1] = True
    erased = torch.tensor([True] * 3 + [False] * 3)
    clean = module.clip_tokens(batch())
    given = module.given_tokens(batch(), clean, masks, erased)
    assert torch.equal(clean, module.tokenizer.encode(mel))
    damaged = mel.clone()
    damaged[:, :, 16:] = -1
    assert torch.equal(given[:3], module.tokenizer.encode(damaged)[:3])
    assert torch.equal(given[3:], clean[3:])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: on_tokens().clip_tokens({"mel": torch.zeros(1, 80, 96)}),
            "mel spectrograms need a tokenizer: give tokenizer_checkpoint",
        ),
        (lambda: on_tokens(text_share=0.5), "text_share needs a conditioner that reads captions, got 0.5 and none"),
        (lambda: fit(on_tokens(), None, 1, ToyClips(n_rows=3)), "tokens must have 2 rows, got 3"),
        (lambda: fit(on_tokens(), None, 1, ToyClips(n_codes=64)), r"tokens must be below n_codes 16, got \d+"),
    ],
)
def test_what_cannot_be_is_refused_in_words(call, message):
    with pytest.raises(ParameterError, match=message):
        call()


def test_a_tokenizer_of_either_kind_is_read_from_a_checkpoint_or_a_converted_file(stage_a, tmp_path):
    assert isinstance(load_tokenizer(stage_a), LocalTokenizer)
    config = SpecVqganConfig(
        n_codes=16, code_dim=8, channels=4, multipliers=(1, 1, 1, 1, 1), n_blocks=1, latent_channels=8, n_groups=2
    )
    network = SpecVqgan(config)
    told = {"part": "tokenizer", "kind": "specvqgan", "config": to_dict(config), "mel": to_dict(MelConfig())}
    path = tmp_path / "tokenizer.safetensors"
    state = {k: v.clone().contiguous() for k, v in network.state_dict().items()}
    save_file(state, path, metadata={"masktools": json.dumps(told)})
    loaded = load_tokenizer(path)
    assert isinstance(loaded, SpecVqgan)
    assert all(torch.equal(v, state[k]) for k, v in loaded.state_dict().items())
    assert not any(p.requires_grad for p in loaded.parameters())
    with pytest.raises(CheckpointError, match="must hold a vocoder of the kind light or .*, got a tokenizer"):
        load_vocoder(path)
    save_file(state, path)
    with pytest.raises(CheckpointError, match="does not say which part it holds: was it written by"):
        load_tokenizer(path)


def test_a_conditioner_is_a_folder_or_clap(conditioner, tmp_path, monkeypatch):
    assert isinstance(load_conditioner(str(conditioner)), JointEncoder)
    monkeypatch.delenv("MASKTOOLS_CLAP", raising=False)
    with pytest.raises(CheckpointError, match="MASKTOOLS_CLAP"):
        load_conditioner("clap")


def test_conditions_are_of_the_sound_or_of_the_caption(stage_a, conditioner):
    encoder = load_joint_encoder(str(conditioner))
    draws = ClipDraws(0, range(6))
    by_sound, _ = training(stage_a, conditioner)._conditions(batch(), draws)
    by_text, _ = training(stage_a, conditioner, text_share=1.0)._conditions(batch(), draws)
    torch.testing.assert_close(by_sound, batch()["condition"])
    torch.testing.assert_close(by_text, encoder.embed_text(["a hum."] * 6))


def test_a_folder_without_an_encoder_is_refused(tmp_path):
    with pytest.raises(ParameterError, match=r"no text-audio encoder in .*: give its checkpoint, or a bundle"):
        load_joint_encoder(str(tmp_path))


def test_clips_carry_the_embedding_of_the_stretch_they_come_from(clips):
    clips.setup()
    recordings, embeddings = zip(*clips.train, strict=True)
    stream = MelClipStream(recordings, embeddings, 32, gain_share=0.0)
    known = np.concatenate(embeddings)
    for clip in islice(stream, 20):
        assert clip["mel"].shape == (80, 32)
        assert clip["mel"].min() >= -1
        assert np.abs(known - clip["condition"].numpy()).sum(axis=1).min() < 1e-6


def test_clips_are_the_same_for_a_seed(clips):
    clips.setup()
    recordings, embeddings = zip(*clips.train, strict=True)
    streams = [MelClipStream(recordings, embeddings, 32, seed) for seed in (1, 1, 2)]
    first, again, other = (torch.stack([c["mel"] for c in islice(s, 4)]) for s in streams)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_embeddings_are_computed_once_and_read_again(clips):
    clips.setup()
    stored = list(Path(clips.hparams["mels"]).glob("embeddings-*.npz"))
    assert len(stored) == 1
    before = stored[0].stat().st_mtime_ns
    clips.setup()
    assert stored[0].stat().st_mtime_ns == before


def test_a_long_recording_has_an_embedding_each_half_stretch(conditioner):
    encoder = load_joint_encoder(str(conditioner))
    mel = np.random.default_rng(0).uniform(-1, 1, (100, 80)).astype(np.float32)
    assert sound_embeddings(encoder, mel, 40).shape == (4, 6)
    assert sound_embeddings(encoder, mel[:10], 40).shape == (1, 6)
