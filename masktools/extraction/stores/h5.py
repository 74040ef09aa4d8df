"""One HDF5 file of datasets; what they are stands in its attributes.

```python
with h5py.File("out.h5") as stored:
    keys, vectors = stored["keys"].asstr()[:], stored["clips"][:]
```
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from masktools.extraction.stores.meta import META, Meta
from masktools.extraction.stores.placing import placed
from masktools.extraction.stores.stored import Stored, missing, not_ours
from masktools.extraction.stores.table import ARRAYS, Layout, Table, blocks, starts_of

__all__ = ["H5Stored", "check", "write"]

_KEYS_AT_ONCE = 4096


def check() -> None:
    """Refuse to begin where the format cannot be written.

    Raises:
        ParameterError: h5py is not installed.
    """
    try:
        import h5py  # noqa: F401
    except ImportError as error:
        raise missing(".h5", "h5py", "h5") from error


def write(path: Path, table: Table, scratch: Path) -> None:
    """Write vectors by way of a scratch folder, holding a small part of them at a time."""
    import h5py

    layout, n = table.layout, len(table.durations_s)
    with placed(path, scratch) as part, h5py.File(part, "w") as file:
        _write_keys(file.create_dataset("keys", (n,), h5py.string_dtype(), track_times=False), table.keys())
        for name in ARRAYS:
            if layout.has(name):
                shape, kind = layout.item(name)
                total = {"clips": n, "tokens": int(table.n_columns.sum())}.get(name, int(table.n_moments.sum()))
                out = file.create_dataset(name, (total, *shape), kind, track_times=False)
                position = 0
                for block in blocks(table.pieces(name)):
                    out[position : position + len(block)] = block
                    position += len(block)
        if layout.frame is not None:
            file.create_dataset("starts", data=starts_of(table.n_moments), track_times=False)
        if layout.n_token_rows is not None:
            file.create_dataset("token_starts", data=starts_of(table.n_columns), track_times=False)
        file.create_dataset("durations_s", data=table.durations_s, track_times=False)
        file.attrs[META] = table.meta.to_json()


def _write_keys(out: Any, keys: Iterator[str]) -> None:
    held: list[str] = []
    position = 0
    for key in keys:
        held.append(key)
        if len(held) == _KEYS_AT_ONCE:
            out[position : position + len(held)] = held
            position += len(held)
            held = []
    if held:
        out[position : position + len(held)] = held


class H5Stored(Stored):
    """Vectors in an HDF5 file."""

    def __init__(self, path: Path) -> None:
        """Open it.

        Raises:
            ParameterError: a file that masktools embed has not written, or h5py is not installed.
        """
        check()
        import h5py

        self.path = path
        try:
            with h5py.File(path, "r") as file:
                self.meta = Meta.from_json(str(file.attrs[META]), path)
                stored: Any = file
                self.durations_s = stored["durations_s"][:]
                none = np.zeros(len(self.durations_s), np.int64)
                self.n_moments = np.diff(stored["starts"][:]) if "starts" in file else none
                self.n_columns = np.diff(stored["token_starts"][:]) if "token_starts" in file else none
                self.layout = Layout(
                    stored["clips"].shape[1:] if "clips" in file else None,
                    stored["frames"].shape[1:] if "frames" in file else None,
                    stored["tokens"].shape[1] if "tokens" in file else None,
                    str(self.meta.settings.get("dtype", "float32")),
                )
        except (OSError, KeyError) as error:
            raise not_ours(path) from error

    def keys(self) -> Iterator[str]:
        """Yield the names of the recordings."""
        import h5py

        with h5py.File(self.path, "r") as file:
            stored: Any = file["keys"]
            for start in range(0, len(self.durations_s), _KEYS_AT_ONCE):
                yield from stored.asstr()[start : start + _KEYS_AT_ONCE]

    def pieces(self, name: str) -> Iterator[np.ndarray]:
        """Yield an array recording by recording."""
        import h5py

        with h5py.File(self.path, "r") as file:
            stored: Any = file[name]
            position = 0
            for count in self.counts(name).tolist():
                yield stored[position : position + count]
                position += count
