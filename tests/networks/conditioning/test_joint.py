"""The joint text-audio encoder: one space of unit vectors, whatever comes in."""

import dataclasses
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import masktools
from masktools.core.errors import ParameterError
from masktools.mel import MelConfig
from masktools.networks.conditioning import CONDITIONERS, Conditioner, JointEncoder, JointEncoderConfig
from tests.networks.conditioning.conftest import PIECES, small_encoder

RATE = 22_050


def waves(n_clips=3, seconds=1.0, rate=RATE, seed=0):
    return 0.1 * torch.randn(n_clips, int(seconds * rate), generator=torch.Generator().manual_seed(seed))


def tone(hz, seconds, rate=RATE):
    return 0.3 * torch.sin(2 * torch.pi * hz * torch.arange(int(seconds * rate)) / rate)[None]


def test_the_joint_encoder_is_a_conditioner(encoder):
    assert isinstance(encoder, Conditioner)
    assert CONDITIONERS["joint"] == (JointEncoderConfig, JointEncoder)


def test_texts_and_sounds_become_unit_vectors_of_one_size(encoder):
    for vectors in (encoder.embed_audio(waves(), RATE), encoder.embed_text(["a dog barking", "rain", "violin"])):
        assert vectors.shape == (3, encoder.dim)
        assert vectors.dtype == torch.float32
        torch.testing.assert_close(vectors.norm(dim=1), torch.ones(3))


def test_words_that_no_one_ever_wrote_embed_by_their_letters(encoder):
    one, other = encoder.embed_text(["quokka", "blorptang"])
    assert torch.dot(one, other) < 0.999


def test_a_clip_embeds_as_it_does_alone(encoder):
    batch = waves(5)
    alone = torch.cat([encoder.embed_audio(clip[None], RATE) for clip in batch])
    torch.testing.assert_close(encoder.embed_audio(batch, RATE), alone, atol=1e-5, rtol=0)


def test_a_text_embeds_as_it_does_alone(encoder):
    texts = ["dog", "the rain, a violin, the barking dog"]
    alone = torch.cat([encoder.embed_text([text]) for text in texts])
    torch.testing.assert_close(encoder.embed_text(texts), alone, atol=1e-6, rtol=0)


def likeness(encoder, text, other):
    one, two = encoder.embed_text([text, other])
    return float(one @ two)


def test_a_new_text_is_drawn_to_the_remembered_one_it_is_nearest_to():
    encoder, drawn = small_encoder(), small_encoder()
    drawn.remember(drawn.read(["the barking dog", "rain", "a violin"]))
    assert drawn.config.n_remembered == 3
    assert likeness(drawn, "dog", "the barking dog") > 0.5 + 0.5 * likeness(encoder, "dog", "the barking dog")
    assert likeness(drawn, "dog", "rain") < 0.9
    torch.testing.assert_close(drawn.embed_text(["rain"]), encoder.embed_text(["rain"]), atol=0.02, rtol=0)


def test_what_is_remembered_is_remembered_once_and_beside_what_was_before():
    encoder = small_encoder()
    encoder.remember(encoder.read(["dog", "rain"]))
    encoder.remember(encoder.read(["rain", "violin"]))
    assert encoder.config.n_remembered == 3
    torch.testing.assert_close(encoder.memory.vectors, encoder.read(["dog", "rain", "violin"]), atol=0.01, rtol=0)


def test_the_memory_is_part_of_the_weights():
    encoder = small_encoder()
    encoder.remember(encoder.read(["dog", "rain"]))
    again = JointEncoder(encoder.config)
    again.load_state_dict(encoder.state_dict())
    assert torch.equal(again.embed_text(["a violin"]), encoder.embed_text(["a violin"]))


def test_embedding_is_deterministic_and_leaves_training_mode_as_it_was():
    encoder = small_encoder().train()
    first, second = encoder.embed_audio(waves(), RATE), encoder.embed_audio(waves(), RATE)
    assert torch.equal(first, second)
    assert encoder.training
    assert encoder.audio.scale.training


@pytest.mark.parametrize("seconds", [1 / RATE, 0.01, 0.1, 3.0, 9.845])
def test_any_length_embeds(encoder, seconds):
    vector = encoder.embed_audio(waves(1, seconds + 1e-9), RATE)
    assert vector.isfinite().all()
    torch.testing.assert_close(vector.norm(dim=1), torch.ones(1))


def test_a_steady_sound_embeds_alike_at_any_length(encoder):
    short, long = (encoder.embed_audio(tone(440.0, seconds), RATE) for seconds in (3.0, 12.0))
    assert (short * long).sum() > 0.995


def test_silence_after_a_sound_takes_no_part(encoder):
    sound = waves(1, 2.0)
    silence = torch.zeros(1, 6 * RATE)
    followed = encoder.embed_audio(torch.cat([sound, silence], dim=1), RATE)
    assert (encoder.embed_audio(sound, RATE) * followed).sum() > 0.99


def test_silence_alone_still_has_an_embedding(encoder):
    assert encoder.embed_audio(torch.zeros(1, RATE), RATE).isfinite().all()


def test_other_rates_are_resampled(encoder):
    high = tone(440.0, 2.0, 44_100)
    assert (encoder.embed_audio(high, 44_100) * encoder.embed_audio(tone(440.0, 2.0), RATE)).sum() > 0.999


def test_embeddings_can_take_part_in_training(encoder):
    weight = torch.ones(encoder.dim, requires_grad=True)
    (encoder.embed_text(["dog"]) * weight).sum().backward()
    assert weight.grad is not None


@pytest.mark.parametrize(
    ("wave", "rate", "message"),
    [
        (torch.zeros(1, 0), RATE, "must have samples, got none"),
        (torch.full((1, 9000), torch.nan), RATE, "must be finite"),
        (torch.full((1, 9000), torch.inf), RATE, "must be finite"),
        (torch.zeros(1, 9000), 0, "sample_rate must be positive, got 0 Hz"),
    ],
)
def test_what_cannot_be_heard_is_refused(encoder, wave, rate, message):
    with pytest.raises(ParameterError, match=message):
        encoder.embed_audio(wave, rate)


@pytest.mark.parametrize(
    ("texts", "message"), [([], "at least one text"), (["dog", " "], "' ' is empty"), (["???"], "can be spelt")]
)
def test_what_cannot_be_read_is_refused(encoder, texts, message):
    with pytest.raises(ParameterError, match=message):
        encoder.embed_text(texts)


def test_mel_spectrograms_of_another_height_are_refused(encoder):
    with pytest.raises(ParameterError, match="of 80 bands, got 64"):
        encoder.encode_mel(torch.zeros(1, 64, 32))


def test_the_state_is_all_there_is_to_an_encoder(encoder, tmp_path):
    halved = {
        name: value.half() if value.is_floating_point() else value for name, value in encoder.state_dict().items()
    }
    save_file({name: value.contiguous() for name, value in halved.items()}, tmp_path / "conditioner.safetensors")
    again = JointEncoder(encoder.config)
    again.load_state_dict(load_file(tmp_path / "conditioner.safetensors"))
    texts = ["a dog barking", "quokka"]
    torch.testing.assert_close(again.embed_text(texts), encoder.embed_text(texts), atol=5e-3, rtol=0)
    torch.testing.assert_close(again.embed_audio(waves(), RATE), encoder.embed_audio(waves(), RATE), atol=1e-2, rtol=0)


def test_an_untrained_text_side_keeps_the_geometry_of_its_vectors():
    vectors = torch.randn(len(PIECES), 8, generator=torch.Generator().manual_seed(3))
    encoder = JointEncoder.from_vectors(PIECES, vectors, JointEncoderConfig(dim=8, widths=(8, 8, 8)))
    dog, rain = encoder.embed_text(["dog", "rain"])
    expected = torch.cosine_similarity(vectors[PIECES.index("dog")], vectors[PIECES.index("rain")], dim=0)
    torch.testing.assert_close(torch.dot(dog, rain), expected, atol=1e-2, rtol=0)


def test_pieces_and_vectors_must_match():
    with pytest.raises(ParameterError, match=r"vectors must be \(2, token_dim\), got \(3, 4\)"):
        JointEncoder.from_vectors(["dog", "rain"], torch.zeros(3, 4))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"dim": 0}, "dim must be at least 1"),
        ({"n_blocks": 0}, "n_blocks must be at least 1"),
        ({"widths": ()}, "widths must have at least one entry"),
        ({"widths": (8, 0)}, r"widths must be at least 1, got \(8, 0\)"),
        ({"dropout": 1.0}, r"dropout must lie in \[0, 1\), got 1"),
        ({"mel": MelConfig(n_mels=72)}, "multiple of 16 for 3 widths, got 72"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message):
    with pytest.raises(ParameterError, match=message):
        JointEncoderConfig(**settings)


@pytest.fixture(scope="module")
def shipped():
    folder = Path(masktools.__file__).parent / "bundled" / "mini"
    weights, settings = folder / "conditioner.safetensors", folder / "config.json"
    if not weights.is_file() or not settings.is_file():
        pytest.skip("the bundled model is not in this checkout")
    from masktools.core.configs import from_dict

    part = json.loads(settings.read_text(encoding="utf-8"))["conditioner"]
    encoder = JointEncoder(from_dict(JointEncoderConfig, part["config"]))
    encoder.load_state_dict(load_file(weights))
    return encoder


@pytest.mark.parametrize(
    ("word", "near", "far"),
    [
        ("dog", "puppy", "violin"),
        ("dog", "terrier", "violin"),
        ("rain", "drizzle", "trumpet"),
        ("talking", "conversation", "engine"),
    ],
)
def test_the_shipped_encoder_knows_words_that_few_or_no_captions_had(shipped, word, near, far):
    anchor, close, distant = shipped.embed_text([word, near, far])
    assert torch.dot(anchor, close) > torch.dot(anchor, distant) + 0.1


def test_the_shipped_encoder_is_small(shipped):
    assert sum(parameter.numel() for parameter in shipped.parameters()) < 2_500_000
    assert dataclasses.asdict(shipped.config)["mel"]["f_max"] == 11_025.0
