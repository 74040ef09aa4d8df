"""A model over scales as the jobs hold it: clips of tokens, drawing, words, bundles, and what it cannot do."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from masktools.core.errors import BundleError, CheckpointError, ParameterError
from masktools.mel import MelConfig
from masktools.model import Model
from masktools.networks.conditioning import JointEncoder, JointEncoderConfig, NoteWords, NoteWordsConfig
from masktools.networks.scales import scale_plan
from masktools.pipeline import ScaleWalk, Walk, hub
from masktools.restoration.generation.recordings import within_full_scale
from tests.networks.scales.small import SCALES, tokenizer, transformer
from tests.tiny import noise

MEL = MelConfig(n_mels=16)
WORDS = NoteWordsConfig((("clarinet", "reed"), ("flute", "flute")), 58, 62)
CLIP = 24 * 256  # samples
CARD = "# small\n\nRandom weights."


def small_walk(**settings):
    words = NoteWords(WORDS)
    return ScaleWalk(MEL, tokenizer(), transformer(condition_dim=words.dim), None, words, name="small", **settings)


@pytest.fixture(scope="module")
def walk():
    return small_walk()


def test_it_is_a_walk_whose_columns_are_clips(walk):
    assert isinstance(walk, Walk)
    assert (walk.shape.n_stages, walk.shape.n_rows, walk.shape.has_bands) == (3, 2 + 6 + 24, False)
    assert walk.window_samples == CLIP


def test_a_wave_becomes_clips_of_tokens_and_a_wave_of_any_length(walk):
    for n_samples in (1, CLIP, CLIP + 1, 3 * CLIP - 5):
        wave = torch.from_numpy(noise(1.0)[:, :n_samples])
        tokens = walk.encode(wave)
        assert tokens.shape == (1, 32, -(-n_samples // CLIP))
        assert walk.decode(tokens, n_samples).shape == (1, n_samples)


def test_clips_are_encoded_as_each_alone(walk):
    wave = torch.from_numpy(noise(1.0)[:, : 2 * CLIP])
    inside = walk.encode(wave)[:, :, 0]
    grids = walk.tokenizer.encode(walk.to_mel(wave)[..., :24])
    assert torch.equal(inside, walk.pyramid.pack(grids))


def test_many_clips_are_rendered_in_windows_that_join(walk, monkeypatch):
    tokens = walk.encode(torch.from_numpy(noise(2.0)[:, : 7 * CLIP]))
    whole = walk.decode(tokens)
    monkeypatch.setattr("masktools.pipeline.scales._RENDERED_CLIPS", 4)
    in_windows = walk.decode(tokens)
    assert in_windows.shape == whole.shape == (1, 7 * CLIP)
    levels = [part.unfold(-1, CLIP, CLIP).square().mean(-1) for part in (whole, in_windows)]
    torch.testing.assert_close(levels[0], levels[1], rtol=0.3, atol=1e-4)


def test_known_scales_come_back_and_masked_ones_are_never_read(walk):
    tokens = walk.encode(torch.from_numpy(np.concatenate([noise(1.0)[:, :9000], 0.1 * noise(1.0)[:, :9000]])))
    mask = walk.finer_than(1, tokens)
    result = walk.fill(tokens, mask, [1, 2])
    assert torch.equal(result.tokens[~mask], tokens[~mask])
    garbled = torch.where(mask, torch.randint(0, 12, tokens.shape), tokens)
    assert torch.equal(walk.fill(garbled, mask, [1, 2]).tokens, result.tokens)
    alone = walk.fill(tokens[1:], mask[1:], [2])
    assert torch.equal(alone.tokens, result.tokens[1:])
    assert not torch.equal(walk.fill(tokens, mask, [3, 4]).tokens, result.tokens)


def test_nothing_masked_costs_nothing(walk):
    tokens = torch.zeros(1, 32, 2, dtype=torch.int64)
    assert walk.fill(tokens, tokens > 0, [0]).n_forwards == 0


def test_notes_are_generated_by_their_words_the_same_in_a_batch(walk):
    model = Model(walk)
    words = ["a clarinet, C4", "flute D4", "midi 61"]
    together = model.generate(words, seed=3)
    assert [len(one.samples) for one in together] == [CLIP] * 3
    assert together[0].report["n_forwards"] == 3, "one pass a scale where guidance is 1"
    walk.batch_size, before = 1, walk.batch_size
    try:
        apart = model.generate(words, seed=3)
    finally:
        walk.batch_size = before
    assert all(np.array_equal(a.samples, b.samples) for a, b in zip(together, apart, strict=True))
    assert not np.array_equal(together[0].samples, together[1].samples)
    short = model.generate("a flute, C4", seconds=0.1)
    assert len(short[0].samples) == round(0.1 * walk.sample_rate)


@pytest.mark.parametrize(
    ("text", "message"),
    [("a dog", "names no note"), ("a flute, C7", "from A#3"), ("", "empty")],
)
def test_words_that_name_no_note_are_refused(walk, text, message):
    with pytest.raises(ParameterError, match=message):
        Model(walk).generate(text)


def test_what_the_model_cannot_do_is_refused_and_those_that_can_are_named(walk):
    model = Model(walk)
    samples = noise(1.0)[0]
    with pytest.raises(ParameterError, match=r"cannot fill gaps in time \(inpaint\).*use --model .*mini"):
        model.inpaint(samples, 22050, "0.1-0.2")
    with pytest.raises(ParameterError, match=r"cannot extend the bandwidth"):
        model.bwe(samples, 22050)
    with pytest.raises(ParameterError, match=r"makes at most 0\.2786 s, got 3 s: ask for less, or use --model .*mini"):
        model.generate("a flute, C4", seconds=3.0)
    with pytest.raises(ParameterError, match="draws all tokens of a scale at once"):
        model.generate("a flute, C4", n_steps=4)
    from tests.tiny import tiny_pipeline

    with pytest.raises(ParameterError, match=r"cannot draw other detail for a recording \(vary\)"):
        Model(tiny_pipeline()).vary(samples, 22050)


def test_versions_of_a_recording_keep_its_coarse_scales_its_rate_and_its_length(walk):
    model = Model(walk)
    samples = np.stack([noise(1.0)[0][:15000], 0.3 * noise(1.0)[0][:15000]], axis=1)
    versions = model.vary(samples, 16000, keep=2, n=2, seed=5, prompt="a flute")
    assert [one.samples.shape for one in versions] == [samples.shape] * 2
    assert versions[0].report["kept_scales"] == ["2x1", "2x3"]
    assert not np.array_equal(versions[0].samples, versions[1].samples)
    again = model.vary(samples, 16000, keep=2, seed=5, prompt="a flute")
    assert np.array_equal(again[0].samples, versions[0].samples)
    with pytest.raises(ParameterError, match="kept must be 0 to 2, got 3"):
        model.vary(samples, 16000, keep=3)


def test_a_recording_is_rebuilt_of_its_coarse_scales(walk):
    model, samples = Model(walk), noise(1.0)[0][:5000]
    rebuilt = [model.coarsen(samples, 22050, n).samples for n in (1, 2, 3)]
    assert all(one.shape == samples.shape for one in rebuilt)
    encoded = model.encode(samples, 22050)
    (decoded,), _ = within_full_scale(model.decode(encoded).samples[None], 22050)
    np.testing.assert_allclose(rebuilt[2], decoded, atol=1e-5)
    assert not np.array_equal(rebuilt[0], rebuilt[2])
    with pytest.raises(ParameterError, match="scales must be 1 to 3, got 4"):
        model.coarsen(samples, 22050, 4)


def test_a_bundle_gives_back_the_model(walk, tmp_path):
    folder = hub.save_bundle(
        small_walk(decoding={"generate": scale_plan(3, (1.0, 2.0), top_k=5)}), tmp_path / "b", CARD
    )
    loaded = hub.load_bundle(folder, "cpu", "fp32")
    assert isinstance(loaded, ScaleWalk)
    assert [config.guidance for config in loaded.decoding["generate"]] == [1.0, 1.5, 2.0]
    note = Model(loaded).generate("a clarinet, C4")[0]
    again = Model(hub.load_bundle(folder, "cpu", "fp32")).generate("clarinet C4")[0]
    assert np.array_equal(note.samples, again.samples)
    assert sum(path.stat().st_size for path in folder.iterdir()) < 200_000
    with pytest.raises(BundleError, match="learned the tokens of another tokenizer"):
        hub.save_bundle(_with_another_tokenizer(loaded), tmp_path / "c", CARD)


def _with_another_tokenizer(walk):
    return ScaleWalk(walk.mel, tokenizer(seed=1), walk.transformer, None, walk.conditioner)


def test_texts_and_vectors_of_a_text_audio_encoder_are_conditions_too():
    torch.manual_seed(0)
    pieces = ["[UNK]", "rain", "falls"]
    settings = JointEncoderConfig(dim=8, widths=(8, 8, 8), n_blocks=1, text_hidden=8)
    encoder = JointEncoder.from_vectors(pieces, torch.randn(3, 8), settings)
    model = Model(ScaleWalk(MEL, tokenizer(), transformer(condition_dim=8), None, encoder))
    of_text = model.generate("rain falls")[0].samples
    of_vector = model.generate(encoder.embed_text(["rain falls"]).numpy())[0].samples
    np.testing.assert_allclose(of_text, of_vector, atol=1e-5)
    assert len(model.generate(n=2)) == 2, "and none at all"


def test_parts_of_other_scales_are_refused_by_name():
    other = transformer()
    with pytest.raises(ParameterError, match="2x1, 2x3, 4x6"):
        ScaleWalk(MEL, tokenizer(), _of_scales(other, ((2, 1), (2, 4), (4, 6))))
    with pytest.raises(CheckpointError, match="has the scales 2x1, 2x4, 4x6, the model 2x1, 2x3, 4x6"):
        transformer().load_state_dict(_of_scales(other, ((2, 1), (2, 4), (4, 6))).state_dict())
    assert other.pyramid.scales == SCALES


def _of_scales(net, scales):
    return type(net)(replace(net.config, scales=scales))
