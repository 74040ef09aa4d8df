"""Training of the transformer: what it reads, what it drops, and that it trains on damaged audio as it is met."""

import json
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from masktools.conditioning.joint import JointEncoder, JointEncoderConfig
from masktools.configs import to_dict
from masktools.errors import ParameterError
from masktools.training.checkpoints import load_joint_encoder
from masktools.training.masking import MaskingConfig
from masktools.training.mel_clips import MelClipData, MelClipStream, sound_embeddings
from masktools.training.transformer import TransformerTraining, draw_masks
from masktools.transformer import TransformerConfig
from tests.training.small import fit

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


def training(stage, conditioner, **settings):
    transformer = TransformerConfig(n_codes=16, n_cols=2, width=16, depth=1, n_heads=2, condition_dim=6)
    torch.manual_seed(0)
    return TransformerTraining(
        str(stage), str(conditioner), transformer, n_steps=4, n_warmup=1, learning_rate=1e-3, **settings
    )


def batch():
    torch.manual_seed(1)
    condition = torch.nn.functional.normalize(torch.randn(6, 6), dim=1)
    return {"mel": torch.empty(6, 80, 32).uniform_(-1, 1), "condition": condition, "caption": ["a hum."] * 6}


@pytest.fixture(scope="module")
def clips(cache_folder, manifest, conditioner, tmp_path_factory):
    folder = tmp_path_factory.mktemp("mels")
    return MelClipData(
        str(cache_folder), [str(manifest)], str(conditioner), str(folder), n_frames=32, batch_size=4, n_valid_clips=2
    )


def test_it_trains_and_reports_its_loss_by_ratio_and_with_the_condition(stage_a, conditioner, clips):
    shares = MaskingConfig(full_share=0.2, gap_share=0.3, row_share=0.3)
    module = training(stage_a, conditioner, masking=shares, text_share=0.5, short_share=0.3)
    frozen = {k: v.clone() for k, v in module.tokenizer.state_dict().items()}
    metrics = fit(module, None, 4, clips).callback_metrics
    names = {"valid_25", "valid_50", "valid_75", "valid_full", "valid_full_conditioned", "valid_gap", "valid_rows"}
    assert names <= set(metrics)
    assert all(torch.equal(v, frozen[k]) for k, v in module.tokenizer.state_dict().items())


def test_masks_come_in_the_shares_asked_for_and_only_gaps_and_rows_are_erased():
    config = MaskingConfig(full_share=0.25, gap_share=0.25, row_share=0.25)
    masks, erased = draw_masks(4000, 5, 10, config, torch.Generator().manual_seed(0))
    columns, rows = masks.any(1).eq(masks.all(1)).all(1), masks.any(2).eq(masks.all(2)).all(1)
    full = masks.flatten(1).all(1)
    assert full.float().mean().item() == pytest.approx(0.25, abs=0.03)
    assert (columns & ~full).float().mean().item() == pytest.approx(0.25, abs=0.03)
    assert (rows & ~full).float().mean().item() == pytest.approx(0.25, abs=0.03)
    assert torch.equal(erased, (columns ^ rows) & ~full)


def test_known_tokens_of_an_erased_clip_are_those_of_damaged_audio_and_the_targets_are_clean(stage_a, conditioner):
    module = training(stage_a, conditioner)
    mel = batch()["mel"]
    masks = torch.zeros(6, 5, 2, dtype=torch.bool)
    masks[:, :, 1] = True
    erased = torch.tensor([True] * 3 + [False] * 3)
    clean, given = module._tokens(mel, masks, erased)
    assert torch.equal(clean, module.tokenizer.encode(mel))
    damaged = mel.clone()
    damaged[:, :, 16:] = -1
    assert torch.equal(given[:3], module.tokenizer.encode(damaged)[:3])
    assert torch.equal(given[3:], clean[3:])


def test_conditions_are_of_the_sound_or_of_the_caption(stage_a, conditioner):
    encoder = load_joint_encoder(str(conditioner))
    by_sound = training(stage_a, conditioner)._conditions(batch())
    by_text = training(stage_a, conditioner, text_share=1.0)._conditions(batch())
    torch.testing.assert_close(by_sound, batch()["condition"])
    torch.testing.assert_close(by_text, encoder.embed_text(["a hum."] * 6))


def test_a_folder_without_an_encoder_is_refused(tmp_path):
    with pytest.raises(ParameterError, match=r"no conditioner.json in .*train the text-audio encoder first"):
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
    stored = list(Path(clips.hparams["folder"]).glob("embeddings-*.npz"))
    assert len(stored) == 1
    before = stored[0].stat().st_mtime_ns
    clips.setup()
    assert stored[0].stat().st_mtime_ns == before


def test_a_long_recording_has_an_embedding_each_half_stretch(conditioner):
    encoder = load_joint_encoder(str(conditioner))
    mel = np.random.default_rng(0).uniform(-1, 1, (100, 80)).astype(np.float32)
    assert sound_embeddings(encoder, mel, 40).shape == (4, 6)
    assert sound_embeddings(encoder, mel[:10], 40).shape == (1, 6)
