"""Digests of what a command wrote: exact ones, and for sounds and arrays figures that say how far two are apart.

What differs between two runs of the same code (times, speeds, paths, versions) is left out of them.
"""

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

__all__ = ["digest_array", "digest_file", "digest_text"]

_FLEETING = re.compile(
    r"(seconds|elapsed|took|time|_s$|date|started|finished|version|rtf|real_time|speed|memory|peak_mb|rss|host|machine|cpu|pid|path|file|folder|digest|sha)",
    re.IGNORECASE,
)
_LASTING = {"start_s", "end_s", "stop_s", "length_s", "duration_s", "hop_s", "gaps_s", "context_s", "time_s"}
_LOSSY = {"OGG", "MP3"}
_NUMBERS = re.compile(r"\d+(\.\d+)?( ?(s|ms|min|h|MB|GB|x)\b| times)")


def digest_file(path: Path, folder: Path) -> dict[str, Any]:
    """Return the digest of one file that lies in ``folder``."""
    readers = {
        ".json": _json,
        ".jsonl": _json_lines,
        ".npz": _arrays,
        ".npy": _arrays,
        ".safetensors": _tensors,
        ".ckpt": _checkpoint,
        ".parquet": _parquet,
        ".h5": _h5,
        ".png": _picture,
    }
    if path.suffix in readers:
        return readers[path.suffix](path, folder)
    if path.suffix in (".wav", ".flac", ".ogg", ".opus", ".mp3", ".aiff"):
        return _sound(path)
    try:
        return {"text": digest_text(path.read_text(encoding="utf-8"), folder)}
    except UnicodeDecodeError:
        return {"bytes": hashlib.sha256(path.read_bytes()).hexdigest()[:16]}


def digest_text(text: str, folder: Path) -> str:
    """Return a digest of a text without its times, speeds, versions and paths."""
    text = text.replace(str(folder), "FOLDER")
    text = re.sub(r"data:[a-z]+/[a-z-]+;base64,[A-Za-z0-9+/=]+", "DATA", text)
    text = re.sub(r"\d+\.\d+\.\d+(\.dev\d+)?|\d{4}-\d\d-\d\d|\d+:\d\d(:\d\d)?", "WHEN", text)
    return hashlib.sha256(_NUMBERS.sub("N", text).encode()).hexdigest()[:16]


def digest_array(values: np.ndarray) -> dict[str, Any]:
    """Return the digest of an array, with its shape, type, mean and root mean square."""
    values = np.ascontiguousarray(values)
    about: dict[str, Any] = {
        "shape": list(values.shape),
        "dtype": str(values.dtype),
        "exact": hashlib.sha256(values.tobytes()).hexdigest()[:16],
    }
    if values.size and np.issubdtype(values.dtype, np.number):
        finite = np.nan_to_num(values.astype(np.float64))
        about |= {"mean": float(f"{finite.mean():.5g}"), "rms": float(f"{np.sqrt((finite**2).mean()):.5g}")}
    return about


def _sound(path: Path) -> dict[str, Any]:
    try:
        info = soundfile.info(path)
        samples, _ = soundfile.read(path, dtype="float32", always_2d=True)
    except soundfile.LibsndfileError:
        return {"bytes": hashlib.sha256(path.read_bytes()).hexdigest()[:16]}
    about = {"format": f"{info.format} {info.subtype} {info.samplerate} Hz"} | digest_array(samples)
    if info.format not in _LOSSY and info.subtype not in (
        "FLOAT",
        "DOUBLE",
    ):  # numbered by chance; stamped with the time
        about["bytes"] = hashlib.sha256(path.read_bytes()).hexdigest()[:16]
    return about


def _lasting(value: Any, folder: Path) -> Any:
    if isinstance(value, dict):
        kept = {k: v for k, v in value.items() if k in _LASTING or not _FLEETING.search(k)}
        return {key: _lasting(item, folder) for key, item in sorted(kept.items())}
    if isinstance(value, list):
        return [_lasting(item, folder) for item in value]
    return value.replace(str(folder), "FOLDER") if isinstance(value, str) else value


def _json(path: Path, folder: Path) -> dict[str, Any]:
    lasting = json.dumps(_lasting(json.loads(path.read_text(encoding="utf-8")), folder), sort_keys=True)
    return {"json": digest_text(lasting, folder), "length": len(lasting)}


def _json_lines(path: Path, folder: Path) -> dict[str, Any]:
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    return {"json": digest_text(json.dumps(_lasting(lines, folder), sort_keys=True), folder), "length": len(lines)}


def _arrays(path: Path, _: Path) -> dict[str, Any]:
    stored = np.load(path, allow_pickle=False)
    if isinstance(stored, np.ndarray):
        return digest_array(stored)
    return {name: digest_array(stored[name]) for name in sorted(stored.files)}


def _tensors(path: Path, _: Path) -> dict[str, Any]:
    from safetensors.numpy import load_file

    return {name: digest_array(values)["exact"] for name, values in sorted(load_file(path).items())}


def _checkpoint(path: Path, _: Path) -> dict[str, Any]:
    import torch

    state = torch.load(path, map_location="cpu", weights_only=True)["state_dict"]
    return {name: digest_array(values.numpy())["exact"] for name, values in sorted(state.items())}


def _parquet(path: Path, folder: Path) -> dict[str, Any]:
    import pyarrow.parquet

    rows = pyarrow.parquet.read_table(path).to_pylist()
    return {"rows": len(rows), "json": digest_text(json.dumps(_lasting(rows, folder), default=str), folder)}


def _h5(path: Path, _: Path) -> dict[str, Any]:
    import h5py

    found: dict[str, Any] = {}

    def note(name: str, node: Any) -> None:
        if isinstance(node, h5py.Dataset):
            values = np.asarray(node[()])
            found[name] = digest_array(values) if values.dtype != object else {"shape": list(values.shape)}

    with h5py.File(path) as file:
        file.visititems(note)
    return found


def _picture(path: Path, _: Path) -> dict[str, Any]:
    from matplotlib.image import imread

    return digest_array(imread(path))
