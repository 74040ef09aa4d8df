"""Files whose headers tell wrong lengths are read to their end, and chunks that count samples follow the rate."""

import logging
import os

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from masktools import io
from masktools.core.errors import AudioError
from masktools.io.chunks import at_rate
from masktools.io.writing import layout_of
from tests.io.broken import ID3, encoded, frame_bytes, tone, variable_mp3, with_no_frames, with_sizes, without_length
from tests.io.waves import chunk

RATE = 16_000
N = 16_000
WAVE = tone(1, RATE)
FRAME = 1_152


def kept(folder, name, content):
    (folder / name).write_bytes(content)
    return folder / name


def read_length(path):
    with io.open_recording(path, tell=False) as recording:
        assert recording.read().shape == (recording.n_channels, recording.n_samples)
        return recording.n_samples


PIPED = [
    (0, 0),  # a recorder that lost its power
    (0x7FFFF024, 0x7FFFF000),  # sox
    (0x80000024, 0x80000000),  # arecord
    (0xFFFFFFFF, 0xFFFFFFFF),  # ffmpeg
    (0x7FFFFFFF, 0x7FFFFFDB),
    (36 + 2 * N, 2 * N + 16),
    (36 + 2 * N, 2 * N + 5_000),  # the length of all is right
    (36 + 2 * N + 44, 2 * N + 44),
]


@pytest.mark.parametrize("sizes", PIPED)
@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "FLOAT", "ULAW"])
def test_a_wave_file_with_a_wrong_length_is_read_to_its_end_and_patched(tmp_path, sizes, subtype):
    whole = encoded(WAVE, RATE, "WAV", subtype)
    width = {"PCM_16": 2, "PCM_24": 3, "FLOAT": 4, "ULAW": 1}[subtype]
    more = sizes[1] - 2 * N if 2 * N < sizes[1] < 1 << 20 else None
    inner = sizes[1] if more is None else width * N + more
    outer = sizes[0] if more is None else len(whole) - 8 + (more if sizes[0] == 36 + 2 * N + 44 else 0)
    end = whole.index(b"data") + 8 + width * N
    path = kept(tmp_path, "a.wav", with_sizes(whole[:end], outer, inner))
    with io.open_recording(path, tell=False) as recording:
        assert recording.n_samples == N
        assert len(recording.warnings) == 1
        assert "was read to its end" in recording.warnings[0]
        np.testing.assert_array_equal(recording.read()[0], soundfile.read(_as_file(whole), dtype="float32")[0])
        io.restore_into(path, tmp_path / "b.wav", recording, [io.Piece(100, np.full((1, 4), 0.25), (0,))])
    before, after = (np.frombuffer(file.read_bytes(), np.uint8) for file in (path, tmp_path / "b.wav"))
    start = whole.index(b"data") + 8 + 100 * width
    assert len(before) == len(after)
    assert set(np.flatnonzero(before != after)) <= set(range(start, start + 4 * width))


def _as_file(content):
    import io as bytesio

    return bytesio.BytesIO(content)


def test_what_is_wrong_is_said_in_one_line(tmp_path, caplog):
    path = kept(tmp_path, "a.wav", with_sizes(encoded(WAVE, RATE, "WAV"), 0, 0))
    with caplog.at_level(logging.WARNING, logger="masktools"):
        io.read(path)
    assert [record.getMessage().count("\n") for record in caplog.records] == [0]


def test_a_wave_file_without_samples_is_no_broken_one(tmp_path):
    empty = encoded(np.zeros(0), RATE, "WAV") + chunk(b"LIST", b"INFOabcd") + chunk(b"iXML", b"<x/>")
    with pytest.raises(AudioError, match="holds no samples"):
        io.open_recording(kept(tmp_path, "a.wav", empty))


def test_a_file_that_lacks_much_is_refused_all_the_same(tmp_path):
    whole = encoded(WAVE, RATE, "WAV")
    with pytest.raises(AudioError, match="is cut off: its header promises 1000 bytes more"):
        io.open_recording(kept(tmp_path, "a.wav", whole[:-1_000]))


def test_a_chunk_whose_padding_was_forgotten_hides_no_samples(tmp_path):
    whole = encoded(WAVE, RATE, "WAV")
    at = whole.index(b"data")
    odd = b"note" + (5).to_bytes(4, "little") + b"hello"
    path = kept(tmp_path, "a.wav", whole[:at] + odd + whole[at:])
    assert layout_of(path) is not None
    assert read_length(path) == N


@pytest.mark.parametrize(
    "sizes", [(0, 0), (0x7F000000, 0x7F000000), (0x80000000, 0x7FFFF008), (0xFFFFFFFF, 0xFFFFFFFF)]
)
def test_an_aiff_from_a_pipe_is_read_to_its_end_and_patched(tmp_path, sizes):
    whole = encoded(WAVE, RATE, "AIFF", "PCM_16")
    path = kept(tmp_path, "a.aiff", with_sizes(whole, *sizes, name=b"SSND", order="big"))
    assert read_length(path) == N
    io.patch(path, tmp_path / "b.aiff", [io.Piece(N - 1, np.full((1, 1), 0.5), (0,))])
    assert io.read(tmp_path / "b.aiff").samples[0, -1] == 0.5


def test_rf64_wave64_and_caf_from_pipes_are_read_to_their_ends(tmp_path):
    rf64, w64, caf = (encoded(WAVE, RATE, format, "PCM_16") for format in ("RF64", "W64", "CAF"))
    ds64, w64_data, caf_data = rf64.index(b"ds64") + 8, w64.index(b"data") + 16, caf.rindex(b"data") + 4
    for name, content in (
        ("a.wav", rf64[:ds64] + bytes(24) + rf64[ds64 + 24 :]),
        ("a.w64", w64[:w64_data] + (2**63 - 1).to_bytes(8, "little") + w64[w64_data + 8 :]),
        ("a.caf", caf[:caf_data] + b"\xff" * 8 + caf[caf_data + 8 :]),
    ):
        samples = io.read(kept(tmp_path, name, content)).samples[0, :N]
        np.testing.assert_allclose(samples, WAVE, atol=2**-15)


def test_a_wave_file_whose_length_ran_over_is_as_long_as_it_is(tmp_path):
    path = kept(tmp_path, "a.wav", encoded(np.zeros((500, 2), np.int16), RATE, "WAV"))
    with path.open("rb+") as file:
        file.truncate(44 + 2_000 + 2**32)  # a hole: takes no room on the disk
    with io.open_recording(path, tell=False) as recording:
        assert recording.n_samples == 500 + 2**30
        assert recording.read(2**30 + 400).shape == (2, 100)


@pytest.mark.parametrize("subtype", ["PCM_S8", "PCM_16", "PCM_24"])
@pytest.mark.parametrize("n", [1, 4_096, 50_001])
def test_a_flac_without_a_length_is_read_to_its_end(tmp_path, subtype, n):
    wave = np.resize(np.random.default_rng(0).uniform(-0.5, 0.5, 7_919), n)
    whole = bytearray(encoded(wave, RATE, "FLAC", subtype))
    whole[21] &= 0xF0
    whole[22:26] = bytes(4)
    path = kept(tmp_path, "a.flac", bytes(whole))
    with io.open_recording(path, tell=False) as recording:
        assert recording.n_samples == n
        assert "was read to its end" in recording.warnings[0]
        np.testing.assert_allclose(recording.read(n // 2)[0], wave[n // 2 :], atol=2**-7)


# MP3


def test_an_mp3_of_variable_rate_is_read_to_its_end_with_and_without_its_length(tmp_path):
    whole = variable_mp3()
    n = 3 * 44_100
    assert read_length(kept(tmp_path, "whole.mp3", whole)) == n
    for name, content in (
        ("bare.mp3", without_length(whole)),
        ("zero.mp3", with_no_frames(whole)),
        ("tagged.mp3", ID3 + ID3 + without_length(whole)),
        ("renamed.dat", without_length(whole)),
    ):
        assert 0 <= read_length(kept(tmp_path, name, content)) - n <= 3 * FRAME, name


def test_joined_mp3_are_read_whole_and_say_so(tmp_path):
    one, two = encoded(tone(1, 44_100, 500.0), 44_100, "MP3"), encoded(tone(2, 44_100, 900.0), 44_100, "MP3")
    for name, between in (
        ("plain", b""),
        ("tagged", ID3),
        ("old", b"TAG" + bytes(125)),
        ("both", b"TAG" + bytes(125) + ID3),
    ):
        path = kept(tmp_path, f"{name}.mp3", one + between + two)
        with io.open_recording(path, tell=False) as recording:
            assert recording.n_samples == 3 * 44_100
            assert "2 recordings were joined" in recording.warnings[0]
            samples = recording.read()[0]
        for hz, part in ((500, samples[10_000:40_000]), (900, samples[60_000:120_000])):
            assert np.argmax(np.abs(np.fft.rfft(part))) * 44_100 / len(part) == pytest.approx(hz, abs=3)


def test_joined_mp3_of_other_rates_and_channels_have_those_of_the_first(tmp_path):
    stereo = np.stack([tone(1, 44_100, 500.0)] * 2, 1)
    one, two = encoded(stereo, 44_100, "MP3"), encoded(tone(2, 22_050, 900.0), 22_050, "MP3")
    with io.open_recording(kept(tmp_path, "a.mp3", one + two), tell=False) as recording:
        assert (recording.sample_rate, recording.n_channels, recording.n_samples) == (44_100, 2, 3 * 44_100)
        part = recording.read(60_000, 120_000)[1]
    assert np.argmax(np.abs(np.fft.rfft(part))) * 44_100 / len(part) == pytest.approx(900, abs=3)
    with io.open_recording(kept(tmp_path, "b.mp3", two + one), tell=False) as recording:
        assert (recording.sample_rate, recording.n_channels, recording.n_samples) == (22_050, 1, 3 * 22_050)


def test_a_tag_in_the_middle_of_an_mp3_is_no_sound(tmp_path):
    whole = without_length(encoded(tone(2, 44_100), 44_100, "MP3"))
    at = 0
    for _ in range(20):
        at += frame_bytes(whole[at:])
    path = kept(tmp_path, "a.mp3", whole)
    assert read_length(path) == read_length(kept(tmp_path, "b.mp3", whole[:at] + ID3 + whole[at:]))


def test_nothing_is_heard_from_the_decoder_of_mp3(tmp_path, capfd):
    whole = variable_mp3()
    damaged = bytearray(whole)
    damaged[len(whole) // 2 : len(whole) // 2 + 4_000] = b"\x55" * 4_000
    for number, content in enumerate((whole + whole, bytes(damaged), whole + bytes(3_000), without_length(whole))):
        path = kept(tmp_path, f"{number}.mp3", content)
        try:
            with io.open_recording(path, tell=False) as recording:
                recording.read()
            io.open_writer(tmp_path / "out.wav", 44_100, 1, like=path)
        except AudioError:
            pass
    os.write(2, b"something else\n")
    assert capfd.readouterr().err == "something else\n"


# Ogg


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
def test_chained_ogg_is_read_whole_and_says_so(tmp_path, subtype):
    one, two = (encoded(tone(seconds, 48_000, hz), 48_000, "OGG", subtype) for seconds, hz in ((1, 500.0), (2, 900.0)))
    with io.open_recording(kept(tmp_path, "a.ogg", one + two), tell=False) as recording:
        assert recording.n_samples == 3 * 48_000
        assert "2 recordings were joined" in recording.warnings[0]
        part = recording.read(60_000, 130_000)[0]
    assert np.argmax(np.abs(np.fft.rfft(part))) * 48_000 / len(part) == pytest.approx(900, abs=3)


def test_chained_vorbis_and_opus_of_two_rates_have_the_rate_of_the_first(tmp_path):
    content = encoded(tone(1, 44_100), 44_100, "OGG", "VORBIS") + encoded(tone(1, 48_000), 48_000, "OGG", "OPUS")
    assert abs(read_length(kept(tmp_path, "a.ogg", content)) - 2 * 44_100) <= 1


def test_a_chain_that_was_cut_off_is_refused(tmp_path):
    whole = encoded(tone(1, 48_000), 48_000, "OGG", "VORBIS")
    with pytest.raises(AudioError, match="is cut off"):
        io.open_recording(kept(tmp_path, "a.ogg", whole + whole[:-2_000]))


def words(*numbers):
    return b"".join(number.to_bytes(4, "little") for number in numbers)


def test_the_time_since_midnight_of_a_broadcast_wave_stays_that_time():
    hours = 10 * 3_600
    bext = bytes(338) + (hours * 48_000).to_bytes(8, "little") + b"\1" * 256
    moved = at_rate(b"bext", bext, 48_000, 96_000)
    assert int.from_bytes(moved[338:346], "little") == hours * 96_000
    assert moved[:338] + moved[346:] == bext[:338] + bext[346:]


def test_cue_points_and_what_they_label_stay_at_their_moments():
    cue = words(2) + words(1, 8_000) + b"data" + words(0, 0, 8_000) + words(2, 12_000) + b"data" + words(0, 0, 12_000)
    moved = words(2) + words(1, 22_050) + b"data" + words(0, 0, 22_050) + words(2, 33_075) + b"data"
    assert at_rate(b"cue ", cue, 8_000, 22_050) == moved + words(0, 0, 33_075)
    labels = b"adtl" + b"labl" + words(7, 1) + b"in\0\0" + b"ltxt" + words(20, 1, 8_000) + b"rgn " + bytes(8)
    assert at_rate(b"LIST", labels, 8_000, 16_000) == labels.replace(words(1, 8_000), words(1, 16_000))
    assert at_rate(b"plst", words(1, 7, 8_000, 2), 8_000, 16_000) == words(1, 7, 16_000, 2)


def test_loops_and_the_length_of_a_sample_follow_the_rate():
    head = words(0, 0, 125_000, 60, 0, 0, 0, 1, 0)
    assert at_rate(b"smpl", head + words(0, 0, 80, 160, 0, 0), 8_000, 16_000) == words(
        0, 0, 62_500, 60, 0, 0, 0, 1, 0
    ) + words(0, 0, 160, 320, 0, 0)


@given(st.sampled_from([b"bext", b"cue ", b"plst", b"smpl", b"LIST"]), st.binary(max_size=400), st.booleans())
def test_damaged_chunks_keep_their_length(name, content, labelled):
    content = b"adtl" + content if labelled else content
    assert len(at_rate(name, content, 44_100, 48_000)) == len(content)


@pytest.mark.parametrize("name", [b"iXML", b"inst", b"cue ", b"bext"])
def test_nothing_changes_at_the_same_rate_nor_in_other_chunks(name):
    content = bytes(range(256)) * 3
    assert at_rate(name, content, 48_000, 48_000) == content
    if name in (b"iXML", b"inst"):
        assert at_rate(name, content, 48_000, 96_000) == content
