"""Frozen dataclasses <-> dictionaries for JSON, strict about keys and types; and safe reading of JSON."""

import json
import os
import types
from collections.abc import Collection, Mapping
from dataclasses import MISSING, Field, field, fields, is_dataclass
from difflib import get_close_matches
from math import isfinite
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from masktools.core.errors import ParameterError

DEEPEST = 100  # nested lists and objects; recursive readers could overflow the stack beyond it


def parse_json(text: str | bytes) -> Any:
    """Return the content of a JSON text.

    Raises:
        JSONDecodeError: a ValueError: it is no JSON, nests deeper than ``DEEPEST``, or has a number of thousands of
            digits.
    """
    try:
        content = json.loads(text)
    except json.JSONDecodeError:
        raise
    except RecursionError:
        raise _refusal(f"it nests deeper than {DEEPEST}") from None
    except ValueError as error:  # bytes in another encoding than JSON's, or more digits than Python reads
        raise _refusal(str(error).split(":")[0].split(";")[0]) from None
    openings = (text.count("["), text.count("{")) if isinstance(text, str) else (text.count(b"["), text.count(b"{"))
    if sum(openings) > DEEPEST and _depth(content) > DEEPEST:
        raise _refusal(f"it nests deeper than {DEEPEST}")
    return content


def read_json(path: str | os.PathLike[str]) -> Any:
    """Return the content of a JSON file.

    Raises:
        ParameterError: it cannot be read, or is no JSON.
    """
    try:
        return parse_json(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise ParameterError(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise ParameterError(f"{path} must be JSON: {error}: it was altered, or cut off") from error


def _depth(content: Any) -> int:
    """Return the depth of nested lists and objects, without recursion."""
    depth, level = 0, [content]
    while level := [one for one in level if isinstance(one, list | dict)]:
        depth += 1
        level = [inner for one in level for inner in (one.values() if isinstance(one, dict) else one)]
    return depth


def _refusal(reason: str) -> json.JSONDecodeError:
    return json.JSONDecodeError(reason, "", 0)


Config = TypeVar("Config")

_SPOKEN = {int: "a whole number", float: "a number", str: "a text", bool: "true or false", type(None): "null"}


def later(default: Any) -> Any:
    """Return a field that a config got after models were stored: it is written only where it is not its default.

    Stored configs, and hashes of settings, stay the same that way.
    """
    return field(default=default, metadata={"later": True})


def ranged(default: Any, within: str | Collection[str], unit: str = "") -> Any:
    """Return a field whose range is checked by a class with ``__post_init__ = settle``.

    Args:
        default: default value.
        within: its interval, in the notation of ``arguments.check_within``; or its choices of names.
        unit: unit of a number.
    """
    rule = {"within": within} if isinstance(within, str) else {"choices": tuple(within)}
    return field(default=default, metadata={**rule, "unit": unit})


def to_dict(config: Any) -> dict[str, Any]:
    """Return a dataclass as a dictionary of JSON types: tuples become lists, nested dataclasses dictionaries.

    Raises:
        ParameterError: not a dataclass, or a value without a JSON type (NaN and infinity among them).
    """
    if not is_dataclass(config) or isinstance(config, type):
        raise ParameterError(f"a config must be a dataclass object, got {_shown(config)}")
    return to_plain(config)


def to_plain(value: Any, key: str = "") -> Any:
    """Return a value in JSON types, dataclasses as in ``to_dict``; ``key`` names it in error messages.

    Raises:
        ParameterError: a value without a JSON type.
    """
    if is_dataclass(value) and not isinstance(value, type):
        shown = {f.name: getattr(value, f.name) for f in fields(value) if f.init and not _is_silent(f, value)}
        return {name: to_plain(item, _join(key, name)) for name, item in shown.items()}
    if isinstance(value, tuple | list):
        return [to_plain(item, f"{key}[{index}]") for index, item in enumerate(value)]
    if isinstance(value, Mapping) and all(isinstance(name, str) for name in value):
        return {name: to_plain(item, _join(key, name)) for name, item in value.items()}
    if value is None or type(value) in (bool, int, str):
        return value
    if isinstance(value, float) and isfinite(value):
        return float(value)
    raise ParameterError(f"{key} must be a value that JSON has, got {_shown(value)}")


def _is_silent(own: Field, config: Any) -> bool:
    return "later" in own.metadata and getattr(config, own.name) == own.default


def from_dict(cls: type[Config], data: Mapping[str, Any]) -> Config:
    """Return the dataclass for a dictionary, the inverse of ``to_dict``.

    Nothing is guessed: every key must be a field of the class, every field without a default must be given, and
    every value must have the field's type. An integer is accepted as a float, a list as a tuple.

    Raises:
        ParameterError: an unknown key (the nearest one is named), a missing one, a value of a wrong type, or one
            that the class itself refuses; nested keys are named in full, as in ``transformer.depth``.
    """
    if not is_dataclass(cls):
        raise ParameterError(f"a config must be described by a dataclass, got {cls!r}")
    return _dataclass(cls, data, "")


def _dataclass(cls: type, data: Any, key: str) -> Any:
    place = f"{key} ({cls.__name__})" if key else cls.__name__
    if not isinstance(data, Mapping):
        raise ParameterError(f"{place} must be a dictionary, got {_shown(data)}")
    known = {field.name: field for field in fields(cls) if field.init}
    for name in data:
        if name not in known:
            near = get_close_matches(str(name), known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(known) or 'none'}"
            raise ParameterError(f"{place} has no key {name!r}: {hint}")
    missing = [name for name, field in known.items() if name not in data and _is_required(field)]
    if missing:
        raise ParameterError(f"{place} lacks the key {', '.join(map(repr, missing))}")
    hints = get_type_hints(cls)
    values = {name: _value(hints[name], value, _join(key, name)) for name, value in data.items()}
    try:
        return cls(**values)
    except ParameterError as error:
        if not key:
            raise
        raise ParameterError(f"{key}: {error}") from error


def _is_required(field: Field) -> bool:
    return field.default is MISSING and field.default_factory is MISSING


def _value(hint: Any, value: Any, key: str) -> Any:
    """Return a value converted to its type hint."""
    origin, parts = get_origin(hint), get_args(hint)
    if hint is Any:
        return value
    if isinstance(hint, type) and is_dataclass(hint):
        return _dataclass(hint, value, key)
    if origin in (Union, types.UnionType):
        return _union(hint, value, key)
    if origin is Literal:
        if any(type(value) is type(choice) and value == choice for choice in parts):
            return value
        raise ParameterError(f"{key} must be {_spoken(hint)}, got {_shown(value)}{_hint(value, parts)}")
    if origin is tuple and isinstance(value, list | tuple):
        return _tuple(hint, parts, value, key)
    if origin is dict and isinstance(value, Mapping) and all(type(name) is str for name in value):
        return {name: _value(parts[1], item, _join(key, name)) for name, item in value.items()}
    if hint is float and (number := _finite(value)) is not None:
        return number
    if hint in (int, str, bool, type(None)) and type(value) is hint:
        return value
    raise ParameterError(f"{key} must be {_spoken(hint)}, got {_shown(value)}")


def _tuple(hint: Any, parts: tuple[Any, ...], value: list[Any] | tuple[Any, ...], key: str) -> tuple[Any, ...]:
    if len(parts) == 2 and parts[1] is Ellipsis:
        parts = parts[:1] * len(value)
    if len(parts) != len(value):
        raise ParameterError(f"{key} must be {_spoken(hint)}, got {_shown(value)}")
    return tuple(_value(part, item, f"{key}[{i}]") for i, (part, item) in enumerate(zip(parts, value, strict=True)))


def _union(hint: Any, value: Any, key: str) -> Any:
    # Members of the value's own type come first: 1 is an integer in int | float and in float | int.
    for member in sorted(get_args(hint), key=lambda part: part is not type(value)):
        if _has_shape(member, value):
            return _value(member, value, key)
    raise ParameterError(f"{key} must be {_spoken(hint)}, got {_shown(value)}")


def _has_shape(hint: Any, value: Any) -> bool:
    """Tell whether a value has the outer type of a hint; errors inside it are reported on conversion."""
    if isinstance(hint, type) and is_dataclass(hint):
        return isinstance(value, Mapping)
    if get_origin(hint) in (tuple, dict):
        return isinstance(value, list | tuple if get_origin(hint) is tuple else Mapping)
    try:
        _value(hint, value, "")
    except ParameterError:
        return False
    return True


def _finite(value: Any) -> float | None:
    """Return a finite number as a float, and None for other values."""
    try:
        return float(value) if type(value) in (int, float) and isfinite(value) else None
    except OverflowError:  # an integer beyond the range of floats
        return None


def _join(key: str, name: str) -> str:
    return f"{key}.{name}" if key else name


def _spoken(hint: Any) -> str:
    """Return a type hint in words."""
    origin, parts = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return " or ".join(_spoken(part) for part in parts)
    if origin is Literal:
        return f"one of {', '.join(map(repr, parts))}"
    if origin is tuple and parts[-1] is Ellipsis:
        return f"a list, each item {_spoken(parts[0])}"
    if origin is tuple:
        return f"a list of {len(parts)} ({', '.join(map(_spoken, parts))})"
    return _SPOKEN.get(hint, "a dictionary" if origin is dict or is_dataclass(hint) else str(hint))


def _shown(value: Any) -> str:
    text = repr(value)
    return f"{text if len(text) <= 60 else text[:57] + '...'} ({type(value).__name__})"


def _hint(value: Any, choices: tuple[Any, ...]) -> str:
    near = get_close_matches(value, [c for c in choices if isinstance(c, str)], n=1) if isinstance(value, str) else []
    return f" (did you mean {near[0]!r}?)" if near else ""
