"""The shards of one list, joined: as if all had been embedded in one run."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from masktools.errors import ParameterError
from masktools.extraction.stores.formats import (
    check_format,
    errors_of,
    exists,
    format_of,
    open_stored,
    parts_of,
    write_table,
)
from masktools.extraction.stores.meta import Meta
from masktools.extraction.stores.parts import Parts
from masktools.extraction.stores.placing import locked
from masktools.extraction.stores.store import read_failures, write_failures
from masktools.extraction.stores.stored import Stored
from masktools.extraction.summary import Summary

__all__ = ["merge"]


def merge(
    paths: Sequence[str | Path], output: str | Path, *, format: str | None = None, overwrite: bool = False
) -> Summary:
    """Join all shards of one list of recordings, in any order and of any formats, and return how many there are.

    Args:
        paths: the vectors of each shard.
        output: the file or folder that they become.
        format: of the output; that of its ending if None.
        overwrite: whether vectors that are there are replaced.

    Raises:
        ParameterError: shards of different models, settings or lists; one that is missing, unfinished or there twice;
            vectors that are no shard; an output that is there already.
    """
    output = Path(output)
    chosen = format_of(output, format)
    if not output.parent.is_dir():
        raise ParameterError(f"the output's folder must exist, got {output}: make {output.parent} first")
    if exists(output, chosen) and not overwrite:
        raise ParameterError(f"{output} is there already: say --overwrite to replace it, or name another output")
    shards = _in_order([_opened(Path(path)) for path in paths])
    if os.path.realpath(output) in {os.path.realpath(shard.path) for shard in shards}:
        raise ParameterError(f"the output must be a file of its own, got {output} for two files")
    check_format(chosen, shards[0].meta.settings)
    scratch = Parts(parts_of(output), [], shards[0].meta)
    if Parts.meta_of(scratch.folder) is not None:
        raise ParameterError(f"{output} is begun already: finish it with --resume, or name another output")
    failures = [failure for shard in shards for failure in read_failures(shard.path)]
    with locked(scratch.folder):
        write_failures(output, failures, scratch.folder)
        joined = _Joined(shards)
        if len(joined.durations_s):
            write_table(output, chosen, joined, scratch.folder)
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
    return open_stored(path, format)


def _in_order(shards: Sequence[Stored]) -> list[Stored]:
    """Return shards from the first to the last.

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


class _Joined:
    """Shards as one table."""

    def __init__(self, shards: Sequence[Stored]) -> None:
        self._shards = shards
        n_items, n_failed = (sum(getattr(one.meta, name) for one in shards) for name in ("n_items", "n_failed"))
        first = shards[0].meta
        self.meta = Meta(first.fingerprint, first.settings, first.items, n_items, first.model, None, n_failed)
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
            yield from shard.pieces(name)
