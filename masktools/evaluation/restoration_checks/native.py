"""Recordings at their own sample rate, for checks that need what lies above the model's band; and what codecs do.

Where a collection has nothing that reaches high enough, its recordings can be taken for faster ones: an octave up,
22.05 kHz become 44.1 kHz, and what was at 8 kHz is at 16 kHz.
"""

import io as memory
import os

import numpy as np
import soundfile

from masktools import io
from masktools.errors import AudioError, ParameterError
from masktools.evaluation.clips import Clip, Clips, LeftOut
from masktools.evaluation.occupied_band import occupied_hz
from masktools.training.sources import read_source

__all__ = ["read_native", "through_mp3"]

MIN_SHARE = 0.9  # of half the sample rate, that a recording must reach
_SILENCE = 1e-4  # root mean square


def read_native(
    source: str | os.PathLike[str],
    n: int,
    seed: int = 0,
    *,
    seconds: float = 10.0,
    min_seconds: float = 4.0,
    split: str = "all",
    octaves_up: int = 0,
) -> Clips:
    """Return n full-band recordings of a manifest or a folder at their own rate, of each kind as many as can be.

    A recording is full-band if it reaches 90 % of half its sample rate: by its manifest, or as it is measured.

    Args:
        source: a manifest, or a folder of audio.
        n: recordings wanted; fewer where there are no more.
        seed: of the choice.
        seconds: from the middle of each; of several channels the first.
        min_seconds: shorter recordings are left out.
        split: train, valid or test, or all.
        octaves_up: by how many octaves to take recordings for higher ones.

    Raises:
        ParameterError: no such source, or nothing in it that can be used.
    """
    rows = [row for row in read_source(source).rows if split in ("all", row.split)]
    order = np.random.default_rng(seed).permutation(len(rows))
    queues: dict[str, list[int]] = {}
    for place in order[::-1].tolist():
        queues.setdefault(rows[place].kind or "recordings", []).append(place)
    clips: list[Clip] = []
    left_out: list[LeftOut] = []
    while len(clips) < n and any(queues.values()):
        for kind, queue in sorted(queues.items()):
            taken = False
            while queue and not taken and len(clips) < n:
                row = rows[queue.pop()]
                one = _clip(row.path, kind, row.bandwidth_hz or None, seconds, min_seconds, octaves_up)
                if isinstance(one, Clip):
                    clips.append(one)
                    taken = True
                else:
                    left_out.append(one)
    if not clips:
        raise ParameterError(f"there must be a full-band recording of {min_seconds:g} s in {source}, got none")
    return Clips(tuple(clips), tuple(left_out))


def _clip(
    path: str, kind: str, bandwidth_hz: float | None, seconds: float, min_seconds: float, octaves_up: int
) -> Clip | LeftOut:
    name = os.path.basename(path)
    try:
        with io.open_recording(path) as recording:
            rate, n_samples = recording.sample_rate, recording.n_samples
            n = min(n_samples, round(seconds * rate))
            start = (n_samples - n) // 2
            wave = recording.read(start, start + n)[0].copy()
    except AudioError as error:
        return LeftOut(name, "broken", str(error))
    if n < min_seconds * rate:
        return LeftOut(name, "short", f"{n / rate:.3g} s of the {min_seconds:g} s that are wanted")
    if np.sqrt(np.mean(wave.astype(np.float64) ** 2)) < _SILENCE:
        return LeftOut(name, "silent", "its level is below -80 dB of full scale")
    reaches_hz = min(bandwidth_hz or np.inf, occupied_hz(wave, rate))
    if reaches_hz < MIN_SHARE * rate / 2:
        return LeftOut(name, "narrow", f"it reaches {reaches_hz:.0f} Hz of {rate / 2:.0f} Hz")
    faster = 2**octaves_up
    return Clip(name, wave, rate * faster, kind, bandwidth_hz=reaches_hz * faster)


def through_mp3(wave: np.ndarray, sample_rate: int) -> np.ndarray:
    """Return a wave (t,) after it was coded as MP3 of constant 160 kbit/s, the most that there is below 32 kHz.

    Args:
        wave: full scale 1.
        sample_rate: in Hz, one that MP3 has.
    """
    level = 0.5 if sample_rate >= 32_000 else 0.0  # of compression, in libsndfile's terms
    with memory.BytesIO() as file:
        options = {"compression_level": level, "bitrate_mode": "CONSTANT"}
        soundfile.write(file, wave.clip(-1, 1), sample_rate, format="MP3", subtype="MPEG_LAYER_III", **options)
        file.seek(0)
        coded, _ = soundfile.read(file, dtype="float32")
    return np.pad(coded, (0, max(0, len(wave) - len(coded))))[: len(wave)]
