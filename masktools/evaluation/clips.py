"""Clips for an evaluation: read from a cache, a manifest or a folder, grouped by kind and origin.

A source is an audio cache, a manifest or a folder of audio. Unusable recordings are left out, counted and
listed; it is no error as long as something remains.

Where a collection has no recordings with enough bandwidth, they can be transposed by speed: an octave up,
22.05 kHz become 44.1 kHz, and 8 kHz become 16 kHz.
"""

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy.signal import ShortTimeFFT
from scipy.signal.windows import blackmanharris

from masktools import io
from masktools.core.arguments import check_least, checked_name
from masktools.core.errors import AudioError, ParameterError
from masktools.io import resample_to
from masktools.training.shards import AudioCache, Recording, decoded
from masktools.training.sources import SPLITS, Row, Source, read_source, split_named

UNNAMED_KIND = "recordings"
REAL, ALL = "real", "all"

Reader = Callable[[int, float | None], np.ndarray]
"""(sample rate, seconds or None) -> samples (t,): the middle of a recording, or all of it if it is shorter."""


@dataclass(frozen=True, eq=False)
class Entry:
    """A recording that may be used."""

    place: int  # index in its source
    name: str
    row: Row | Recording  # its metadata
    read: Reader
    kind: str
    origin: str


PathLike = str | os.PathLike[str]


def entries_of(
    source: PathLike | Sequence[PathLike], split: str, kinds: Iterable[str] | None = None, non_commercial: bool = False
) -> list[Entry]:
    """Return the recordings of a split; nothing is decoded yet.

    A folder without splits is taken as a whole, whatever the split.

    Args:
        source: the folder of an audio cache, or a source for ``read_source``; or several of these.
        split: train, valid or test, or all.
        kinds: only recordings of these kinds.
        non_commercial: whether to take rows of a manifest whose ``nc`` is 1.

    Raises:
        ParameterError: no such source, split or kind, or no recording of them.
    """
    checked_name("split", split, (*SPLITS, ALL))
    places = [Path(source)] if isinstance(source, str | os.PathLike) else [Path(one) for one in source]
    entries = [entry for place in places for entry in _entries(place, non_commercial)]
    entries = [replace(entry, place=number) for number, entry in enumerate(entries)]
    chosen = [entry for entry in entries if split == ALL or entry.row.split in (split, "")]
    if not chosen:
        known = ", ".join(sorted({entry.row.split for entry in entries})) or "none at all"
        raise ParameterError(f"no recording of split {split!r} in {', '.join(map(str, places))}: it has {known}")
    if kinds is None:
        return chosen
    known_kinds = sorted({entry.kind for entry in chosen})
    wanted = [checked_name("kind of recording", kind, known_kinds) for kind in kinds]
    return [entry for entry in chosen if entry.kind in wanted]


def _entries(place: Path, non_commercial: bool) -> list[Entry]:
    if (place / "waves.int16").is_file():
        cache = AudioCache(place)
        return _described(cache.recordings, [_from_cache(cache, recording) for recording in cache.recordings])
    source = read_source(place, non_commercial=non_commercial)
    rows = _with_own_splits(source, place) if source.kind == "folder" else source.rows
    return _described(rows, [_from_file(row.path) for row in rows])


def _with_own_splits(source: Source, folder: Path) -> tuple[Row, ...]:
    """Return the rows of a folder, without splits that it does not define itself."""
    tops = {Path(row.path).relative_to(folder.absolute()).parts[0] for row in source.rows}
    if any(split_named(top) for top in tops):
        return source.rows
    return tuple(replace(row, split="") for row in source.rows)


def _described(rows: Sequence[Recording] | Sequence[Row], readers: Sequence[Reader]) -> list[Entry]:
    common = os.path.commonpath([os.path.dirname(row.path) or "." for row in rows]) if rows else "."
    return [
        Entry(place, os.path.relpath(row.path, common), row, reader, row.kind or UNNAMED_KIND, row.origin or REAL)
        for place, (row, reader) in enumerate(zip(rows, readers, strict=True))
    ]


def _from_cache(cache: AudioCache, recording: Recording) -> Reader:
    def read(sample_rate: int, seconds: float | None) -> np.ndarray:
        seconds = np.inf if seconds is None else seconds
        wanted = round(min(seconds * cache.sample_rate, recording.n_samples))
        wave = cache.wave(recording, (recording.n_samples - wanted) // 2, wanted)
        if cache.sample_rate == sample_rate:
            return wave
        n = round(min(seconds, wanted / cache.sample_rate) * sample_rate)
        return resample_to(wave, cache.sample_rate, sample_rate, n)

    return read


def _from_file(path: str) -> Reader:
    def read(sample_rate: int, seconds: float | None) -> np.ndarray:
        wave = decoded(path, sample_rate)
        if seconds is None:
            return wave
        wanted = round(seconds * sample_rate)
        start = max(0, len(wave) - wanted) // 2
        return wave[start : start + wanted].copy()

    return read


SHORTEST_S = 0.25
_SILENCE = 1e-4  # RMS of full scale: -80 dB


@dataclass(frozen=True, eq=False)
class Clip:
    """A recording, or a part of one, with its metadata."""

    name: str
    wave: np.ndarray  # (t,) float32, mono, full scale 1
    sample_rate: int  # Hz
    kind: str = UNNAMED_KIND
    origin: str = REAL  # or its generator, e.g. "rendered"
    labels: tuple[str, ...] = ()
    caption: str = ""
    bandwidth_hz: float | None = None  # upper limit of its band; None if unknown
    other_captions: tuple[str, ...] = ()  # further human captions

    def __post_init__(self) -> None:
        """Check that the wave is one."""
        if self.wave.ndim != 1 or not self.wave.size or self.wave.dtype != np.float32:
            got = f"{self.wave.dtype} of shape {self.wave.shape}"
            raise ParameterError(f"the wave of a clip must be float32 of shape (t,) and not empty, got {got}")

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return len(self.wave) / self.sample_rate

    @property
    def group(self) -> str:
        """Name of the group that it belongs to."""
        return group_name(self.kind, self.origin)


def group_name(kind: str, origin: str = REAL) -> str:
    """Return the name of the group of a kind and an origin.

    >>> group_name("music"), group_name("music", "rendered")
    ('music', 'music, rendered')
    """
    return kind if origin == REAL else f"{kind}, {origin}"


@dataclass(frozen=True)
class LeftOut:
    """A recording that was left out, with the reason."""

    name: str
    fault: str  # broken, silent, short, or unsuitable for a protocol
    reason: str = ""


@dataclass(frozen=True, eq=False)
class Clips(Sequence[Clip]):
    """Clips in order, with the recordings that were left out; otherwise like a list."""

    chosen: tuple[Clip, ...]
    left_out: tuple[LeftOut, ...] = ()

    def __getitem__(self, index: Any) -> Any:
        """Return a clip, or some of them with the list of those left out."""
        return Clips(self.chosen[index], self.left_out) if isinstance(index, slice) else self.chosen[index]

    def __len__(self) -> int:
        return len(self.chosen)

    @classmethod
    def keeping(cls, clips: Sequence[Clip], fault: str, reason: Callable[[Clip], str | None], need: str) -> "Clips":
        """Return the clips without a reason against them; the others are listed as left out.

        Args:
            clips: clips to filter.
            fault: category of those left out, in one word.
            reason: function that returns why a clip cannot be used, or None.
            need: what a clip must have, for the error message.

        Raises:
            ParameterError: no clip remains.
        """
        reasons = [reason(clip) for clip in clips]
        chosen = tuple(clip for clip, why in zip(clips, reasons, strict=True) if why is None)
        dropped = tuple(LeftOut(clip.name, fault, why) for clip, why in zip(clips, reasons, strict=True) if why)
        if not chosen:
            raise ParameterError(f"there must be at least one clip {need}, got none of {len(clips)}")
        return cls(chosen, (*left_out_of(clips), *dropped))


def left_out_of(clips: Sequence[Clip]) -> tuple[LeftOut, ...]:
    """Return the recordings that were left out of some clips; empty for a plain list."""
    return clips.left_out if isinstance(clips, Clips) else ()


@dataclass(frozen=True, kw_only=True)
class ClipSettings:
    """Which clips are read of a source.

    Args:
        split: train, valid or test, or all.
        seconds: greatest length of each in seconds, cut from the middle; whole recordings by default.
        n: total number of clips, spread evenly over the groups; all by default.
        kinds: only recordings of these kinds.
        seed: random seed of the choice.
        n_each: greatest number of clips of each group.
        min_seconds: least length in seconds, if it is less than ``seconds``; equal to that
            by default.
        non_commercial: whether to take rows of a manifest whose ``nc`` is 1.

    Raises:
        ParameterError: a value out of its range.
    """

    split: str = "test"
    seconds: float | None = None
    n: int | None = None
    kinds: Iterable[str] | None = None
    seed: int = 0
    n_each: int | None = None
    min_seconds: float | None = None
    non_commercial: bool = False

    def __post_init__(self) -> None:
        """Check the ranges."""
        check_least(1, n=self.n, n_each=self.n_each)
        for name, length in (("seconds", self.seconds), ("min_seconds", self.min_seconds)):
            if length is not None and not SHORTEST_S <= length < np.inf:
                raise ParameterError(f"{name} must be a number of at least {SHORTEST_S:g} s, got {length:g}")
        if self.seconds is not None and self.min_seconds is not None and self.min_seconds > self.seconds:
            raise ParameterError(f"min_seconds must be at most seconds, got {self.min_seconds:g} and {self.seconds:g}")

    @property
    def enough_s(self) -> float:
        """Length that a recording must have."""
        return self.min_seconds or self.seconds or SHORTEST_S


def read_clips(
    source: PathLike | Sequence[PathLike],
    sample_rate: int = 22_050,
    settings: ClipSettings | None = None,
    **changes: Any,
) -> Clips:
    """Return random clips of a source from each group, the same for the same seed.

    A group is a kind and an origin. Recordings are read one by one until there are enough; those that are broken,
    silent or too short are left out, and replaced by others of their group if there are any.

    Args:
        source: the folder of an audio cache, a manifest, or a folder of audio, or several of these; all of a folder
            without splits is taken, whatever the split.
        sample_rate: sampling rate of the clips in Hz.
        settings: which clips.
        **changes: settings by name.

    Raises:
        ParameterError: no such source or split or kind, a value out of its range, or no usable recording.
    """
    check_least(1, sample_rate=sample_rate)
    own = replace(settings or ClipSettings(), **changes)
    groups: dict[str, list[Entry]] = {}
    for entry in entries_of(source, own.split, own.kinds, own.non_commercial):
        groups.setdefault(group_name(entry.kind, entry.origin), []).append(entry)
    left_out: list[LeftOut] = []
    queues = {
        name: _usable(
            groups[name], np.random.default_rng((own.seed, number)), sample_rate, own.seconds, own.enough_s, left_out
        )
        for number, name in enumerate(sorted(groups))
    }
    found = sorted(_drawn(queues, own.n, own.n_each), key=lambda pair: (pair[1].group, pair[0]))
    if not found:
        faults = ", ".join(f"{n} {fault}" for fault, n in Counter(one.fault for one in left_out).items())
        listed = source if isinstance(source, str | os.PathLike) else ", ".join(map(str, source))
        raise ParameterError(f"there must be a recording to measure in {listed}, but {faults} and none is left")
    return Clips(tuple(clip for _, clip in found), tuple(left_out))


def _usable(
    entries: Sequence[Entry],
    rng: np.random.Generator,
    sample_rate: int,
    seconds: float | None,
    enough: float,
    left_out: list[LeftOut],
) -> Iterator[tuple[int, Clip]]:
    """Yield the clips of a group in random order, with their indices, and list the unusable ones."""
    for index in rng.permutation(len(entries)):
        entry = entries[index]
        try:
            wave = np.ascontiguousarray(entry.read(sample_rate, seconds), np.float32)
        except AudioError as error:
            left_out.append(LeftOut(entry.name, "broken", str(error)))
            continue
        fault = _fault(wave, sample_rate, enough)
        if fault is not None:
            left_out.append(LeftOut(entry.name, *fault))
            continue
        row = entry.row
        labels = tuple(filter(None, row.labels.split(";")))
        about = (entry.kind, entry.origin, labels, row.caption, row.bandwidth_hz or None, row.other_captions)
        yield entry.place, Clip(entry.name, wave, sample_rate, *about)


def _fault(wave: np.ndarray, sample_rate: int, enough: float) -> tuple[str, str] | None:
    if len(wave) < round(enough * sample_rate):
        return "short", f"{len(wave) / sample_rate:.3g} s of the {enough:g} s that are wanted"
    if not np.isfinite(wave).all():
        return "broken", "it holds NaN or infinity"
    if np.sqrt(np.mean(wave.astype(np.float64) ** 2)) < _SILENCE:
        return "silent", "its level is below -80 dB of full scale"
    return None


def _drawn(queues: dict[str, Iterator[tuple[int, Clip]]], n: int | None, n_each: int | None) -> list[tuple[int, Clip]]:
    """Return clips from the groups in turn, until there are enough or none is left."""
    drawn: list[tuple[int, Clip]] = []
    counts = dict.fromkeys(queues, 0)
    while queues and (n is None or len(drawn) < n):
        for name in list(queues):
            one = next(queues[name], None) if n_each is None or counts[name] < n_each else None
            if one is None:
                del queues[name]
                continue
            drawn.append(one)
            counts[name] += 1
            if len(drawn) == n:
                break
    return drawn


def class_counts(clips: Sequence[Clip]) -> Counter[str]:
    """Return the number of clips with each label."""
    return Counter(label for clip in clips for label in dict.fromkeys(clip.labels))


def class_of(labels: Sequence[str], counts: Mapping[str, int]) -> str | None:
    """Return the rarest of the labels that have a count, the first one of equals; None if there is none.

    >>> class_of(("dog", "animal"), {"animal": 120, "dog": 26}), class_of(("cat",), {"dog": 26})
    ('dog', None)
    """
    known = [label for label in labels if counts.get(label)]
    return min(known, key=lambda label: counts[label]) if known else None


def common_classes(clips: Sequence[Clip], n_least: int) -> dict[str, int]:
    """Return the classes of clips, with the number of clips; those with fewer than ``n_least`` are left out.

    A clip whose class is left out belongs to the next rarest one.
    """
    counts: dict[str, int] = dict(class_counts(clips))
    while True:
        found = Counter(own for clip in clips if (own := class_of(clip.labels, counts)) is not None)
        rare = [label for label in counts if found[label] < n_least]
        if not rare:
            return {label: found[label] for label in counts}
        fewest = min(counts[label] for label in rare)  # the most specific ones go first: their clips move up
        for label in rare:
            if counts[label] == fewest:
                del counts[label]


_N_FFT = 2048
_BAND_HZ = 250.0
_QUANTILE = 0.95  # of the frames: occasional sound counts, a click does not
_FLOOR_DB, _DEPTH_DB = -90.0, 75.0  # dBFS in a band, and depth below the loudest band


def occupied_hz(wave: np.ndarray, sample_rate: int) -> float:
    """Return the upper limit in Hz of the audible band of a wave (t,), in steps of 250 Hz.

    A band is audible if its 95 % quantile over time exceeds -90 dB of full scale and is less than
    75 dB below the loudest band. 0 for silence.

    Raises:
        ParameterError: a wave of another shape, or an empty one.
    """
    if wave.ndim != 1 or not wave.size:
        raise ParameterError(f"a wave must be of shape (t,) and not empty, got {wave.shape}")
    padded = np.pad(wave.astype(np.float64), (0, max(0, _N_FFT - len(wave))))
    window = blackmanharris(_N_FFT, sym=False)
    stft = ShortTimeFFT(window, _N_FFT // 2, sample_rate)
    power = 4 * np.abs(stft.stft(padded)) ** 2 / (np.sum(window**2) * _N_FFT)  # a sine of full scale at 1
    edges = np.arange(0.0, sample_rate / 2, _BAND_HZ)
    levels = np.quantile(np.add.reduceat(power, np.searchsorted(stft.f, edges), axis=0), _QUANTILE, axis=1)
    levels_db = 10 * np.log10(levels + 1e-30)
    heard = np.flatnonzero((levels_db > _FLOOR_DB) & (levels_db > levels_db.max() - _DEPTH_DB))
    return float(min(edges[heard[-1]] + _BAND_HZ, sample_rate / 2)) if len(heard) else 0.0


MIN_SHARE = 0.9  # least bandwidth of a recording, as a share of half the sample rate


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
    """Return n full-band recordings of a manifest or a folder at their own rate, spread over the kinds.

    A recording is full-band if its band extends to 90 % of half its sample rate: by its manifest, or as measured.

    Args:
        source: a manifest, or a folder of audio.
        n: number of recordings; fewer if there are no more.
        seed: random seed of the choice.
        seconds: length in seconds, from the middle of each; of several channels the first.
        min_seconds: least length in seconds of a recording.
        split: train, valid or test, or all.
        octaves_up: octaves by which recordings are transposed.

    Raises:
        ParameterError: no such source, or no usable recording in it.
    """
    rows = [row for row in read_source(source).rows if split in (ALL, row.split)]
    kinds: dict[str, list[Row]] = {}
    for place in np.random.default_rng(seed).permutation(len(rows)):
        kinds.setdefault(rows[place].kind or UNNAMED_KIND, []).append(rows[place])
    left_out: list[LeftOut] = []
    queues = {
        kind: _full_band(kinds[kind], kind, seconds, min_seconds, 2**octaves_up, left_out) for kind in sorted(kinds)
    }
    clips = tuple(clip for _, clip in _drawn(queues, n, None))
    if not clips:
        raise ParameterError(f"there must be a full-band recording of {min_seconds:g} s in {source}, got none")
    return Clips(clips, tuple(left_out))


def _full_band(
    rows: Iterable[Row], kind: str, seconds: float, min_seconds: float, faster: int, left_out: list[LeftOut]
) -> Iterator[tuple[int, Clip]]:
    """Yield the middles of recordings of a kind at their own rates, numbered, and list the unusable ones."""
    for place, row in enumerate(rows):
        name = os.path.basename(row.path)
        try:
            with io.open_recording(row.path) as recording:
                rate, n = recording.sample_rate, min(recording.n_samples, round(seconds * recording.sample_rate))
                start = (recording.n_samples - n) // 2
                wave = recording.read(start, start + n)[0].copy()
        except AudioError as error:
            left_out.append(LeftOut(name, "broken", str(error)))
            continue
        fault = _fault(wave, rate, min_seconds)
        reaches_hz = 0.0 if fault else min(row.bandwidth_hz or np.inf, occupied_hz(wave, rate))
        if not fault and reaches_hz < MIN_SHARE * rate / 2:
            fault = "narrow", f"it reaches {reaches_hz:.0f} Hz of {rate / 2:.0f} Hz"
        if fault:
            left_out.append(LeftOut(name, *fault))
        else:
            yield place, Clip(name, wave, rate * faster, kind, bandwidth_hz=reaches_hz * faster)
