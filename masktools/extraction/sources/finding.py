"""Inputs (files, folders, manifests, shards, URLs) -> items, always in the same order."""

import glob
import os
import re
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path

from masktools.errors import AudioError
from masktools.extraction.sources.items import Item, check_distinct
from masktools.extraction.sources.manifests import MANIFEST_ENDINGS, Columns, manifest_items
from masktools.extraction.sources.remote import as_local, ending_of, has_wildcard, is_url, names_below
from masktools.extraction.sources.shards import SHARD_ENDING, shard_items
from masktools.io import file_names, is_recording

__all__ = ["find_items"]

_SHOWN = 20  # inputs without recordings that are named
_BRACES = re.compile(r"\{(\d+)\.\.(\d+)\}|\{([^{}]*,[^{}]*)\}")


def find_items(
    inputs: Iterable[str | os.PathLike[str]],
    recursive: bool = True,
    columns: Columns | None = None,
    root: str | os.PathLike[str] | None = None,
) -> list[Item]:
    """Return what is to be read of inputs, in their order; nothing is decoded, and recordings are not opened.

    An input is a recording; a folder, of which the recordings and the shards are taken by name; a manifest (.csv,
    .tsv, .jsonl, .parquet, or .txt with a path a line); a shard (.tar, as WebDataset writes it), of which the
    recordings are; or a URL of one of these. Braces are a list, as in ``shard-{000..127}.tar``; *, ? and [] a pattern.

    Keys: below a folder that is the only input, the path relative to it; in a manifest its id, or its path as it is
    written there, with "#start-stop" where it names times; in a shard "shard/member"; else the path as it is given.

    Args:
        inputs: paths and URLs.
        recursive: whether folders inside folders are searched, too.
        columns: what the columns of manifests are called.
        root: what relative paths in manifests are relative to; the folder of each manifest if None.

    Raises:
        AudioError: an input is missing or cannot be read, or none of them holds recordings.
        ParameterError: two items with one key, a manifest that cannot be understood, or a missing package.
    """
    given = [one for path in inputs for one in _spelled_out(as_local(os.fspath(path)))]
    items: list[Item] = []
    empty: list[str] = []
    for path in given:
        before = len(items)
        items.extend(_items_of(path, len(given) == 1, recursive, columns or Columns(), root))
        if len(items) == before:
            empty.append(_nothing_in(path, recursive))
    if empty and not items:
        raise AudioError(
            empty[0] if len(empty) == 1 else f"none of the {len(empty)} inputs holds recordings: {empty[0]}"
        )
    for what in empty[:_SHOWN]:
        warnings.warn(what, stacklevel=2)
    if len(empty) > _SHOWN:
        warnings.warn(f"{len(empty) - _SHOWN} more inputs hold no recordings", stacklevel=2)
    check_distinct(items)
    return items


def _items_of(
    path: str, only: bool, recursive: bool, columns: Columns, root: str | os.PathLike[str] | None
) -> Iterator[Item]:
    if not is_url(path) and os.path.isdir(path):
        for name in file_names(path, recursive):
            yield from _file_items(name if only else Path(path, name).as_posix(), os.path.join(path, name))
    elif is_url(path) and (has_wildcard(path) or not _is_file_name(path)):
        for name, url in names_below(path, recursive):
            yield from _file_items(name if only else url, url)
    elif ending_of(path) in MANIFEST_ENDINGS:
        yield from manifest_items(path, columns, None if root is None else as_local(os.fspath(root)))
    elif ending_of(path) == SHARD_ENDING:
        _check_there(path)
        yield from shard_items(path.rsplit("/", 1)[-1] if only else Path(path).as_posix(), path)
    else:
        yield Item(path, path)


def _file_items(key: str, location: str) -> Iterator[Item]:
    """Yield the items of a file in a folder: none if it is neither a recording nor a shard."""
    if is_recording(key):
        yield Item(key, location)
    elif ending_of(key) == SHARD_ENDING:
        yield from shard_items(key, location)


def _is_file_name(url: str) -> bool:
    ending = ending_of(url)
    return ending in MANIFEST_ENDINGS or ending == SHARD_ENDING or is_recording(f"a{ending}")


def _check_there(path: str) -> None:
    if not is_url(path) and not os.path.exists(path):
        raise AudioError(f"{path} does not exist")


def _spelled_out(path: str) -> list[str]:
    """Return the paths that braces and, of files here, wildcards stand for.

    >>> _spelled_out("s3://clips/{train,test}-{08..10}.tar")[2:5]
    ['s3://clips/train-10.tar', 's3://clips/test-08.tar', 's3://clips/test-09.tar']
    """
    if not is_url(path) and os.path.exists(path):
        return [path]
    braces = _BRACES.search(path)
    if braces:
        first, last, names = braces.groups()
        width = len(first or "")
        words = names.split(",") if names else [f"{n:0{width}}" for n in range(int(first), int(last) + 1)]
        return [
            whole for word in words for whole in _spelled_out(f"{path[: braces.start()]}{word}{path[braces.end() :]}")
        ]
    if not is_url(path) and has_wildcard(path):
        return sorted(glob.glob(path, recursive=True)) or [path]
    return [path]


def _nothing_in(path: str, recursive: bool) -> str:
    if ending_of(path) in MANIFEST_ENDINGS:
        return f"{path} names no recordings"
    if ending_of(path) == SHARD_ENDING:
        return f"{path} holds no recordings"
    deeper = "" if recursive else "; folders in it were not searched"
    return f"{path} holds no recordings, and no shards (.tar) of them{deeper}"
