"""Stores of vectors: parts as they come, then one file or folder in order; shards of one list are merged.

A store records its model, settings and recordings; resuming with others is refused.
"""

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from filelock import BaseFileLock

from masktools.core.configs import parse_json
from masktools.core.errors import ParameterError
from masktools.extraction.formats import FORMATS, errors_of, exists, files_of, format_of, parts_of, place_of
from masktools.extraction.items import ExtractionSettings, Row, Summary
from masktools.extraction.parts import Parts
from masktools.extraction.table import Failure, Layout, Meta, Stored, Table, keys_hash, locked, placed


class Store:
    """An extraction in progress; made by ``open_store``. For one process at a time; a context manager."""

    def __init__(
        self,
        path: Path,
        format: str,
        parts: Parts,
        keys: Sequence[str],
        lock: BaseFileLock | None = None,
        complete: Summary | None = None,
    ) -> None:
        """Take the state that ``open_store`` has prepared.

        Args:
            path: file or folder of the complete vectors.
            format: format of the complete vectors.
            parts: the parts stored so far.
            keys: the keys of the recordings, in order.
            lock: lock against other processes, held until ``release``.
            complete: summary of an earlier run, if that was complete.
        """
        self.path, self.format, self._parts, self._keys = path, format, parts, keys
        self._lock, self._complete = lock, complete

    def __enter__(self) -> "Store":
        return self

    def __exit__(self, *raised: object) -> None:
        self.release()

    def finished(self) -> set[str]:
        """Return the keys of the recordings that need no more work: stored, or known to fail."""
        return set(self._keys) if self._complete else self._parts.finished()

    def add(self, rows: Sequence[Row]) -> None:
        """Store some recordings, in any order; they are on disk when this returns.

        Raises:
            ParameterError: a recording that is not in the list, or vectors of another shape than those before.
            AudioError: the disk is full, or access is denied.
        """
        if not self._complete:
            self._parts.add(rows)

    def close(self) -> Summary:
        """Return a summary; if every recording is done, the output is written and its parts are removed.

        Otherwise they stay, and ``open_store`` with ``resume`` goes on with them. Where every recording failed,
        nothing is written but the list of failures, and an empty shard if it was one; for
        a single recording not even the list.

        Raises:
            AudioError: the disk is full, or access is denied.
        """
        if self._complete:
            return self._complete
        parts = self._parts
        good, failures = parts.good(), list(parts.failures())
        alone = len(self._keys) == 1 and parts.meta.shard is None
        named = [] if alone else failures  # for a single recording the error says it all
        errors = errors_of(self.path) if named else None
        reason = failures[0].error if failures else None
        summary = Summary(self.path, len(self._keys), len(good), len(failures), errors, reason)
        if summary.is_complete:
            write_failures(self.path, named, parts.folder)
            if summary.n_rows or parts.meta.shard is not None:  # an empty shard is needed to merge the others
                FORMATS[self.format].write(self.path, _Assembled(parts, self._keys, good), parts.folder)
            self._complete = summary
            self.release()
            parts.remove()
        else:
            self.release()
        return summary

    def release(self) -> None:
        """Let another process resume it; where nothing has been stored, nothing is left on disk."""
        if self._lock is None:
            return
        self._lock.release()
        self._lock = None
        if self._complete is None and not len(self._parts.finished()):
            self._parts.remove()

    def failures(self) -> Iterator[Failure]:
        """Yield the failures so far."""
        if self._complete and not self._parts.errors:
            return iter(read_failures(self.path))
        return self._parts.failures()


class _Assembled(Table):
    """The parts as one table, in the order of the recordings."""

    def __init__(self, parts: Parts, keys: Sequence[str], good: np.ndarray) -> None:
        self._parts, self._keys, self._good = parts, keys, good
        self.meta = replace(parts.meta, n_failed=len(parts.errors))
        self.layout = parts.layout or Layout()
        self.durations_s = parts.durations_s[good]
        self.n_moments, self.n_columns = parts.n_moments[good], parts.n_columns[good]

    def keys(self) -> Iterator[str]:
        """Yield the keys of the recordings, as text that every format can hold."""
        for number in self._good.tolist():
            yield str(self._keys[number]).encode("utf-8", "backslashreplace").decode()

    def pieces(self, name: str) -> Iterator[np.ndarray]:
        """Yield an array recording by recording."""
        return (self._parts.piece(int(number), name) for number in self._good)


def open_store(
    path: str | Path,
    order: Sequence[str],
    settings: ExtractionSettings,
    fingerprint: str,
    *,
    format: str | None = None,
    items_hash: str | None = None,
    shard: tuple[int, int] | None = None,
    model: str = "",
    resume: bool = False,
    overwrite: bool = False,
) -> Store:
    """Return a store, new or resumed.

    Args:
        path: file or folder of the complete vectors.
        order: the keys of the recordings, in the order of the output.
        settings: settings of the extraction.
        fingerprint: ``settings.fingerprint`` of the model.
        format: one of ``FORMATS``; that of the path's suffix if None.
        items_hash: hash of the whole list of recordings, over all shards; computed from ``order`` if None.
        shard: (index, count): ``order`` is part index of count.
        model: name of the model, for display.
        resume: go on with an earlier run, or begin if there is none.
        overwrite: begin anew; existing output stays until the new one is complete.

    Raises:
        ParameterError: output exists, and neither ``resume`` nor ``overwrite`` is asked for; it is of
            another model, of other settings or of other recordings; another process is using it; a format that
            cannot hold the result, or whose package is missing; a folder that does not exist.
    """
    path = Path(path)
    if resume and overwrite:
        raise ParameterError("either --resume or --overwrite must be chosen, got both")
    if not order:
        raise ParameterError("there must be at least one recording, got none")
    chosen = check_output(path, settings, format, is_free=not (resume or overwrite))
    items = keys_hash(order) if items_hash is None else items_hash
    meta = Meta(fingerprint, settings.to_json(), items, len(order), model, shard)
    whole, parts = exists(path, chosen), Parts(parts_of(path), order, meta)
    begun = Parts.meta_of(parts.folder)
    if whole and not begun and resume:
        earlier = _earlier(path, chosen, meta)
        parts.remove()
        return Store(path, chosen, parts, order, complete=earlier)
    if begun and not overwrite:
        _refuse(begun, meta, path, "begun")
    if chosen == "dir" and not (whole or begun or overwrite):
        there = next((place for key in order if (place := path / place_of(key)).exists()), None)
        if there is not None:
            raise ParameterError(f"{there} is there already: say --overwrite to replace it, or name another folder")
    lock = locked(parts.folder)
    try:
        if begun and not overwrite:
            parts.load()
        else:
            parts.begin()
    except BaseException:
        lock.release()
        if not begun:
            parts.remove()
        raise
    return Store(path, chosen, parts, order, lock)


def check_output(path: Path, settings: ExtractionSettings, format: str | None = None, is_free: bool = True) -> str:
    """Return the format of an output after checking that it can be written.

    Args:
        path: file or folder to be written.
        settings: settings of the extraction.
        format: one of ``FORMATS``; that of the path's suffix if None.
        is_free: whether existing output is an error.

    Raises:
        ParameterError: output exists, complete or unfinished; a format that cannot hold the result, or
            whose package is missing; a folder that does not exist or cannot be written to.
    """
    chosen = format_of(path, format)
    FORMATS[chosen].check(settings.to_json())
    _check_folder(path)
    if not os.access(path.parent, os.W_OK):
        raise ParameterError(f"the output's folder must be open for writing, got {path.parent}")
    whole = exists(path, chosen)
    if path.is_dir() and path.stat().st_dev != path.parent.stat().st_dev:
        raise ParameterError(f"the output must be on the disk of the folder that it is in: name a folder inside {path}")
    if is_free and not whole:
        beside = [file for file in files_of(path, chosen)[:-1] if file.exists()]
        if beside:
            raise ParameterError(f"{beside[0]} is there already: say --overwrite to replace it, or name another output")
    if is_free and (whole or Parts.meta_of(parts_of(path))):
        state = "there already" if whole else "begun already"
        raise ParameterError(f"{path} is {state}: say --resume to go on with it, or --overwrite to begin anew")
    return chosen


def _check_folder(path: Path) -> None:
    if not path.name or not path.parent.is_dir():
        raise ParameterError(f"the output's folder must exist, got {path}: make {path.parent} first")


def finished_before(path: str | Path, order: Sequence[str], format: str | None = None) -> set[str]:
    """Return the keys of the recordings that an earlier run has finished; its files are only read.

    Args:
        path: file or folder of the complete vectors.
        order: the keys of the recordings.
        format: one of ``FORMATS``; that of the path's suffix if None.
    """
    path = Path(path)
    begun = Parts.meta_of(parts_of(path))
    if begun is None:
        return set(order) if exists(path, format_of(path, format)) else set()
    parts = Parts(parts_of(path), order, begun)
    parts.load(tidy=False)
    return parts.finished()


def _refuse(there: Meta, wanted: Meta, path: Path, what: str) -> None:
    difference = there.difference(wanted)
    if difference:
        raise ParameterError(
            f"{path} was {what} with {difference}: give the same as then, --overwrite it, or name another output"
        )


def _earlier(path: Path, format: str, wanted: Meta) -> Summary:
    """Return the summary of an earlier, complete run."""
    stored = FORMATS[format](path)
    _refuse(stored.meta, wanted, path, "made")
    failures = read_failures(path)
    errors = errors_of(path) if failures else None
    n_rows, reason = len(stored.durations_s), failures[0].error if failures else None
    return Summary(path, wanted.n_items, n_rows, wanted.n_items - n_rows, errors, reason)


def write_failures(path: Path, failures: Sequence[Failure], scratch: Path) -> None:
    """Write the list of failures beside the vectors, a line of JSON for each; no file if there are none."""
    place = errors_of(path)
    if not failures:
        place.unlink(missing_ok=True)
        return
    with placed(place, scratch) as part, part.open("w", encoding="utf-8", newline="\n") as file:
        for failure in failures:
            file.write(json.dumps({"key": failure.key, "error": failure.error}) + "\n")


def read_failures(path: Path) -> list[Failure]:
    """Read the list of failures beside the vectors."""
    place = errors_of(path)
    if not place.is_file():
        return []
    lines = [parse_json(line) for line in place.read_text(encoding="utf-8").splitlines()]
    return [Failure(str(line["key"]), str(line["error"])) for line in lines]


def merge(
    paths: Sequence[str | Path], output: str | Path, *, format: str | None = None, overwrite: bool = False
) -> Summary:
    """Merge all shards of one list of recordings, in any order and of any formats, and return the number of rows.

    Args:
        paths: the vectors of each shard.
        output: file or folder of the merged vectors.
        format: format of the output; that of its suffix if None.
        overwrite: whether existing vectors are replaced.

    Raises:
        ParameterError: shards of different models, settings or lists; one that is missing, unfinished or given twice;
            vectors that are no shard; an output that exists already.
    """
    output = Path(output)
    chosen = format_of(output, format)
    _check_folder(output)
    if exists(output, chosen) and not overwrite:
        raise ParameterError(f"{output} is there already: say --overwrite to replace it, or name another output")
    shards = _in_order([_opened(Path(path)) for path in paths])
    if os.path.realpath(output) in {os.path.realpath(shard.path) for shard in shards}:
        raise ParameterError(f"the output must be a file of its own, got {output} for two files")
    FORMATS[chosen].check(shards[0].meta.settings)
    scratch = Parts(parts_of(output), [], shards[0].meta)
    if Parts.meta_of(scratch.folder) is not None:
        raise ParameterError(f"{output} is begun already: finish it with --resume, or name another output")
    failures = [failure for shard in shards for failure in read_failures(shard.path)]
    with locked(scratch.folder):
        write_failures(output, failures, scratch.folder)
        joined = _Joined(shards)
        if len(joined.durations_s):
            FORMATS[chosen].write(output, joined, scratch.folder)
    scratch.remove()
    errors = errors_of(output) if failures else None
    reason = failures[0].error if failures else None
    return Summary(output, joined.meta.n_items, len(joined.durations_s), len(failures), errors, reason)


def _opened(path: Path) -> Stored:
    if Parts.meta_of(parts_of(path)) is not None:
        raise ParameterError(f"shards must be complete, got {path}, which is still being made: finish it with --resume")
    format = format_of(path)
    if not exists(path, format):
        raise ParameterError(f"{path} must hold vectors of masktools embed: it does not exist")
    return FORMATS[format](path)


def _in_order(shards: Sequence[Stored]) -> list[Stored]:
    """Return shards in order.

    Raises:
        ParameterError: they are not all the shards of one list.
    """
    first = shards[0]
    numbered: dict[int, Stored] = {}
    for one in shards:
        if one.meta.shard is None:
            raise ParameterError(f"{one.path} is no shard: only what --shard I/N has made can be merged")
        alike = replace(one.meta, shard=first.meta.shard, n_items=first.meta.n_items)
        difference = first.meta.difference(alike)
        if difference is None and first.meta.shard and one.meta.shard[1] != first.meta.shard[1]:
            difference = f"another number of shards ({first.meta.shard[1]}, now {one.meta.shard[1]})"
        if difference is not None:
            raise ParameterError(f"shards must be of one run, but {first.path} and {one.path} differ: {difference}")
        number = one.meta.shard[0]
        if number in numbered:
            raise ParameterError(f"shard {number} must be given once, got {numbered[number].path} and {one.path}")
        numbered[number] = one
    n_shards = first.meta.shard[1] if first.meta.shard else 1
    lacking = [str(number) for number in range(n_shards) if number not in numbered]
    if lacking:
        raise ParameterError(f"all {n_shards} shards must be given, but there is no shard {', '.join(lacking)}")
    return [numbered[number] for number in range(n_shards)]


class _Joined(Table):
    """Shards as one table."""

    def __init__(self, shards: Sequence[Stored]) -> None:
        self._shards = shards
        n_items, n_failed = (sum(getattr(one.meta, name) for one in shards) for name in ("n_items", "n_failed"))
        self.meta = replace(shards[0].meta, n_items=n_items, shard=None, n_failed=n_failed)
        self.layout = next((one.layout for one in shards if len(one.durations_s)), shards[0].layout)
        for one in shards:
            if len(one.durations_s) and one.layout != self.layout:
                raise ParameterError(f"vectors must all be of one shape, got {one.layout} in {one.path}")
        self.durations_s = np.concatenate([one.durations_s for one in shards])
        self.n_moments = np.concatenate([one.n_moments for one in shards])
        self.n_columns = np.concatenate([one.n_columns for one in shards])

    def keys(self) -> Iterator[str]:
        """Yield the names of the recordings."""
        for shard in self._shards:
            yield from shard.keys()

    def pieces(self, name: str) -> Iterator[np.ndarray]:
        """Yield an array recording by recording."""
        for shard in self._shards:
            if len(shard.durations_s):  # a shard in which every recording failed has no such array
                yield from shard.pieces(name)
