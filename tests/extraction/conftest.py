"""Recordings, folders and shards of them."""

import tarfile

import pytest

from masktools import io
from tests.tiny import noise


@pytest.fixture
def recordings(tmp_path):
    """Return a folder of short recordings, with other things among them."""
    folder = tmp_path / "music"
    for number, name in enumerate(("b.wav", "a.flac", "live/c.wav", "live/deep/d.wav")):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        io.write(folder / name, noise(0.5 + number / 10, seed=number, n_channels=1 + number % 2), 22_050)
    for name in ("notes.txt", ".hidden.wav", ".git/e.wav"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


@pytest.fixture
def shard(recordings, tmp_path):
    """Return a tar file of these recordings and of what belongs to them."""
    path = tmp_path / "shards" / "train-000.tar"
    path.parent.mkdir()
    with tarfile.open(path, "w") as file:
        for name in ("b.wav", "notes.txt", "live/c.wav"):
            file.add(recordings / name, name)
    return path
