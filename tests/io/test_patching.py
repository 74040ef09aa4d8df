"""Repairs in place change the samples that they are for, and no other byte."""

import os
import shutil

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from masktools import io
from masktools.core.errors import AudioError, ParameterError
from masktools.io.writing import layout_of
from tests.io.waves import chunk, noise, with_chunks

RATE = 44_100
N = 3_000
BYTES = {"PCM_S8": 1, "PCM_U8": 1, "PCM_16": 2, "PCM_24": 3, "PCM_32": 4}
BYTES |= {"FLOAT": 4, "DOUBLE": 8, "ULAW": 1, "ALAW": 1}
WAVES = [
    (container, subtype)
    for container in ("WAV", "WAVEX", "RF64")
    for subtype in ("PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW")
]
AIFFS = [("AIFF", subtype) for subtype in ("PCM_S8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW")]
STEPS = {"PCM_S8": 2**-7, "PCM_U8": 2**-7, "PCM_16": 2**-15, "ULAW": 0.04, "ALAW": 0.04}  # the others: 1e-6


def piece(start, n, channels, seed=1):
    return io.Piece(start, noise(len(channels), n, seed).T.astype(np.float32), tuple(channels))


def decoded(path):
    return soundfile.read(path, dtype="float64", always_2d=True)[0]


@pytest.mark.parametrize(("container", "subtype"), [*WAVES, *AIFFS])
def test_every_byte_outside_the_pieces_stays(tmp_path, container, subtype):
    big = container == "AIFF"
    source, target = tmp_path / "in.xyz", tmp_path / "out.xyz"
    soundfile.write(source, noise(3, N), RATE, subtype, format=container)
    if container != "RF64":  # whose length stands elsewhere
        order = "big" if big else "little"
        before = chunk(b"bext", b"\1" * 603, order)
        after = chunk(b"iXML", b"<BWFXML/>", order) + chunk(b"LIST", b"INFOodd", order) + b"\0\0rest"
        with_chunks(source, before, after)
    assert layout_of(source) is not None
    assert io.patch(source, target, [piece(2_000, 700, [1]), piece(0, 1, [2])]) == 0

    before, after = (np.frombuffer(path.read_bytes(), np.uint8) for path in (source, target))
    assert len(before) == len(after)
    start = bytes(before).index(b"SSND" if big else b"data") + (16 if big else 8)
    width = BYTES[subtype]
    where = np.flatnonzero(before != after) - start
    assert {(byte // (3 * width), byte // width % 3) for byte in where} <= {(0, 2)} | {
        (sample, 1) for sample in range(2_000, 2_700)
    }
    expected = decoded(source)
    expected[2_000:2_700, 1] = piece(2_000, 700, [1]).samples[0]
    expected[0, 2] = piece(0, 1, [2]).samples[0, 0]
    np.testing.assert_allclose(decoded(target), expected, atol=STEPS.get(subtype, 1e-6))


@settings(max_examples=30, deadline=None)
@given(
    data=st.data(),
    coding=st.sampled_from([*WAVES, *AIFFS]),
    n=st.integers(1, 500),
    n_channels=st.integers(1, 6),
    odd=st.binary(max_size=9),
)
def test_pieces_of_any_place_and_length_land_where_they_belong(tmp_path_factory, data, coding, n, n_channels, odd):
    folder = tmp_path_factory.mktemp("patch")
    source, target = folder / "in.xyz", folder / "out.xyz"
    soundfile.write(source, noise(n_channels, n), 8_000, coding[1], format=coding[0])
    with source.open("ab") as file:
        file.write(odd)
    start = data.draw(st.integers(0, n - 1))
    length = data.draw(st.integers(1, n - start))
    channels = data.draw(st.lists(st.integers(0, n_channels - 1), min_size=1, max_size=n_channels, unique=True))
    own = piece(start, length, channels)
    io.patch(source, target, [own])
    before, after = decoded(source), decoded(target)
    inside = np.zeros_like(before, bool)
    inside[start : start + length, channels] = True
    assert np.array_equal(before[~inside], after[~inside])
    np.testing.assert_allclose(after[start : start + length, channels], own.samples.T, atol=STEPS.get(coding[1], 1e-6))
    assert source.stat().st_size == target.stat().st_size
    shutil.rmtree(folder)


def test_a_piece_is_written_to_the_same_codes_as_a_whole_file(tmp_path):
    wave = noise(1, N).T.astype(np.float32)
    for ending, subtype in (("wav", "PCM_U8"), ("wav", "PCM_16"), ("wav", "PCM_24"), ("wav", "ULAW"), ("aiff", "ALAW")):
        source, target, whole = (tmp_path / f"{name}.{ending}" for name in ("in", "out", "whole"))
        soundfile.write(source, np.zeros((N, 1)), RATE, subtype)
        io.patch(source, target, [io.Piece(0, wave, (0,))])
        io.write(whole, wave, RATE, subtype)
        assert np.array_equal(decoded(target), decoded(whole)), subtype


def test_a_file_can_be_patched_in_its_own_place(tmp_path):
    path = tmp_path / "in.wav"
    soundfile.write(path, noise(1, N), RATE, "FLOAT")
    path.chmod(0o640)
    own = piece(10, 5, [0])
    io.patch(path, path, [own])
    assert np.array_equal(soundfile.read(path, dtype="float32")[0][10:15], own.samples[0])
    assert path.stat().st_mode & 0o777 == 0o640
    assert os.listdir(tmp_path) == ["in.wav"]


def test_samples_beyond_full_scale_are_clipped_and_counted(tmp_path):
    soundfile.write(tmp_path / "in.wav", noise(1, N), RATE, "PCM_16")
    assert io.patch(tmp_path / "in.wav", tmp_path / "out.wav", [io.Piece(100, np.full((1, 7), 1.5), (0,))]) == 7
    assert soundfile.read(tmp_path / "out.wav", dtype="int16")[0][100:107].tolist() == [32_767] * 7


def test_nan_is_never_written_into_a_file(tmp_path):
    soundfile.write(tmp_path / "in.wav", noise(1, N), RATE, "FLOAT")
    bad = io.Piece(441, np.full((1, 7), np.nan, np.float32), (0,))
    message = r"out\.wav is not written: samples must be finite, .* is NaN at sample 441 \(0\.0100 s\)"
    with pytest.raises(AudioError, match=message):
        io.patch(tmp_path / "in.wav", tmp_path / "out.wav", [bad])
    assert os.listdir(tmp_path) == ["in.wav"]


def test_a_recording_of_one_sample_can_be_patched(tmp_path):
    soundfile.write(tmp_path / "in.wav", [0.5], RATE, "PCM_U8")
    io.patch(tmp_path / "in.wav", tmp_path / "out.wav", [io.Piece(0, np.full((1, 1), -0.25), (0,))])
    assert decoded(tmp_path / "out.wav").tolist() == [[-0.25]]
    assert (tmp_path / "in.wav").stat().st_size == (tmp_path / "out.wav").stat().st_size


def test_an_rf64_whose_length_stands_in_its_ds64_chunk_is_patched(tmp_path):
    codes = np.arange(40, dtype="<i2")
    ds64 = b"ds64" + (28).to_bytes(4, "little") + b"".join(n.to_bytes(8, "little") for n in (152, 80, 20)) + bytes(4)
    fmt = (
        b"fmt " + bytes([16, 0, 0, 0, 1, 0, 2, 0]) + (8_000).to_bytes(4, "little") + bytes([0, 125, 0, 0, 4, 0, 16, 0])
    )
    data = b"data\xff\xff\xff\xff" + codes.tobytes()
    path = tmp_path / "in.wav"
    path.write_bytes(b"RF64\xff\xff\xff\xffWAVE" + ds64 + fmt + data + b"LIST\x04\0\0\0INFO")
    io.patch(path, tmp_path / "out.wav", [io.Piece(19, np.full((1, 1), 0.5), (1,))])
    expected = codes.copy()
    expected[39] = 16_384
    assert (tmp_path / "out.wav").read_bytes() == path.read_bytes().replace(codes.tobytes(), expected.tobytes())
    with pytest.raises(ParameterError, match="within the 20 samples and 2 channels"):
        io.patch(path, tmp_path / "out.wav", [io.Piece(20, np.zeros((1, 1)), (1,))])


def test_a_wave_file_that_was_streamed_is_patched_to_its_end(tmp_path):
    soundfile.write(tmp_path / "in.wav", np.zeros(N), RATE, "PCM_16")
    whole = (tmp_path / "in.wav").read_bytes()
    (tmp_path / "in.wav").write_bytes(whole[:40] + b"\xff" * 4 + whole[44:])
    io.patch(tmp_path / "in.wav", tmp_path / "out.wav", [io.Piece(N - 1, np.full((1, 1), 0.5), (0,))])
    assert (tmp_path / "out.wav").read_bytes()[-2:] == b"\x00\x40"


def test_other_files_cannot_be_patched(tmp_path):
    soundfile.write(tmp_path / "in.flac", noise(1, N), RATE)
    soundfile.write(tmp_path / "adpcm.wav", noise(1, N), RATE, "IMA_ADPCM")
    for name in ("in.flac", "adpcm.wav"):
        assert layout_of(tmp_path / name) is None
        with pytest.raises(AudioError, match=rf"{name} must be a RIFF or RF64 wave file or an AIFF file to be patched"):
            io.patch(tmp_path / name, tmp_path / "out.wav", [])
    with pytest.raises(AudioError, match=r"none\.wav does not exist"):
        io.patch(tmp_path / "none.wav", tmp_path / "out.wav", [])


@settings(max_examples=30, deadline=None)
@given(data=st.data(), container=st.sampled_from(["WAV", "AIFF", "RF64"]))
def test_a_damaged_header_is_no_crash(tmp_path_factory, data, container):
    folder = tmp_path_factory.mktemp("damaged")
    soundfile.write(folder / "in.xyz", noise(2, 50), RATE, "PCM_16", format=container)
    whole = bytearray((folder / "in.xyz").read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, 99))] = data.draw(st.integers(0, 255))
    (folder / "in.xyz").write_bytes(whole[: data.draw(st.integers(1, len(whole)))])
    layout_of(folder / "in.xyz")
    shutil.rmtree(folder)


@pytest.mark.parametrize(("start", "channels"), [(N - 5, [0]), (0, [1]), (0, [-1])])
def test_pieces_outside_the_recording_are_refused_and_nothing_is_left(tmp_path, start, channels):
    soundfile.write(tmp_path / "in.wav", noise(1, N), RATE)
    with pytest.raises(ParameterError, match="a piece must lie within the 3000 samples and 1 channels"):
        io.patch(tmp_path / "in.wav", tmp_path / "out.wav", [piece(start, 10, channels)])
    assert os.listdir(tmp_path) == ["in.wav"]


@pytest.mark.parametrize(
    ("start", "samples", "channels", "message"),
    [
        (0, np.zeros((2, 4)), (0,), "a piece must have a row for each of its channels"),
        (0, np.zeros(4), (0,), r"got samples of shape \(4,\)"),
        (0, np.zeros((2, 4)), (1, 1), "a piece must have a row for each of its channels"),
        (-1, np.zeros((1, 4)), (0,), "start at 0 or later"),
        (0, np.zeros((1, 4), np.int16), (0,), "the samples of a piece must be float32 or float64, got int16"),
    ],
)
def test_pieces_that_make_no_sense_are_refused(start, samples, channels, message):
    with pytest.raises(ParameterError, match=message):
        io.Piece(start, samples, channels)


def test_a_patch_that_is_interrupted_leaves_what_was_there(tmp_path):
    soundfile.write(tmp_path / "in.wav", noise(1, N), RATE)
    before = (tmp_path / "in.wav").read_bytes()

    def pieces():
        yield piece(5, 5, [0])
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        io.patch(tmp_path / "in.wav", tmp_path / "in.wav", pieces())
    assert (tmp_path / "in.wav").read_bytes() == before
    assert os.listdir(tmp_path) == ["in.wav"]
