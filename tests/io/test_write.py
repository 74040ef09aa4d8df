"""A write is whole or it is not there at all, and what a format cannot hold is refused before anything is written."""

import os
from pathlib import Path

import numpy as np
import pytest
import soundfile

from masktools.core.errors import AudioError, ParameterError
from masktools.io import read, write

RATE = 24_000


def tone(seconds=0.5, channels=1):
    wave = 0.5 * np.sin(2 * np.pi * 1000 * np.arange(int(seconds * RATE)) / RATE)
    return np.tile(wave.astype(np.float32), (channels, 1))


# What cannot be written


@pytest.mark.parametrize(
    ("name", "rate", "shape", "options", "message"),
    [
        ("a.xyz", RATE, (1, 9), {}, r"unknown audio suffix '.xyz': choose from .wav, .flac, .ogg"),
        ("a", RATE, (1, 9), {}, "unknown audio suffix '': choose from"),
        ("a.flca", RATE, (1, 9), {}, r"did you mean '.flac'\?"),
        ("a.wav", RATE, (1, 9), {"format": "wave"}, r"unknown audio format 'WAVE': choose from .*mean 'WAV"),
        ("a.wav", RATE, (1, 9), {"subtype": "PCM_17"}, r"unknown subtype 'PCM_17': choose from PCM_S8"),
        ("a.wav", RATE, (9,), {}, r"samples must be float32 .* \(channels, t\), got float32 of shape \(9,\)"),
        ("a.mp3", 96_000, (1, 9), {}, "sample rate of MP3 must be one of 8000, .*48000 Hz, got 96000 Hz"),
        ("a.mp3", RATE, (3, 9), {}, "MP3 holds 1 to 2 channels, got 3"),
        ("a.opus", 22_050, (1, 9), {}, "sample rate of Opus must be one of 8000, 12000, 16000, 24000, 48000 Hz"),
        ("a.ogg", 22_050, (1, 9), {"subtype": "OPUS"}, "sample rate of Opus must be"),
        ("a.ogg", 250_000, (1, 9), {}, "sample rate of Vorbis must be one of 8000 to 192000 Hz, got 250000 Hz"),
        ("a.flac", 700_000, (1, 9), {}, "sample rate of FLAC must be one of 1 to 655350 Hz"),
        ("a.flac", RATE, (9, 9), {}, r"FLAC holds 1 to 8 channels, got 9; samples are \(channels, t\)"),
        ("a.wav", RATE, (4000, 2), {}, r"WAV holds 1 to 1024 channels, got 4000; samples are \(channels, t\)"),
        ("a.wav", 0, (1, 9), {}, "sample rate of WAV must be one of 1 to .* Hz, got 0 Hz"),
    ],
)
def test_what_a_format_cannot_hold_is_refused(tmp_path, name, rate, shape, options, message):
    with pytest.raises(ParameterError, match=message):
        write(tmp_path / name, np.zeros(shape, np.float32), rate, **options)
    assert not os.listdir(tmp_path)


def test_integer_samples_are_refused_for_their_scale_is_unknown(tmp_path):
    with pytest.raises(ParameterError, match="samples must be float32 or float64 .*, got int16"):
        write(tmp_path / "a.wav", np.zeros((1, 9), np.int16), RATE)


def test_places_that_cannot_be_written_to_are_named(tmp_path):
    (tmp_path / "folder.wav").mkdir()
    for name, message in (
        ("none/a.wav", "none/a.wav cannot be written: the folder .*none does not exist"),
        ("folder.wav", "folder.wav cannot be written: it is a folder"),
    ):
        with pytest.raises(AudioError, match=message):
            write(tmp_path / name, tone(), RATE)
    with pytest.raises(AudioError, match="b.wav would hold no samples"):
        write(tmp_path / "b.wav", np.zeros((1, 0), np.float32), RATE)
    assert os.listdir(tmp_path) == ["folder.wav"]


# Whole or nothing


def test_the_input_may_be_the_output(tmp_path):
    path = tmp_path / "a.flac"
    write(path, tone(channels=2), RATE, "PCM_24")
    path.chmod(0o640)
    audio = read(path)
    write(path, -audio.samples, audio.sample_rate, audio.subtype)
    np.testing.assert_array_equal(read(path).samples, -audio.samples)
    assert path.stat().st_mode & 0o777 == 0o640
    assert os.listdir(tmp_path) == ["a.flac"]


def test_a_link_stays_a_link(tmp_path):
    write(tmp_path / "a.wav", tone(), RATE)
    (tmp_path / "link.wav").symlink_to("a.wav")
    write(tmp_path / "link.wav", tone(seconds=0.1), RATE)
    assert (tmp_path / "link.wav").is_symlink()
    assert read(tmp_path / "a.wav").duration_s == pytest.approx(0.1)


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "opus", "mp3"])
@pytest.mark.parametrize(
    ("failure", "raised", "message"),
    [
        (KeyboardInterrupt(), KeyboardInterrupt, "^$"),
        (MemoryError(), MemoryError, "^$"),
        (OSError(28, "No space left on device"), AudioError, "cannot be written: No space left on device"),
        (soundfile.LibsndfileError(2), AudioError, "cannot be written: "),
    ],
)
def test_a_write_that_fails_leaves_what_was_there(tmp_path, monkeypatch, suffix, failure, raised, message):
    path = tmp_path / f"a.{suffix}"
    write(path, tone(), RATE)
    before, blocks = path.read_bytes(), []
    original = soundfile.SoundFile.write

    def stumble(self, block):
        blocks.append(len(block))
        if len(blocks) == 2:
            raise failure
        original(self, block)

    monkeypatch.setattr(soundfile.SoundFile, "write", stumble)
    with pytest.raises(raised, match=message):
        write(path, tone(seconds=2.5), RATE)
    assert blocks == [RATE, RATE]
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == [path.name]


def test_a_file_that_came_out_too_short_is_not_kept(tmp_path, monkeypatch):
    original = soundfile.SoundFile.write
    monkeypatch.setattr(soundfile.SoundFile, "write", lambda self, block: original(self, block[:-1]))
    with pytest.raises(AudioError, match="a.wav could not be written in full"):
        write(tmp_path / "a.wav", tone(), RATE)
    assert not os.listdir(tmp_path)


def test_nothing_is_seen_under_the_final_name_before_it_is_complete(tmp_path, monkeypatch):
    seen, original = [], os.replace

    def replace(part, target):
        seen.append((Path(part).parent == tmp_path, Path(part).suffix, Path(target).exists()))
        original(part, target)

    monkeypatch.setattr(os, "replace", replace)
    write(tmp_path / "a.wav", tone(), RATE)
    assert seen == [(True, ".part", False)]
