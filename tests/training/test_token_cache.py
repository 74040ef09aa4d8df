"""Tokens and conditions computed once: they are those of the clips, whatever the source and the kills."""

import json
import pickle
from itertools import islice
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from masktools.core.configs import to_dict
from masktools.core.errors import ParameterError
from masktools.mel import MelConfig, MelFrontEnd
from masktools.networks.conditioning import JointEncoder, JointEncoderConfig
from masktools.networks.tokenizer import LocalTokenizer, LocalTokenizerConfig, SpecVqgan, SpecVqganConfig
from masktools.training.shards import AudioCache, write_shards
from masktools.training.token_cache import (
    TokenCache,
    TokenClipData,
    TokenClipStream,
    build_token_cache,
    conditions_of,
    fingerprint,
    tokens_of,
)

MEL = MelConfig(f_max=11_025.0)
N_COLS = 4  # of a clip: 0.74 s
COLUMN = MEL.column_samples


@pytest.fixture(scope="module")
def tokenizer():
    """A small local tokenizer whose codes are in use."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = LocalTokenizer(LocalTokenizerConfig(n_codes=16, code_dim=8, widths=(4, 8, 8)))
        latents = network.to_latents(torch.rand(1, 80, 256) * 2 - 1)
        with torch.no_grad():
            network.codebook.weight.copy_(latents.flatten(2)[0].T[torch.randperm(80)[:16]])
    return network.eval()


@pytest.fixture(scope="module")
def vqgan():
    """A small SpecVQGAN, whose attention sees the whole clip."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        settings = {"channels": 8, "n_codes": 16, "code_dim": 8, "latent_channels": 8, "n_blocks": 1, "n_groups": 4}
        return SpecVqgan(SpecVqganConfig(**settings)).eval()


@pytest.fixture(scope="module")
def encoder():
    """A small text-audio encoder."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        config = JointEncoderConfig(MEL, dim=6, text_hidden=8, widths=(4, 4, 8), n_blocks=1)
        return JointEncoder.from_vectors(["a", "hum", "blip"], torch.randn(3, 6), config).eval()


@pytest.fixture(scope="module")
def tokens_folder(cache_folder, tokenizer, encoder, tmp_path_factory):
    """The token cache of the small audio cache."""
    folder = tmp_path_factory.mktemp("tokens")
    build_token_cache(cache_folder, folder, tokenizer, encoder, MEL, N_COLS)
    return folder


def files(folder):
    """Return the files of a cache, name -> bytes."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def noise(n_samples, seed=0):
    return (0.1 * np.random.default_rng(seed).standard_normal(n_samples)).astype(np.float32)


def test_tokens_are_those_of_the_whole_recording(cache_folder, tokens_folder, tokenizer):
    audio, cache = AudioCache(cache_folder), TokenCache(tokens_folder)
    assert len(cache) == len(audio)
    for number in (0, 1):
        _, wave = audio.item(number)
        mel = MelFrontEnd(MEL)(torch.from_numpy(wave)[None])
        mel = torch.nn.functional.pad(mel, (0, -mel.shape[2] % 16), value=-1.0)
        found = cache.tokens(cache.recordings[number])
        assert np.array_equal(found.T, tokenizer.encode(mel)[0].numpy())
        assert found.dtype == np.uint16


def test_a_long_recording_is_tokenised_in_windows_without_a_seam(tokenizer, monkeypatch):
    front_end, wave = MelFrontEnd(MEL), noise(60 * COLUMN)
    whole = tokens_of(tokenizer, front_end, wave, N_COLS)
    assert whole.shape == (60, 5)
    monkeypatch.setattr("masktools.training.token_cache._WINDOW_COLS", 7)
    assert np.array_equal(tokens_of(tokenizer, front_end, wave, N_COLS), whole)


def test_a_tokenizer_that_sees_the_whole_clip_is_given_clips(vqgan):
    front_end, wave = MelFrontEnd(MEL), noise(10 * COLUMN)
    tokens = tokens_of(vqgan, front_end, wave, N_COLS)
    assert tokens.shape == (12, 5), "two whole clips, and a third that is half filled"
    assert tokens_of(vqgan, front_end, wave[: 9 * COLUMN], N_COLS).shape == (8, 5)
    assert tokens_of(vqgan, front_end, wave[:100], N_COLS).shape == (4, 5)
    mel = front_end(torch.from_numpy(wave)[None])[:, :, 64:128]
    with torch.inference_mode():
        assert np.array_equal(tokens[4:8].T, vqgan.encode(mel)[0].numpy())


def test_conditions_are_of_the_sound_of_each_half_clip(encoder):
    wave, n_samples = noise(3 * 1000 + 700), 2000
    vectors = conditions_of(encoder, wave, MEL.sample_rate, n_samples)
    assert vectors.shape == (3, 6)
    assert vectors.dtype == np.float16
    for number, vector in enumerate(vectors):
        stretch = torch.from_numpy(wave[number * 1000 : number * 1000 + n_samples])[None]
        np.testing.assert_allclose(vector, encoder.embed_audio(stretch, MEL.sample_rate)[0], atol=2e-3)
    assert conditions_of(encoder, wave[:300], MEL.sample_rate, n_samples).shape == (1, 6)


def test_a_process_of_its_own_makes_the_same_cache(cache_folder, tokens_folder, tokenizer, encoder, tmp_path):
    build_token_cache(cache_folder, tmp_path, tokenizer, encoder, MEL, N_COLS, n_workers=2)
    assert files(tmp_path) == files(tokens_folder)


def test_a_build_that_was_stopped_goes_on(cache_folder, tokens_folder, tokenizer, encoder, tmp_path, monkeypatch):
    monkeypatch.setattr("masktools.training.builds._MIN_ITEMS", 2)

    def stop(done, total):
        if done >= 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_token_cache(cache_folder, tmp_path, tokenizer, encoder, MEL, N_COLS, progress=stop)
    with pytest.raises(ParameterError, match="no token cache in .*: index.json or tokens.uint16 is missing"):
        TokenCache(tmp_path)
    seen = []
    build_token_cache(cache_folder, tmp_path, tokenizer, encoder, MEL, N_COLS, progress=lambda *step: seen.append(step))
    assert seen[0] == (4, 8)
    assert files(tmp_path) == files(tokens_folder)


def test_shards_are_tokenised_too_and_broken_samples_named(manifest, tokenizer, encoder, tmp_path):
    write_shards([manifest], tmp_path / "shards")
    cache = build_token_cache(tmp_path / "shards", tmp_path / "tokens", tokenizer, encoder, MEL, N_COLS)
    assert len(cache) == 8
    assert cache.split("valid")[0].recording.caption == "A hum."
    shard = tmp_path / "shards" / "train-000000.tar"
    content = bytearray(shard.read_bytes())
    content[512:560] = bytes(48)
    shard.write_bytes(content)
    again = build_token_cache(tmp_path / "shards", tmp_path / "again", tokenizer, encoder, MEL, N_COLS)
    assert len(again) == 7
    assert again.skipped[0][0] == "train-000000.tar/train-000000-000000.flac"


def test_a_cache_of_something_else_is_refused_with_what_differs(cache_folder, tokens_folder, tokenizer, encoder):
    other = LocalTokenizer(tokenizer.config)
    with pytest.raises(
        ParameterError, match=r"tokens made of another tokenizer .[0-9a-f]{16} there, [0-9a-f]{16} given"
    ):
        build_token_cache(cache_folder, tokens_folder, other, encoder, MEL, N_COLS)
    wider = MelConfig(f_max=8_000.0, db_max=10.0)
    with pytest.raises(ParameterError, match=r"another mel f_max .11025.0 there, 8000.0 given.; another mel db_max"):
        build_token_cache(cache_folder, tokens_folder, tokenizer, encoder, wider, N_COLS)
    with pytest.raises(ParameterError, match=r"another n_cols .4 there, 8 given."):
        build_token_cache(cache_folder, tokens_folder, tokenizer, encoder, MEL, 8)
    with pytest.raises(ParameterError, match="holds tokens made of another conditioner"):
        build_token_cache(cache_folder, tokens_folder, tokenizer, JointEncoder(encoder.config), MEL, N_COLS)


def test_a_fingerprint_knows_weights_settings_and_encoders_that_load_late(encoder):
    copy = JointEncoder(encoder.config)
    assert fingerprint(copy) != fingerprint(encoder)
    copy.load_state_dict(encoder.state_dict())
    assert fingerprint(copy) == fingerprint(encoder)
    assert fingerprint(SimpleNamespace(clap=encoder)) == fingerprint(encoder)
    half = JointEncoder(encoder.config)
    half.load_state_dict(encoder.state_dict())
    assert fingerprint(half.half()) == fingerprint(encoder), "as a bundle has it"


def test_tokens_that_are_cached_outlive_a_further_training_of_the_decoder():
    tokenizer = LocalTokenizer(LocalTokenizerConfig(n_codes=8, code_dim=4, widths=(4, 4, 4)))
    before = fingerprint(tokenizer)
    with torch.no_grad():
        next(tokenizer.decoder.parameters()).add_(1.0)
    assert fingerprint(tokenizer) == before
    with torch.no_grad():
        tokenizer.codebook.weight.add_(1.0)
    assert fingerprint(tokenizer) != before


class Clap(nn.Module):
    """An encoder at another rate that knows no mel settings, as CLAP."""

    dim = 3

    def __init__(self):
        super().__init__()
        self.config = LocalTokenizerConfig()
        self.rates = set()

    def embed_audio(self, wave, sample_rate):
        self.rates.add(sample_rate)
        return wave.abs().mean(1, keepdim=True).repeat(1, 3)

    def embed_text(self, texts):
        raise AssertionError("no text was to be embedded")


def test_any_encoder_of_sounds_gives_conditions(cache_folder, vqgan, tmp_path):
    clap = Clap()
    cache = build_token_cache(cache_folder, tmp_path, vqgan, clap, MEL, N_COLS)
    assert clap.rates == {22_050}
    assert (cache.dim, cache.local) == (3, False)
    assert {item.n_cols % N_COLS for item in cache.recordings} == {0}
    for clip in islice(TokenClipStream(cache, "train"), 10):
        assert clip["tokens"].shape == (5, N_COLS)
    with pytest.raises(ParameterError, match="n_cols must be 4, as the cache was made, got 5"):
        TokenClipStream(cache, "train", 5)


def test_clips_are_pieces_of_recordings_with_the_condition_of_their_place(tokens_folder):
    cache = TokenCache(tokens_folder)
    stream = TokenClipStream(cache, "train", seed=1)
    hums = [clip for clip in islice(stream, 30) if clip["caption"] == "A hum."]
    items = [item for item in cache.split("train") if item.recording.caption == "A hum."]
    for clip in hums:
        assert clip["tokens"].dtype == torch.int64
        places = [
            (item, start)
            for item in items
            for start in range(item.n_cols - N_COLS + 1)
            if np.array_equal(cache.tokens(item, start, N_COLS).T, clip["tokens"].numpy())
        ]
        assert any(np.array_equal(cache.condition(*place), clip["condition"].numpy()) for place in places)
        assert clip["full_band"] is True


def test_short_recordings_fill_a_clip_together_amid_silence(tokens_folder):
    cache = TokenCache(tokens_folder)
    blips = [item for item in cache.split("train") if item.recording.caption == "A blip."]
    columns = {tuple(c) for item in blips for c in cache.tokens(item).tolist()} | {tuple(cache.silent_column.tolist())}
    clips = [clip for clip in islice(TokenClipStream(cache, "train"), 40) if clip["caption"] == "A blip."]
    assert clips
    assert all({tuple(column) for column in clip["tokens"].T.tolist()} <= columns for clip in clips)


def test_clips_are_the_same_for_a_seed_and_in_any_order(tokens_folder):
    cache = TokenCache(tokens_folder)
    first, again, other = (TokenClipStream(cache, "train", seed=seed) for seed in (1, 1, 2))
    walked = list(islice(first, 8))
    assert torch.equal(again.sample(6)["tokens"], walked[6]["tokens"])
    assert any(not torch.equal(other.sample(i)["tokens"], walked[i]["tokens"]) for i in range(8))


def test_the_data_module_gives_batches_of_tokens(tokens_folder):
    data = TokenClipData(str(tokens_folder), batch_size=3)
    data.setup()
    batch = next(iter(data.train_dataloader()))
    assert batch["tokens"].shape == (3, 5, N_COLS)
    assert batch["condition"].shape == (3, 6)
    assert batch["index"].tolist() == [0, 1, 2]
    assert next(iter(data.val_dataloader()))["tokens"].shape == (1, 5, N_COLS)
    data = TokenClipData(str(tokens_folder), n_cols=1000)
    data.setup()
    with pytest.raises(ParameterError, match="no recording of split 'valid' lasts 1000 columns"):
        data.val_dataloader()


def test_a_cache_goes_to_another_process_without_its_tokens(tokens_folder):
    cache = TokenCache(tokens_folder)
    copy = pickle.loads(pickle.dumps(cache))
    assert np.array_equal(copy.tokens(copy.recordings[2]), cache.tokens(cache.recordings[2]))


def test_the_index_says_what_the_tokens_were_made_of(tokens_folder):
    index = json.loads((tokens_folder / "index.json").read_text())
    assert index["mel"] == to_dict(MEL)
    assert (index["n_cols"], index["n_rows"], index["n_codes"], index["dim"]) == (N_COLS, 5, 16, 6)


def test_what_cannot_be_is_refused(cache_folder, tokens_folder, tokenizer, encoder, tmp_path):
    with pytest.raises(ParameterError, match="n_cols must be at least 2, got 1"):
        build_token_cache(cache_folder, tmp_path, tokenizer, encoder, MEL, 1)
    with pytest.raises(ParameterError, match="no audio cache and no tar shards in"):
        build_token_cache(tmp_path, tmp_path, tokenizer, encoder, MEL)
    cache = TokenCache(tokens_folder)
    with pytest.raises(ParameterError, match="no recording of split 'test' in .*: it has train, valid"):
        cache.split("test")
    with pytest.raises(ParameterError, match="n_cols must be at least 1, got 0"):
        TokenClipStream(cache, "train", 0)
    with pytest.raises(ParameterError, match="kind_weights must leave some recording"):
        TokenClipStream(cache, "train", kind_weights={"tone": 0.0})
