"""Whatever a file holds, it is read or refused in one line, and stays as it was."""

import hashlib
import os
import shutil

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from masktools import io
from masktools.errors import MasktoolsError
from tests.io.broken import encoded, tone, variable_mp3

KINDS = [
    *(("WAV", subtype) for subtype in ("PCM_16", "FLOAT", "IMA_ADPCM", "ULAW")),
    *((format, "PCM_16") for format in ("WAVEX", "RF64", "W64", "AIFF", "CAF", "AU", "FLAC")),
    *(("OGG", subtype) for subtype in ("VORBIS", "OPUS")),
    ("MP3", "MPEG_LAYER_III"),
]


@pytest.fixture(scope="module")
def whole():
    files = {kind: encoded(tone(0.3, 48_000), 48_000, *kind) for kind in KINDS if kind[0] != "MP3"}
    return files | {KINDS[-1]: variable_mp3(0.5)}


@settings(max_examples=150, deadline=None)
@given(data=st.data(), kind=st.sampled_from(KINDS), other=st.sampled_from([None, *KINDS]))
def test_a_damaged_file_is_read_or_refused_in_one_line(tmp_path_factory, whole, data, kind, other):
    content = bytearray(whole[kind])
    for _ in range(data.draw(st.integers(0, 6))):
        reach = data.draw(st.sampled_from([64, len(content)])) - 1
        content[data.draw(st.integers(0, reach))] = data.draw(st.integers(0, 255))
    content = content[: data.draw(st.integers(1, len(content)) | st.just(len(content)))]
    if other is not None:
        content += whole[other]
    folder = tmp_path_factory.mktemp("damaged")
    path = folder / f"in.{data.draw(st.sampled_from(['wav', 'mp3', 'ogg', 'flac', 'aiff', 'xyz']))}"
    path.write_bytes(content)
    before = hashlib.sha256(content).digest()
    try:
        with io.open_recording(path, tell=False) as recording:
            assert not any("\n" in line for line in recording.warnings)
            recording.read(0, 100_000)
            io.restore_into(path, folder / "out.wav", recording, [])
    except MasktoolsError as error:
        assert "\n" not in str(error)
        assert not (folder / "out.wav").exists()
    assert hashlib.sha256(path.read_bytes()).digest() == before
    assert set(os.listdir(folder)) <= {path.name, "out.wav"}
    shutil.rmtree(folder)
