import numpy as np
import pytest

from masktools import io
from masktools.core.errors import ParameterError
from masktools.extraction.worker import Worker
from masktools.features import Encoder
from probes.data import Clip, TaggedData
from probes.features import EncoderExtractor, FunctionExtractor, vectors_of
from tests.tiny import noise, tiny_pipeline

SECONDS = (1.0, 3.5, 7.0)  # the tiny model reads 2.97 s at once


@pytest.fixture(scope="module")
def encoder():
    return Encoder(tiny_pipeline())


@pytest.fixture
def data(tmp_path):
    (tmp_path / "audio").mkdir()
    clips = []
    for number, seconds in enumerate(SECONDS):
        path = tmp_path / "audio" / f"{number}.wav"
        io.write(path, noise(seconds, 16_000, seed=number), 16_000)
        clips.append(Clip(f"k{number}", str(path), "train", None, (0,)))
    return TaggedData("toy data", tuple(clips), ("a",), True)


def waves(data):
    return [io.read(clip.path).samples.T for clip in data.clips]


def test_vectors_of_all_layers_are_those_of_the_encoder(tmp_path, encoder, data):
    vectors = vectors_of(data, EncoderExtractor.of(encoder), tmp_path / "cache")
    assert vectors.name == "tiny, learned prefix"
    assert vectors.n_layers == 3
    for place, wave in enumerate(waves(data)):
        expected = encoder.encode(wave, 16_000, layer="all", frames=False).clip
        found = np.stack([vectors.read(layer)[place] for layer in range(3)])
        assert np.abs(found - expected).max() < 1e-4
    assert not vectors.left_out


def test_windows_have_a_vector_each_whose_average_is_that_of_the_recording(tmp_path, encoder, data):
    whole = vectors_of(data, EncoderExtractor.of(encoder), tmp_path / "cache")
    windows = vectors_of(data, EncoderExtractor.of(encoder, windows="prediction"), tmp_path / "cache")
    assert np.diff(windows.starts).tolist() == [1, 1, 2]
    assert np.abs(windows.read(2)[0] - whole.read(2)[0]).max() < 1e-4
    first = encoder.encode(waves(data)[2], 16_000, layer="last").frames[:16]
    assert np.abs(windows.read(2)[2] - first.mean(axis=0)).max() < 1e-4


def test_prefixes_and_pools_are_kept_apart_on_the_disk(tmp_path, encoder, data):
    extractors = [
        EncoderExtractor.of(encoder),
        EncoderExtractor.of(encoder, prefix="condition"),
        EncoderExtractor.of(encoder, pool="rows"),
        EncoderExtractor.of(encoder, pool="mean_std", dtype="float16"),
    ]
    found = [vectors_of(data, one, tmp_path / "cache") for one in extractors]
    assert len(list((tmp_path / "cache").iterdir())) == 4
    assert not np.allclose(found[0].read(2), found[1].read(2), atol=1e-4)
    assert [one.read(0).shape[1] for one in found] == [32, 32, 160, 64]
    assert found[0].about["identity"] == encoder.identity


def test_nothing_is_computed_twice(tmp_path, encoder, data):
    calls = []

    def loudness(wave, sample_rate):
        calls.append(len(wave) / sample_rate)
        return np.array([np.abs(wave).mean(), 1.0])

    extractor = FunctionExtractor("loudness", loudness, "1")
    first = vectors_of(data, extractor, tmp_path / "cache")
    again = vectors_of(data, extractor, tmp_path / "cache")
    assert calls == list(SECONDS)
    assert np.array_equal(first.read(0), again.read(0))
    vectors_of(data, FunctionExtractor("loudness", loudness, "2"), tmp_path / "cache")
    assert len(calls) == 6


def test_a_run_that_was_interrupted_goes_on_where_it_was(tmp_path, data):
    calls = []

    def patient(wave, sample_rate):
        calls.append(len(wave) / sample_rate)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return wave[:2]

    extractor = FunctionExtractor("patient", patient, "1")
    with pytest.raises(KeyboardInterrupt):
        vectors_of(data, extractor, tmp_path / "cache")
    assert vectors_of(data, extractor, tmp_path / "cache").keys == ("k0", "k1", "k2")
    assert calls == [*SECONDS, SECONDS[2]]


def test_a_function_hears_one_channel_at_the_rate_it_wants(tmp_path):
    path = tmp_path / "stereo.wav"
    samples = noise(1.0, 16_000, n_channels=2)
    io.write(path, samples, 16_000, "FLOAT")
    data = TaggedData("stereo", (Clip("a", str(path), "train", None, (0,)),), ("a",), True)
    heard = {}

    def keep(wave, sample_rate):
        heard[sample_rate] = wave
        return np.ones((2, 3))

    vectors = vectors_of(data, FunctionExtractor("keep", keep, "1"), tmp_path / "cache")
    vectors_of(data, FunctionExtractor("keep", keep, "1", 8000), tmp_path / "cache")
    assert np.allclose(heard[16_000], samples.mean(axis=0), atol=1e-6)
    assert heard[8000].shape == (8000,)
    assert vectors.n_layers == 2


def test_files_that_cannot_be_read_are_left_out_and_listed(tmp_path, encoder, data):
    (tmp_path / "audio" / "1.wav").write_bytes(b"no audio")
    (tmp_path / "audio" / "2.wav").unlink()
    for extractor in (EncoderExtractor.of(encoder), FunctionExtractor("mean", lambda wave, rate: wave[:2], "1")):
        vectors = vectors_of(data, extractor, tmp_path / "cache")
        assert vectors.keys == ("k0",)
        assert [one.key for one in vectors.left_out] == ["k1", "k2"]
        assert "2.wav" in vectors.left_out[1].reason


def test_a_function_that_gives_no_vector_is_told(tmp_path, data):
    bad = FunctionExtractor("bad", lambda wave, rate: np.full(3, np.nan), "1")
    with pytest.raises(ParameterError, match=r"none of the 3 recordings has vectors: bad must give a finite vector"):
        vectors_of(data, bad, tmp_path / "cache")


def test_settings_that_do_not_exist_are_refused():
    with pytest.raises(ParameterError, match="unknown pool 'sum': choose from mean, rows, max, mean_std"):
        EncoderExtractor(Worker(), pool="sum")
    with pytest.raises(ParameterError, match="unknown windows 'both': choose from vector, prediction"):
        EncoderExtractor(Worker(), windows="both")
    with pytest.raises(ParameterError, match="the pool mean_std has no vectors of windows"):
        EncoderExtractor(Worker(), pool="mean_std", windows="prediction")
