"""The files of a CLAP: where its checkpoint is looked for, how it is read without running it, and its tokenizer."""

import os
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from masktools.conditioning.clap_keys import from_laion, is_laion, without_prefix
from masktools.errors import CheckpointError
from masktools.jsons import parse_json

__all__ = ["ENVIRONMENT_VARIABLE", "ClapTokenizer", "find_checkpoint", "read_checkpoint", "restricted_load"]

ENVIRONMENT_VARIABLE = "MASKTOOLS_CLAP"
_FORMS = (
    "LAION's 630k-audioset-best.pt, a .safetensors file of it, or a folder of transformers "
    "(config.json and model.safetensors)"
)
_WITHOUT = (
    "Only models conditioned on CLAP need it: inpaint, bwe, embed, encode and decode work without it, and the bundled "
    "model reads texts by itself"
)
_WEIGHTS = ("model.safetensors", "pytorch_model.bin")
_PROBES = ("a dog barking", "rain")


def find_checkpoint(path: str | os.PathLike[str] | None) -> Path:
    """Return the checkpoint that is asked for by path or by the environment variable MASKTOOLS_CLAP.

    Raises:
        CheckpointError: Neither names a file or a folder that exists.
    """
    asked = path or os.environ.get(ENVIRONMENT_VARIABLE)
    if not asked:
        raise CheckpointError(
            f"no CLAP checkpoint: no path is given and {ENVIRONMENT_VARIABLE} is not set. Give {_FORMS}. {_WITHOUT}"
        )
    source = Path(asked).expanduser()
    if not source.exists():
        named = "" if path else f", named by {ENVIRONMENT_VARIABLE},"
        raise CheckpointError(
            f"no CLAP checkpoint at {source.absolute()}{named}: give {_FORMS}, by path or in {ENVIRONMENT_VARIABLE}. "
            f"{_WITHOUT}"
        )
    return source


def read_checkpoint(source: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the weights under the names of transformers, and the architecture that lies beside them (or none).

    Raises:
        CheckpointError: The file is unsafe to read, damaged, or of no known form.
    """
    weights, settings = source, source.parent / "config.json"
    if source.is_dir():
        settings = source / "config.json"
        found = [source / name for name in _WEIGHTS if (source / name).is_file()]
        if not found or not settings.is_file():
            raise CheckpointError(f"the folder {source} must hold config.json and {_WEIGHTS[0]}: give {_FORMS}")
        weights = found[0]
    state = without_prefix(_tensors(weights))
    if is_laion(state):
        return from_laion(state), {}
    return state, _architecture(settings) if settings.is_file() else {}


def _architecture(settings: Path) -> dict[str, Any]:
    try:
        content = parse_json(settings.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise CheckpointError(f"{settings} cannot be read as JSON: {error}") from error
    if not isinstance(content, dict) or content.get("model_type") != "clap":
        raise CheckpointError(f"{settings} must describe a model of type 'clap': give {_FORMS}")
    return content


def _tensors(weights: Path) -> dict[str, Tensor]:
    """Return the named tensors of a .safetensors file or of a checkpoint of torch."""
    if weights.suffix == ".safetensors":
        try:
            return load_file(weights)
        except (SafetensorError, OSError) as error:
            raise CheckpointError(f"{weights} cannot be read as safetensors: {error}") from error
    content = restricted_load(weights, weights)
    for key in ("state_dict", "model"):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    if not isinstance(content, dict):
        raise CheckpointError(f"{weights} must hold named tensors, got {type(content).__name__}: give {_FORMS}")
    return {str(name): value for name, value in content.items() if isinstance(value, Tensor)}


def restricted_load(weights: Path, file: Path | BytesIO) -> object:
    """Return the content of a checkpoint of torch, tensors and plain numbers only; nothing in it is executed.

    Args:
        weights: what it is called where it cannot be read.
        file: the checkpoint, open or to be opened.

    Raises:
        CheckpointError: it is damaged, or holds other objects.
    """
    scalar = np.float64(0).__reduce__()[0]  # how numpy's numbers are rebuilt; LAION's trainer logged some
    allowed: list[Any] = [(scalar, "numpy.core.multiarray.scalar"), scalar, np.dtype]
    allowed += [type(np.dtype(kind)) for kind in ("float64", "float32", "int64", "int32", "bool")]
    try:
        with torch.serialization.safe_globals(allowed):
            return torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # of many kinds: a zip, a pickle, or a text that is none
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise CheckpointError(
            f"{weights} cannot be read without running code that may hide in it ({reason[:160]}). If you trust its "
            f"source, save its 'state_dict' with safetensors in an environment of its own, and give that file"
        ) from error


class ClapTokenizer:
    """RoBERTa's byte-level splitting, from files: texts -> token indices and what of them is text.

    Raises:
        CheckpointError: The vocabulary is not of the size that the weights were trained for, or it does not tell
            texts apart.
    """

    def __init__(self, folder: Path, n_pieces: int, n_text_tokens: int) -> None:
        self._tokenizer = _open_tokenizer(folder)
        size = self._tokenizer.get_vocab_size(with_added_tokens=True)
        if size != n_pieces:
            raise CheckpointError(f"the tokenizer of CLAP must have {n_pieces} pieces, got {size} in {folder}")
        ids = {piece: self._tokenizer.token_to_id(piece) for piece in ("<s>", "</s>", "<pad>")}
        lacking = [piece for piece, index in ids.items() if index is None]
        if lacking:
            raise CheckpointError(f"the tokenizer in {folder} lacks {', '.join(lacking)}: take RoBERTa's")
        self._start, self._end, self._pad = ids.values()
        self._length = n_text_tokens
        first, second = self(_PROBES)[0]
        if torch.equal(first, second):
            raise CheckpointError(f"the tokenizer in {folder} gives {_PROBES[0]!r} and {_PROBES[1]!r} the same tokens")

    @staticmethod
    def find(place: str | os.PathLike[str], required: bool) -> Path | None:
        """Return the tokenizer's file or folder at or beside ``place``; None where there is none and none is required.

        Raises:
            CheckpointError: One is required and there is none.
        """
        start = Path(place).expanduser()
        if start.name == "tokenizer.json" and start.is_file():
            return start
        folder = start if start.is_dir() else start.parent
        if (folder / "tokenizer.json").is_file():
            return folder / "tokenizer.json"
        if (folder / "vocab.json").is_file() and (folder / "merges.txt").is_file():
            return folder
        if required:
            wanted = "tokenizer.json, or a folder with vocab.json and merges.txt"
            raise CheckpointError(f"no tokenizer of CLAP at {start}: it must be {wanted}")
        return None

    def __call__(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Return token indices (b, n) and the attention to them (b, n), both int64, padded to one length always."""
        bodies = [self._tokenizer.encode(text, add_special_tokens=False).ids[: self._length - 2] for text in texts]
        rows = [[self._start, *body, self._end] for body in bodies]
        ids = [row + [self._pad] * (self._length - len(row)) for row in rows]
        attention = [[int(i < len(row)) for i in range(self._length)] for row in rows]
        return torch.tensor(ids), torch.tensor(attention)


def _open_tokenizer(place: Path) -> Any:
    try:
        from tokenizers import Tokenizer, models, pre_tokenizers
    except ImportError as error:
        raise CheckpointError("texts for CLAP need the package tokenizers: pip install 'masktools[clap]'") from error
    try:
        if place.name == "tokenizer.json":
            return Tokenizer.from_file(str(place))
        tokenizer = Tokenizer(models.BPE.from_file(str(place / "vocab.json"), str(place / "merges.txt")))
    except Exception as error:  # the package raises Exception itself
        raise CheckpointError(f"the tokenizer in {place} cannot be read: {error}") from error
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    return tokenizer
