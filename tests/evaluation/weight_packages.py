"""Weights in the formats of the packages, small and random: a checkpoint of TensorFlow, and one of torch."""

import struct
import zipfile
from pathlib import Path

import numpy as np
import torch

from masktools.evaluation.pretrained import AisfxNetwork

MAGIC = 0xDB4775248B80FB57
TYPES = {"float32": 1, "int32": 3, "int64": 9, "bool": 10}


def varint(value: int) -> bytes:
    content = b""
    while value > 127:
        content, value = content + bytes([value & 127 | 128]), value >> 7
    return content + bytes([value])


def field(number: int, value: int | bytes) -> bytes:
    if isinstance(value, bytes):
        return varint(number << 3 | 2) + varint(len(value)) + value
    return varint(number << 3) + varint(value)


def block(entries: list[tuple[bytes, bytes]], every: int = 16) -> bytes:
    """A block of LevelDB: each key without what it shares with the one before, whole ones at the restarts."""
    content, restarts, before = b"", [], b""
    for number, (key, value) in enumerate(entries):
        shared = 0
        if number % every == 0:
            restarts.append(len(content))
        else:
            while shared < min(len(key), len(before)) and key[shared] == before[shared]:
                shared += 1
        content += varint(shared) + varint(len(key) - shared) + varint(len(value)) + key[shared:] + value
        before = key
    return content + struct.pack(f"<{len(restarts) + 1}I", *restarts, len(restarts))


def tf_checkpoint(tensors: dict[str, np.ndarray], n_a_block: int = 20) -> tuple[bytes, bytes]:
    """The index and the data of a checkpoint in one part."""
    data, entries = b"", [(b"", field(1, 1))]
    for name, value in sorted(tensors.items()):
        shape = b"".join(field(2, field(1, size)) for size in value.shape)
        raw = np.ascontiguousarray(value).tobytes()
        entry = field(1, TYPES[str(value.dtype)]) + field(2, shape) + field(4, len(data)) + field(5, len(raw))
        entries.append((name.encode(), entry + varint(6 << 3 | 5) + b"\1\2\3\4"))  # the last is a check sum
        data += raw
    index, handles = b"", []
    for start in range(0, len(entries), n_a_block):
        part = block(entries[start : start + n_a_block])
        handles.append((entries[start : start + n_a_block][-1][0], varint(len(index)) + varint(len(part))))
        index += part + b"\0" + b"crc "
    places = []
    for part in (block([]), block(handles, every=1)):  # of metadata, and of the index
        places.append(varint(len(index)) + varint(len(part)))
        index += part + b"\0" + b"crc "
    footer = b"".join(places)
    return index + footer.ljust(40, b"\0") + struct.pack("<Q", MAGIC), data


def musicnn_tensors(seed: int = 0, n_timbral: int = 4, n_temporal: int = 3, width: int = 6, dim: int = 5):
    """The tensors of a small musicnn, with an optimiser's beside them."""
    rng = np.random.default_rng(seed)
    n_front = 2 * n_timbral + 3 * n_temporal
    n_pooled = 2 * (n_front + 3 * width)
    kernels = [(7, 38, 1, n_timbral), (7, 67, 1, n_timbral), *((n, 1, 1, n_temporal) for n in (128, 64, 32))]
    kernels += [(7, n_front, 1, width), (7, width, 1, width), (7, width, 1, width)]
    tensors = {"beta1_power": np.float32(0.9).reshape(())}
    for number, shape in enumerate(kernels):
        name = f"conv2d_{number}" if number else "conv2d"
        tensors[f"{name}/kernel"] = 0.1 * rng.standard_normal(shape)
        tensors[f"{name}/bias"] = 0.1 * rng.standard_normal(shape[-1])
        tensors[f"{name}/kernel/Adam"] = np.zeros(shape)
    for name, shape in (("dense", (n_pooled, dim)), ("dense_1", (dim, 7))):
        tensors[f"{name}/kernel"], tensors[f"{name}/bias"] = rng.standard_normal(shape), rng.standard_normal(shape[1])
    widths = [1, *(shape[-1] for shape in kernels), n_pooled, dim]
    for number, n in enumerate(widths):
        name = f"batch_normalization_{number}" if number else "batch_normalization"
        for part in ("gamma", "moving_variance"):
            tensors[f"{name}/{part}"] = rng.uniform(0.5, 1.5, n)
        for part in ("beta", "moving_mean"):
            tensors[f"{name}/{part}"] = rng.standard_normal(n)
    return {name: value.astype(np.float32) for name, value in tensors.items()} | {"step": np.array([7, 8], np.int32)}


def write_musicnn(folder: Path, **sizes: int) -> Path:
    """Write the package's folder."""
    place = folder / "musicnn" / "MSD_musicnn"
    place.mkdir(parents=True)
    index, data = tf_checkpoint(musicnn_tensors(**sizes))
    (place / ".index").write_bytes(index)
    (place / ".data-00000-of-00001").write_bytes(data)
    return place.parent


def write_aisfx(folder: Path, width: int = 2) -> Path:
    """Write the package's folder; the checkpoint is a pair, and holds numbers of numpy, as the published one does."""
    torch.manual_seed(0)
    state = {f"embedding_net.{name}": value for name, value in AisfxNetwork(width).state_dict().items()}
    state["classifier.weight"] = torch.zeros(3, 8 * width)
    place = folder / "aisfx" / "models"
    place.mkdir(parents=True)
    torch.save((state, {"library": np.int64(3)}), place / "checkpoint.pth")
    return place.parent


def as_wheel(package: Path) -> Path:
    """Pack a package's folder as pip would get it."""
    wheel = package.with_name(f"{package.name}-0.1-py3-none-any.whl")
    with zipfile.ZipFile(wheel, "w") as archive:
        for file in sorted(package.rglob("*")):
            if file.is_file():
                archive.write(file, file.relative_to(package.parent).as_posix())
    return wheel
