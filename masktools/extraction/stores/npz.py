"""One .npz file, written array by array as it comes, and byte for byte the same for the same vectors.

```python
with np.load("out.npz") as stored:
    keys, vectors = stored["keys"], stored["clips"]
```
"""

import zipfile
from collections.abc import Iterable, Iterator, Mapping
from io import BufferedIOBase, BufferedReader, RawIOBase
from pathlib import Path
from typing import cast

import numpy as np

from masktools.extraction.stores.meta import META, Meta
from masktools.extraction.stores.placing import placed
from masktools.extraction.stores.stored import Stored, not_ours
from masktools.extraction.stores.table import ARRAYS, Layout, Table, blocks, starts_of

__all__ = ["NpzStored", "array_stream", "write", "write_array", "write_arrays"]

_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest that a .zip file can hold: when it was written is nobody's business


def write(path: Path, table: Table, scratch: Path) -> None:
    """Write vectors by way of a scratch folder, holding a small part of them at a time."""
    layout, n = table.layout, len(table.durations_s)
    with placed(path, scratch) as part, zipfile.ZipFile(part, "w", allowZip64=True) as file:
        longest = max((len(key) for key in table.keys()), default=0)  # noqa: SIM118
        _keys(file, table.keys(), n, max(1, longest))
        for name in ARRAYS:
            if layout.has(name):
                shape, kind = layout.item(name)
                total = {"clips": n, "tokens": int(table.n_columns.sum())}.get(name, int(table.n_moments.sum()))
                write_array(file, name, (total, *shape), kind, blocks(table.pieces(name)))
        if layout.frame is not None:
            write_arrays(file, {"starts": starts_of(table.n_moments)})
        if layout.n_token_rows is not None:
            write_arrays(file, {"token_starts": starts_of(table.n_columns)})
        write_arrays(file, {"durations_s": table.durations_s, META: np.array(table.meta.to_json())})


def write_arrays(file: zipfile.ZipFile, arrays: Mapping[str, np.ndarray]) -> None:
    """Write whole arrays into an .npz file."""
    for name, array in arrays.items():
        write_array(file, name, array.shape, array.dtype, [array])


def write_array(
    file: zipfile.ZipFile,
    name: str,
    shape: tuple[int, ...],
    kind: np.dtype,
    pieces: Iterable[np.ndarray],
    compressed: bool = False,
) -> None:
    """Write one array into an .npz file, piece by piece along its first axis."""
    member = zipfile.ZipInfo(f"{name}.npy", date_time=_EPOCH)
    member.compress_type = zipfile.ZIP_DEFLATED if compressed else zipfile.ZIP_STORED
    with file.open(member, "w", force_zip64=True) as out:
        array_stream(cast(BufferedIOBase, out), shape, kind, pieces)


def array_stream(out: BufferedIOBase, shape: tuple[int, ...], kind: np.dtype, pieces: Iterable[np.ndarray]) -> None:
    """Write one array as a .npy file, piece by piece along its first axis."""
    header = {"descr": np.lib.format.dtype_to_descr(kind), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_2_0(out, header)
    for piece in pieces:
        out.write(np.ascontiguousarray(piece, kind).tobytes())


def _keys(file: zipfile.ZipFile, keys: Iterator[str], n: int, longest: int) -> None:
    kind = np.dtype(f"<U{longest}")
    write_array(file, "keys", (n,), kind, (np.array([key], kind) for key in keys), compressed=True)


class NpzStored(Stored):
    """Vectors in an .npz file."""

    def __init__(self, path: Path) -> None:
        """Open it.

        Raises:
            ParameterError: a file that masktools embed has not written.
        """
        self.path = path
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
                names = set(stored.files)
                self.meta = Meta.from_json(str(stored[META]), path)
                self.durations_s = stored["durations_s"]
                none = np.zeros(len(self.durations_s), np.int64)
                self.n_moments = np.diff(stored["starts"]) if "starts" in names else none
                self.n_columns = np.diff(stored["token_starts"]) if "token_starts" in names else none
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise not_ours(path) from error
        shapes = {name: self._header(name) for name in ("clips", "frames", "tokens") if name in names}
        self.layout = Layout(
            shapes["clips"][0][1:] if "clips" in shapes else None,
            shapes["frames"][0][1:] if "frames" in shapes else None,
            shapes["tokens"][0][1] if "tokens" in shapes else None,
            str(self.meta.settings.get("dtype", "float32")),
        )

    def _header(self, name: str) -> tuple[tuple[int, ...], np.dtype]:
        with zipfile.ZipFile(self.path) as file, file.open(f"{name}.npy") as member:
            return _read_header(cast(BufferedIOBase, member))

    def keys(self) -> Iterator[str]:
        """Yield the names of the recordings."""
        for piece in self._read("keys", np.ones(len(self.durations_s), np.int64)):
            yield str(piece[0])

    def pieces(self, name: str) -> Iterator[np.ndarray]:
        """Yield an array recording by recording."""
        return self._read(name, self.counts(name))

    def _read(self, name: str, counts: np.ndarray) -> Iterator[np.ndarray]:
        with zipfile.ZipFile(self.path) as file, file.open(f"{name}.npy") as member:
            yield from read_pieces(cast(BufferedIOBase, member), counts)


def read_pieces(file: BufferedIOBase, counts: np.ndarray) -> Iterator[np.ndarray]:
    """Yield so many entries of the array in a .npy file, then so many, and so on."""
    shape, kind = _read_header(file)
    entry = int(np.prod(shape[1:], dtype=np.int64)) * kind.itemsize
    buffered = BufferedReader(cast(RawIOBase, file), 1 << 20)
    for count in counts.tolist():
        yield np.frombuffer(buffered.read(count * entry), kind).reshape(count, *shape[1:])
    buffered.detach()


def _read_header(file: BufferedIOBase) -> tuple[tuple[int, ...], np.dtype]:
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, kind = read(file)
    return shape, kind
