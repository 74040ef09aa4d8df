"""Training of the transformer: what it reads, what it drops, and that it trains on damaged audio as it is met."""

import json

import pytest
import torch
from safetensors.torch import save_file

from masktools.conditioning.joint import JointEncoder, JointEncoderConfig
from masktools.configs import to_dict
from masktools.errors import ParameterError
from masktools.tokenizer import LocalTokenizerConfig
from masktools.training.masking import MaskingConfig
from masktools.training.transformer import TransformerTraining, draw_masks, load_joint_encoder
from masktools.transformer import TransformerConfig
from tests.training.small import TOKENIZER, fit

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
        str(stage), str(conditioner), transformer, TOKENIZER, n_steps=4, n_warmup=1, learning_rate=1e-3, **settings
    )


def batch():
    torch.manual_seed(1)
    return {"wave": 0.1 * torch.randn(6, 8192), "caption": ["a hum."] * 6}


def test_it_trains_and_reports_its_loss_by_ratio_and_with_the_condition(stage_a, conditioner, cache_folder):
    shares = MaskingConfig(full_share=0.2, gap_share=0.3, row_share=0.3)
    module = training(stage_a, conditioner, masking=shares, text_share=0.5, short_share=0.3)
    frozen = {k: v.clone() for k, v in module.tokenizer.state_dict().items()}
    metrics = fit(module, cache_folder, 4).callback_metrics
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
    mel = module.front_end(batch()["wave"])
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
    torch.testing.assert_close(by_sound, encoder.embed_audio(batch()["wave"], 22_050))
    torch.testing.assert_close(by_text, encoder.embed_text(["a hum."] * 6))


def test_a_folder_without_an_encoder_is_refused(tmp_path):
    with pytest.raises(ParameterError, match=r"no conditioner.json in .*train the text-audio encoder first"):
        load_joint_encoder(str(tmp_path))


def test_the_tokenizer_of_the_wrong_size_does_not_load(stage_a, conditioner):
    with pytest.raises(RuntimeError, match="size mismatch"):
        TransformerTraining(str(stage_a), str(conditioner), tokenizer=LocalTokenizerConfig(n_codes=8))
