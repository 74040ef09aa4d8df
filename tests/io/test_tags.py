"""What a file says about itself goes along with what is made of it."""

import numpy as np
import pytest
import soundfile

from masktools import io
from masktools.core.errors import AudioError
from tests.io.waves import chunk, with_chunks

RATE = 44_100
WAVE = np.random.default_rng(0).uniform(-0.5, 0.5, (1, RATE)).astype(np.float32)
TEXTS = {"title": "A rainy day", "artist": "Nobody", "date": "2026"}


def tagged(path):
    with soundfile.SoundFile(path, "w", RATE, 1) as file:
        for name, text in TEXTS.items():
            setattr(file, name, text)
        file.write(WAVE.T)
    return path


def made_like(source, target, sample_rate=RATE):
    with io.open_writer(target, sample_rate, 1, like=source) as writer:
        writer.write(WAVE)
    assert io.read(target).samples.shape == (1, RATE)
    return target


def texts(path):
    with soundfile.SoundFile(path) as file:
        return {name: getattr(file, name) for name in TEXTS}


def cue_points(position):
    """Return the content of a cue chunk with one point."""
    at = position.to_bytes(4, "little")
    return b"\1\0\0\0" + b"\1\0\0\0" + at + b"data" + bytes(8) + at


def flac_blocks(path):
    """Return kind and content of each metadata block."""
    with path.open("rb") as file:
        assert file.read(4) == b"fLaC"
        blocks, last = [], False
        while not last:
            head = file.read(4)
            last = head[0] >= 128
            blocks.append((head[0] % 128, file.read(int.from_bytes(head[1:], "big"))))
        assert file.read(2)[0] == 0xFF, "what follows is the first frame"
        return blocks


@pytest.mark.parametrize(
    "words", ["wav wav", "flac flac", "ogg ogg", "ogg flac", "flac wav", "wav ogg", "mp3 mp3", "mp3 flac", "aiff wav"]
)
def test_title_and_artist_are_kept(tmp_path, words):
    source, target = words.split()
    before = texts(tagged(tmp_path / f"a.{source}"))  # an AIFF holds no date
    assert before["title"] == "A rainy day"
    assert texts(made_like(tmp_path / f"a.{source}", tmp_path / f"b.{target}")) == before


def test_the_chunks_of_a_wave_file_are_kept_as_they_are(tmp_path):
    source = tmp_path / "a.wav"
    soundfile.write(source, WAVE.T, RATE)
    bext, ixml, cue = chunk(b"bext", b"b" * 603), chunk(b"iXML", b"<x/>"), chunk(b"cue ", cue_points(44_100))
    with_chunks(source, chunk(b"JUNK", bytes(64)) + bext, ixml + cue + chunk(b"LIST", b"INFOINAM\x04\0\0\0Rain"))
    made = made_like(source, tmp_path / "b.wav").read_bytes()
    for kept in (bext, ixml, cue, b"INAM\x04\0\0\0Rain"):
        assert made.count(kept) == 1
    assert b"JUNK" not in made
    assert int.from_bytes(made[4:8], "little") == len(made) - 8
    with soundfile.SoundFile(tmp_path / "b.wav") as file:
        assert file.title == "Rain"
    other = made_like(source, tmp_path / "c.wav", 22_050).read_bytes()
    assert chunk(b"cue ", cue_points(22_050)) in other
    assert int.from_bytes(other[4:8], "little") == len(other) - 8


def test_the_chunks_of_a_wave_file_go_along_into_rf64_too(tmp_path, monkeypatch):
    source, plain = tmp_path / "a.wav", tmp_path / "plain.wav"
    soundfile.write(source, WAVE.T, RATE)
    io.write(plain, WAVE, RATE)
    with_chunks(source, b"", chunk(b"iXML", b"<x/>"))
    for name, limit in (("some.wav", 20_000), ("all.wav", 2 * RATE + 10)):  # with the tags alone it is too long
        with monkeypatch.context() as patched:
            patched.setattr("masktools.io.writing._WAV_BYTES", limit)
            whole = made_like(source, tmp_path / name).read_bytes()
        assert whole[:4] == b"RF64"
        assert int.from_bytes(whole[20:28], "little") == len(whole) - 8
        assert whole.endswith(chunk(b"iXML", b"<x/>"))
        assert np.array_equal(io.read(tmp_path / name).samples, io.read(plain).samples)


def test_the_pictures_and_comments_of_a_flac_file_are_kept_as_they_are(tmp_path):
    source = tagged(tmp_path / "a.flac")
    whole = source.read_bytes()
    content = b"not really a picture" * 3
    words = (b"\0\0\0\x03", b"\0\0\0\x09image/png", b"\0\0\0\0", bytes(16), len(content).to_bytes(4, "big"), content)
    picture, own = b"".join(words), b"ownA"
    size = 4 + 4 + 34  # the magic word and STREAMINFO
    blocks = b"".join(
        bytes([kind]) + len(content).to_bytes(3, "big") + content for kind, content in ((6, picture), (2, own + b"!"))
    )
    source.write_bytes(whole[:size] + blocks + whole[size:])
    made = made_like(source, tmp_path / "b.flac")
    assert [kind for kind, _ in flac_blocks(source)] == [0, 6, 2, 4]
    assert [kind for kind, _ in flac_blocks(made)] == [0, 6, 2, 4]
    assert flac_blocks(made)[1:] == flac_blocks(source)[1:]
    assert texts(made) == TEXTS
    np.testing.assert_allclose(io.read(made).samples, WAVE, atol=2**-15)


def test_a_flac_file_without_tags_is_no_trouble(tmp_path):
    io.write(tmp_path / "a.flac", WAVE, RATE)
    assert made_like(tmp_path / "a.flac", tmp_path / "b.flac").exists()


def test_the_tags_of_an_mp3_are_kept_as_they_are(tmp_path):
    source = tmp_path / "a.mp3"
    io.write(source, WAVE, RATE)
    id3 = b"ID3\x03\0\0\0\0\0\x16TIT2\0\0\0\x0c\0\0\0A rainy day"
    old = b"TAG" + b"A rainy day".ljust(125, b"\0")
    source.write_bytes(id3 + source.read_bytes() + old)
    made = made_like(source, tmp_path / "b.mp3").read_bytes()
    assert made.startswith(id3)
    assert made.endswith(old)
    assert io.read(tmp_path / "b.mp3").samples.shape == (1, RATE)


def test_the_old_tag_at_the_end_of_an_mp3_takes_the_place_of_the_new(tmp_path):
    source = tagged(tmp_path / "a.mp3")
    tail = source.read_bytes()[-128:]
    assert tail[:3] == b"TAG"
    made = made_like(source, tmp_path / "b.mp3").read_bytes()
    assert made.endswith(tail)
    assert made.count(b"TAGA rainy day") == 1


def test_a_file_whose_tags_shall_be_kept_must_be_there(tmp_path):
    with pytest.raises(AudioError, match=r"none\.wav does not exist"):
        io.open_writer(tmp_path / "b.wav", RATE, 1, like=tmp_path / "none.wav")


def test_writing_over_the_file_whose_tags_are_kept_keeps_them(tmp_path):
    for ending in ("wav", "flac", "mp3", "ogg"):
        path = tagged(tmp_path / f"a.{ending}")
        assert texts(made_like(path, path)) == TEXTS
