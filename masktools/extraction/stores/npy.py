r"""One .npy file of clip vectors, its rows named in OUT.npy.keys.txt, and what they are in OUT.npy.json.

```python
vectors = np.load("out.npy", mmap_mode="r")
keys = open("out.npy.keys.txt", encoding="utf-8").read().split("\n")[:-1]
```
"""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from masktools.errors import ParameterError
from masktools.extraction.stores.meta import META, Meta
from masktools.extraction.stores.npz import array_stream, read_pieces
from masktools.extraction.stores.placing import placed
from masktools.extraction.stores.stored import Stored, not_ours
from masktools.extraction.stores.table import Layout, Table, blocks
from masktools.jsons import parse_json

__all__ = ["NpyStored", "check", "sidecars", "write"]


def sidecars(path: Path) -> tuple[Path, Path]:
    """Return where the names of the rows, and what they are, stand beside a .npy file."""
    return path.with_name(f"{path.name}.keys.txt"), path.with_name(f"{path.name}.json")


def check(frames: bool, tokens: bool, pool: str) -> None:
    """Refuse what such a file cannot hold.

    Raises:
        ParameterError: more than one vector for each recording is wanted, or none.
    """
    if frames or tokens or pool == "none":
        what = "moments" if frames else "tokens" if tokens else "vectors that are not pooled"
        raise ParameterError(f".npy holds one vector for each recording and no {what}: write .npz, .parquet or .h5")


def write(path: Path, table: Table, scratch: Path) -> None:
    """Write vectors by way of a scratch folder, and before them what names them."""
    keys, about = sidecars(path)
    with placed(keys, scratch) as part, part.open("w", encoding="utf-8", newline="\n") as file:
        for key in table.keys():  # noqa: SIM118
            file.write(key.replace("\r", "\\r").replace("\n", "\\n") + "\n")
    with placed(about, scratch) as part:
        said = {META: parse_json(table.meta.to_json()), "durations_s": table.durations_s.tolist()}
        part.write_text(json.dumps(said, sort_keys=True) + "\n", encoding="utf-8")
    shape, kind = table.layout.item("clips")
    with placed(path, scratch) as part, part.open("wb") as file:
        array_stream(file, (len(table.durations_s), *shape), kind, blocks(table.pieces("clips")))


class NpyStored(Stored):
    """Vectors in a .npy file."""

    def __init__(self, path: Path) -> None:
        """Open it and what stands beside it.

        Raises:
            ParameterError: files that masktools embed has not written.
        """
        self.path = path
        keys, about = sidecars(path)
        try:
            said = parse_json(about.read_bytes())
            self.meta = Meta.from_json(json.dumps(said[META]), path)
            self.durations_s = np.array(said["durations_s"], np.float64)
            shape = np.load(path, mmap_mode="r", allow_pickle=False).shape
            self._keys = keys.read_text(encoding="utf-8").split("\n")[:-1]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise not_ours(path) from error
        if not len(self._keys) == len(self.durations_s) == shape[0]:
            raise not_ours(path)
        self.n_moments = self.n_columns = np.zeros(len(self._keys), np.int64)
        self.layout = Layout(shape[1:], None, None, str(self.meta.settings.get("dtype", "float32")))

    def keys(self) -> Iterator[str]:
        """Yield the names of the recordings."""
        yield from self._keys

    def pieces(self, name: str) -> Iterator[np.ndarray]:
        """Yield an array recording by recording."""
        with self.path.open("rb") as file:
            yield from read_pieces(file, self.counts(name))
