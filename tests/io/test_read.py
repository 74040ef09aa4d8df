"""Audio files come back as they were written, bad ones are refused in one line, and a write is whole or nothing."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from masktools.core.errors import AudioError, ParameterError
from masktools.io import coding_for, read, resample, resample_to, write

RATE = 24_000  # every format has it
FORMATS = ("wav", "flac", "ogg", "oga", "opus", "mp3", "aif", "aiff")
LOSSLESS = [
    ("wav", "PCM_U8", 8),
    ("wav", "PCM_16", 16),
    ("wav", "PCM_24", 24),
    ("flac", "PCM_S8", 8),
    ("flac", "PCM_16", 16),
    ("flac", "PCM_24", 24),
    ("aiff", "PCM_16", 16),
    ("aiff", "PCM_24", 24),
]


def tone(hz=1000.0, seconds=0.5, rate=RATE, channels=1, level=0.5):
    wave = level * np.sin(2 * np.pi * hz * np.arange(int(seconds * rate)) / rate)
    return np.tile(wave.astype(np.float32), (channels, 1))


def peak_hz(wave, rate):
    return np.argmax(np.abs(np.fft.rfft(wave * np.hanning(len(wave))))) * rate / len(wave)


def cut_off(path, n_bytes):
    path.write_bytes(path.read_bytes()[:n_bytes])
    return path


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("channels", [1, 2])
def test_every_format_keeps_length_rate_channels_and_pitch(tmp_path, suffix, channels):
    wave = tone(channels=channels, seconds=0.7001)
    assert write(tmp_path / f"a.{suffix}", wave, RATE) == 0
    audio = read(tmp_path / f"a.{suffix}")
    assert audio.samples.shape == wave.shape
    assert audio.samples.dtype == np.float32
    assert (audio.sample_rate, audio.n_channels) == (RATE, channels)
    assert audio.duration_s == pytest.approx(0.7001, abs=1 / RATE)
    assert (audio.format, audio.subtype) == coding_for(f"a.{suffix}")
    assert peak_hz(audio.samples[-1], RATE) == pytest.approx(1000, abs=3)
    assert np.sqrt(np.mean(audio.samples**2)) == pytest.approx(0.5 / np.sqrt(2), rel=0.02)
    assert os.listdir(tmp_path) == [f"a.{suffix}"]


@given(st.sampled_from(LOSSLESS), st.integers(1, 400), st.integers(1, 3), st.integers(0, 2**32))
@settings(max_examples=40, deadline=None)
def test_integers_survive_reading_and_writing_bit_for_bit(tmp_path_factory, coding, n, channels, seed):
    suffix, subtype, bits = coding
    folder = tmp_path_factory.mktemp("pcm")
    low, high = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    codes = np.random.default_rng(seed).integers(low, high, (n, channels), endpoint=True)
    codes.flat[:2] = (low, high)[: codes.size]
    first, second = folder / f"first.{suffix}", folder / f"second.{suffix}"
    soundfile.write(first, codes.astype(np.int32) << (32 - bits), RATE, subtype)

    audio = read(first)
    np.testing.assert_array_equal(np.rint(audio.samples.T * 2.0 ** (bits - 1)), codes)
    assert write(second, audio.samples, audio.sample_rate, audio.subtype) == 0
    again, _ = soundfile.read(second, dtype="int32", always_2d=True)
    np.testing.assert_array_equal(again >> (32 - bits), codes)
    assert read(second).subtype == subtype
    shutil.rmtree(folder)


def test_integers_are_rounded_to_the_nearest_step(tmp_path):
    steps = np.array([[0.4, 0.6, -0.4, -0.6, 100.49, -100.51]], np.float32)
    write(tmp_path / "a.wav", steps / 2**15, RATE, "PCM_16")
    assert (read(tmp_path / "a.wav").samples * 2**15).tolist() == [[0, 1, 0, -1, 100, -101]]


def test_floats_stay_floats_and_keep_what_lies_beyond_full_scale(tmp_path):
    wave = tone(level=3.0)
    assert write(tmp_path / "a.wav", wave, RATE, "FLOAT") == 0
    audio = read(tmp_path / "a.wav")
    assert audio.subtype == "FLOAT"
    np.testing.assert_array_equal(audio.samples, wave)
    assert write(tmp_path / "a.ogg", wave, RATE) == 0
    assert np.abs(read(tmp_path / "a.ogg").samples).max() > 2.5


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "PCM_U8", "PCM_32", "ULAW"])
def test_integers_clip_what_lies_beyond_full_scale_and_count_it(tmp_path, subtype):
    wave = np.array([[0.5, 1.0, 1.5, -1.0], [-2.0, 0.0, 1e9, -1.0001]], np.float32)
    assert write(tmp_path / "a.wav", wave, RATE, subtype) == 4
    np.testing.assert_allclose(read(tmp_path / "a.wav").samples, wave.clip(-1, 1), atol=0.03)


@pytest.mark.parametrize(
    ("path", "subtype", "coding"),
    [
        ("a.wav", None, ("WAV", "PCM_16")),
        ("A.WAV", "pcm_24", ("WAV", "PCM_24")),
        ("a.flac", "FLOAT", ("FLAC", "PCM_24")),
        ("a.flac", "PCM_32", ("FLAC", "PCM_24")),
        ("a.flac", "PCM_U8", ("FLAC", "PCM_S8")),
        ("a.wav", "PCM_S8", ("WAV", "PCM_U8")),
        ("a.wav", "VORBIS", ("WAV", "PCM_16")),
        ("a.wav", "IMA_ADPCM", ("WAV", "PCM_16")),
        ("a.aif", "DOUBLE", ("AIFF", "DOUBLE")),
        ("a.mp3", "PCM_24", ("MP3", "MPEG_LAYER_III")),
        ("a.ogg", "FLOAT", ("OGG", "VORBIS")),
        ("a.ogg", "OPUS", ("OGG", "OPUS")),
        ("a.opus", "VORBIS", ("OGG", "OPUS")),
    ],
)
def test_a_subtype_is_kept_where_the_container_has_it_else_the_nearest(path, subtype, coding):
    assert coding_for(path, subtype) == coding
    assert coding_for("no_suffix", subtype, coding[0]).format == coding[0]


def test_a_named_container_goes_before_the_suffix(tmp_path):
    write(tmp_path / "a.wav", tone(channels=6), RATE, "PCM_24", "wavex")
    assert read(tmp_path / "a.wav").format == "WAVEX"


def test_a_wav_too_long_for_its_header_becomes_rf64(tmp_path, monkeypatch):
    monkeypatch.setattr("masktools.io.writing._WAV_BYTES", 20_000)
    for name, seconds, container in (("short", 0.4, "WAV"), ("long", 0.5, "RF64")):
        write(tmp_path / f"{name}.wav", tone(seconds=seconds), RATE, "PCM_16")
        audio = read(tmp_path / f"{name}.wav")
        assert (audio.format, audio.samples.shape[1]) == (container, seconds * RATE)


def test_a_minute_of_vorbis_is_written(tmp_path):
    wave = tone(seconds=70, rate=22_050)
    write(tmp_path / "a.ogg", wave, 22_050)
    assert read(tmp_path / "a.ogg").samples.shape == wave.shape


@pytest.mark.parametrize(
    ("rate", "kbps"),
    [(8000, 64), (12_000, 64), (16_000, 160), (22_050, 160), (24_000, 160), (32_000, 320), (44_100, 320)],
)
def test_mp3_is_of_the_highest_bit_rate_and_keeps_the_level(tmp_path, rate, kbps):
    wave = tone(seconds=4, rate=rate)
    write(tmp_path / "a.mp3", wave, rate)
    assert (tmp_path / "a.mp3").stat().st_size * 8 / 4 / 1000 == pytest.approx(kbps, rel=0.1)
    decoded = read(tmp_path / "a.mp3").samples
    inside = slice(rate // 2, -rate // 2)
    assert np.std(decoded[0, inside]) == pytest.approx(np.std(wave[0, inside]), rel=0.002)


# What is not audio


def test_files_that_are_none_are_refused_by_name(tmp_path):
    (tmp_path / "empty.wav").touch()
    (tmp_path / "text.wav").write_text("this is a text and no audio at all\n" * 9)
    (tmp_path / "text.raw").write_text("this is a text and no audio at all\n" * 9)
    os.mkfifo(tmp_path / "pipe.wav")
    for name, message in (
        ("none.wav", "none.wav does not exist"),
        ("", "is a folder, not an audio file"),
        ("empty.wav", r"empty.wav is empty \(0 bytes\)"),
        ("text.wav", r"text.wav cannot be read as audio \(Format not recognised\): .*converted to one of wav, flac"),
        ("text.raw", r"text.raw cannot be read as audio \(samplerate must be specified\)"),
        ("pipe.wav", "pipe.wav is not a regular file"),
    ):
        with pytest.raises(AudioError, match=message) as caught:
            read(tmp_path / name)
        assert "\n" not in str(caught.value)


def test_a_file_without_permission_says_so(tmp_path, monkeypatch):
    write(tmp_path / "a.wav", tone(), RATE)

    def refuse(self, *args, **kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(AudioError, match="a.wav cannot be read: Permission denied"):
        read(tmp_path / "a.wav")


def test_a_file_of_length_zero_is_refused(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.zeros((0, 1)), RATE)
    with pytest.raises(AudioError, match="a.wav holds no samples"):
        read(tmp_path / "a.wav")


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("share", [0.5, 0.99])
def test_a_file_that_was_cut_off_is_refused(tmp_path, suffix, share):
    path = tmp_path / f"a.{suffix}"
    noise = np.random.default_rng(0).normal(0, 0.1, (1, 2 * RATE)).astype(np.float32)
    write(path, noise, RATE)
    cut_off(path, int(path.stat().st_size * share))
    with pytest.raises(AudioError, match=rf"a.{suffix} (is cut off|cannot be read as audio)"):
        read(path)


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_header_alone_is_refused(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    write(path, tone(), RATE)
    with pytest.raises(AudioError, match=f"a.{suffix}"):
        read(cut_off(path, 20))


def test_what_is_missing_from_a_wav_is_told_in_bytes(tmp_path):
    write(tmp_path / "a.wav", tone(), RATE)
    with pytest.raises(AudioError, match="a.wav is cut off: its header promises 700 bytes more than it holds"):
        read(cut_off(tmp_path / "a.wav", -700))


def test_a_wav_that_was_streamed_promises_nothing(tmp_path):
    path = tmp_path / "a.wav"
    write(path, tone(), RATE)
    header, samples = path.read_bytes()[:40], path.read_bytes()[44:]
    path.write_bytes(header + b"\xff" * 4 + samples)
    assert read(path).samples.shape == (1, RATE // 2)


def test_tags_after_and_before_the_audio_are_no_truncation(tmp_path):
    write(tmp_path / "a.wav", tone(), RATE)
    write(tmp_path / "a.mp3", tone(), RATE)
    with (tmp_path / "a.wav").open("ab") as file:
        file.write(b"LIST\x04\x00\x00\x00INFO")
    size = (300).to_bytes(2, "big")
    tag = b"ID3\x04\x00\x00\x00\x00" + bytes([size[0] << 1 | size[1] >> 7, size[1] & 127]) + bytes(300)
    (tmp_path / "a.mp3").write_bytes(tag + (tmp_path / "a.mp3").read_bytes() + b"TAG" + bytes(125))
    for name in ("a.wav", "a.mp3"):
        assert read(tmp_path / name).samples.shape == (1, RATE // 2)


def test_an_mp3_without_a_length_is_read_to_its_end(tmp_path):
    path = tmp_path / "a.mp3"
    write(path, tone(seconds=3), RATE)
    data = path.read_bytes()
    path.write_bytes(data[data.index(data[:2], data.index(b"Info")) :])  # the first frame holds only the length
    n_frames = read(path).samples.shape[1] / 576
    assert n_frames == int(n_frames)
    assert 3 * RATE <= n_frames * 576 < 3 * RATE + 6 * 576


@pytest.mark.parametrize(("value", "kind"), [(np.nan, "NaN"), (np.inf, "Inf"), (-np.inf, "Inf")])
def test_the_first_sample_that_is_not_finite_is_named(tmp_path, value, kind):
    wave = tone(seconds=4, channels=2)
    wave[1, 72_000:] = value
    soundfile.write(tmp_path / "a.wav", wave.T, RATE, "FLOAT")
    place = rf"is {kind} at sample 72000 \(3.0000 s\), channel 2 of 2"
    with pytest.raises(AudioError, match=rf"a.wav: samples must be finite, .* {place}"):
        read(tmp_path / "a.wav")
    with pytest.raises(AudioError, match=rf"b.wav is not written: samples must be finite, .* {place}"):
        write(tmp_path / "b.wav", wave, RATE)
    assert os.listdir(tmp_path) == ["a.wav"]


# Other rates


def test_a_tone_keeps_its_pitch_level_and_place_at_another_rate():
    halved = resample(tone(seconds=1, rate=44_100), 44_100, 22_050)
    expected = tone(seconds=1, rate=22_050)
    inside = slice(500, -500)
    np.testing.assert_allclose(halved[:, inside], expected[:, inside], atol=1e-5)
    there_and_back = resample(halved, 22_050, 44_100)
    np.testing.assert_allclose(there_and_back[:, 1000:-1000], tone(seconds=1, rate=44_100)[:, 1000:-1000], atol=1e-5)


def test_what_the_lower_rate_cannot_hold_is_gone():
    assert np.abs(resample(tone(hz=15_000, seconds=1, rate=44_100), 44_100, 22_050)[:, 500:-500]).max() < 1e-5


@given(
    st.integers(0, 3000),
    st.sampled_from([8000, 22_050, 24_000, 44_100, 48_000]),
    st.sampled_from([8000, 22_050, 24_000, 44_100, 96_000]),
)
@settings(max_examples=50, deadline=None)
def test_lengths_follow_the_rates(n, from_hz, to_hz):
    samples = np.ones((2, 3, n), np.float32)
    resampled = resample(samples, from_hz, to_hz)
    assert resampled.shape[:2] == (2, 3)
    assert abs(resampled.shape[2] - n * to_hz / from_hz) <= 0.5
    assert resampled.dtype == np.float32
    assert resample_to(samples, from_hz, to_hz, 1234).shape == (2, 3, 1234)


def test_an_exact_length_is_cut_or_padded_with_zeros():
    samples = np.ones(4, np.float32)
    assert resample_to(samples, RATE, RATE, 2).tolist() == [1, 1]
    assert resample_to(samples, RATE, RATE, 6).tolist() == [1, 1, 1, 1, 0, 0]


def test_the_same_rate_gives_a_copy():
    samples = np.ones(4, np.float32)
    same = resample(samples, RATE, RATE)
    same[:] = 0
    assert samples.all()


def test_each_channel_is_resampled_alone():
    stereo = np.concatenate([tone(500), tone(3000)])
    together = resample(stereo, RATE, 16_000)
    for channel in (0, 1):
        np.testing.assert_array_equal(together[channel], resample(stereo[channel], RATE, 16_000))


def test_rates_and_lengths_out_of_range_are_refused():
    samples = np.ones(4, np.float32)
    with pytest.raises(ParameterError, match="from_hz must be positive, got 0 Hz"):
        resample(samples, 0, 8000)
    with pytest.raises(ParameterError, match="to_hz must be positive, got -1 Hz"):
        resample_to(samples, 8000, -1, 4)
    with pytest.raises(ParameterError, match="n_samples must not be negative, got -4"):
        resample_to(samples, 8000, 8000, -4)
