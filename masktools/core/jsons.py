"""JSON as it comes from outside: whatever is wrong with it is one error, the one that Python has for that."""

import json
import os
from pathlib import Path
from typing import Any

from masktools.core.errors import ParameterError

DEEPEST = 100  # lists and objects within each other; what reads them further goes down by itself


def parse_json(text: str | bytes) -> Any:
    """Return what a text of JSON says.

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
    except ValueError as error:  # bytes of no encoding that JSON has, or more digits than Python reads
        raise _refusal(str(error).split(":")[0].split(";")[0]) from None
    openings = (text.count("["), text.count("{")) if isinstance(text, str) else (text.count(b"["), text.count(b"{"))
    if sum(openings) > DEEPEST and _depth(content) > DEEPEST:
        raise _refusal(f"it nests deeper than {DEEPEST}")
    return content


def read_json(path: str | os.PathLike[str]) -> Any:
    """Return what a file of JSON says.

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
    """Return how many lists and objects are within each other, without going down by calls."""
    depth, level = 0, [content]
    while level := [one for one in level if isinstance(one, list | dict)]:
        depth += 1
        level = [inner for one in level for inner in (one.values() if isinstance(one, dict) else one)]
    return depth


def _refusal(reason: str) -> json.JSONDecodeError:
    return json.JSONDecodeError(reason, "", 0)
