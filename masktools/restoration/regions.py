"""Regions of a recording in time and frequency: rectangles and polygons, from text, JSON or Audacity labels."""

import json
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from operator import index
from pathlib import Path
from typing import Any

import numpy as np

from masktools.core.arguments import checked_real, plain, shown
from masktools.core.errors import ParameterError
from masktools.core.gaps import parse_labels, read_listed

Corner = tuple[float, float]

_NUMBER = r"([+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+))"
_RANGE = rf"\s*{_NUMBER}\s*[-\u2013]\s*{_NUMBER}\s*"
_REGION = re.compile(rf"{_RANGE},{_RANGE}")
_ROUNDING_S = 1e-6  # times were computed from samples, or typed with six digits
_ROUNDING_HZ = 0.5
_MAX_CORNERS = 1000
_FORM = 'must have "start_s", "end_s", "low_hz" and "high_hz", or a "polygon" of [time, frequency], in s and Hz'


@dataclass(frozen=True)
class Region:
    """A polygon in time and frequency: its inside is damaged, the outside is known.

    Raises:
        ParameterError: fewer than three corners, a number that is negative or not finite, a polygon without duration
            or height, or invalid channels.
    """

    corners: tuple[Corner, ...]  # (s, Hz), in order around it
    channels: tuple[int, ...] | None = None  # from 0 on; None: all

    def __post_init__(self) -> None:
        """Check every number."""
        object.__setattr__(self, "corners", _corners(self.corners))
        if not 3 <= len(self.corners) <= _MAX_CORNERS:
            raise ParameterError(f"a region must have 3 to {_MAX_CORNERS} corners, got {len(self.corners)}")
        if any(not (math.isfinite(value) and value >= 0) for corner in self.corners for value in corner):
            raise ParameterError(
                f"the corners of a region must be times and frequencies of 0 or more, in s and Hz, got {self._listed()}"
            )
        if self.end_s <= self.start_s:
            raise ParameterError(f"a region must end after its start, got {self.start_s:.10g}-{self.end_s:.10g} s")
        if self.high_hz <= self.low_hz:
            raise ParameterError(
                f"a region must end above its lowest frequency, got {self.low_hz:.10g}-{self.high_hz:.10g} Hz"
            )
        if self._is_flat():
            raise ParameterError(f"the corners of a region must not lie on one line, got {self._listed()}")
        if self.channels is not None:
            own = _channels(self.channels)
            if not own or own[0] < 0:
                raise ParameterError(
                    f"the channels of a region must be numbers from 0 on, at least one, got {self.channels}"
                )
            object.__setattr__(self, "channels", own)

    @classmethod
    def rectangle(
        cls, start_s: float, end_s: float, low_hz: float, high_hz: float, channels: tuple[int, ...] | None = None
    ) -> "Region":
        """Return a frequency band during a time span.

        >>> Region.rectangle(1.2, 1.5, 3000, 6000).corners
        ((1.2, 3000.0), (1.5, 3000.0), (1.5, 6000.0), (1.2, 6000.0))

        Raises:
            ParameterError: a span or a band that is empty, negative or not finite.
        """
        start_s, end_s = checked_real("start_s", start_s), checked_real("end_s", end_s)
        low_hz, high_hz = checked_real("low_hz", low_hz), checked_real("high_hz", high_hz)
        if end_s <= start_s:
            raise ParameterError(f"a region must end after its start, got {start_s:.10g}-{end_s:.10g} s")
        if high_hz <= low_hz:
            raise ParameterError(f"a region must end above its lowest frequency, got {low_hz:.10g}-{high_hz:.10g} Hz")
        return cls(((start_s, low_hz), (end_s, low_hz), (end_s, high_hz), (start_s, high_hz)), channels)

    @property
    def start_s(self) -> float:
        """The earliest time."""
        return min(time_s for time_s, _ in self.corners)

    @property
    def end_s(self) -> float:
        """The latest time."""
        return max(time_s for time_s, _ in self.corners)

    @property
    def length_s(self) -> float:
        """Duration in seconds."""
        return self.end_s - self.start_s

    @property
    def low_hz(self) -> float:
        """The lowest frequency."""
        return min(hertz for _, hertz in self.corners)

    @property
    def high_hz(self) -> float:
        """The highest frequency."""
        return max(hertz for _, hertz in self.corners)

    def bands(self, time_s: float) -> list[tuple[float, float]]:
        """Return its bands at a time, (low, high) in Hz; outside its time span those of its nearest end.

        >>> Region(((0, 100), (2, 100), (2, 300))).bands(1.0)
        [(100.0, 200.0)]
        """
        # Just inside the ends, so that a corner there is no special case.
        inset_s = 1e-9 * self.length_s
        time_s = min(max(time_s, self.start_s + inset_s), self.end_s - inset_s)
        crossings = []
        for (start_s, from_hz), (stop_s, to_hz) in pairwise((*self.corners, self.corners[0])):
            if (start_s <= time_s) != (stop_s <= time_s):
                crossings.append(from_hz + (to_hz - from_hz) * (time_s - start_s) / (stop_s - start_s))
        crossings.sort()
        return [(low, high) for low, high in zip(crossings[::2], crossings[1::2], strict=True) if low < high]

    def shown(self) -> str:
        """Return its extent as text.

        >>> Region.rectangle(1.2, 1.5, 3000, 6000).shown()
        '1.2-1.5 s, 3000-6000 Hz'
        """
        return f"{self.start_s:.10g}-{self.end_s:.10g} s, {self.low_hz:.10g}-{self.high_hz:.10g} Hz"

    def _listed(self) -> str:
        listed = ", ".join(f"({time_s:g}, {hertz:g})" for time_s, hertz in self.corners[:6])
        return f"{listed}{', ...' if len(self.corners) > 6 else ''}"

    def _is_flat(self) -> bool:
        times_s, hertz = (np.array(self.corners) - self.corners[0]).T
        times_s, hertz = times_s / self.length_s, hertz / (self.high_hz - self.low_hz)
        farthest = int(np.argmax(times_s**2 + hertz**2))
        return bool(np.abs(times_s * hertz[farthest] - hertz * times_s[farthest]).max() < 1e-9)


def _corners(corners: Any) -> tuple[Corner, ...]:
    try:
        return tuple((checked_real("time", time_s), checked_real("frequency", hertz)) for time_s, hertz in corners)
    except (TypeError, ValueError):  # ParameterError is one
        message = f"the corners of a region must be (time, frequency), in s and Hz, got {shown(corners)}"
        raise ParameterError(message) from None


def _channels(channels: Any) -> tuple[int, ...]:
    try:
        return tuple(sorted({index(channel) for channel in channels}))
    except TypeError:
        raise ParameterError(f"the channels of a region must be numbers from 0 on, got {shown(channels)}") from None


def parse_regions(text: str) -> list[Region]:
    """Parse regions such as ``1.2-1.5,3000-6000;2-2.4,500-900``, and return them in order of time.

    >>> [region.shown() for region in parse_regions("2-2.4,500-900; 1.2-1.5,3000-6000")]
    ['1.2-1.5 s, 3000-6000 Hz', '2-2.4 s, 500-900 Hz']

    Raises:
        ParameterError: text in another format, or regions that ``check_regions`` refuses.
    """
    regions = []
    for item in text.split(";"):
        match = _REGION.fullmatch(item)
        if match is None:
            raise ParameterError(
                "regions must be written start-end,low-high in seconds and hertz and separated by semicolons, "
                f"as in 1.2-1.5,3000-6000;2-2.4,500-900; got {shown(item.strip())}"
            )
        start_s, end_s, low_hz, high_hz = map(float, match.groups())
        regions.append(Region.rectangle(start_s, end_s, low_hz, high_hz))
    return check_regions(regions)


def read_regions(path: Path | str) -> list[Region]:
    """Read the regions in a file, in order of time.

    A file that ends in ``.json`` holds a list of objects, or an object with such a list as its ``regions``: each with
    ``start_s``, ``end_s``, ``low_hz`` and ``high_hz``, or with a ``polygon``, a list of [time in s, frequency in Hz];
    and with ``channels`` for some channels only. Any other is read as Audacity labels made from a
    spectral selection: start, end and a text, separated by tabs, and in a second line a backslash, the lowest
    and the highest frequency.

    Raises:
        ParameterError: a file that cannot be read or is in another format, or regions that ``check_regions`` refuses;
            the message names the file, and the line.
    """
    return read_listed(path, "region", _from_item, _from_labels, check_regions)


def check_regions(
    regions: Iterable[Region],
    duration_s: float | None = None,
    sample_rate: int | None = None,
    n_channels: int | None = None,
) -> list[Region]:
    """Return regions in order of time, after checking that they are valid for a recording; they may overlap.

    Args:
        regions: regions, at least one.
        duration_s: length of the recording in seconds; None skips the checks that need it.
        sample_rate: sampling rate of the recording in Hz; likewise.
        n_channels: number of channels of the recording; likewise.

    Raises:
        ParameterError: no region at all, or one that is not in the recording.
    """
    regions = plain(regions)
    listed = list[Any](regions) if isinstance(regions, Iterable) else [regions]
    known = [region for region in listed if isinstance(region, Region)]
    if len(known) < len(listed) or not isinstance(regions, Iterable):
        raise ParameterError(f"regions must be a list of Region, got {shown(regions)}")
    ordered = sorted(known, key=lambda region: (region.start_s, region.end_s, region.low_hz, region.high_hz))
    if not ordered:
        raise ParameterError("there must be at least one region, got none")
    for region in ordered:
        if duration_s is not None and region.end_s > duration_s + _ROUNDING_S:
            limit = math.floor(duration_s * 1e6) / 1e6  # rounded down, so that the printed number is a valid input
            raise ParameterError(f"a region must lie within the recording, 0-{limit:.10g} s, got {region.shown()}")
        if sample_rate is not None and region.high_hz > sample_rate / 2 + _ROUNDING_HZ:
            raise ParameterError(
                f"a region must lie within the band of the recording, 0-{sample_rate / 2:.10g} Hz, got {region.shown()}"
            )
        if n_channels is not None and region.channels and region.channels[-1] >= n_channels:
            raise ParameterError(
                f"a region must be in channels that the recording has, 0 to {n_channels - 1}, got "
                f"{region.shown()} in channel {region.channels[-1]}"
            )
    return ordered


def _from_labels(text: str, path: Path) -> list[Region]:
    regions = []
    for label in parse_labels(text, path):
        if label.low_hz is None or label.high_hz is None:
            raise ParameterError(
                f"{path}, line {label.line}: the label must have frequencies, in a line below it that begins with a "
                "backslash: select some in Audacity's spectrogram, or fill it as a gap in time"
            )
        try:
            regions.append(Region.rectangle(label.start_s, label.end_s, label.low_hz, label.high_hz))
        except ParameterError as error:
            raise ParameterError(f"{path}, line {label.line}: {error}") from None
    return regions


def _from_item(item: Any, where: str) -> Region:
    try:
        channels = None if item.get("channels") is None else tuple(map(_whole, item["channels"]))
        if "polygon" in item:
            return Region(tuple((_real(time_s), _real(hertz)) for time_s, hertz in item["polygon"]), channels)
        start_s, end_s, low_hz, high_hz = (_real(item[name]) for name in ("start_s", "end_s", "low_hz", "high_hz"))
        return Region.rectangle(start_s, end_s, low_hz, high_hz, channels)
    except ParameterError as error:
        raise ParameterError(f"{where}: {error}") from None
    except (AttributeError, KeyError, TypeError, ValueError):
        raise ParameterError(f"{where} {_FORM}; got {json.dumps(item)[:80]}") from None


def _real(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError
    return checked_real("a number", value)


def _whole(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError
    return value
