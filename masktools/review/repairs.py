"""Repairs of a recording, read from a report: marked, listed, and exempt from what must not have changed."""

from collections.abc import Iterable
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any, NamedTuple

from masktools.core.errors import ParameterError
from masktools.core.jsons import parse_json

EXTENDED = "extendable"  # what a report calls a band that was not left as it is


@dataclass(frozen=True)
class Repair:
    """One stretch of a recording that was to be changed."""

    start_s: float
    end_s: float
    channels: tuple[int, ...] | None = None  # from 0 on; None: all
    method: str = ""
    low_hz: float | None = None  # of the band that was repaired, where it was not all frequencies
    high_hz: float | None = None

    def __post_init__(self) -> None:
        """Check the order of the times."""
        if not (isfinite(self.start_s) and isfinite(self.end_s) and 0 <= self.start_s < self.end_s):
            raise ParameterError(f"a repair must start before it ends, got {self.start_s:g}-{self.end_s:g} s")

    def to_json(self) -> dict[str, Any]:
        """Return what is known of it."""
        channels = None if self.channels is None else list(self.channels)
        shown = {"start_s": self.start_s, "end_s": self.end_s, "channels": channels, "method": self.method}
        return (
            shown
            if self.low_hz is None and self.high_hz is None
            else shown | {"low_hz": self.low_hz, "high_hz": self.high_hz}
        )


class Work(NamedTuple):
    """Repairs and bandwidth extension of one recording, as a report tells them."""

    repairs: tuple[Repair, ...]
    cutoff_hz: float | None  # from where on the band was extended


def repairs_of(gaps: Iterable[Any]) -> list[Repair]:
    """Return the repairs that a report lists as gaps: objects with start_s and end_s, and what else is known.

    Raises:
        ParameterError: an item of another form.
    """
    repairs = []
    for gap in gaps:
        try:
            channels = gap.get("channels")
            repairs.append(
                Repair(
                    float(gap["start_s"]),
                    float(gap["end_s"]),
                    None if channels is None else tuple(int(channel) for channel in channels),
                    str(gap.get("method") or ""),
                    *(None if gap.get(name) is None else float(gap[name]) for name in ("low_hz", "high_hz")),
                )
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ParameterError(f'a gap of a report must have "start_s" before "end_s", got {gap!r:.80}') from error
    return repairs


def read_work(path: Path, before: Path, after: Path) -> Work:
    """Return what a report of ``masktools inpaint``, ``bwe`` or ``restore`` says was done to a recording.

    Where it is about several files, the one is taken whose output is ``after``, or else whose input is ``before``.

    Raises:
        ParameterError: a file that is no such report, or says nothing of these recordings.
    """
    try:
        content = parse_json(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ParameterError(f"{path} cannot be read as a report: {error.strerror}") from error
    except ValueError as error:
        raise ParameterError(f"{path} must be a report in JSON, as --report writes it") from error
    files = content.get("files", [content]) if isinstance(content, dict) else content
    if not isinstance(files, list) or not all(isinstance(file, dict) for file in files):
        raise ParameterError(f"{path} must be a report, or a list of them, as --report writes it")
    file = _about(files, before, after)
    if file is None:
        raise ParameterError(f"{path} must say what was done to make {after} of {before}: it names neither")
    cutoff_hz, gaps = file.get("cutoff_hz"), file.get("gaps") or []
    if not isinstance(gaps, list):
        raise ParameterError(f"{path}: the gaps of a report must be a list, got {gaps!r:.80}")
    if cutoff_hz is not None and not isinstance(cutoff_hz, int | float):
        raise ParameterError(f"{path}: the cutoff of a report must be a number, got {cutoff_hz!r:.80}")
    if cutoff_hz is not None and file.get("bandwidth_status", EXTENDED) != EXTENDED:
        cutoff_hz = None
    return Work(tuple(repairs_of(gaps)), None if cutoff_hz is None else float(cutoff_hz))


def _about(files: list[dict[str, Any]], before: Path, after: Path) -> dict[str, Any] | None:
    """Return the report of one file; of a single one it is taken without a look at names, which may have changed."""
    if len(files) == 1:
        return files[0]
    for name, path in (("output", after), ("input", before)):
        for same in (lambda text, wanted: Path(text).resolve() == wanted.resolve(), _same_name):
            for file in files:
                if file.get(name) and same(str(file[name]), path):
                    return file
    return None


def _same_name(text: str, wanted: Path) -> bool:
    return Path(text).name == wanted.name
