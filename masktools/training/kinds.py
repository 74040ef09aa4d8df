"""Settings of a part as a recipe gives them: the name of a kind, and the keys of its own configuration."""

from collections.abc import Mapping
from typing import Any

from masktools.configs import from_dict
from masktools.errors import ParameterError, unknown_name

__all__ = ["config_of"]


def config_of(kinds: Mapping[str, tuple[type, type]], kind: str, given: Any, part: str) -> Any:
    """Return the settings of a part of some kind.

    Args:
        kinds: kind -> (class of its settings, class of its network).
        kind: one of them.
        given: its settings, or a dictionary of those that differ from its defaults, or None.
        part: what it is a kind of, for errors.

    Raises:
        ParameterError: a kind that there is not, settings of another kind, a key or a value that it does not accept.
    """
    if kind not in kinds:
        raise unknown_name(f"kind of {part}", kind, kinds)
    config_class = kinds[kind][0]
    if given is None:
        return config_class()
    if isinstance(given, Mapping):
        return from_dict(config_class, given)
    if type(given) is not config_class:
        raise ParameterError(f"the {part} must have the settings of kind {kind!r}, got {type(given).__name__}")
    return given
