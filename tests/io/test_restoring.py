"""A restored file is its source, but for what was restored."""

import os

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from masktools import io
from masktools.core.errors import ParameterError
from tests.io.waves import chunk, noise, with_chunks

RATE = 44_100
N = 6_000
CODINGS = [("wav", "PCM_16"), ("wav", "PCM_24"), ("wav", "FLOAT"), ("flac", "PCM_16"), ("flac", "PCM_24")]


def piece(start, n, channels, seed=1):
    return io.Piece(start, noise(len(channels), n, seed).T.astype(np.float32), tuple(channels))


def restored(source, target, *pieces, **options):
    with io.open_recording(source) as recording:
        return io.restore_into(source, target, recording, pieces, **options)


def codes(path):
    return soundfile.read(path, dtype="int32", always_2d=True)[0]


@pytest.mark.parametrize(("ending", "subtype"), CODINGS)
@pytest.mark.parametrize("n_channels", [1, 2, 6])
@pytest.mark.parametrize("sample_rate", [8_000, 22_050, 44_100, 48_000, 96_000])
def test_no_sample_outside_the_pieces_changes(tmp_path, ending, subtype, sample_rate, n_channels):
    source, target = tmp_path / f"in.{ending}", tmp_path / f"out.{ending}"
    soundfile.write(source, noise(n_channels, N), sample_rate, subtype)
    pieces = (piece(1_000, 500, [0]), piece(3_000, 100, range(n_channels)))
    assert restored(source, target, *pieces) == 0
    before, after = (soundfile.read(path, dtype="float64", always_2d=True)[0] for path in (source, target))
    differs = before != after
    assert differs[1_000:1_500, 0].mean() > 0.99
    assert differs[3_000:3_100].mean() > 0.99
    differs[1_000:1_500, 0] = differs[3_000:3_100] = False
    assert not differs.any()
    made = soundfile.info(target)
    assert (made.subtype, made.samplerate, made.channels, made.frames) == (subtype, sample_rate, n_channels, N)
    step = {"PCM_16": 2.0**-15, "PCM_24": 2.0**-23, "FLOAT": 1e-7}[subtype]
    assert np.abs(after[1_000:1_500, 0] - pieces[0].samples[0]).max() <= step


@settings(max_examples=30, deadline=None)
@given(data=st.data(), coding=st.sampled_from([*CODINGS, ("aiff", "PCM_24")]), n=st.integers(1, 1_323_000))
def test_recordings_of_any_length_keep_it(tmp_path_factory, data, coding, n):
    folder = tmp_path_factory.mktemp("length")
    ending, subtype = coding
    target = folder / f"out.{data.draw(st.sampled_from(['wav', 'flac', 'aiff']))}"
    soundfile.write(folder / f"in.{ending}", np.resize(noise(1, 7_919), (n, 1)), RATE, subtype)
    start = data.draw(st.integers(0, n - 1))
    own = piece(start, min(n - start, 500), [0])
    restored(folder / f"in.{ending}", target, own, own)
    before, after = codes(folder / f"in.{ending}"), codes(target)
    assert len(after) == n
    if subtype != "FLOAT":
        assert np.array_equal(np.delete(before, range(start, own.stop)), np.delete(after, range(start, own.stop)))
    for file in folder.iterdir():
        file.unlink()


def test_a_wave_file_is_patched_where_its_coding_stays(tmp_path):
    source = tmp_path / "in.wav"
    soundfile.write(source, noise(2, N), RATE, "PCM_24", format="WAVEX")
    with_chunks(source, chunk(b"JUNK", b"room" * 9), chunk(b"bext", b"b" * 605))
    before = source.read_bytes()
    for options in ({}, {"subtype": "PCM_24"}, {"format": "WAVEX"}):
        restored(source, tmp_path / "out.wav", piece(5, 1, [0]), **options)
        after = (tmp_path / "out.wav").read_bytes()
        assert len(after) == len(before)
        assert sum(a != b for a, b in zip(after, before, strict=True)) <= 3


@pytest.mark.parametrize("options", [{"subtype": "PCM_16"}, {"format": "RF64"}])
def test_a_wave_file_is_encoded_where_another_coding_is_asked_for(tmp_path, options):
    source = tmp_path / "in.wav"
    soundfile.write(source, noise(2, N), RATE, "PCM_24")
    with_chunks(source, b"", chunk(b"bext", b"b" * 605))
    restored(source, tmp_path / "out.wav", piece(5, 1, [0]), **options)
    made = soundfile.info(tmp_path / "out.wav")
    assert (made.subtype, made.format) == (options.get("subtype", "PCM_24"), options.get("format", "WAV"))
    assert chunk(b"bext", b"b" * 605) in (tmp_path / "out.wav").read_bytes()
    np.testing.assert_allclose(codes(tmp_path / "out.wav")[6:], codes(source)[6:], atol=2**15)


def test_pieces_may_overlap_and_come_in_any_order(tmp_path):
    pieces = [piece(1_500, 500, [0], seed=5), piece(1_000, 600, [1, 0], seed=6), piece(200, 5, [1], seed=7)]
    made = []
    for ending in ("wav", "flac"):
        io.write(tmp_path / f"in.{ending}", noise(2, N).T, RATE, "PCM_24")  # libsndfile alone rounds each its own way
        restored(tmp_path / f"in.{ending}", tmp_path / f"out.{ending}", *pieces)
        made.append(codes(tmp_path / f"out.{ending}"))
    assert np.array_equal(*made)
    np.testing.assert_allclose(made[0][1_000:1_600, 0] / 2**31, pieces[1].samples[1], atol=2**-22)


def test_a_piece_may_reach_over_many_blocks(tmp_path):
    soundfile.write(tmp_path / "in.flac", noise(1, 200_000), RATE, "PCM_16")
    restored(tmp_path / "in.flac", tmp_path / "out.flac", piece(65_535, 131_074, [0]))
    differs = np.flatnonzero(codes(tmp_path / "in.flac")[:, 0] != codes(tmp_path / "out.flac")[:, 0])
    assert (differs[0], differs[-1]) == (65_535, 196_608)


def test_samples_beyond_full_scale_are_clipped_and_counted(tmp_path):
    soundfile.write(tmp_path / "in.wav", noise(1, N), RATE, "PCM_16")
    loud = io.Piece(100, np.full((1, 7), 1.5, np.float32), (0,))
    assert restored(tmp_path / "in.wav", tmp_path / "out.wav", loud) == 7
    assert restored(tmp_path / "in.wav", tmp_path / "out.flac", loud) == 7


@pytest.mark.parametrize("ending", ["wav", "flac"])
def test_pieces_outside_the_recording_are_refused_and_nothing_is_left(tmp_path, ending):
    soundfile.write(tmp_path / f"in.{ending}", noise(1, N), RATE)
    with pytest.raises(ParameterError, match="a piece must lie within the 6000 samples and 1 channels"):
        restored(tmp_path / f"in.{ending}", tmp_path / f"out.{ending}", piece(N - 5, 10, [0]))
    assert os.listdir(tmp_path) == [f"in.{ending}"]


def test_integers_of_32_bits_survive_where_they_are_not_repaired(tmp_path):
    whole = np.random.default_rng(0).integers(-(2**31), 2**31 - 1, (N, 1), dtype=np.int32)
    soundfile.write(tmp_path / "in.aiff", whole, RATE, "PCM_32")
    for target in ("out.aiff", "out.wav"):  # patched, encoded
        restored(tmp_path / "in.aiff", tmp_path / target, piece(100, 50, [0]))
        assert soundfile.info(tmp_path / target).subtype == "PCM_32"
        assert np.array_equal(np.delete(codes(tmp_path / target), range(100, 150)), np.delete(whole, range(100, 150)))


def test_a_gap_of_nan_is_filled_in_every_format(tmp_path):
    wave = noise(1, N).astype(np.float32)
    wave[500:600] = np.nan
    soundfile.write(tmp_path / "in.wav", wave, RATE, "FLOAT")
    for target in ("out.wav", "out.flac", "out.aiff"):
        restored(tmp_path / "in.wav", tmp_path / target, piece(500, 100, [0]))
        assert np.isfinite(io.read(tmp_path / target).samples).all()


def test_a_lossy_source_becomes_what_it_was_decoded_to(tmp_path):
    io.write(tmp_path / "in.mp3", noise(2, N).T, RATE)
    whole = io.read(tmp_path / "in.mp3").samples
    restored(tmp_path / "in.mp3", tmp_path / "out.flac", piece(1_000, 10, [1]), subtype="PCM_24")
    made = io.read(tmp_path / "out.flac").samples
    assert np.abs(np.delete(made - whole.clip(-1, 1), range(1_000, 1_010), axis=1)).max() <= 2.0**-23
    assert restored(tmp_path / "in.mp3", tmp_path / "out.mp3", piece(1_000, 10, [1])) == 0
    assert io.read(tmp_path / "out.mp3").samples.shape == (2, N)
