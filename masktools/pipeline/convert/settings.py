"""Settings beside foreign weights, read one by one with their types checked; exported files; parts counted by name."""

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from masktools.core.errors import CheckpointError, ParameterError
from masktools.core.jsons import parse_json
from masktools.networks.weights import restricted_load

_REFERENCE = re.compile(r"\$\{([A-Za-z0-9_.]+)\}")
_MISSING = "???"  # a value that a configuration leaves open
_MAX_DEPTH = 8  # of references to references


def read_exported(path: Path) -> dict[str, Any]:
    """Return what an exported file holds: weights, settings as a text, and what they are of; no code is run.

    Raises:
        CheckpointError: it is missing, damaged, or holds Python objects.
    """
    if not path.is_file():
        raise CheckpointError(f"{path} must be an exported checkpoint, but there is no such file")
    content = restricted_load(path, remedy="Take the exported file that is published, or export it anew")
    if not isinstance(content, Mapping):
        raise CheckpointError(f"{path} must hold named entries, got {type(content).__name__}")
    return dict(content)


def count_parts(names: Iterable[str], prefix: str) -> int:
    """Return how many parts follow a prefix, counted by their numbers."""
    return len({name.removeprefix(prefix).split(".")[0] for name in names if name.startswith(prefix)})


def yaml_settings(text: Any, path: Path) -> "ForeignSettings":
    """Return the settings in a text of YAML, of an exported file.

    Raises:
        CheckpointError: it is none, or the package pyyaml is missing.
    """
    if not isinstance(text, str):
        raise CheckpointError(f"{path} must have its settings as a text in 'xp.cfg', got {type(text).__name__}")
    try:
        import yaml
    except ImportError as error:
        raise CheckpointError("settings of audiocraft need pyyaml: pip install 'masktools[streams]'") from error
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise CheckpointError(f"{path} must have its settings as YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} must have named settings in 'xp.cfg', got {type(content).__name__}")
    return ForeignSettings(content, path)


def json_settings(path: Path) -> "ForeignSettings":
    """Return the settings in a config.json.

    Raises:
        CheckpointError: there is none, or it is no JSON.
    """
    if not path.is_file():
        raise CheckpointError(f"the config.json of the checkpoint must be given, but there is no file {path}")
    try:
        content = parse_json(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise CheckpointError(f"{path} must be JSON: {error}") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} must hold a JSON object, got {type(content).__name__}")
    return ForeignSettings(content, path)


class ForeignSettings:
    """Settings of another project, read one by one with their types checked."""

    def __init__(self, content: dict[str, Any], path: Path) -> None:
        self._content, self.path = content, path

    def get(self, key: str, default: Any = None) -> Any:
        """Return the value at a key such as ``rvq.n_q``, the default where there is none.

        Raises:
            CheckpointError: it refers to a value that there is not.
        """
        value: Any = self._content
        for name in key.split("."):
            if not isinstance(value, Mapping) or name not in value:
                return default
            value = value[name]
        value = self._followed(value, key)
        return default if value is None or value == _MISSING else value

    def _followed(self, value: Any, key: str) -> Any:
        for _ in range(_MAX_DEPTH):
            found = _REFERENCE.fullmatch(value) if isinstance(value, str) else None
            if found is None:
                return value
            value = self._content
            for name in found[1].split("."):
                if not isinstance(value, Mapping) or name not in value:
                    raise CheckpointError(f"{self.path}: {key} refers to {found[1]}, which there is not")
                value = value[name]
        raise CheckpointError(f"{self.path}: {key} refers to itself")

    def read(self, key: str, kind: type, default: Any = None) -> Any:
        """Return a value of a type; a whole number is taken for a float.

        Raises:
            CheckpointError: there is none, or something else.
        """
        value = self.get(key, default)
        if kind is float and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            got = "none" if value is None else repr(value)
            raise CheckpointError(f"{self.path} must have {key!r} of type {kind.__name__}, got {got}")
        return value

    def whole_numbers(self, key: str, default: list[int] | None = None) -> tuple[int, ...]:
        """Return a list of whole numbers.

        Raises:
            CheckpointError: there is none, or something else.
        """
        return self._whole(key, self.get(key, default))

    def lists(self, key: str) -> tuple[tuple[int, ...], ...]:
        """Return a list of lists of whole numbers.

        Raises:
            CheckpointError: there is none, or something else.
        """
        return tuple(self._whole(key, inner) for inner in self.read(key, list))

    def _whole(self, key: str, values: Any) -> tuple[int, ...]:
        if not isinstance(values, list) or not values or not all(type(value) is int for value in values):
            raise CheckpointError(f"{self.path} must have whole numbers in {key!r}, got {values!r}")
        return tuple(values)

    def refuse(self, key: str, *accepted: Any) -> None:
        """Refuse a value that is given and none of those that the network has.

        Raises:
            CheckpointError: it is given.
        """
        value = self.get(key)
        if value is not None and value not in accepted:
            wanted = " or ".join(map(repr, accepted))
            raise CheckpointError(f"{self.path}: {key} must be {wanted} for a network of this kind, got {value!r}")

    @contextmanager
    def blamed(self) -> Iterator[None]:
        """Turn a parameter out of its range into the fault of this file."""
        try:
            yield
        except ParameterError as error:
            raise CheckpointError(f"{self.path} describes what cannot be built: {error}") from error
