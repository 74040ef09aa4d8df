"""Whether parts are of one model."""

from collections.abc import Mapping
from typing import Any

from masktools.conditioning import Conditioner
from masktools.errors import BundleError, MelMismatchError
from masktools.mel import MelConfig, differing_fields
from masktools.transformer import MaskedTransformer

__all__ = ["check_fit", "check_mel_settings", "check_same"]


def check_mel_settings(ours: MelConfig, parts: Mapping[str, MelConfig]) -> None:
    """Refuse parts that were made for other mel settings.

    Raises:
        MelMismatchError: the message names the part and each field that differs, with both values.
    """
    for name, theirs in parts.items():
        fields = differing_fields(ours, theirs)
        if fields:
            listed = ", ".join(f"{field} {mine:g} and {other:g}" for field, (mine, other) in fields.items())
            raise MelMismatchError(
                f"parts must be made for the same mel settings, but the model and its {name} differ in {listed}: "
                f"take a {name} that was trained with the model's settings"
            )


def check_fit(
    mel: MelConfig, tokenizer: Any, transformer: MaskedTransformer, vocoder: Any, conditioner: Conditioner | None
) -> None:
    """Refuse parts that are not of one model.

    Raises:
        MelMismatchError: the vocoder was made for other mel settings.
        BundleError: sizes that must be the same are not.
    """
    check_mel_settings(mel, {"vocoder": vocoder.mel_config})
    config = transformer.config
    pairs = {
        "the tokenizer's mel bins and the model's": (tokenizer.n_rows * tokenizer.patch, mel.n_mels),
        "the codes of the tokenizer and of the transformer": (tokenizer.n_codes, config.n_codes),
        "the token rows of the tokenizer and of the transformer": (tokenizer.n_rows, config.n_rows),
    }
    if conditioner is not None:
        sizes = (conditioner.dim, config.condition_dim)
        pairs["the embeddings of the conditioner and those the transformer reads"] = sizes
    check_same(pairs)


def check_same(pairs: Mapping[str, tuple[int, int]]) -> None:
    """Refuse sizes that must be the same and are not; each pair is named by what it is the size of.

    Raises:
        BundleError: the message names the first that differ, with both values.
    """
    for what, (left, right) in pairs.items():
        if left != right:
            raise BundleError(f"{what} must be of one number, got {left} and {right}: these parts are of two models")
