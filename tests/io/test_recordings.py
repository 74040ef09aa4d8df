"""Recordings read piece by piece are those that are read whole."""

import sys
import tempfile

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from masktools import io
from masktools.core.errors import AudioError

RATE = 44_100


def music(n_samples, n_channels=2, seed=0):
    rng = np.random.default_rng(seed)
    time = np.arange(n_samples)[:, None] / RATE
    return 0.3 * np.sin(2 * np.pi * 440 * np.arange(1, n_channels + 1) * time) + rng.normal(0, 0.02, (n_samples, 1))


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """The same music in every format."""
    folder = tmp_path_factory.mktemp("formats")
    for ending, subtype in (
        (".wav", "PCM_24"),
        (".flac", "PCM_16"),
        (".aiff", "FLOAT"),
        (".mp3", None),
        (".ogg", None),
    ):
        io.write(folder / f"music{ending}", music(3 * RATE).T.astype(np.float32), RATE, subtype)
    io.write(folder / "music.opus", music(3 * RATE).T.astype(np.float32), 48_000)
    return folder


@pytest.mark.parametrize("ending", ["wav", "flac", "aiff", "mp3", "ogg", "opus"])
def test_a_piece_is_that_of_the_whole_bit_for_bit(files, ending):
    whole = io.read(files / f"music.{ending}")
    rng = np.random.default_rng(0)
    with io.open_recording(files / f"music.{ending}") as recording:
        assert recording.n_samples == whole.samples.shape[1]
        assert (recording.sample_rate, recording.n_channels) == (whole.sample_rate, 2)
        assert recording.is_lossy == (ending in ("mp3", "ogg", "opus"))
        for start in rng.integers(0, recording.n_samples, 20).tolist():
            stop = min(recording.n_samples, start + int(rng.integers(1, 5_000)))
            assert np.array_equal(recording.read(start, stop), whole.samples[:, start:stop])


@settings(max_examples=20, deadline=None)
@given(n=st.integers(500, 200_000))
def test_blocks_of_any_length_are_the_whole(files, n):
    with io.open_recording(files / "music.flac") as recording:
        starts, blocks = zip(*recording.blocks(n), strict=True)
        assert np.array_equal(np.concatenate(blocks, axis=1), recording.read())
        assert list(starts) == list(range(0, recording.n_samples, n))


@pytest.mark.parametrize("ending", ["mp3", "ogg", "opus"])
def test_a_piece_of_a_lossy_file_is_that_of_a_decoding_without_seeking(files, ending):
    with soundfile.SoundFile(files / f"music.{ending}") as file:
        whole = file.read(dtype="float32").T
    with io.open_recording(files / f"music.{ending}") as recording:
        for start, stop in ((100_001, 100_500), (4_001, 70_000)):  # libsndfile's last bit depends on how much it reads
            np.testing.assert_allclose(recording.read(start, stop), whole[:, start:stop], atol=1e-6)


def test_a_long_lossy_file_waits_on_the_disk_and_leaves_nothing_there(files, tmp_path, monkeypatch):
    whole = io.read(files / "music.mp3").samples
    monkeypatch.setattr("masktools.io.recordings._IN_MEMORY_BYTES", 1 << 10)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with io.open_recording(files / "music.mp3") as recording:
        assert np.array_equal(recording.read(70_000, 70_100), whole[:, 70_000:70_100])
        assert np.array_equal(recording.read(), whole)
        assert not list(tmp_path.iterdir()), "the file has no name"
    assert not list(tmp_path.iterdir())


def test_a_full_disk_is_named_with_the_way_out(files, tmp_path, monkeypatch):
    class Full(tempfile.SpooledTemporaryFile):
        def write(self, data):
            raise OSError(28, "No space left on device")

    monkeypatch.setattr("tempfile.SpooledTemporaryFile", Full)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    message = r"music\.mp3 cannot be decoded into .*No space left .*let TMPDIR name a folder with more room"
    with pytest.raises(AudioError, match=message):
        io.open_recording(files / "music.mp3")


def test_lossless_files_are_not_decoded_before_they_are_read(files, monkeypatch):
    monkeypatch.setattr("tempfile.SpooledTemporaryFile", None)
    for ending in ("wav", "flac", "aiff"):
        with io.open_recording(files / f"music.{ending}") as recording:
            assert recording.read(5, 6).shape == (2, 1)
            assert recording.duration_s == pytest.approx(3)


def test_reading_goes_to_the_end_and_not_beyond(files):
    with io.open_recording(files / "music.wav") as recording:
        assert recording.read(recording.n_samples - 5, recording.n_samples + 5).shape == (2, 5)
        assert recording.read(7, 7).shape == (2, 0)
        assert recording.read(7, 3).shape == (2, 0)
    with pytest.raises(AudioError, match=r"music\.wav has been closed"):
        recording.read(0, 5)


@pytest.mark.parametrize(
    ("name", "format", "subtype"),
    [
        ("a.wav", "WAV", "PCM_24"),
        ("a.WAV", "WAVEX", "FLOAT"),
        ("a.aif", "AIFF", "PCM_16"),
        ("a.aifc", "AIFF", "PCM_16"),
        ("a.flac", "FLAC", "PCM_16"),
        ("a.wav", "FLAC", "PCM_16"),
        ("a.mp3", "MP3", "MPEG_LAYER_III"),
        ("a.ogg", "OGG", "VORBIS"),
        ("a.wav", "WAV", "IMA_ADPCM"),
        ("a.caf", "CAF", "ALAC_16"),
        ("a.w64", "W64", "PCM_16"),
    ],
)
def test_a_recording_tells_whether_it_was_coded_lossily(tmp_path, name, format, subtype):
    soundfile.write(tmp_path / name, music(RATE, 1), RATE, subtype, format=format)
    with io.open_recording(tmp_path / name) as recording:
        assert recording.is_lossy == (subtype in ("MPEG_LAYER_III", "VORBIS", "IMA_ADPCM"))


@pytest.mark.parametrize("subtype", ["IMA_ADPCM", "MS_ADPCM", "GSM610", "ALAC_24"])
def test_codings_in_which_seeking_is_not_sure_are_decoded_once(tmp_path, subtype):
    format = "CAF" if subtype == "ALAC_24" else "WAV"
    soundfile.write(tmp_path / "a.xyz", music(20_000, 1), 8_000, subtype, format=format)
    whole = soundfile.read(tmp_path / "a.xyz", dtype="float32")[0]
    with io.open_recording(tmp_path / "a.xyz") as recording:
        assert np.array_equal(recording.read(1_001, 1_500)[0], whole[1_001:1_500])


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "FLOAT"])
def test_a_recording_of_one_sample_is_one(tmp_path, subtype):
    soundfile.write(tmp_path / "a.wav", [0.5], RATE, subtype)
    with io.open_recording(tmp_path / "a.wav") as recording:
        assert recording.read().tolist() == [[0.5]]
        assert [(start, block.tolist()) for start, block in recording.blocks()] == [(0, [[0.5]])]


def test_samples_that_are_not_finite_are_let_through_where_asked_for(tmp_path):
    samples = music(5_000).astype(np.float32)
    samples[2_000:2_100, 1] = np.nan
    soundfile.write(tmp_path / "nan.wav", samples, RATE, "FLOAT")
    with io.open_recording(tmp_path / "nan.wav") as recording:
        assert np.isnan(recording.read(1_990, 2_110, finite=False)[1]).sum() == 100
        assert np.isfinite(recording.read(0, 2_000)).all()
        with pytest.raises(AudioError, match=r"NaN at sample 2000 \(0\.0454 s\), channel 2 of 2"):
            recording.read(1_000, 3_000)


def test_a_file_that_was_cut_off_says_so_when_the_loss_is_reached(files, tmp_path):
    whole = (files / "music.flac").read_bytes()
    (tmp_path / "cut.flac").write_bytes(whole[: len(whole) // 2])
    with (
        pytest.raises(AudioError, match="is cut off|cannot be read as audio"),
        io.open_recording(tmp_path / "cut.flac") as cut,
    ):
        cut.read()
    (tmp_path / "cut.wav").write_bytes((files / "music.wav").read_bytes()[:10_000])
    with pytest.raises(AudioError, match="is cut off: its header promises"):
        io.open_recording(tmp_path / "cut.wav")


def test_an_rf64_that_was_cut_off_is_refused_when_it_is_opened(tmp_path):
    soundfile.write(tmp_path / "a.wav", music(5_000), RATE, "PCM_16", format="RF64")
    (tmp_path / "a.wav").write_bytes((tmp_path / "a.wav").read_bytes()[:-700])
    with pytest.raises(AudioError, match="is cut off: its header promises 700 bytes more"):
        io.open_recording(tmp_path / "a.wav")


# What PyAV reads


@pytest.fixture(scope="module")
def foreign(tmp_path_factory):
    """Two seconds of music in containers that libsndfile does not know."""
    av = pytest.importorskip("av", reason="needs PyAV, the extra masktools[av]")
    folder = tmp_path_factory.mktemp("foreign")
    wave = music(2 * 48_000).T.astype(np.float32)
    for name, codec, kind in (
        ("aac.m4a", "aac", "fltp"),
        ("alac.m4a", "alac", "s16p"),
        ("opus.webm", "libopus", "flt"),
        ("wma.wma", "wmav2", "fltp"),
    ):
        options = {"movflags": "faststart"} if name == "aac.m4a" else {}
        with av.open(str(folder / name), "w", options=options) as container:
            stream = container.add_stream(codec, rate=48_000, layout="stereo", format=kind)
            if codec != "alac":
                stream.bit_rate = 128_000
            frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(wave), format="fltp", layout="stereo")
            frame.sample_rate = 48_000
            resampler = av.AudioResampler(format=kind, layout="stereo", rate=48_000, frame_size=stream.frame_size or 0)
            for part in (*resampler.resample(frame), *resampler.resample(None)):
                container.mux(stream.encode(part))
            container.mux(stream.encode(None))
    return folder


@pytest.mark.parametrize(
    ("name", "subtype", "suffix"),
    [
        ("aac.m4a", "AAC", "a.flac"),
        ("alac.m4a", "PCM_16", "a.flac"),
        ("opus.webm", "OPUS", "a.flac"),
        ("wma.wma", "WMA", "a.flac"),
    ],
)
def test_other_formats_are_read_by_pyav(foreign, tmp_path, name, subtype, suffix):
    with io.open_recording(foreign / name) as recording:
        assert (recording.sample_rate, recording.n_channels, recording.subtype) == (48_000, 2, subtype)
        assert recording.is_lossy == (subtype != "PCM_16")
        assert abs(recording.n_samples - 2 * 48_000) <= 4_096
        heard = recording.read(24_000, 72_000)
        assert np.array_equal(io.read(foreign / name).samples[:, 24_000:72_000], heard)
        io.restore_into(foreign / name, tmp_path / suffix, recording, [io.Piece(0, np.zeros((2, 9)), (0, 1))])
        made = io.read(tmp_path / suffix)
        assert (made.subtype, made.sample_rate) == ("PCM_16", 48_000)
        assert np.abs(made.samples[:, 9:] - recording.read()[:, 9:].clip(-1, 1)).max() <= 2.0**-15
    for channel, hz in enumerate((440, 880)):
        tone = np.abs(np.fft.rfft(heard[channel] * np.hanning(48_000)))
        assert np.argmax(tone) == pytest.approx(hz * 48_000 / RATE, abs=2)


def test_what_pyav_cannot_read_is_refused(foreign, tmp_path):
    (tmp_path / "bad.m4a").write_bytes(b"no music")
    with pytest.raises(AudioError, match=r"bad\.m4a cannot be read as audio \(Invalid data"):
        io.open_recording(tmp_path / "bad.m4a")
    whole = (foreign / "aac.m4a").read_bytes()
    (tmp_path / "cut.m4a").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(
        AudioError, match=r"cut\.m4a (is cut off: it holds .* of the .* s that it promises|cannot be read)"
    ):
        io.open_recording(tmp_path / "cut.m4a")


def test_without_pyav_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    (tmp_path / "music.m4a").write_bytes(b"....ftypM4A ")
    with pytest.raises(AudioError, match=r'without PyAV: pip install "masktools\[av\]", or convert it'):
        io.open_recording(tmp_path / "music.m4a")
