"""T5's encoder for models that were trained with it: texts -> sequences of states, from a local folder.

Its weights are not part of a bundle. They are loaded with the first text; a model works without them as long as
no text is given.
"""

import hashlib
import os
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from masktools.core.configs import later
from masktools.core.errors import CheckpointError, ParameterError
from masktools.networks.conditioning.prompts import check_texts

T5_VARIABLE = "MASKTOOLS_T5"
_WEIGHTS = "model.safetensors"


@dataclass(frozen=True)
class T5Config:
    """Settings of a model's T5; the defaults are those of the public models of music."""

    name: str = "t5-base"
    dim: int = 768  # of a state
    # The SHA-256 of model.safetensors, if it was available when the model was converted.
    sha256: str | None = later(None)

    def __post_init__(self) -> None:
        """Check every range."""
        if self.dim < 1 or not self.name.strip():
            raise ParameterError(f"T5 must have a name and a dim of at least 1, got {self.name!r} and {self.dim}")
        if self.sha256 is not None and not re.fullmatch("[0-9a-f]{64}", str(self.sha256)):
            raise ParameterError(f"the sha256 of T5 must be 64 hexadecimal digits, got {self.sha256!r}")

    def noted(self) -> "T5Config":
        """Return the settings with the digest of the T5 in MASKTOOLS_T5; unchanged where that is not set.

        Raises:
            CheckpointError: the folder holds no T5, or another one.
        """
        if not os.environ.get(T5_VARIABLE):
            return self
        DeferredT5(self).text_states(["a"])  # which checks it
        return replace(self, sha256=_digest(Path(os.environ[T5_VARIABLE])))


class DeferredT5:
    """T5's encoder, loaded from the folder in MASKTOOLS_T5 with the first text."""

    def __init__(self, config: T5Config, device: torch.device | str = "cpu") -> None:
        self.config, self.device = config, torch.device(device)
        self._loaded: tuple[Any, Any] | None = None

    @property
    def dim(self) -> int:
        """Size of a state."""
        return self.config.dim

    @torch.no_grad()
    def text_states(self, texts: list[str]) -> Float[Tensor, "b l d"]:
        """Return the last hidden states of each text, zeros behind its end.

        Raises:
            ParameterError: a text is empty.
            CheckpointError: T5 is missing, or is not the one that the model was trained with.
        """
        check_texts(texts)
        tokenizer, model = self._parts()
        read = tokenizer(texts, return_tensors="pt", padding=True)
        given = read["attention_mask"].to(self.device)
        with torch.autocast(self.device.type, enabled=False):
            states = model(input_ids=read["input_ids"].to(self.device), attention_mask=given).last_hidden_state
        return states.float() * given[:, :, None]

    def _parts(self) -> tuple[Any, Any]:
        if self._loaded is None:
            folder = os.environ.get(T5_VARIABLE)
            wanted = f"a folder of transformers with {self.config.name} (config.json, model.safetensors, tokenizer)"
            if not folder or not Path(folder).is_dir():
                named = f"names {folder}, which is no folder" if folder else "is not set"
                raise CheckpointError(f"texts for this model need T5: {T5_VARIABLE} {named}; it must name {wanted}")
            self._loaded = _read(Path(folder), self.config, wanted, self.device)
        return self._loaded


def _digest(folder: Path) -> str:
    with (folder / _WEIGHTS).open("rb") as weights:
        return hashlib.file_digest(weights, "sha256").hexdigest()


def _read(folder: Path, config: T5Config, wanted: str, device: torch.device) -> tuple[Any, Any]:
    try:
        from transformers import AutoTokenizer, T5EncoderModel
    except ImportError as error:
        raise CheckpointError("T5 needs the package transformers: pip install 'masktools[streams]'") from error
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        loaded: Any = T5EncoderModel.from_pretrained(
            folder, local_files_only=True, use_safetensors=True, dtype=torch.float32, output_loading_info=True
        )
        model, told = loaded
    except Exception as error:  # several libraries raise errors of many kinds
        reason = " ".join(str(error).split())[:160]
        raise CheckpointError(f"{folder} must be {wanted}, but it cannot be read: {reason}") from error
    lacking = sorted(told["missing_keys"])
    if lacking:  # transformers would initialise missing weights at random
        raise CheckpointError(
            f"{folder} must be {wanted}, but its weights lack {len(lacking)}: {', '.join(lacking[:3])}"
        )
    if config.sha256 is not None and _digest(folder) != config.sha256:
        raise CheckpointError(
            f"this model reads texts by the {config.name} of SHA-256 {config.sha256[:16]}..., {folder} holds another "
            f"one: name the folder that it was converted with in {T5_VARIABLE}"
        )
    if model.config.d_model != config.dim:
        raise CheckpointError(
            f"this model was trained with {config.name}, whose states have {config.dim} numbers, but those of the T5 "
            f"in {folder} have {model.config.d_model}"
        )
    if len(tokenizer("a")["input_ids"]) < 2 or tokenizer("a")["input_ids"] == tokenizer("rain")["input_ids"]:
        raise CheckpointError(f"{folder} must hold T5's tokenizer, but it tells no texts apart: is a file missing?")
    return tokenizer, model.eval().requires_grad_(False).to(device)
