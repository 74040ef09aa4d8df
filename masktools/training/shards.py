"""Caches of recordings, decoded once, in one file of samples at one rate; and shards, tar files of them.

A cache is built by several processes, can be resumed after a kill, and is the same byte for byte whatever their number
and the kills. Recordings that cannot be decoded are skipped, and listed in the index.
"""

import hashlib
import io
import json
import os
import re
import secrets
import tarfile
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from masktools.core.configs import parse_json, read_json
from masktools.core.errors import AudioError, ParameterError
from masktools.io import SUFFIXES, read, replacing, resample, write
from masktools.training.builds import Note, Progress, ResumableBuild, chunked, is_built, write_json
from masktools.training.sources import Row, read_source, split_named

_FULL_SCALE = 32767.0
_WAVES, INDEX = "waves.int16", "index.json"
_BLOCK = 1 << 20  # samples converted at once


@dataclass(frozen=True)
class Recording:
    """One recording of a cache: its position, and its metadata."""

    path: str
    start: int  # first sample in the cache
    n_samples: int
    split: str
    kind: str
    labels: str
    caption: str
    origin: str = "real"
    bandwidth_hz: float = 0.0  # upper limit of its band; 0 if unknown
    other_captions: tuple[str, ...] = ()
    measured: str = ""  # tags measured from the signal, joined with ';'

    @property
    def descriptions(self) -> tuple[str, ...]:
        """Descriptions of the recording: its captions, else its labels, else a generic one."""
        captions = tuple(filter(None, (self.caption, *self.other_captions)))
        return captions or (self.labels.replace(";", " ").replace("_", " ") or "sound",)

    def described(self, rng: np.random.Generator) -> str:
        """Return one of the descriptions at random."""
        texts = self.descriptions
        return texts[int(rng.integers(len(texts)))]


class Cache:
    """A folder of memory-mapped values, and their index.

    Attributes:
        folder: folder of the cache.
        content: content of the index.
        recordings: entries of the index; each has a ``split``.
        skipped: recordings that could not be decoded, with the reasons.
    """

    what: str  # kind of cache, for errors
    values: str  # file of the values
    recordings: list[Any]

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        """Open a cache.

        Raises:
            ParameterError: there is none, or it is empty.
        """
        self.folder = Path(folder)
        index = self.folder / INDEX
        if not index.is_file() or not (self.folder / self.values).is_file():
            raise ParameterError(f"no {self.what} cache in {self.folder}: {INDEX} or {self.values} is missing")
        self.content: dict[str, Any] = read_json(index)
        self.skipped: list[list[str]] = self.content["skipped"]
        if not self.content["recordings"]:
            empty = f"the {self.what} cache in {self.folder} is empty"
            raise ParameterError(f"{empty}: none of its recordings could be decoded")

    def __reduce__(self) -> tuple[type["Cache"], tuple[Path]]:
        return type(self), (self.folder,)  # unpickling opens the cache again

    def __len__(self) -> int:
        return len(self.recordings)

    def split(self, name: str) -> list[Any]:
        """Return the recordings of a split.

        Raises:
            ParameterError: the cache has none of that split.
        """
        chosen = [recording for recording in self.recordings if recording.split == name]
        if not chosen:
            known = sorted({recording.split for recording in self.recordings})
            raise ParameterError(f"no recording of split {name!r} in {self.folder}: it has {', '.join(known)}")
        return chosen


class AudioCache(Cache):
    """Recordings as one memory-mapped array of int16 samples, mono, at one rate."""

    what, values = "audio", _WAVES

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        super().__init__(folder)
        self.key: str = self.content["key"]
        self.sample_rate: int = self.content["sample_rate"]
        self.recordings = [recording_from(row) for row in self.content["recordings"]]
        self.n_missing: int = self.content.get("n_missing", 0)
        self._waves = np.memmap(self.folder / _WAVES, dtype=np.int16, mode="r")

    def wave(self, recording: Recording, start: int = 0, n_samples: int | None = None) -> np.ndarray:
        """Return samples [start, start + n_samples) of a recording as float32 in [-1, 1]."""
        stop = recording.n_samples if n_samples is None else min(recording.n_samples, start + n_samples)
        return self._waves[recording.start + start : recording.start + stop].astype(np.float32) / _FULL_SCALE

    def name(self, index: int) -> str:
        """Return the source of a recording, for display."""
        return self.recordings[index].path

    def item(self, index: int) -> tuple[Recording, np.ndarray]:
        """Return a recording and all its samples."""
        recording = self.recordings[index]
        return recording, self.wave(recording)


def recording_from(row: Mapping[str, object]) -> Recording:
    """Return a recording from its JSON entry; older caches have fewer fields."""
    captions = row.get("other_captions", ())
    return Recording(**{**row, "other_captions": tuple(captions)})  # type: ignore[arg-type]


def read_sources(
    sources: Sequence[str | os.PathLike[str]], kind: str = "auto", non_commercial: bool = False
) -> tuple[list[Row], int]:
    """Return the rows of several sources, and the number of missing recordings."""
    found = [read_source(path, kind, non_commercial) for path in sources]
    return [row for source in found for row in source.rows], sum(source.n_missing for source in found)


def build_cache(
    sources: Sequence[str | os.PathLike[str]],
    folder: str | os.PathLike[str],
    sample_rate: int = 22_050,
    non_commercial: bool = False,
    progress: Progress | None = None,
    n_workers: int = 1,
    kind: str = "auto",
) -> AudioCache:
    """Decode the recordings of the sources into ``folder`` once, and return the cache.

    An existing cache of the same rows is returned, an unfinished one is completed, one of other rows is
    refused. A process holds one recording at a time.

    Args:
        sources: sources for ``read_source``
        folder: folder of the cache; made if it does not exist
        sample_rate: sample rate of the cache, in Hz
        non_commercial: whether to take rows whose ``nc`` is 1
        progress: called with the recordings done and their number
        n_workers: number of processes
        kind: kind of the sources, or auto to detect it

    Raises:
        ParameterError: a source is not one, or ``folder`` holds a cache of other recordings or settings.
        MasktoolsError: a process died.
    """
    rows, n_missing = read_sources(sources, kind, non_commercial)
    described = [asdict(row) for row in rows]
    key = hashlib.sha256(json.dumps([sample_rate, described], sort_keys=True).encode()).hexdigest()
    target = Path(folder)
    index = target / INDEX
    if is_built(index, key, "a cache"):
        return AudioCache(target)
    build = ResumableBuild(target, key, [_WAVES])
    notes = build.run(chunked(rows), DecodeWork(sample_rate), n_workers, progress)
    recordings, skipped, start = [], [], 0
    for note in notes:
        skipped += note["skipped"]
        for recording in note["recordings"]:
            recordings.append(recording | {"start": start})
            start += recording["n_samples"]
    content = {"key": key, "sample_rate": sample_rate, "n_missing": n_missing, "skipped": skipped}
    write_json(index, content | {"recordings": recordings})
    build.close()
    return AudioCache(target)


def decoded(path: str | os.PathLike[str], sample_rate: int) -> np.ndarray:
    """Return a whole file as mono float32 samples (t,) at a sample rate.

    Raises:
        AudioError: it cannot be decoded.
    """
    audio = read(Path(path))
    samples = audio.samples[0] if audio.n_channels == 1 else audio.samples.mean(axis=0)
    rate = audio.sample_rate
    del audio  # for a long stereo recording this is most of the memory
    return samples if rate == sample_rate else resample(samples, rate, sample_rate)


@dataclass(frozen=True)
class DecodeWork:
    """Writes the samples of some rows, in order."""

    sample_rate: int

    def __call__(self, job: Sequence[Row], outputs: Mapping[str, Path]) -> Note:
        """Decode the rows; failures are listed in the note."""
        recordings, skipped = [], []
        with outputs[_WAVES].open("wb") as out:
            for row in job:
                try:
                    wave = decoded(row.path, self.sample_rate)
                except AudioError as error:
                    skipped.append([row.path, str(error)])
                    continue
                for start in range(0, len(wave), _BLOCK):
                    block = np.clip(wave[start : start + _BLOCK], -1.0, 1.0) * _FULL_SCALE
                    out.write(block.round().astype(np.int16).tobytes())
                recordings.append(asdict(row) | {"n_samples": len(wave)})
        return {"recordings": recordings, "skipped": skipped}


SHARD_INDEX = "shards.npz"
_AUDIO = tuple(SUFFIXES)
_SAMPLE = np.dtype(
    [("shard", "i4"), ("suffix", "i1"), ("audio", "i8"), ("n_bytes", "i8"), ("told", "i8"), ("n_told", "i8")]
)  # position of recording and metadata in a shard; 0 bytes of metadata where there are none
_HEADER = 512


class ShardSet:
    """The samples in a folder of shards, at one sample rate."""

    def __init__(self, folder: str | os.PathLike[str], sample_rate: int = 22_050) -> None:
        """Find the samples: by the folder's index if it fits these shards, else by reading the shards' headers.

        Raises:
            ParameterError: there are no shards, or none of them holds a sample.
        """
        self.folder, self.sample_rate = Path(folder), sample_rate
        self.shards = sorted(path.relative_to(self.folder).as_posix() for path in self.folder.rglob("*.tar"))
        if not self.shards:
            raise ParameterError(f"no shards below {self.folder}: they must end in .tar")
        self.splits = [_split_of(name) for name in self.shards]
        self.sizes = np.array([(self.folder / name).stat().st_size for name in self.shards])
        self.broken: list[list[str]] = []  # shards that are truncated, or invalid
        found = self._indexed()
        self.samples = self._scanned() if found is None else found
        if not len(self.samples):
            raise ParameterError(
                f"no sample in the shards below {self.folder}: a sample is KEY.flac, .wav, .mp3, .ogg or .opus, "
                "with KEY.json or KEY.txt beside it"
            )
        told = json.dumps([sample_rate, self.shards]).encode() + self.samples.tobytes()
        self.key = hashlib.sha256(told).hexdigest()

    def __len__(self) -> int:
        return len(self.samples)

    def split(self, name: str) -> np.ndarray:
        """Return the indices of the samples of a split, those of one shard together.

        Raises:
            ParameterError: no shard is of that split.
        """
        of_split = np.array([split == name for split in self.splits])
        chosen = np.flatnonzero(of_split[self.samples["shard"]])
        if not len(chosen):
            known = ", ".join(sorted(set(self.splits)))
            raise ParameterError(
                f"no shard of split {name!r} below {self.folder}: they are of {known}; shards must be named like "
                f"{name}-000000.tar, or lie in {name}/"
            )
        return chosen

    def name(self, index: int) -> str:
        """Return shard and key of a sample, for display."""
        place = self.samples[index]
        shard = self.shards[place["shard"]]
        with suppress(tarfile.TarError, OSError):
            header = self._bytes(shard, int(place["audio"]) - _HEADER, _HEADER)
            return f"{shard}/{tarfile.TarInfo.frombuf(header, 'utf-8', 'replace').name}"
        return f"{shard}, byte {place['audio']}"

    def item(self, index: int) -> tuple[Recording, np.ndarray]:
        """Return a recording and all its samples.

        Raises:
            AudioError: it cannot be decoded, or its metadata are not JSON.
        """
        place, name = self.samples[index], self.name(index)
        shard = self.shards[place["shard"]]
        try:
            told = _told(self._bytes(shard, int(place["told"]), int(place["n_told"])))
            audio = self._bytes(shard, int(place["audio"]), int(place["n_bytes"]))
        except (OSError, ValueError) as error:
            raise AudioError(f"{self.folder / name} cannot be read: {error}") from error
        with tempfile.TemporaryDirectory(prefix="masktools-") as scratch:
            file = Path(scratch, f"recording{_AUDIO[place['suffix']]}")
            file.write_bytes(audio)
            try:
                wave = decoded(file, self.sample_rate)
            except AudioError as error:
                raise AudioError(str(error).replace(str(file), str(self.folder / name))) from error
        split = self.splits[place["shard"]]
        return Recording(str(self.folder / name), 0, len(wave), split, **told), wave

    def _bytes(self, shard: str, start: int, n_bytes: int) -> bytes:
        with (self.folder / shard).open("rb") as file:
            file.seek(start)
            return file.read(n_bytes)

    def write_index(self) -> None:
        """Write the index beside the shards, so that their headers need not be read again."""
        with replacing(self.folder / SHARD_INDEX) as part, part.open("wb") as file:
            np.savez(file, shards=np.array(self.shards), sizes=self.sizes, samples=self.samples)

    def _indexed(self) -> np.ndarray | None:
        path = self.folder / SHARD_INDEX
        newest = max((self.folder / name).stat().st_mtime_ns for name in self.shards)
        if not path.is_file() or path.stat().st_mtime_ns < newest:
            return None
        with np.load(path, allow_pickle=False) as stored:
            same = stored["shards"].tolist() == self.shards and stored["sizes"].tolist() == self.sizes.tolist()
            return stored["samples"] if same else None

    def _scanned(self) -> np.ndarray:
        rows: list[tuple[int, ...]] = []
        for number, name in enumerate(self.shards):
            try:
                rows += [(number, *place) for place in _samples(self.folder / name, int(self.sizes[number]))]
            except (tarfile.TarError, EOFError, OSError) as error:
                self.broken.append([name, str(error)])
            except _CutOffError as error:
                rows += [(number, *place) for place in error.found]
                self.broken.append([name, "it is cut off"])
        return np.array(rows, _SAMPLE)


class _CutOffError(Exception):
    """Raised for a truncated shard; holds the samples before."""

    def __init__(self, found: list[tuple[int, ...]]) -> None:
        super().__init__()
        self.found = found


def _split_of(name: str) -> str:
    folders = name.split("/")[:-1]
    words = [*folders, re.split(r"[-_.]", name.split("/")[-1])[0]]
    return next((split for word in words if (split := split_named(word))), "train")


def _samples(path: Path, size: int) -> list[tuple[int, ...]]:
    """Return (suffix, audio, n_bytes, told, n_told) of each sample of a shard."""
    found: list[tuple[int, ...]] = []
    group: dict[str, tuple[int, int]] = {}
    last = None
    with tarfile.open(path, "r:") as tar:
        try:
            for member in _members(tar):
                if not member.isfile():
                    continue
                if member.offset_data + member.size > size:
                    raise tarfile.ReadError("unexpected end of data")
                before, _, base = member.name.rpartition("/")
                stem, _, suffix = base.partition(".")
                if (before, stem) != last:
                    found += _sample(group)
                    group, last = {}, (before, stem)
                group[f".{suffix.lower()}"] = member.offset_data, member.size
            if _block(path, tar.offset) != bytes(_HEADER):  # tarfile takes this for an end, too
                raise tarfile.ReadError("no end")
        except (tarfile.ReadError, EOFError) as error:
            raise _CutOffError(found + _sample(group)) from error
    return found + _sample(group)


def _block(path: Path, start: int) -> bytes:
    with path.open("rb") as file:
        file.seek(start)
        return file.read(_HEADER)


def _members(tar: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    while (member := tar.next()) is not None:
        yield member
        tar.members.clear()  # type: ignore[attr-defined]  # it would keep them all


def _sample(group: dict[str, tuple[int, int]]) -> list[tuple[int, ...]]:
    audio = next((suffix for suffix in _AUDIO if suffix in group), None)
    if audio is None:
        return []
    told = next((group[suffix] for suffix in (".json", ".txt") if suffix in group), (0, 0))
    return [(_AUDIO.index(audio), *group[audio], *told)]


def _told(content: bytes) -> dict[str, Any]:
    """Return the fields of a recording from its JSON, or from a text, which is a caption."""
    text = content.decode("utf-8").strip()
    if not text.startswith("{"):
        return {"kind": "", "labels": "", "caption": text}
    told = parse_json(text)
    labels = _texts(told.get("labels", told.get("label", told.get("tag"))))
    captions = _texts(told.get("captions", told.get("caption", told.get("text"))))
    return {
        "kind": str(told.get("kind") or ""),
        "labels": ";".join(labels),
        "caption": captions[0] if captions else "",
        "other_captions": tuple(captions[1:]),
        "origin": str(told.get("origin") or "real"),
        "bandwidth_hz": float(told.get("bandwidth_hz") or 0.0),
    }


def _texts(value: Any) -> list[str]:
    return [str(one) for one in (value if isinstance(value, list) else [value]) if one]


_INDEX = "index.json"
PER_SHARD = 256  # recordings, at most
PIECE_S = 30.0  # longer recordings are cut into pieces of this length, each a sample


@dataclass(frozen=True)
class _Job:
    name: str
    rows: tuple[Row, ...]

    def __len__(self) -> int:
        return len(self.rows)


def write_shards(
    sources: Sequence[str | os.PathLike[str]],
    folder: str | os.PathLike[str],
    sample_rate: int = 22_050,
    non_commercial: bool = False,
    progress: Progress | None = None,
    n_workers: int = 1,
    kind: str = "auto",
) -> ShardSet:
    """Write the recordings of the sources as shards SPLIT-000000.tar of FLAC and JSON, and return them.

    The shards are the same byte for byte whatever the number of processes; a build that was killed can be
    resumed. index.json lists the skipped recordings.

    Args:
        sources: sources for ``read_source``
        folder: folder of the shards; made if it does not exist
        sample_rate: sample rate of the recordings in them, in Hz
        non_commercial: whether to take rows whose ``nc`` is 1
        progress: called with the recordings done and their number
        n_workers: number of processes
        kind: kind of the sources, or auto to detect it

    Raises:
        ParameterError: a source is not one, or ``folder`` holds shards of other recordings or settings.
        MasktoolsError: a process died.
    """
    rows, n_missing = read_sources(sources, kind, non_commercial)
    told = json.dumps([sample_rate, PER_SHARD, PIECE_S, [asdict(row) for row in rows]], sort_keys=True)
    key = hashlib.sha256(told.encode()).hexdigest()
    target = Path(folder)
    index = target / _INDEX
    if is_built(index, key, "shards"):
        return ShardSet(target, sample_rate)
    build = ResumableBuild(target, key)
    notes = build.run(_jobs(rows), _ShardWork(target, sample_rate, PIECE_S), n_workers, progress)
    shards = ShardSet(target, sample_rate)
    shards.write_index()
    skipped = [pair for note in notes for pair in note["skipped"]]
    content = {"key": key, "sample_rate": sample_rate, "n_missing": n_missing, "n_samples": len(shards)}
    write_json(index, content | {"skipped": skipped})
    build.close()
    return shards


def skipped_in(folder: str | os.PathLike[str]) -> tuple[list[list[str]], int]:
    """Return the recordings that ``write_shards`` could not decode, with the reasons, and how many were missing."""
    content = read_json(Path(folder, _INDEX))
    return content["skipped"], content["n_missing"]


def _jobs(rows: Sequence[Row]) -> list[_Job]:
    by_split: dict[str, list[Row]] = {}
    for row in rows:
        by_split.setdefault(row.split, []).append(row)
    return [
        _Job(f"{split}-{start // PER_SHARD:06d}.tar", tuple(own[start : start + PER_SHARD]))
        for split, own in sorted(by_split.items())
        for start in range(0, len(own), PER_SHARD)
    ]


@dataclass(frozen=True)
class _ShardWork:
    folder: Path
    sample_rate: int
    piece_s: float

    def __call__(self, job: _Job, outputs: Mapping[str, Path]) -> Note:
        """Write one shard."""
        skipped: list[list[str]] = []
        unfinished = self.folder / "parts" / f"{job.name}.{secrets.token_hex(4)}.part"
        with tarfile.open(unfinished, "w", format=tarfile.USTAR_FORMAT) as tar:
            for number, row in enumerate(job.rows):
                try:
                    wave = decoded(row.path, self.sample_rate)
                except AudioError as error:
                    skipped.append([row.path, str(error)])
                    continue
                self._add(tar, f"{Path(job.name).stem}-{number:06d}", wave, row)
        os.replace(unfinished, self.folder / job.name)
        return {"skipped": skipped}

    def _add(self, tar: tarfile.TarFile, key: str, wave: np.ndarray, row: Row) -> None:
        step = max(1, round(self.piece_s * self.sample_rate))
        for piece, start in enumerate(range(0, len(wave), step)):
            name = key if len(wave) <= step else f"{key}-{piece:04d}"
            with tempfile.TemporaryDirectory(prefix="masktools-") as scratch:
                file = Path(scratch, "piece.flac")
                write(file, wave[None, start : start + step], self.sample_rate)
                _member(tar, f"{name}.flac", file.read_bytes())
            _member(tar, f"{name}.json", json.dumps(_encoded_row(row)).encode())


def _encoded_row(row: Row) -> dict[str, Any]:
    labels = [label for label in row.labels.split(";") if label]
    captions = [caption for caption in (row.caption, *row.other_captions) if caption]
    told = {"labels": labels, "captions": captions, "kind": row.kind, "origin": row.origin}
    return told | {"bandwidth_hz": row.bandwidth_hz, "path": row.path}


def _member(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    tar.addfile(info, io.BytesIO(content))
