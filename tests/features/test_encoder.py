"""The encoder: what goes in may be of any kind, and what comes out depends on nothing beside it."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import masktools
from masktools import io
from masktools.core.errors import AudioError, ParameterError
from masktools.features import Encoder, Source, windows
from tests.tiny import COLUMN, SAMPLE_RATE, noise, states_of, tiny_pipeline

ENCODER = Encoder(tiny_pipeline())
WIDTH, DEPTH, N_ROWS = 32, 2, 5


def assert_same(found, expected, atol=1e-5):
    for name in ("clip", "frames", "times_s", "tokens"):
        ours, theirs = getattr(found, name), getattr(expected, name)
        assert (ours is None) == (theirs is None)
        if ours is not None:
            np.testing.assert_allclose(ours, theirs, atol=atol, rtol=0)


def test_an_encoder_tells_its_sizes():
    assert (ENCODER.name, ENCODER.sample_rate, ENCODER.n_layers, ENCODER.width) == ("tiny", 22_050, 3, 32)
    assert ENCODER.hop_s == 4096 / 22_050
    assert ENCODER.device == torch.device("cpu")
    assert repr(ENCODER) == "Encoder('tiny', 22050 Hz, 3 layers of 32, cpu)"


@pytest.mark.parametrize("pool", ["mean", "rows", "max", "mean_std", "none"])
@pytest.mark.parametrize("layer", ["last", "all", "mean", [0, 2], [0.0, 0.5, 0.5]])
def test_sizes_are_those_that_were_promised(pool, layer):
    found = ENCODER.encode(noise(1)[0], SAMPLE_RATE, layer=layer, pool=pool)
    assert (0 if found.clip is None else found.clip.size) == ENCODER.dim(pool, layer)
    assert found.frames.size == ENCODER.frame_dim(pool, layer) * len(found.times_s) * (N_ROWS if pool == "none" else 1)


def test_a_model_has_its_encoder_and_the_thin_face_gives_the_same():
    model = masktools.Model(tiny_pipeline())
    wave = noise(2, n_channels=2).T
    assert isinstance(model.encoder, masktools.Encoder)
    expected = model.encoder.encode(wave, SAMPLE_RATE, layer="all", pool="rows")
    assert_same(model.embed(wave, SAMPLE_RATE, "all", "rows"), expected, 0)


lengths = st.lists(st.integers(1, 20 * COLUMN), min_size=1, max_size=6)


@settings(max_examples=15, deadline=None)
@given(lengths, st.integers(1, 4), st.sampled_from([None, 0.09, 0.5]), st.sampled_from(["mean", "rows", "max"]))
def test_a_recording_is_the_same_alone_and_in_any_batch(lengths, at_once, hop_s, pool):
    waves = [noise(4, seed=seed)[0, :n] for seed, n in enumerate(lengths)]
    options = {"hop_s": hop_s, "pool": pool, "layer": "all", "tokens": True}
    alone = [ENCODER.encode(wave, SAMPLE_RATE, **options) for wave in waves]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(windows, "windows_at_once", lambda pipeline: at_once)  # as a GPU has it
        together = ENCODER.encode(waves, SAMPLE_RATE, **options)
        backwards = ENCODER.encode(waves[::-1], SAMPLE_RATE, **options)[::-1]
    for found, same, expected in zip(together, backwards, alone, strict=True):
        assert_same(found, expected)
        assert_same(same, expected)


def test_on_a_cpu_it_is_the_same_to_the_last_bit():
    encoder = Encoder.from_pretrained("mini", device="cpu", precision="fp32", threads=2)
    waves = [noise(seconds, seed=seed)[0] for seed, seconds in enumerate((0.3, 2, 2, 2.1))]
    together = encoder.encode(waves, SAMPLE_RATE, layer="all", tokens=True)
    for wave, found in zip(waves, together, strict=True):
        assert_same(encoder.encode(wave, SAMPLE_RATE, layer="all", tokens=True), found, 0)


def test_lengths_from_a_moment_to_minutes_can_be_mixed():
    waves = [noise(seconds, seed=seed)[0] for seed, seconds in enumerate((0.3, 3, 9.845, 10, 29.1))]
    for wave, found in zip(waves, ENCODER.encode(waves, SAMPLE_RATE), strict=True):
        assert_same(found, ENCODER.encode(wave, SAMPLE_RATE))
        assert found.duration_s == len(wave) / SAMPLE_RATE


def test_an_empty_list_has_no_embeddings():
    assert ENCODER.encode([], SAMPLE_RATE) == []


def test_numpy_has_channels_last_and_torch_has_them_first():
    stereo = noise(1, n_channels=2)
    expected = ENCODER.encode(stereo.mean(axis=0), SAMPLE_RATE)
    assert_same(ENCODER.encode(stereo.T, SAMPLE_RATE), expected)
    assert_same(ENCODER.encode(torch.from_numpy(stereo), SAMPLE_RATE), expected)
    assert_same(ENCODER.encode(torch.from_numpy(stereo).double(), SAMPLE_RATE), expected)
    assert_same(ENCODER.encode(torch.from_numpy(stereo).mean(0), SAMPLE_RATE), expected)
    batch = ENCODER.encode(torch.from_numpy(np.stack([stereo, stereo])), SAMPLE_RATE)
    assert len(batch) == 2
    assert_same(batch[1], expected)
    assert_same(ENCODER.encode([stereo.T, torch.from_numpy(stereo)], SAMPLE_RATE)[1], expected)


def test_half_precision_samples_are_taken():
    wave = noise(1)[0].astype(np.float16)
    expected = ENCODER.encode(wave.astype(np.float32), SAMPLE_RATE)
    assert_same(ENCODER.encode(wave, SAMPLE_RATE), expected)
    assert_same(ENCODER.encode(torch.from_numpy(wave), SAMPLE_RATE), expected)


def test_each_wave_of_a_list_may_have_its_rate():
    low, high = noise(1, 16_000)[0], noise(1, 48_000)[0]
    found = ENCODER.encode([low, high], [16_000, 48_000])
    assert_same(found[0], ENCODER.encode(low, 16_000))
    assert_same(found[1], ENCODER.encode(high, 48_000))


@pytest.mark.parametrize("rate", [8_000, 16_000, 22_050, 44_100, 48_000])
@pytest.mark.parametrize("seconds", [0.001, 8])
def test_what_is_read_piece_by_piece_is_the_same(rate, seconds, tmp_path):
    wave = noise(seconds, rate, n_channels=2)
    expected = ENCODER.encode(wave.T, rate, tokens=True, pool="rows")
    source = Source(lambda start, stop: wave[:, start:stop], wave.shape[1], rate)
    assert_same(ENCODER.encode(source, tokens=True, pool="rows"), expected, 0)
    io.write(tmp_path / "wave.wav", wave, rate, "FLOAT")
    with io.open_recording(tmp_path / "wave.wav") as recording:
        assert_same(ENCODER.encode([recording], tokens=True, pool="rows")[0], expected, 0)


def test_tokens_are_those_of_the_model_up_to_the_last_column_that_counts():
    model = masktools.Model(ENCODER.pipeline)
    for n_columns in (0.2, 1, 7.4, 16, 40.7):
        wave = noise(10)[0, : int(n_columns * COLUMN)]
        found = ENCODER.encode(wave, SAMPLE_RATE, tokens=True)
        assert found.tokens.dtype == np.uint16
        assert found.tokens.shape == (N_ROWS, len(found.times_s))
        expected = model.encode(wave, SAMPLE_RATE).tokens
        n_sure = max(0, found.tokens.shape[1] - 4)  # what follows the last column that counts is not heard here
        np.testing.assert_array_equal(found.tokens[:, :n_sure], expected[:, :n_sure])


def test_a_window_of_a_long_recording_is_heard_as_if_it_were_alone():
    wave = noise(40 * COLUMN / SAMPLE_RATE)[0]
    whole = ENCODER.encode(wave, SAMPLE_RATE, tokens=True, pool="none")
    transformer = ENCODER.pipeline.transformer
    for start in (0, 16, 24):
        columns = slice(start, start + 16)
        tokens = torch.from_numpy(whole.tokens[:, columns].astype(np.int64)).T.reshape(1, -1)
        direct = states_of(transformer, tokens)[-1][0, 1:]
        kept = slice(0, 16) if start < 24 else slice(8, 16)  # what the window before it has is not heard again
        expected = direct.unflatten(0, (16, N_ROWS)).numpy()[kept]
        np.testing.assert_allclose(whole.frames[columns][kept], expected, atol=1e-5)


def test_a_shorter_window_hears_less_at_once():
    wave = noise(16 * COLUMN / SAMPLE_RATE)[0]
    whole, halves = (ENCODER.encode(wave, SAMPLE_RATE, window=window) for window in ("model", 8 * ENCODER.hop_s))
    assert whole.frames.shape == halves.frames.shape
    assert np.abs(whole.frames - halves.frames).max() > 1e-3


def test_layers_above_the_highest_one_are_not_computed():
    encoder = Encoder(tiny_pipeline())
    seen = []
    for number, block in enumerate(encoder.pipeline.transformer.blocks, start=1):
        block.register_forward_hook(lambda *_, number=number: seen.append(number))
    for layer, expected in ((0, []), (1, [1]), ([0, 1], [1]), ([0.3, 0.7, 0.0], [1]), ("last", [1, 2])):
        seen.clear()
        encoder.encode(noise(0.5)[0], SAMPLE_RATE, layer=layer)
        assert seen == expected


def test_layers_are_averaged_and_weighed():
    wave = noise(1)[0]
    every = ENCODER.encode(wave, SAMPLE_RATE, layer="all").clip
    np.testing.assert_allclose(ENCODER.encode(wave, SAMPLE_RATE, layer="mean").clip, every.mean(axis=0), atol=1e-5)
    weights = np.array([0.2, 0.0, 1.5])
    for given_weights in (weights, torch.from_numpy(weights), list(weights)):
        weighed = ENCODER.encode(wave, SAMPLE_RATE, layer=given_weights).clip
        np.testing.assert_allclose(weighed, weights @ every, atol=1e-5)
    np.testing.assert_array_equal(ENCODER.encode(wave, SAMPLE_RATE, layer=[2, -3]).clip, every[[2, 0]])


def test_a_coarser_hop_averages_columns_and_keeps_to_its_times():
    wave = noise(10)[0]
    fine = ENCODER.encode(wave, SAMPLE_RATE)
    coarse = ENCODER.encode(wave, SAMPLE_RATE, hop_s=1.0)
    np.testing.assert_allclose(coarse.times_s, np.arange(10) + 0.5)
    for second in range(10):
        inside = (fine.times_s >= second) & (fine.times_s < second + 1)
        np.testing.assert_allclose(coarse.frames[second], fine.frames[inside].mean(axis=0), atol=1e-5)
    largest = ENCODER.encode(wave, SAMPLE_RATE, hop_s=1.0, pool="max")
    apart = ENCODER.encode(wave, SAMPLE_RATE, pool="max")
    np.testing.assert_allclose(largest.frames[0], apart.frames[apart.times_s < 1].max(axis=0))
    assert ENCODER.frame_hop_s(1.0) == 1.0


@pytest.mark.parametrize(("hop_s", "parts"), [(0.15, 2), (4096 / 22_050 / 2, 2), (0.05, 4), (0.03, 8), (0.0117, 16)])
def test_a_finer_hop_hears_the_recording_again_a_little_later(hop_s, parts):
    wave = noise(5)[0]
    found = ENCODER.encode(wave, SAMPLE_RATE, hop_s=hop_s, tokens=True)
    true_hop_s = ENCODER.hop_s / parts
    assert ENCODER.frame_hop_s(hop_s) == pytest.approx(true_hop_s)
    np.testing.assert_allclose(found.times_s, np.arange(len(found.times_s)) * true_hop_s)
    assert 5 - true_hop_s < found.times_s[-1] <= 5
    plain = ENCODER.encode(wave, SAMPLE_RATE, tokens=True)
    np.testing.assert_allclose(found.frames[parts // 2 :: parts], plain.frames, atol=1e-5)
    np.testing.assert_allclose(found.clip, found.frames.mean(axis=0), atol=1e-5)
    np.testing.assert_array_equal(found.tokens, plain.tokens)


@pytest.mark.parametrize(("hop_s", "parts"), [(0.05, 4), (0.0117, 16)])
def test_a_shift_hears_what_a_recording_that_begins_later_sounds_like(hop_s, parts):
    wave = noise(5)[0]
    # What enters the first block is each token by itself; tokens are the same but at the edges.
    shifted = ENCODER.encode(wave, SAMPLE_RATE, hop_s=hop_s, layer=0).frames[parts // 2 + 1 :: parts]
    late = ENCODER.encode(wave[COLUMN // parts :], SAMPLE_RATE, layer=0).frames
    np.testing.assert_allclose(shifted[5:10], late[5:10], atol=1e-5)


@pytest.mark.parametrize("n_samples", [1, 100, 1024, 2047, 2048, 5000])
@pytest.mark.parametrize("hop_s", [None, 0.0117, 0.05, 0.1, 1.0])
def test_no_frame_lies_behind_the_end(n_samples, hop_s):
    found = ENCODER.encode(noise(1)[0, :n_samples], SAMPLE_RATE, hop_s=hop_s)
    assert 0 <= found.times_s[0] <= found.times_s[-1] <= n_samples / SAMPLE_RATE
    assert len(found.times_s) == len(found.frames) >= 1
    assert np.isfinite(found.frames).all()


def test_the_vector_of_a_clip_is_the_same_with_and_without_those_of_its_moments():
    wave = noise(2)[0]
    both, alone = (ENCODER.encode(wave, SAMPLE_RATE, hop_s=0.05, frames=frames) for frames in (True, False))
    np.testing.assert_array_equal(both.clip, alone.clip)


def test_rows_have_their_own_mean_and_deviation_over_time():
    wave = noise(3)[0]
    rows = ENCODER.encode(wave, SAMPLE_RATE, pool="rows", hop_s=0.1).frames
    found = ENCODER.encode(wave, SAMPLE_RATE, pool="rows_std", hop_s=0.1)
    np.testing.assert_array_equal(found.frames, rows)
    np.testing.assert_allclose(found.clip, np.concatenate([rows.mean(axis=0), rows.std(axis=0)]), atol=1e-5)


def test_pooling_nothing_keeps_every_token():
    wave = noise(2)[0]
    found = ENCODER.encode(wave, SAMPLE_RATE, pool="none")
    assert found.clip is None
    assert found.frames.shape == (11, N_ROWS, WIDTH)
    rows = ENCODER.encode(wave, SAMPLE_RATE, pool="rows").frames
    np.testing.assert_array_equal(found.frames.reshape(11, -1), rows)


def test_a_prefix_is_learned_heard_or_given():
    wave = noise(2)[0]
    learned = ENCODER.encode(wave, SAMPLE_RATE).clip
    heard = ENCODER.encode(wave, SAMPLE_RATE, prefix="condition").clip
    np.testing.assert_array_equal(ENCODER.encode(wave, SAMPLE_RATE, prefix="clap").clip, heard)
    condition = ENCODER.pipeline.conditioner.embed_audio(torch.from_numpy(wave)[None], SAMPLE_RATE)
    for vector in (condition, condition[0].numpy()):
        np.testing.assert_allclose(ENCODER.encode(wave, SAMPLE_RATE, prefix=vector).clip, heard, atol=1e-5)
    assert np.abs(learned - heard).max() > 1e-3


def test_each_wave_of_a_list_may_have_its_prefix():
    waves = [noise(1, seed=seed)[0] for seed in range(2)]
    vectors = np.eye(2, 8)
    found = ENCODER.encode(waves, SAMPLE_RATE, prefix=vectors)
    for wave, vector, one in zip(waves, vectors, found, strict=True):
        assert_same(one, ENCODER.encode(wave, SAMPLE_RATE, prefix=vector))
    with pytest.raises(ParameterError, match="one vector, or one for each of the 2 waves, got 3"):
        ENCODER.encode(waves, SAMPLE_RATE, prefix=np.eye(3, 8))


def test_a_conditioner_hears_each_window():
    wave, heard = noise(40 * COLUMN / SAMPLE_RATE)[0], []
    pipeline = tiny_pipeline()
    embed_audio = pipeline.conditioner.embed_audio
    pipeline.conditioner.embed_audio = lambda wave, rate: heard.append(wave) or embed_audio(wave, rate)
    Encoder(pipeline).encode(wave, SAMPLE_RATE, prefix="condition")
    for start, part in zip((0, 16, 24), heard, strict=True):
        np.testing.assert_array_equal(part[0], wave[start * COLUMN : (start + 16) * COLUMN])


def test_threads_are_those_that_were_asked_for():
    seen = []
    encoder = Encoder(tiny_pipeline(), threads=1)
    encoder.pipeline.transformer.register_forward_pre_hook(lambda *_: None)
    encoder.pipeline.transformer.blocks[0].register_forward_hook(lambda *_: seen.append(torch.get_num_threads()))
    before = torch.get_num_threads()
    encoder.encode(noise(1)[0], SAMPLE_RATE)
    assert seen == [1]
    assert torch.get_num_threads() == before
    with pytest.raises(ParameterError, match="threads must be at least 1, got 0"):
        Encoder(tiny_pipeline(), threads=0)


WAVE = noise(0.5)[0]
BAD = WAVE.copy()
BAD[100] = np.nan


@pytest.mark.parametrize(
    ("waves", "rate", "error", "message"),
    [
        (np.zeros(0, np.float32), 22_050, AudioError, "at least one sample, got shape .0,."),
        (BAD, 22_050, AudioError, "must be finite, but at 0.0045 s .sample 100. there is NaN"),
        ([WAVE, BAD], 22_050, AudioError, "wave 1 of 2: samples must be finite"),
        (np.zeros((3, 100), np.float32), 22_050, ParameterError, "at most 64 channels, got 100: .* other way round"),
        (torch.zeros(100, 2), 22_050, ParameterError, "channels come first in torch, .channels, t.; is it transposed"),
        (torch.zeros(1, 1, 1, 9), 22_050, ParameterError, r"must be \(t,\), \(channels, t\) or \(b, channels, t\)"),
        (np.zeros((1, 2, 9), np.float32), 22_050, ParameterError, r"of shape \(t,\) or \(t, channels\), got \(1, 2, 9"),
        (np.zeros(100, np.int16), 22_050, ParameterError, "float32 or float64, full scale 1, got int16"),
        (
            torch.zeros(100, dtype=torch.int16),
            22_050,
            ParameterError,
            "a tensor of floats, full scale 1, got torch.int",
        ),
        ("song.wav", 22_050, ParameterError, "a wave must be a numpy array .* got str"),
        (WAVE, None, ParameterError, "sample_rate must be given in Hz for arrays and tensors, got None"),
        (WAVE, 12.5, ParameterError, "sample_rate must be a whole number of Hz"),
        (WAVE, [22_050], ParameterError, r"one wave has one sample_rate, got \[22050\] for a ndarray"),
        ([WAVE, WAVE], [22_050], ParameterError, "one for all or one for each wave, got 1 for 2"),
    ],
)
def test_what_is_no_recording_is_refused(waves, rate, error, message):
    with pytest.raises(error, match=message):
        ENCODER.encode(waves, rate)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layer": 3}, r"layer must lie in \[-3, 2\], got 3: this model has 2 blocks"),
        ({"layer": [0, 5]}, r"layer must lie in \[-3, 2\], got 5"),
        ({"layer": []}, "layer must be a whole number, one of last, mean, all"),
        ({"layer": [0.5, 0.5]}, "weights of layers must be 3, one for each from 0 on, got 2"),
        ({"layer": [0.0, 0.0, 0.0]}, "must be finite and not all zero"),
        ({"layer": "lost"}, "unknown layer 'lost': choose from last, mean, all, .*did you mean 'last'"),
        ({"pool": "median"}, "unknown pool 'median': choose from mean, rows, max, mean_std, rows_std, none"),
        ({"pool": "none", "frames": False}, "with the pool none there are frames only"),
        (
            {"prefix": "clip"},
            "unknown prefix 'clip': choose from learned, condition, clap, a vector",
        ),
        ({"prefix": np.ones(5)}, r"embeddings must be \(b, 8\), got \(5,\)"),
        ({"hop_s": 0.001}, "hop_s must be at least 0.0116 s, a frame of the mel spectrogram, got 0.001"),
        ({"hop_s": float("inf")}, "hop_s must be at least"),
        ({"window": "whole"}, "unknown window 'whole': choose from model, a number of seconds"),
        ({"window": 3.5}, r"window must be model, or lie in \(0, 2.9722\] s, got 3.5"),
    ],
)
def test_options_that_the_model_does_not_have_are_refused(options, message):
    with pytest.raises(ParameterError, match=message):
        ENCODER.encode(WAVE, SAMPLE_RATE, **options)


def test_a_model_without_conditioner_has_no_such_prefix():
    encoder = Encoder(tiny_pipeline(conditioner=False))
    with pytest.raises(ParameterError, match="prefix 'condition' needs a model with a conditioner, 'tiny' has none"):
        encoder.encode(WAVE, SAMPLE_RATE, prefix="condition")


def test_a_source_that_breaks_its_word_is_named():
    with pytest.raises(AudioError, match=r"rain must give floats \(channels, 100\) .* got float64 of shape \(100,\)"):
        ENCODER.encode(Source(lambda start, stop: np.zeros(stop - start), 100, SAMPLE_RATE, "rain"))
    with pytest.raises(AudioError, match=r"at 0.0045 s \(sample 100\) of rain there is NaN"):
        ENCODER.encode(Source(lambda start, stop: BAD[None, start:stop], len(BAD), SAMPLE_RATE, "rain"))
    with pytest.raises(AudioError, match="rain must have at least one sample, got 0"):
        Source(lambda start, stop: np.zeros((1, 0)), 0, SAMPLE_RATE, "rain")
