"""LAION's names of CLAP's weights -> those of ``transformers.ClapModel``; and what a strange layout looks like."""

import re
from collections.abc import Iterable, Mapping

from torch import Tensor

from masktools.errors import CheckpointError

__all__ = ["check_keys", "describe_layout", "from_laion", "is_laion", "without_prefix"]

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


def without_prefix(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the state without the ``module.`` that data-parallel training puts before each name."""
    return {name.removeprefix("module."): value for name, value in state.items()}


def is_laion(names: Iterable[str]) -> bool:
    """Whether names are those of LAION's code."""
    return any(name.startswith(("audio_branch.", "text_branch.")) for name in names)


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
    missing = [name for name in expected if name not in state and not name.endswith(_REBUILT)]
    unknown = [name for name in state if name not in expected and not name.endswith(_REBUILT)]
    shaped = [
        f"{name} {tuple(value.shape)} instead of {tuple(expected[name].shape)}"
        for name, value in state.items()
        if name in expected and value.shape != expected[name].shape
    ]
    faults = [
        f"{len(names)} {what}: {', '.join(names[:4])}{', ...' if len(names) > 4 else ''}"
        for what, names in (("missing", missing), ("unknown", unknown), ("of another shape", shaped))
        if names
    ]
    if faults:
        raise CheckpointError(f"{source} does not fit: {'; '.join(faults)}. It looks like {describe_layout(state)}")


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
