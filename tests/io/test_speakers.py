"""Channels are mapped by the loudspeaker they are for, from every container to every other."""

import logging

import numpy as np
import pytest
import soundfile

from masktools import io
from tests.io.waves import chunk

RATE, N = 48_000, 48_000
# In the order of WAVE, and where Vorbis and Opus have them: as the channels of the file by number.
LAYOUTS = {
    "3.0": (0x7, (0, 2, 1)),
    "quad": (0x33, (0, 1, 2, 3)),
    "5.0": (0x37, (0, 2, 1, 3, 4)),
    "5.1": (0x3F, (0, 2, 1, 4, 5, 3)),
    "6.1": (0x70F, (0, 2, 1, 5, 6, 4, 3)),
    "7.1": (0x63F, (0, 2, 1, 6, 7, 4, 5, 3)),
}


def tones(n):
    """Return n tones (n, t), the first of 20 Hz, the second of 40 Hz, and so on: low enough for every loudspeaker."""
    return (0.2 * np.sin(2 * np.pi * 20 * np.arange(1, n + 1)[:, None] * np.arange(N) / RATE)).astype(np.float32)


def order(samples):
    """Return which tone each channel holds, from 0."""
    return tuple(int(np.argmax(np.abs(np.fft.rfft(wave)))) // 20 - 1 for wave in samples)


def in_file(path):
    """Return which tone each channel of a file holds, in the file's own order."""
    return order(soundfile.read(path, always_2d=True)[0].T)


def put_mask(path, mask):
    whole = bytearray(path.read_bytes())
    at = whole.index(b"fmt ") + 8 + 20
    whole[at : at + 4] = mask.to_bytes(4, "little")
    path.write_bytes(bytes(whole))


def mask_in(path):
    whole = path.read_bytes()
    at = whole.index(b"fmt ") + 8
    assert whole[at : at + 2] == b"\xfe\xff"
    return int.from_bytes(whole[at + 20 : at + 24], "little")


def restored(source, target, **options):
    with io.open_recording(source, tell=False) as recording:
        io.restore_into(source, target, recording, [], **options)
    return target


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("ending", ["ogg", "opus"])
def test_vorbis_and_opus_hold_the_centre_between_left_and_right(tmp_path, layout, ending):
    mask, places = LAYOUTS[layout]
    source = tmp_path / "in.wav"
    soundfile.write(source, tones(len(places)).T, RATE, "PCM_24", format="WAVEX")
    put_mask(source, mask)
    coded = restored(source, tmp_path / f"coded.{ending}")
    assert in_file(coded) == places
    assert order(io.read(coded).samples) == tuple(range(len(places)))
    for target in ("out.flac", "out.wav", "out.aiff"):
        assert in_file(restored(coded, tmp_path / target)) == tuple(range(len(places)))
    assert mask_in(tmp_path / "out.wav") == mask
    assert in_file(restored(tmp_path / "out.flac", tmp_path / f"again.{ending}")) == places


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "FLOAT"])
@pytest.mark.parametrize(("mask", "n"), [(0x3, 2), (0x60F, 6), (0x3F, 6), (0x107, 4), (0, 6), (0x4, 1)])
def test_a_mask_is_kept_through_every_container_that_can_hold_it(tmp_path, mask, n, subtype):
    source = tmp_path / "in.wav"
    soundfile.write(source, tones(n).T, RATE, "PCM_24", format="WAVEX")
    put_mask(source, mask)
    assert mask_in(restored(source, tmp_path / "out.wav", subtype=subtype)) == mask
    with io.open_writer(tmp_path / "like.wav", RATE, n, subtype, like=source) as writer:
        writer.write(tones(n))
    assert mask_in(tmp_path / "like.wav") == mask
    if n > 2:
        for between in ("between.flac", "between.aiff"):
            back = restored(restored(source, tmp_path / between), tmp_path / f"{between}.wav")
            assert mask_in(back) == mask
            assert in_file(back) == tuple(range(n))


def test_a_plain_wave_file_stays_plain(tmp_path):
    soundfile.write(tmp_path / "in.wav", tones(6).T, RATE, "PCM_16")
    assert io.read(restored(tmp_path / "in.wav", tmp_path / "out.wav", subtype="PCM_24")).format == "WAV"


def test_an_aiff_of_another_order_is_read_in_ours_and_patched_in_its_own(tmp_path):
    held = (0, 1, 4, 5, 2, 3)  # left, right, both surrounds, centre, low frequencies: MPEG 5.1 B
    soundfile.write(tmp_path / "in.aiff", tones(6)[list(held)].T, RATE, "PCM_24")
    whole = (tmp_path / "in.aiff").read_bytes()
    content = (122 << 16 | 6).to_bytes(4, "big") + bytes(8)
    body = b"AIFF" + chunk(b"CHAN", content, "big") + whole[12:]
    (tmp_path / "in.aiff").write_bytes(b"FORM" + len(body).to_bytes(4, "big") + body)
    with io.open_recording(tmp_path / "in.aiff") as recording:
        assert order(recording.read()) == (0, 1, 2, 3, 4, 5)
        centre = io.Piece(0, np.full((1, 50), 0.5, np.float32), (2,))
        io.restore_into(tmp_path / "in.aiff", tmp_path / "out.aiff", recording, [centre])
    assert (soundfile.read(tmp_path / "out.aiff")[0][:50, 4] == 0.5).all()
    assert in_file(restored(tmp_path / "in.aiff", tmp_path / "out.flac")) == (0, 1, 2, 3, 4, 5)


def test_what_vorbis_has_no_place_for_keeps_its_order_and_is_said(tmp_path, caplog):
    soundfile.write(tmp_path / "in.wav", tones(4).T, RATE, "PCM_24", format="WAVEX")
    put_mask(tmp_path / "in.wav", 0x107)  # a centre and one behind
    with caplog.at_level(logging.WARNING, logger="masktools"):
        restored(tmp_path / "in.wav", tmp_path / "out.ogg")
    assert [record.getMessage().count("\n") for record in caplog.records] == [0]
    assert in_file(tmp_path / "out.ogg") == (0, 1, 2, 3)


@pytest.mark.parametrize("source", ["a.mp3", "a.ogg", "a.opus"])
@pytest.mark.parametrize("target", ["b.wav", "b.flac", "b.ogg", "b.opus", "b.mp3", "b.aiff", "b.aif", "b.oga"])
def test_what_is_coded_lossily_becomes_samples_in_containers_of_samples(tmp_path, source, target):
    io.write(tmp_path / source, tones(2), RATE)
    restored(tmp_path / source, tmp_path / target)
    made = soundfile.info(tmp_path / target)
    assert (made.samplerate, made.channels, made.frames) == (RATE, 2, N)
    if target[2:] in ("wav", "flac", "aiff", "aif"):
        assert made.subtype == "PCM_16"
