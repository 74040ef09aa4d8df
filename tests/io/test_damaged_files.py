"""Whatever a file holds, it is read or refused in one line, and stays as it was."""

import functools
import hashlib
import os
import shutil

from hypothesis import given, settings
from hypothesis import strategies as st

from masktools import io
from masktools.core.errors import MasktoolsError
from tests.io.broken import encoded, tone, variable_mp3

KINDS = [
    *(("WAV", subtype) for subtype in ("PCM_16", "FLOAT", "IMA_ADPCM", "ULAW")),
    *((format, "PCM_16") for format in ("WAVEX", "RF64", "W64", "AIFF", "CAF", "AU", "FLAC")),
    *(("OGG", subtype) for subtype in ("VORBIS", "OPUS")),
    ("MP3", "MPEG_LAYER_III"),
]


@functools.cache
def whole(kind):
    return variable_mp3(0.5) if kind[0] == "MP3" else encoded(tone(0.3, 48_000), 48_000, *kind)


@settings(max_examples=150, deadline=None)
@given(
    kind=st.sampled_from(KINDS),
    other=st.sampled_from([None, *KINDS]),
    changes=st.lists(st.tuples(st.sampled_from([64, None]), st.integers(0, 2**20), st.integers(0, 255)), max_size=6),
    share=st.just(1.0) | st.floats(0.001, 1.0),
    ending=st.sampled_from(["wav", "mp3", "ogg", "flac", "aiff", "xyz"]),
)
def test_a_damaged_file_is_read_or_refused_in_one_line(tmp_path_factory, kind, other, changes, share, ending):
    content = bytearray(whole(kind))
    for reach, place, value in changes:
        content[place % (reach or len(content))] = value
    content = content[: max(1, int(share * len(content)))] + (whole(other) if other else b"")
    folder = tmp_path_factory.mktemp("damaged")
    path, result, refused = folder / f"in.{ending}", folder / "out.wav", ""
    path.write_bytes(content)
    try:
        with io.open_recording(path, tell=False) as recording:
            assert not any("\n" in line for line in recording.warnings)
            recording.read(0, 100_000)
            io.restore_into(path, result, recording, [])
    except MasktoolsError as error:
        refused = str(error)
    assert "\n" not in refused
    assert result.exists() != bool(refused)
    assert hashlib.sha256(path.read_bytes()).digest() == hashlib.sha256(content).digest()
    assert set(os.listdir(folder)) <= {path.name, "out.wav"}
    shutil.rmtree(folder)
