"""Checks of users' arguments: numbers and names; errors are one line. numpy is not imported, so that help is quick.

A number may be Python's or numpy's, or an array or a tensor without axes; Python's is returned. True and False are
no numbers.
"""

import reprlib
import types
from collections.abc import Iterable
from dataclasses import fields
from importlib.util import find_spec
from math import inf
from numbers import Integral, Real
from typing import Any, Union, cast, get_args, get_origin, get_type_hints

from masktools.core.errors import ParameterError, unknown_name

_LONGEST = 80  # characters of a value in an error message
_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = _LONGEST


def shown(value: object) -> str:
    """Return a value as text for an error message: short, and on one line.

    >>> shown([1, 2]), len(shown("a" * 100))
    ('[1, 2]', 80)
    """
    if hasattr(value, "shape") and hasattr(value, "dtype") and getattr(value, "ndim", 0):
        return f"a {type(value).__name__} of {value.dtype}, shape {tuple(value.shape)}"  # type: ignore[attr-defined]
    if getattr(value, "ndim", 0):  # a pandas table, whose text would be a table again
        return f"a {type(value).__name__}"
    return " ".join(_SHORT.repr(value).split())


def plain(value: Any) -> Any:
    """Return the number in an array or a tensor without axes, and other values unchanged."""
    if getattr(value, "shape", None) == () and callable(getattr(value, "item", None)):
        try:
            return value.item()
        except (RuntimeError, NotImplementedError):  # a tensor on torch's meta device has no value
            return value
    return value


def checked_name(kind: str, value: object, choices: Iterable[str]) -> str:
    """Return a name after checking it.

    Raises:
        ParameterError: it is none of the choices; the message lists them.
    """
    known = tuple(choices)
    if isinstance(value, str) and value in known:
        return value
    raise unknown_name(kind, value if isinstance(value, str) and len(value) <= _LONGEST else shown(value), known)


def checked_switch(name: str, value: object) -> bool:
    """Return a boolean after checking it.

    Raises:
        ParameterError: it is neither True nor False.
    """
    switch = plain(value)
    if not isinstance(switch, bool):
        raise ParameterError(f"{name} must be True or False, got {shown(value)}")
    return switch


def checked_whole(name: str, value: object, lowest: int | None = None, highest: int | None = None) -> int:
    """Return an integer after checking its range.

    Raises:
        ParameterError: it is no integer, or out of its range.
    """
    limits, value = _limits(lowest, highest), plain(value)
    whole = isinstance(value, Integral) and not isinstance(value, bool)
    if not whole or not _within(value, lowest, highest):
        raise ParameterError(f"{name} must be a whole number{limits}, got {shown(value)}")
    return int(value)  # type: ignore[call-overload]


PLOTTING = ("plots are drawn with", ("matplotlib",), "plots")
"""Arguments of ``check_installed`` for plots."""


def check_installed(what: str, packages: Iterable[str], extra: str) -> None:
    """Raise where packages are not installed, with the name of the extra that contains them.

    Raises:
        ParameterError: one or more are missing.
    """
    missing = [package for package in packages if find_spec(package) is None]
    if missing:
        raise ParameterError(f'{what} {" and ".join(missing)}: pip install "masktools[{extra}]"')


def check_least(lowest: int, **values: float | None) -> None:
    """Raise where a number is below the lowest that is allowed; None is ignored.

    Raises:
        ParameterError: one is lower; the message names it.
    """
    for name, value in values.items():
        if value is not None and value < lowest:
            raise ParameterError(f"{name} must be at least {lowest}, got {_said(value)}")


def check_counts(settings: object, *names: str) -> None:
    """Raise where one of these settings is not a count of 1 or more.

    Raises:
        ParameterError: one is lower; the message names it.
    """
    for name in names:
        if getattr(settings, name) < 1:
            raise ParameterError(f"{name} must be at least 1, got {_said(getattr(settings, name))}")


def check_positive(unit: str = "", **values: float | None) -> None:
    """Raise where a number is not positive; None is ignored.

    Args:
        unit: unit of the numbers, for the message.
        **values: the numbers by name.

    Raises:
        ParameterError: one is not; the message names it.
    """
    for name, value in values.items():
        if value is not None and not value > 0:
            raise ParameterError(f"{name} must be positive, got {_said(value)}{unit and f' {unit}'}")


def check_within(interval: str, unit: str = "", /, **values: Any) -> None:
    """Raise where numbers, or lists of them, are outside an interval; None is ignored.

    Args:
        interval: in mathematical notation, such as "[0, 1)": a round bracket excludes the end; "[0, inf]" has no
            upper end.
        unit: unit of the numbers, for the message.
        **values: the numbers by name.

    Raises:
        ParameterError: one is outside; the message names it and the interval.
    """
    low, high = map(float, interval[1:-1].split(","))
    of = f" {unit}" if unit else ""
    least = f"be {'at least' if interval[0] == '[' else 'above'} {low:g}"
    limits = least if interval.endswith("inf]") else f"lie in {interval}"
    for name, value in values.items():
        for number in value if isinstance(value, tuple | list) else (value,):
            if number is None or low < number < high:
                continue
            if not ((number == low and interval[0] == "[") or (number == high and interval[-1] == "]")):
                raise ParameterError(f"{name} must {limits}{of}, got {_said(value)}{of}")


def _said(number: Any) -> str:
    return f"{number:g}" if isinstance(number, float) else str(number)


def checked_real(name: str, value: object, unit: str = "") -> float:
    """Return a number, which may be NaN or infinite: the caller checks its range.

    Raises:
        ParameterError: it is no number.
    """
    number = plain(value)
    if not isinstance(number, Real) or isinstance(number, bool):
        raise ParameterError(f"{name} must be a number{f' of {unit}' if unit else ''}, got {shown(value)}")
    try:
        return float(number)
    except OverflowError:  # an integer beyond the range of floats
        return inf if cast(Any, number) > 0 else -inf


def checked_call(name: str, value: object) -> None:
    """Raise where a value is neither a function nor None.

    Raises:
        ParameterError: it is neither a function nor None.
    """
    if value is not None and not callable(value):
        raise ParameterError(f"{name} must be a function or None, got {shown(value)}")


def settle(settings: Any) -> None:
    """Check the types of all numbers, names and switches of a frozen dataclass; numpy's become Python's.

    Ranges and choices in a field's metadata (``settings.setting``) are checked too; others are left to the class.

    Raises:
        ParameterError: a value of another type than its field, or out of its range.
    """
    hints = get_type_hints(type(settings))
    for field in fields(settings):
        value = _settled(field.name, getattr(settings, field.name), hints[field.name])
        object.__setattr__(settings, field.name, value)
        if value is not None and field.metadata.get("choices"):
            checked_name(field.name, value, field.metadata["choices"])
        elif "within" in field.metadata:
            if value == ():
                raise ParameterError(f"{field.name} must have at least one entry, got none")
            check_within(field.metadata["within"], field.metadata.get("unit", ""), **{field.name: value})


def _settled(name: str, value: Any, hint: Any) -> Any:
    if get_origin(hint) in (Union, types.UnionType) and type(None) in get_args(hint):
        if value is None:
            return None
        hint = next(part for part in get_args(hint) if part is not type(None))
    if hint is bool:
        return checked_switch(name, value)
    if hint is int:
        return checked_whole(name, value)
    if hint is float:
        return checked_real(name, value)
    if hint is str and not isinstance(value, str):
        raise ParameterError(f"{name} must be a name, got {shown(value)}")
    return value


def _within(value: Any, lowest: int | None, highest: int | None) -> bool:
    return (lowest is None or value >= lowest) and (highest is None or value <= highest)


def _limits(lowest: int | None, highest: int | None) -> str:
    if lowest is not None and highest is not None:
        return f" in [{lowest}, {highest}]"
    if lowest is not None:
        return f" of at least {lowest}"
    return "" if highest is None else f" of at most {highest}"
