"""What stored vectors are: which model made them, with which settings, of which recordings."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from masktools.errors import ParameterError
from masktools.jsons import parse_json

__all__ = ["META", "Meta", "keys_hash"]

META = "masktools"
"""The name under which it is stored."""

_FORMAT = 1


@dataclass(frozen=True)
class Meta:
    """What is stored with vectors, as JSON; vectors of another fingerprint or of other items are not added to them."""

    fingerprint: str  # SHA-256 of the model and the settings
    settings: Mapping[str, Any]
    items: str  # SHA-256 of the list of recordings, of all shards
    n_items: int  # recordings that belong here, those that failed among them
    model: str = ""  # its name, for people
    shard: tuple[int, int] | None = None  # which of how many
    n_failed: int = 0
    format: int = _FORMAT

    def to_json(self) -> str:
        """Return it as one line."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str | bytes, where: object) -> "Meta":
        """Return what ``to_json`` wrote.

        Raises:
            ParameterError: something else.
        """
        try:
            read = parse_json(text)
            shard = read.pop("shard")
            meta = cls(**read, shard=None if shard is None else (int(shard[0]), int(shard[1])))
        except (ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
            raise ParameterError(f"{where} must be what masktools embed has written: it says nothing of a model") from (
                error
            )
        if meta.format != _FORMAT:
            raise ParameterError(f"{where} must be of format {_FORMAT}, got {meta.format}: it takes another masktools")
        return meta

    def difference(self, other: "Meta") -> str | None:
        """Return in words what another one has else, or None."""
        if self.fingerprint != other.fingerprint:
            names = sorted({*self.settings, *other.settings})
            pairs = [(name, self.settings.get(name), other.settings.get(name)) for name in names]
            named = [f"{name} {_shown(mine)}, now {_shown(theirs)}" for name, mine, theirs in pairs if mine != theirs]
            if named:
                return f"other settings ({'; '.join(named)})"
            if self.model != other.model:
                return f"another model ({self.model}, now {other.model})"
            return "other weights, or in another precision"
        if self.shard != other.shard:
            return f"another shard ({_shard(self.shard)}, now {_shard(other.shard)})"
        if (self.items, self.n_items) != (other.items, other.n_items):
            return f"other recordings ({self.n_items}, now {other.n_items}; their names, places or order)"
        return None


def keys_hash(keys: Iterable[str]) -> str:
    """Return the SHA-256, in hexadecimal, of a list of names, in their order."""
    digest = hashlib.sha256()
    for key in keys:
        digest.update(key.encode("utf-8", "surrogateescape") + b"\0")
    return digest.hexdigest()


def _shown(value: Any) -> str:
    text = json.dumps(value).strip('"')
    return text if len(text) <= 40 else f"{text[:37]}..."


def _shard(shard: tuple[int, int] | None) -> str:
    return "none" if shard is None else f"{shard[0]}/{shard[1]}"
