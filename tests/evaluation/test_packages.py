"""Embedders whose weights come inside packages: small ones of the same formats, and the published ones where given."""

import os
import shutil
from pathlib import Path

import librosa
import numpy as np
import pytest
import torch

from masktools.core.errors import CheckpointError
from masktools.evaluation.embedders import Embedder
from masktools.evaluation.pretrained import (
    AisfxEmbedder,
    AisfxNetwork,
    MusicnnEmbedder,
    MusicnnNetwork,
    aisfx_frames,
    musicnn_frames,
)
from tests.evaluation.weight_packages import as_wheel, musicnn_tensors, tf_checkpoint, write_aisfx, write_musicnn

KINDS = {"aisfx": AisfxEmbedder, "musicnn": MusicnnEmbedder}
PUBLISHED = {  # of one second of a chord at 44.1 kHz: the name, and mean and deviation of the vectors
    "aisfx": ("aisfx 499ea759", 512, 1.736276, 1.453698),
    "musicnn": ("musicnn 8579734e", 200, 0.234975, 0.761865),
}


@pytest.fixture(scope="module")
def packages(tmp_path_factory):
    folder = tmp_path_factory.mktemp("packages")
    return {"aisfx": write_aisfx(folder), "musicnn": write_musicnn(folder)}


def chord(seconds=1.0, rate=44_100):
    t = np.arange(round(seconds * rate)) / rate
    return (sum(np.sin(2 * np.pi * hz * t) for hz in (220, 277, 330, 5000)) / 8).astype(np.float32)


def copy_of(package, folder):
    shutil.copytree(package, folder / package.name)
    return folder / package.name


@pytest.mark.parametrize("name", KINDS)
def test_a_wheel_a_folder_and_a_file_hold_the_same_weights(packages, name):
    package = packages[name]
    wheel = as_wheel(package)
    files = {"aisfx": package / "models/checkpoint.pth", "musicnn": package / "MSD_musicnn/.index"}
    places = (wheel, package, package.parent, files[name], files[name].parent)
    found = [KINDS[name](place) for place in places]
    assert len({one.name for one in found}) == 1
    assert all(isinstance(one, Embedder) for one in found)
    heard = [one.embed(chord(), 44_100) for one in found]
    assert all(np.array_equal(heard[0], other) for other in heard)


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize(("seconds", "n"), [(0, 1), (0.01, 1), (0.9, 1), (2.0, 5), (5.0, 17)])
def test_a_vector_is_heard_four_times_a_second_and_at_least_once(packages, name, seconds, n):
    embedder = KINDS[name](packages[name])
    for rate in (8_000, 44_100):
        found = embedder.embed(chord(seconds, rate), rate)
        assert abs(len(found) - n) <= (n > 1)  # hops are whole frames
        assert found.shape[1] == embedder.dim
        assert np.isfinite(found).all()


def test_the_published_networks_have_the_sizes_that_were_published():
    with torch.device("meta"):
        sizes = [sum(p.numel() for p in network().parameters()) for network in (AisfxNetwork, MusicnnNetwork)]
    assert sizes == [4_686_144, 777_109]


def test_the_filters_are_librosa_s():
    x = chord(0.5, 16_000)
    mel = librosa.feature.melspectrogram(y=x, sr=16_000, hop_length=256, n_fft=512, n_mels=96)
    np.testing.assert_allclose(musicnn_frames(x).numpy(), np.log10(1e4 * mel.T + 1), atol=2e-5)


def test_a_tone_is_loudest_in_the_band_that_holds_it():
    for hertz in (100, 1_000, 10_000, 20_000):
        t = np.arange(44_100) / 44_100
        band = np.log1p(hertz / 700) / np.log1p(22_050 / 700) * 97 - 1
        found = aisfx_frames(np.sin(2 * np.pi * hertz * t)).mean(0).argmax()
        assert abs(float(found) - band) <= 1


@pytest.mark.parametrize("name", KINDS)
def test_a_place_without_weights_is_named_with_what_may_be_given(tmp_path, packages, name):
    for place in (tmp_path / "nowhere", tmp_path):
        with pytest.raises(CheckpointError, match=f"give the wheel of the package {name} .*pip download --no-deps"):
            KINDS[name](place)
    other = as_wheel(packages["musicnn" if name == "aisfx" else "aisfx"])
    with pytest.raises(CheckpointError, match=f"no {name}/"):
        KINDS[name](other)
    broken = tmp_path / "broken.whl"
    broken.write_bytes(b"PK\3\4 and nothing more")
    with pytest.raises(CheckpointError, match="cannot be read"):
        KINDS[name](broken)


class Trap:
    def __reduce__(self):
        return (os.mkdir, ("sprung",))


def test_nothing_in_a_checkpoint_is_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save(({"embedding_net.conv_block1.conv1.weight": torch.zeros(2, 1, 3, 3)}, Trap()), "trap.pth")
    with pytest.raises(CheckpointError, match="cannot be read without running code"):
        AisfxEmbedder(tmp_path / "trap.pth")
    assert not (tmp_path / "sprung").exists()


def test_weights_of_another_network_are_refused(tmp_path, packages):
    package = copy_of(packages["aisfx"], tmp_path)
    file = package / "models/checkpoint.pth"
    for content, message in (
        ({"a": torch.zeros(2)}, "must hold aiSFX"),
        (torch.zeros(3), "must hold named tensors, got Tensor"),
        ({"embedding_net.conv_block1.conv1.weight": torch.zeros(2, 1, 3, 3)}, "must hold the weights of AisfxNetwork"),
    ):
        torch.save(content, file)
        with pytest.raises(CheckpointError, match=message):
            AisfxEmbedder(package)


def test_a_musicnn_that_lacks_a_tensor_is_refused(tmp_path, packages):
    package = copy_of(packages["musicnn"], tmp_path)
    for missing, message in (("dense/bias", "must hold musicnn: conv2d"), ("conv2d_6/kernel", "conv2d_6/kernel")):
        tensors = musicnn_tensors()
        del tensors[missing]
        for end, content in zip((".index", ".data-00000-of-00001"), tf_checkpoint(tensors), strict=True):
            (package / "MSD_musicnn" / end).write_bytes(content)
        with pytest.raises(CheckpointError, match=message):
            MusicnnEmbedder(package)


@pytest.mark.parametrize("name", KINDS)
def test_the_published_weights_give_the_published_vectors(name):
    place = os.environ.get(f"MASKTOOLS_{name.upper()}")
    if not place or not Path(place).exists():
        pytest.skip(f"MASKTOOLS_{name.upper()} names no package {name}: pip download --no-deps {name}, and its path")
    label, dim, mean, deviation = PUBLISHED[name]
    embedder = KINDS[name](place)
    assert (embedder.name, embedder.dim) == (label, dim)
    found = embedder.embed(chord(), 44_100)
    assert (found.mean(), found.std()) == pytest.approx((mean, deviation), abs=2e-4)
