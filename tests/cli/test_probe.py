"""What ``masktools probe`` says of files, good and bad, one and many."""

import argparse
import json
import struct

import numpy as np
import pytest
import soundfile

from masktools.cli import probe
from masktools.cli.options import CommandParser, duration
from masktools.core.errors import AudioError, ParameterError
from masktools.core.gaps import Gap, read_gaps
from tests.cli.conftest import RATE, recording


def low_passed(seconds=3.0, cutoff_hz=4_000.0, n_channels=2):
    """Return a recording (t, channels) with nothing above a cutoff, and with gaps."""
    wave = np.random.default_rng(1).normal(0, 0.1, (round(seconds * RATE), n_channels))
    spectrum = np.fft.rfft(wave, axis=0)
    spectrum[np.fft.rfftfreq(len(wave), 1 / RATE) > cutoff_hz] = 0
    wave = np.fft.irfft(spectrum, len(wave), axis=0)
    wave[20_000:20_600] = 0
    wave[40_000:40_200, 1] = 0
    return wave


@pytest.fixture
def damaged(tmp_path):
    soundfile.write(tmp_path / "damaged.wav", low_passed(), RATE)
    return tmp_path / "damaged.wav"


@pytest.fixture
def probed(capsys):
    """Run the command, and return its exit code, its output and its errors."""

    def run(*words):
        parser = CommandParser(prog="masktools probe")
        probe.PROBE.add_arguments(parser)
        code = probe.PROBE.run(parser.parse_args([str(word) for word in words]))
        return code, *capsys.readouterr()

    return run


def test_a_recording_is_described_for_people(probed, damaged):
    code, said, errors = probed(damaged)
    assert (code, errors) == (0, "")
    assert "WAV PCM_16, 22050 Hz, 2 channels, 0:03.000" in said
    assert "up to 4" in said
    assert "gaps        2 (zeros, hold, non_finite)" in said
    assert "0:00.907  zeros, 27.2 ms\n" in said
    assert "0:01.814  zeros, 9.1 ms, channel 1\n" in said
    assert "clicks      none" in said


def test_json_has_what_programs_ask_for_and_can_be_repaired_with(probed, damaged, tmp_path):
    code, said, _ = probed(damaged, "--json")
    told = json.loads(said)
    assert code == 0
    assert told["file"] == str(damaged)
    assert (told["sample_rate"], told["channels"], told["duration_s"]) == (RATE, 2, 3.0)
    assert (told["format"], told["subtype"]) == ("WAV", "PCM_16")
    assert told["cutoff_hz"] == pytest.approx(4_000, rel=0.02)
    assert 0.9 < told["cutoff_confidence"] <= 1
    assert told["cutoff_drop_db"] > 30
    assert set(told) >= {"gaps", "clicks", "clipping", "dc", "level", "warnings"}
    (tmp_path / "gaps.json").write_text(said)
    assert read_gaps(tmp_path / "gaps.json") == [
        Gap(20_000 / RATE, 20_600 / RATE, (0, 1)),
        Gap(40_000 / RATE, 40_200 / RATE, (1,)),
    ]


def test_a_full_band_recording_has_no_cutoff(probed, wav):
    told = json.loads(probed(wav, "--json")[1])
    assert told["cutoff_hz"] is None
    assert told["gaps"] == []
    assert "no cutoff found" in probed(wav)[1]


def test_a_folder_is_a_list_and_a_bad_file_stops_nothing(probed, damaged, stereo, tmp_path):
    (tmp_path / "bad.wav").write_text("no audio")
    (tmp_path / "notes.txt").write_text("no audio")
    code, said, errors = probed(tmp_path, "--json")
    assert code == 3
    assert [one["file"] for one in json.loads(said)] == [str(damaged), str(stereo)]
    assert errors.count("\n") == 1
    assert "left out: " in errors
    assert "bad.wav cannot be read as audio" in errors


def test_the_only_file_that_is_bad_is_an_error(probed, tmp_path):
    with pytest.raises(AudioError, match="missing.wav does not exist"):
        probed(tmp_path / "missing.wav")
    (tmp_path / "a.wav").write_text("no")
    (tmp_path / "b.wav").write_text("no")
    with pytest.raises(AudioError, match="none of the 2 recordings could be probed"):
        probed(tmp_path)


def test_nan_in_a_file_is_found_and_not_refused(probed, tmp_path):
    wave = low_passed().astype(np.float32)
    wave[30_000:30_004, 0] = np.nan
    soundfile.write(tmp_path / "nan.wav", wave, RATE, "FLOAT")
    told = json.loads(probed(tmp_path / "nan.wav", "--json")[1])
    assert [gap["kind"] for gap in told["gaps"]] == ["zeros", "non_finite", "zeros"]


def test_a_lossy_file_is_searched_for_dropouts(probed, tmp_path):
    wave = np.random.default_rng(1).normal(0, 0.1, (4 * 44_100, 1))
    wave[80_000:84_000] = 0
    soundfile.write(tmp_path / "a.mp3", wave, 44_100, compression_level=0.5, bitrate_mode="CONSTANT")
    told = json.loads(probed(tmp_path / "a.mp3", "--json")[1])
    assert [gap["kind"] for gap in told["gaps"]] == ["dropout"]
    assert told["gaps"][0]["start_s"] == pytest.approx(80_000 / 44_100, abs=0.006)


def test_what_is_looked_for_and_its_length_can_be_chosen(probed, damaged):
    assert json.loads(probed(damaged, "--json", "--detect", "hold")[1])["gaps"] == []
    assert len(json.loads(probed(damaged, "--json", "--min-gap", "10ms")[1])["gaps"]) == 1
    assert len(json.loads(probed(damaged, "--json", "--max-gap", "0.02s")[1])["gaps"]) == 1
    assert len(json.loads(probed(damaged, "--json", "--detect", "all")[1])["detected"]) == 6
    assert json.loads(probed(damaged, "--json", "--min-drop", "200")[1])["cutoff_hz"] is None
    with pytest.raises(ParameterError, match="unknown kind of damage 'hum'"):
        probed(damaged, "--detect", "zeros,hum")
    with pytest.raises(ParameterError, match="min_gap_s must be above 0 s and max_gap_s not below it"):
        probed(damaged, "--min-gap", "5s")


@pytest.mark.parametrize(("text", "seconds"), [("2ms", 0.002), ("4s", 4.0), ("0.5", 0.5), (" .25 s", 0.25)])
def test_durations_have_units(text, seconds):
    assert duration(text) == seconds


@pytest.mark.parametrize("text", ["", "-1s", "2 min", "nan"])
def test_durations_that_are_none_are_refused(text):
    with pytest.raises(argparse.ArgumentTypeError, match="must be a duration such as 2ms or 0.5s, got "):
        duration(text)


def test_the_picture_is_a_png_of_every_channel(probed, damaged, tmp_path):
    code, *_ = probed(damaged, "--picture", tmp_path / "out.png")
    written = (tmp_path / "out.png").read_bytes()
    assert code == 0
    assert written[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = struct.unpack(">II", written[16:24])
    assert width > 1_000
    assert height > 600
    assert not list(tmp_path.glob("*.part"))


def test_a_picture_is_of_one_recording_and_a_png(probed, damaged, stereo, tmp_path):
    with pytest.raises(ParameterError, match="--picture is of one recording, got 2"):
        probed(damaged, stereo, "--picture", tmp_path / "out.png")
    with pytest.raises(ParameterError, match=r"the output must end in .png, got 'out.jpg'"):
        probed(damaged, "--picture", tmp_path / "out.jpg")


def test_any_recording_can_be_probed(probed, tmp_path):
    oddities = {
        "eight_bits.wav": (recording(0.5), 8_000, "PCM_U8"),
        "one_sample.wav": (np.full((1, 1), 0.5), 44_100, "PCM_16"),
        "silence.flac": (np.zeros((96_000, 2)), 96_000, "PCM_24"),
        "six.wav": (recording(0.5, 48_000, 6), 48_000, "FLOAT"),
        "loud.wav": (3 * recording(0.5), RATE, "FLOAT"),
        "offset.wav": (recording(1.5) + 0.2, RATE, "PCM_16"),
    }
    for name, (wave, sample_rate, subtype) in oddities.items():
        soundfile.write(tmp_path / name, wave, sample_rate, subtype)
    code, said, errors = probed(tmp_path, "--json")
    told = {one["file"].rsplit("/", 1)[1]: one for one in json.loads(said)}
    assert (code, errors) == (0, "")
    assert set(told) == set(oddities)
    assert not any(one["gaps"] for one in told.values())
    assert told["silence.flac"]["warnings"] == ["the recording is silent"]
    assert "beyond full scale" in told["loud.wav"]["warnings"][0]
    assert told["offset.wav"]["dc"][0] == pytest.approx(0.2, abs=0.01)
