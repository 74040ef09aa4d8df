"""The files of a CLAP: its checkpoint found and read without running it, names of weights, tokenizer."""

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from masktools.core.errors import CheckpointError
from masktools.core.jsons import parse_json
from masktools.networks.weights import check_weights, read_weights

# What has no counterpart: losses' and classifiers' heads, the front end that is rebuilt, tables that follow from sizes.
_DROPPED = re.compile(
    r"^(text_transform|audio_transform)\."
    r"|^audio_branch\.(spectrogram_extractor|logmel_extractor|tscam_conv|head)\."
    r"|\.attn_mask$"
)
_AUDIO = (
    (r"^bn0\.", "batch_norm."),
    (r"\.norm1\.", ".layernorm_before."),
    (r"\.norm2\.", ".layernorm_after."),
    (r"\.attn\.proj\.", ".attention.output.dense."),
    (r"\.attn\.", ".attention.self."),
    (r"\.mlp\.fc1\.", ".intermediate.dense."),
    (r"\.mlp\.fc2\.", ".output.dense."),
)
_PROJECTION = re.compile(r"^(text|audio)_projection\.([02])\.")
_LINEAR = {"0": "linear1", "2": "linear2"}
# Buffers that are made from the sizes alone, so that a checkpoint may leave them out.
_REBUILT = ("position_ids", "token_type_ids", "relative_position_index", "num_batches_tracked")


def from_laion(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a state of LAION's code under the names of ``transformers.ClapModel``."""
    renamed: dict[str, Tensor] = {}
    for name, value in state.items():
        if _DROPPED.search(name):
            continue
        ours = _renamed(name)
        if ".qkv." in ours:
            parts = value.chunk(3, dim=0)  # rows: queries, keys, values
            renamed |= {ours.replace(".qkv.", f".{part}."): rows for part, rows in zip(_QKV, parts, strict=True)}
        else:
            renamed[ours] = value
    return renamed


_QKV = ("query", "key", "value")


def _renamed(name: str) -> str:
    branch, _, rest = name.partition(".")
    if branch == "text_branch":
        return f"text_model.{rest}"
    if branch == "audio_branch":
        for pattern, replacement in _AUDIO:
            rest = re.sub(pattern, replacement, rest)
        return f"audio_model.audio_encoder.{rest}"
    return _PROJECTION.sub(lambda found: f"{found[1]}_projection.{_LINEAR[found[2]]}.", name)


def check_keys(state: Mapping[str, Tensor], expected: Mapping[str, Tensor], source: str) -> None:
    """Check that a state is exactly what a model takes; only buffers made from sizes may be missing, or too many.

    Raises:
        CheckpointError: Names are missing or unknown, or shapes differ.
    """
    try:
        check_weights(state, expected, source, "this CLAP", _REBUILT)
    except CheckpointError as error:
        raise CheckpointError(f"{error}. It looks like {describe_layout(state)}") from None


def describe_layout(state: Mapping[str, Tensor]) -> str:
    """Return in words which CLAP the names and shapes look like."""
    names = list(state)
    if any("mel_conv2d" in name or "fusion_model" in name for name in names):
        return "a fusion model (630k-audioset-fusion-best.pt); take 630k-audioset-best.pt"
    patches = [value for name, value in state.items() if name.endswith("patch_embed.proj.weight")]
    if patches:
        width = patches[0].shape[0]
        known = {96: "HTSAT-tiny, the audio side of 630k-audioset-best.pt", 128: "HTSAT-base, a music or speech CLAP"}
        return f"a CLAP with {width} channels ({known.get(width, 'no published size')})"
    if any(name.startswith(("caption_encoder.", "audio_encoder.")) for name in names):
        return "the CLAP of the msclap package, which is another model"
    if any("conv_block" in name for name in names):
        return "a CLAP with the PANN audio side, which is another model"
    return f"no CLAP at all; its first names are {', '.join(names[:4]) or 'none'}"


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
    named = read_weights(weights, "state_dict", "model")
    state = {name.removeprefix("module."): value for name, value in named.items()}  # of data-parallel training
    if any(name.startswith(("audio_branch.", "text_branch.")) for name in state):
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
