"""Files as pipes, power cuts and careless programs leave them, made by hand from whole ones."""

import io as bytesio

import numpy as np
import soundfile

ID3 = b"ID3\x04\x00\x00\x00\x00\x02\x00" + bytes(256)


def encoded(wave, rate, format, subtype=None, **options):
    """Return the bytes of a file that holds a wave (t,) or (t, channels)."""
    file = bytesio.BytesIO()
    soundfile.write(file, wave, rate, subtype, format=format, **options)
    return file.getvalue()


def tone(seconds, rate, hz=440.0):
    """Return a sine (t,) at 0.3 of full scale."""
    return (0.3 * np.sin(2 * np.pi * hz * np.arange(int(seconds * rate)) / rate)).astype(np.float32)


def swept(seconds, rate):
    """Return silence, then noise: an encoder of variable rate gives it few bits, then many."""
    n = int(seconds * rate)
    return np.concatenate([np.zeros(n // 2), np.random.default_rng(0).uniform(-0.5, 0.5, n - n // 2)], dtype=np.float32)


def variable_mp3(seconds=3.0, rate=44_100):
    """Return an MP3 of variable bit rate; its first frame tells the length."""
    return encoded(swept(seconds, rate), rate, "MP3", bitrate_mode="VARIABLE")


def frame_bytes(mp3):
    """Return how long the first frame of an MP3 of MPEG 1, layer III is."""
    kbps = (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)[(mp3[2] >> 4) - 1]
    rate = (44_100, 48_000, 32_000)[mp3[2] >> 2 & 3]
    return 144_000 * kbps // rate + (mp3[2] >> 1 & 1)


def without_length(mp3):
    """Return an MP3 without the frame that tells its length."""
    return mp3[frame_bytes(mp3) :]


def with_no_frames(mp3):
    """Return an MP3 whose header tells that it has 0 frames, as a pipe leaves it."""
    at = max(mp3.find(b"Xing", 0, 64), mp3.find(b"Info", 0, 64))
    return mp3[: at + 8] + bytes(4) + mp3[at + 12 :]


def with_sizes(whole, outer, inner, name=b"data", order="little"):
    """Return a RIFF or AIFF file with other lengths of all and of its samples."""
    at = whole.index(name) + 4
    changed = bytearray(whole)
    changed[4:8], changed[at : at + 4] = outer.to_bytes(4, order), inner.to_bytes(4, order)
    return bytes(changed)
