"""A file written block by block is the one that is written at once, and is there whole or not at all."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from masktools import io
from masktools.core.errors import AudioError, ParameterError
from masktools.io.writing import layout_of
from tests.io.waves import noise

RATE = 44_100
ROOT = Path(__file__).parents[2]


@settings(max_examples=30, deadline=None)
@given(
    coding=st.sampled_from(
        [
            ("wav", "PCM_16"),
            ("wav", "PCM_U8"),
            ("wav", "DOUBLE"),
            ("flac", "PCM_24"),
            ("aiff", "FLOAT"),
            ("wav", "ULAW"),
        ]
    ),
    lengths=st.lists(st.integers(0, 70_000), min_size=1, max_size=6).filter(any),
    n_channels=st.integers(1, 3),
)
def test_blocks_of_any_length_make_the_same_samples(tmp_path_factory, coding, lengths, n_channels):
    folder = tmp_path_factory.mktemp("blocks")
    ending, subtype = coding
    wave = np.resize(1.2 * noise(1, 7_919)[:, 0], (n_channels, sum(lengths))).astype(np.float32)
    with io.open_writer(folder / f"a.{ending}", RATE, n_channels, subtype) as writer:
        for part in np.split(wave, np.cumsum(lengths)[:-1], axis=1):
            writer.write(part)
    n_clipped = io.write(folder / f"b.{ending}", wave, RATE, subtype)
    assert (writer.n_samples, writer.n_clipped) == (sum(lengths), n_clipped)
    made, whole = (soundfile.read(folder / f"{name}.{ending}", dtype="float64")[0] for name in "ab")
    assert np.array_equal(made, whole)
    for file in folder.iterdir():
        file.unlink()


@pytest.mark.parametrize("ending", ["ogg", "opus", "mp3", "flac"])
def test_ninety_seconds_at_once_are_written_in_blocks(tmp_path, ending):
    rate = 16_000
    wave = np.resize(noise(1, 7_919)[:, 0], (1, 90 * rate)).astype(np.float32)
    with io.open_writer(tmp_path / f"a.{ending}", rate, 1) as writer:
        writer.write(wave)
    assert soundfile.info(tmp_path / f"a.{ending}").frames == 90 * rate


def test_a_wave_file_that_grows_too_long_becomes_rf64(tmp_path, monkeypatch):
    monkeypatch.setattr("masktools.io.writing._WAV_BYTES", 20_001)
    wave = noise(3, 3_335).T
    with io.open_writer(tmp_path / "a.wav", RATE, 3, "PCM_U8") as writer:  # 10,005 bytes
        writer.write(wave)
    assert soundfile.info(tmp_path / "a.wav").format == "WAV"
    for n_samples in (None, 6_669):
        with io.open_writer(tmp_path / "b.wav", RATE, 3, "PCM_U8", n_samples=n_samples) as writer:
            writer.write(wave)
            writer.write(wave[:, :-1])
        audio = io.read(tmp_path / "b.wav")
        assert audio.format == "RF64"
        assert audio.samples.shape == (3, 6_669)
        np.testing.assert_allclose(audio.samples[:, :3_335], wave, atol=2**-7)
        assert layout_of(tmp_path / "b.wav") is not None
    assert sorted(os.listdir(tmp_path)) == ["a.wav", "b.wav"]


def write_blocks(path, n_channels, blocks):
    with io.open_writer(path, RATE, n_channels) as writer:
        for block in blocks:
            writer.write(block)


@pytest.mark.parametrize("failure", [KeyboardInterrupt, MemoryError, ValueError])
def test_nothing_is_there_before_the_end_nor_after_an_error(tmp_path, failure):
    def blocks():
        yield noise(1, 100).T
        assert sorted(path.suffix for path in tmp_path.iterdir()) == [".lock", ".part"]
        raise failure

    with pytest.raises(failure):
        write_blocks(tmp_path / "a.wav", 1, blocks())
    assert not os.listdir(tmp_path)


def test_a_file_that_cannot_be_begun_leaves_nothing(tmp_path, monkeypatch):
    def refuse(*args, **kwargs):
        raise soundfile.LibsndfileError(2)

    monkeypatch.setattr("soundfile.SoundFile", refuse)
    with pytest.raises(AudioError, match=r"a\.wav cannot be written: "), io.open_writer(tmp_path / "a.wav", RATE, 1):
        pass
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize(("name", "left"), [("SIGINT", set()), ("SIGKILL", {".lock", ".part"})])
def test_a_process_that_is_stopped_leaves_no_file_under_the_final_name(tmp_path, name, left):
    program = (
        "import sys, time, numpy; from masktools import io\n"
        "with io.open_writer(sys.argv[1], 44100, 1) as writer:\n"
        "    writer.write(numpy.zeros((1, 99999), numpy.float32)); print('writing', flush=True); time.sleep(60)\n"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "a.wav")]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout.readline() == b"writing\n"
        process.send_signal(getattr(signal, name))
        process.wait(30)
    assert not (tmp_path / "a.wav").exists()
    assert {path.suffix for path in tmp_path.iterdir()} == left
    assert all(name.startswith(".") for name in os.listdir(tmp_path)), "what a kill leaves is hidden"
    io.write(tmp_path / "b.wav", noise(1, 100).T, RATE)
    assert os.listdir(tmp_path) == ["b.wav"], "and the next that writes there removes it"


def test_what_a_live_process_writes_stays(tmp_path):
    with io.open_writer(tmp_path / "a.wav", RATE, 1) as writer:
        writer.write(noise(1, 100).T)
        program = "import sys, numpy; from masktools import io; io.write(sys.argv[1], numpy.zeros((1, 9)), 44100)"
        subprocess.run([sys.executable, "-c", program, str(tmp_path / "b.wav")], cwd=ROOT, check=True)
        assert len(list(tmp_path.glob(".a.wav.*.part"))) == 1
    assert sorted(os.listdir(tmp_path)) == ["a.wav", "b.wav"]


def test_what_is_no_audio_is_refused_and_nothing_is_left(tmp_path):
    wave = noise(2, 100).T
    bad = wave.copy()
    bad[1, 50] = np.nan
    for samples, error, message in (
        (bad, AudioError, r"a\.wav is not written: samples must be finite, .* NaN at sample 150 .* channel 2 of 2"),
        (wave[:1], ParameterError, r"with 2 channels, got float64 of shape \(1, 100\)"),
        (wave[0], ParameterError, r"got float64 of shape \(100,\)"),
        (wave.astype(np.int16), ParameterError, "got int16"),
    ):
        with pytest.raises(error, match=message):
            write_blocks(tmp_path / "a.wav", 2, [wave, samples])
    with pytest.raises(AudioError, match=r"a\.wav would hold no samples"):
        write_blocks(tmp_path / "a.wav", 2, [wave[:, :0]])
    assert not os.listdir(tmp_path)


def test_a_writer_writes_in_its_with_block_alone(tmp_path):
    writer = io.open_writer(tmp_path / "a.wav", RATE, 1)
    for _ in range(2):
        with pytest.raises(ParameterError, match="can be written to only while its writer is open"):
            writer.write(np.zeros((1, 9), np.float32))
        with writer:
            writer.write(np.zeros((1, 9), np.float32))
    assert soundfile.info(tmp_path / "a.wav").frames == writer.n_samples == 9


def test_what_cannot_be_written_is_known_before_anything_is_computed(tmp_path):
    for name, rate, message in (
        ("a.xyz", RATE, "unknown audio suffix"),
        ("a.mp3", 96_000, "sample rate of MP3 must be one of"),
        ("none/a.wav", RATE, "the folder .*none does not exist"),
    ):
        with pytest.raises((ParameterError, AudioError), match=message):
            io.open_writer(tmp_path / name, rate, 1)
