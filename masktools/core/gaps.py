"""Gaps in a recording: time spans in seconds that are to be filled, in all channels or in some."""

import json
import math
import re
from collections.abc import Callable, Iterable
from operator import index
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from masktools.core.arguments import checked_real, plain, shown
from masktools.core.configs import parse_json
from masktools.core.errors import ParameterError

_NUMBER = r"([+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+))"
_GAP = re.compile(rf"\s*{_NUMBER}\s*[-\u2013]\s*{_NUMBER}\s*")
_FREQUENCIES = "\\"  # begins the second line of a label in Audacity's format, which holds its frequency range
_Stretch = TypeVar("_Stretch")  # a gap or a region
_ROUNDING_S = 1e-6  # times were computed from samples, or typed with six digits


class Gap(NamedTuple):
    """Start and end in seconds, and the affected channels: indices from 0 on, or None for all of them."""

    start_s: float
    end_s: float
    channels: tuple[int, ...] | None = None


GapLike = Gap | tuple[float, float] | tuple[float, float, tuple[int, ...] | None]
"""A gap in any accepted form: a plain (start, end) means all channels."""


def as_gap(gap: Any) -> Gap:
    """Return a gap with plain numbers, its channels sorted and without duplicates.

    Raises:
        ParameterError: another type, or invalid channels.
    """
    try:
        start_s, end_s, *more = gap
        given = more[0] if more else None
        if len(more) > 1:
            raise ValueError
        channels = None if given is None else tuple(sorted({index(channel) for channel in given}))
        made = Gap(checked_real("start", start_s), checked_real("end", end_s), channels)
    except (TypeError, ValueError):  # ParameterError is one
        raise ParameterError(f"a gap must be (start, end) or (start, end, channels), got {shown(gap)}") from None
    if made.channels is not None and not (made.channels and made.channels[0] >= 0):
        raise ParameterError(f"the channels of a gap must be numbers from 0 on, at least one, got {made.channels}")
    return made


def parse_gaps(text: str) -> list[Gap]:
    """Parse gaps such as ``1.20-1.55,3-3.2``, in seconds, and return them in order of time.

    >>> [gap[:2] for gap in parse_gaps("3-3.2, 1.20-1.55")]
    [(1.2, 1.55), (3.0, 3.2)]

    Raises:
        ParameterError: text in another format, or gaps that ``check_gaps`` refuses.
    """
    gaps = []
    for item in text.split(","):
        match = _GAP.fullmatch(item)
        if match is None:
            raise ParameterError(
                f"gaps must be written start-end in seconds and separated by commas, "
                f"as in 1.20-1.55,3-3.2; got {shown(item.strip())}"
            )
        gaps.append(Gap(float(match[1]), float(match[2])))
    return check_gaps(gaps)


def read_gaps(path: Path | str) -> list[Gap]:
    """Read the gaps in a file, in order of time.

    A file that ends in ``.json`` holds a list of [start, end] or of objects with ``start_s``, ``end_s`` and, for some
    channels only, ``channels``; or an object with such a list as its ``gaps``, the output of ``masktools probe
    --json``.
    Any other is read as Audacity labels: start, end and a text, separated by tabs. Point labels, without duration, are
    left out, and so are the frequencies of a label.

    Raises:
        ParameterError: a file that cannot be read or is in another format, or gaps that ``check_gaps`` refuses; the
            message names the file, and the line.
    """
    return read_listed(path, "gap", _from_item, _from_labels, check_gaps, reports=True)


def read_listed(
    path: Path | str,
    what: str,
    from_item: Callable[[Any, str], _Stretch],
    from_labels: Callable[[str, Path], list[_Stretch]],
    check: Callable[[list[_Stretch]], list[_Stretch]],
    reports: bool = False,
) -> list[_Stretch]:
    """Read the gaps or regions in a file: JSON where its name ends in ``.json``, else labels.

    Args:
        path: path of the file.
        what: a word for one of them, such as ``gap``; its plural is the key of the list in a JSON object.
        from_item: function of an item of JSON and its position, to a gap or region.
        from_labels: function of the labels' text and the path, to gaps or regions.
        check: function that refuses invalid ones and sorts the others.
        reports: whether a JSON list of one object with such a list is accepted, too, as ``masktools probe --json``
            prints.

    Raises:
        ParameterError: a file that cannot be read or is in another format, or an error of ``check``; the message names
            the file.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no text in UTF-8"
        raise ParameterError(f"{path} cannot be read as a list of {what}s: {reason}") from error
    if path.suffix.lower() == ".json":
        listed = [from_item(item, f"{path}, {what} {n}") for n, item in enumerate(_items(text, path, what, reports), 1)]
    else:
        listed = from_labels(text, path)
    try:
        return check(listed)
    except ParameterError as error:
        raise ParameterError(f"{path}: {error}") from None


def _items(text: str, path: Path, what: str, reports: bool) -> list[Any]:
    """Return the items of a JSON list, or of the list in a JSON object under the plural of ``what``."""
    key = f"{what}s"
    try:
        content: Any = parse_json(text)
    except json.JSONDecodeError as error:
        raise ParameterError(f"{path}, line {error.lineno}: this is no JSON: {error.msg}") from None
    if (
        reports
        and isinstance(content, list)
        and len(content) == 1
        and isinstance(content[0], dict)
        and key in content[0]
    ):
        content = content[0]
    if isinstance(content, dict):
        content = content.get(key)
    if not isinstance(content, list):
        raise ParameterError(f'{path} must hold a list of {key}, or an object with one as its "{key}"')
    return content


class Label(NamedTuple):
    """A label in Audacity's format: a time span, its text, and the selected frequency band, if any."""

    line: int  # line number in the file, from 1
    start_s: float
    end_s: float
    text: str = ""
    low_hz: float | None = None
    high_hz: float | None = None


def parse_labels(text: str, where: object, bands: bool = True) -> list[Label]:
    """Parse labels as Audacity exports them: start, end and text, separated by tabs.

    Args:
        text: content of the file.
        where: name of the file, for error messages.
        bands: whether the line below a label, with its frequencies, is read.

    Raises:
        ParameterError: a line in another format.
    """
    labels: list[Label] = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        if not line.startswith(_FREQUENCIES):
            start_s, end_s = _two_numbers(line, f"{where}, line {number}: a label must be start, end and text")
            labels.append(Label(number, start_s, end_s, "\t".join(line.split("\t")[2:3])))
        elif bands and labels:
            what = f"{where}, line {number}: the frequencies of a label must be a backslash, the lowest and the highest"
            low_hz, high_hz = _two_numbers(line.removeprefix(_FREQUENCIES).lstrip("\t"), what)
            if high_hz < 0:
                raise ParameterError(f"{what}, got {high_hz:g} as the highest: select a band with an end")
            labels[-1] = labels[-1]._replace(low_hz=max(0.0, low_hz), high_hz=high_hz)
    return labels


def label_lines(label: Label) -> str:
    """Return a label in Audacity's format, with a line break at the end.

    >>> label_lines(Label(1, 1.0, 1.5, "hum")).split()
    ['1.000000', '1.500000', 'hum']
    """
    line = f"{label.start_s:.6f}\t{label.end_s:.6f}\t{' '.join(label.text.split())}\n"
    if label.low_hz is None or label.high_hz is None:
        return line
    return f"{line}{_FREQUENCIES}\t{label.low_hz:.6f}\t{label.high_hz:.6f}\n"


def _two_numbers(line: str, what: str) -> tuple[float, float]:
    try:
        first, second = (float(field.replace(",", ".")) for field in line.split("\t")[:2])
    except ValueError:
        raise ParameterError(f"{what}, separated by tabs, as Audacity exports them, got {line[:60]!r}") from None
    return first, second


def _from_labels(text: str, path: Path) -> list[Gap]:
    labels = parse_labels(text, path, bands=False)
    gaps = [Gap(label.start_s, label.end_s) for label in labels if label.start_s != label.end_s]
    if labels and not gaps:
        raise ParameterError(f"{path} must have a label that spans a time, got {len(labels)} of a point only")
    return gaps


def _from_item(item: Any, where: str) -> Gap:
    form = 'must be [start, end] or {"start_s": ..., "end_s": ...} with or without "channels"'
    if isinstance(item, dict):
        if not {"start_s", "end_s"} <= set(item):
            raise ParameterError(f"{where} {form}, got {json.dumps(item)[:80]}")
        item = [item["start_s"], item["end_s"], item.get("channels")]
    numbers = isinstance(item, list) and all(
        isinstance(one, int | float) and not isinstance(one, bool) for one in item[:2]
    )
    if not numbers or not 2 <= len(item) <= 3:
        raise ParameterError(f"{where} {form}, got {json.dumps(item)[:80]}")
    try:
        return as_gap(tuple(item))
    except ParameterError as error:
        raise ParameterError(f"{where}: {error}") from None


def check_gaps(gaps: Iterable[GapLike], duration_s: float | None = None, n_channels: int | None = None) -> list[Gap]:
    """Return gaps in order of time, after checking that they are valid for a recording.

    Args:
        gaps: gaps, which may touch, but not overlap in any channel.
        duration_s: length of the recording in seconds; None skips the checks that need it.
        n_channels: number of channels of the recording; None skips the checks that need it.

    Raises:
        ParameterError: no gap at all, a time that is negative or not finite, an end that is not after its start,
            two gaps that overlap, a gap or a channel that is not in the recording, or gaps that leave nothing of it
            or of one of its channels.
    """
    gaps = plain(gaps)
    if isinstance(gaps, str | bytes) or not isinstance(gaps, Iterable):
        raise ParameterError(f"gaps must be a list of (start, end) in seconds, got {shown(gaps)}")
    ordered = sorted(map(as_gap, gaps), key=lambda gap: (gap.start_s, gap.end_s, gap.channels or ()))
    if not ordered:
        raise ParameterError("there must be at least one gap, got none")
    for gap in ordered:
        if not all(map(math.isfinite, gap[:2])):
            raise ParameterError(f"the times of a gap must be finite, got {_shown(gap)}")
        if gap.start_s < 0:
            raise ParameterError(f"the times of a gap must not be negative, got {_shown(gap)}")
        if gap.end_s <= gap.start_s:
            raise ParameterError(f"a gap must end after its start, got {_shown(gap)}")
        if n_channels is not None and gap.channels and gap.channels[-1] >= n_channels:
            raise ParameterError(
                f"a gap must be in channels that the recording has, 0 to {n_channels - 1}, got "
                f"{_shown(gap)} in channel {gap.channels[-1]}"
            )
    _check_apart(ordered)
    if duration_s is not None:
        _check_inside(ordered, duration_s)
        for channel in channels_of(ordered, n_channels):
            _check_something_remains(ordered, duration_s, channel)
    return ordered


def channels_of(gaps: Iterable[Gap], n_channels: int | None = None) -> list[int | None]:
    """Return the channels in which gaps are; None stands for all other channels, if there may be any.

    >>> channels_of([Gap(0, 1), Gap(2, 3, (1,))]), channels_of([Gap(2, 3, (0, 1))], n_channels=2)
    ([1, None], [0, 1])
    """
    named = sorted({channel for gap in gaps for channel in gap.channels or ()})
    others: list[int | None] = [] if n_channels is not None and len(named) == n_channels else [None]
    return [*named, *others]


def _check_apart(ordered: list[Gap]) -> None:
    """Raise where gaps overlap in a channel: each is compared with the earlier ones that have not ended."""
    going_on: list[Gap] = []
    for after in ordered:
        going_on = [gap for gap in going_on if after.start_s < gap.end_s - _ROUNDING_S]
        for gap in going_on:
            if gap.channels is None or after.channels is None or set(gap.channels) & set(after.channels):
                raise ParameterError(f"gaps must not overlap, got {_shown(gap)} and {_shown(after)}: write them as one")
        going_on.append(after)


def _check_inside(gaps: list[Gap], duration_s: float) -> None:
    for gap in gaps:
        if gap.end_s > duration_s + _ROUNDING_S:
            limit = math.floor(duration_s * 1e6) / 1e6  # rounded down, so that the printed number is a valid input
            raise ParameterError(f"a gap must lie within the recording, 0-{limit:.10g} s, got {_shown(gap)}")


def _check_something_remains(gaps: list[Gap], duration_s: float, channel: int | None) -> None:
    own = [gap for gap in gaps if gap.channels is None or channel in gap.channels]
    if duration_s - sum(gap.end_s - gap.start_s for gap in own) <= _ROUNDING_S * len(own):
        what = "the whole recording" if channel is None else f"the whole of channel {channel} of a recording"
        raise ParameterError(f"the gaps cover {what} of {duration_s:.6g} s: something must remain to fill them from")


def _shown(gap: Gap) -> str:
    return f"{gap.start_s:.10g}-{gap.end_s:.10g} s"
