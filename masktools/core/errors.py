"""The errors that masktools raises on purpose: each message says what was wrong and what to do."""

from collections.abc import Iterable
from difflib import get_close_matches


class MasktoolsError(Exception):
    """Base of all errors raised on purpose; the command line prints them as one line."""

    exit_code = 2


class ParameterError(MasktoolsError, ValueError):
    """An argument out of its range, of a wrong kind, or of an unknown name."""


class AudioError(MasktoolsError):
    """Audio that cannot be used: missing, unreadable, empty, or not finite."""


class BundleError(MasktoolsError):
    """A model bundle that is unknown, incomplete, altered, or of another format."""


class MelMismatchError(BundleError):
    """Parts that were made for different mel settings."""


class CheckpointError(MasktoolsError):
    """A foreign checkpoint that is missing, unsafe to read, or of an unexpected layout."""


class ClusterError(MasktoolsError):
    """A cluster that cannot be reached, or that makes no progress."""


class DeviceError(MasktoolsError):
    """A device or a precision that this machine does not support."""


def unknown_name(kind: str, got: str, choices: Iterable[str]) -> ParameterError:
    """Return the error for an unknown name; it lists the choices and suggests the nearest one.

    >>> print(unknown_name("policy", "halten", ["confidence", "halton"]))
    unknown policy 'halten': choose from confidence, halton (did you mean 'halton'?)
    """
    known = [str(choice) for choice in choices]
    near = get_close_matches(str(got), known, n=1)
    hint = f" (did you mean {near[0]!r}?)" if near else ""
    named = repr(got) if len(repr(got)) <= 100 else f"{got!r:.97}..."
    return ParameterError(f"unknown {kind} {named}: choose from {', '.join(known)}{hint}")
