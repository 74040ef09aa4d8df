"""What is wanted of each recording, and the fingerprint that tells vectors of one kind from those of another."""

import hashlib
import json
from dataclasses import dataclass
from math import isfinite
from typing import Any

from masktools.configs import to_dict
from masktools.errors import ParameterError, unknown_name

__all__ = ["DTYPES", "ExtractionSettings"]

DTYPES = ("float32", "float16")
LAYER_WORDS = ("last", "mean", "all")


@dataclass(frozen=True)
class ExtractionSettings:
    """What is computed of a recording; ``Encoder.encode`` says what each word means."""

    layer: int | str | tuple[int, ...] | tuple[float, ...] = "last"
    """A number; last, mean or all; several numbers; or as many weights (numbers with a point) as there are layers."""
    pool: str = "mean"
    hop_s: float | None = None
    """Seconds between moments; the model's own where it is None."""
    frames: bool = False
    tokens: bool = False
    prefix: str | tuple[float, ...] = "learned"
    """learned; condition, or clap, which is the same; or a vector."""
    dtype: str = "float32"
    """Of the stored vectors."""

    def __post_init__(self) -> None:
        """Check what can be checked without a model."""
        if isinstance(self.layer, str) and self.layer not in LAYER_WORDS:
            raise unknown_name("layer", self.layer, (*LAYER_WORDS, "a number", "numbers with commas"))
        for name in ("layer", "prefix"):
            value = getattr(self, name)
            if isinstance(value, tuple) and (not value or not all(isfinite(number) for number in value)):
                raise ParameterError(f"{name} must hold one finite number at least, got {value}")
        if self.hop_s is not None and not (isfinite(self.hop_s) and self.hop_s > 0):
            raise ParameterError(f"hop_s must be above 0 s, got {self.hop_s:g} s")
        if self.dtype not in DTYPES:
            raise unknown_name("dtype", self.dtype, DTYPES)

    def to_json(self) -> dict[str, Any]:
        """Return the settings as JSON has them."""
        return to_dict(self)

    def fingerprint(self, encoder_identity: str) -> str:
        """Return the SHA-256, in hexadecimal, of the model and these settings: the same on every machine."""
        text = json.dumps({"encoder": encoder_identity, "settings": self.to_json()}, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()
