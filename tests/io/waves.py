"""Waves and files that the tests of this folder share."""

import numpy as np


def noise(n_channels, n, seed=0):
    """Return uniform noise (t, channels) of 0.9 of full scale."""
    return np.random.default_rng(seed).uniform(-0.9, 0.9, (n, n_channels))


def chunk(name, content, order="little"):
    """Return a chunk of a RIFF or AIFF file."""
    return name + len(content).to_bytes(4, order) + content + b"\0" * (len(content) % 2)


def with_chunks(path, before=b"", after=b""):
    """Put chunks before and after the samples of a WAV or AIFF file."""
    whole = path.read_bytes()
    big = whole[:4] == b"FORM"
    at = whole.index(b"SSND" if big else b"data")
    body = whole[8:at] + before + whole[at:] + b"\0" * (len(whole) % 2) + after
    path.write_bytes(whole[:4] + len(body).to_bytes(4, "big" if big else "little") + body)
