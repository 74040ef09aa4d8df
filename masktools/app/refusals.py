"""Refusals of the server: the line that the command line would print, with its HTTP status code."""

import errno
from typing import Any

from masktools.core.errors import AudioError, DeviceError, MasktoolsError, ParameterError

CODES = {
    400: "malformed",
    401: "no_cookie",
    403: "foreign",
    404: "not_found",
    405: "method",
    409: "conflict",
    410: "changed",
    411: "no_length",
    413: "too_large",
    415: "not_audio",
    422: "out_of_range",
    429: "queue_full",
    500: "failed",
    503: "lost",
    507: "disk_full",
}


class RefusalError(MasktoolsError):
    """A request that is not done, and why.

    Attributes:
        status: the code of HTTP.
        field: field of the request that is wrong, if it is a single one.
        hint: Remedy, if the message does not say it.
    """

    def __init__(self, status: int, message: str, field: str | None = None, hint: str | None = None) -> None:
        super().__init__(message)
        self.status, self.field, self.hint = status, field, hint

    def to_json(self) -> dict[str, Any]:
        """Return what the page is told."""
        told = {"code": CODES[self.status], "message": str(self), "field": self.field, "hint": self.hint}
        return {"error": {key: value for key, value in told.items() if value is not None}}


def refusal_of(error: Exception) -> RefusalError:
    """Return an error as what the server refuses because of it.

    >>> refusal_of(ParameterError("rate must be positive")).status
    422
    """
    if isinstance(error, RefusalError):
        return error
    cause = error if isinstance(error, OSError) else error.__cause__
    if isinstance(cause, OSError) and cause.errno in (errno.ENOSPC, errno.EDQUOT):
        told = "there is no room left on the disk" if isinstance(error, OSError) else str(error)
        return RefusalError(507, told, hint="make room on it, and try again")
    if isinstance(error, ParameterError):
        return RefusalError(422, str(error))
    if isinstance(error, AudioError):
        return RefusalError(415, str(error))
    if isinstance(error, DeviceError | MemoryError) or type(error).__name__ == "OutOfMemoryError":  # that is torch's
        return RefusalError(503, str(error) or "there is too little memory", hint="choose a smaller batch")
    if isinstance(error, MasktoolsError):
        return RefusalError(422, str(error))
    return RefusalError(500, f"{type(error).__name__}: {' '.join(str(error).split())[:200]}")
