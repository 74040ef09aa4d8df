"""Pieces of music as notes, and as Standard MIDI files."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import count

from masktools.core.errors import ParameterError

TICKS = 480  # a beat
DRUM_CHANNEL = 9
_VOLUME, _PAN, _MODULATION, _REVERB, _CHORUS = 7, 10, 1, 91, 93  # controllers of General MIDI
_MAX_PARTS = 15  # besides drums


@dataclass(frozen=True)
class Note:
    """A note of a part."""

    start: float  # beats from the piece's beginning
    length: float  # beats
    pitch: int  # 60 is the middle C; of drums, which one
    velocity: int  # 1 to 127

    def __post_init__(self) -> None:
        if not (0 <= self.start < 1e6 and 0 < self.length < 1e6):
            raise ParameterError(
                f"a note must start at 0 beats or later and last more than 0, got {self.start:g} and {self.length:g}"
            )
        if not (0 <= self.pitch <= 127 and 1 <= self.velocity <= 127):
            raise ParameterError(
                f"pitch must lie in [0, 127] and velocity in [1, 127], got {self.pitch} and {self.velocity}"
            )


@dataclass(frozen=True)
class Part:
    """What one instrument plays."""

    program: int  # General MIDI, 0 to 127; of drums, the kit
    notes: tuple[Note, ...]
    drums: bool = False
    volume: int = 100  # this and the next four: 0 to 127
    pan: int = 64
    modulation: int = 0
    reverb: int = 40
    chorus: int = 0


def midi_file(parts: Sequence[Part], tempo: float) -> bytes:
    """Return a piece as a Standard MIDI file of format 1.

    Args:
        parts: Of them at most 15 besides drums, which share one channel.
        tempo: Beats a minute, 4 to 1000.

    Raises:
        ParameterError: Too many parts, or a tempo out of its range.
    """
    if not 4 <= tempo <= 1000:
        raise ParameterError(f"tempo must lie in [4, 1000] beats a minute, got {tempo:g}")
    if sum(not part.drums for part in parts) > _MAX_PARTS:
        raise ParameterError(f"a piece must have at most {_MAX_PARTS} parts besides drums, got {len(parts)}")
    free = (channel for channel in count() if channel != DRUM_CHANNEL)
    tempo_event = (0, b"\xff\x51\x03" + round(60e6 / tempo).to_bytes(3))
    tracks = [_track([tempo_event])]
    tracks += [_track(_events(part, DRUM_CHANNEL if part.drums else next(free))) for part in parts]
    header = b"MThd" + (6).to_bytes(4) + (1).to_bytes(2) + len(tracks).to_bytes(2) + TICKS.to_bytes(2)
    return header + b"".join(tracks)


def _events(part: Part, channel: int) -> list[tuple[int, bytes]]:
    settings = {_VOLUME: part.volume, _PAN: part.pan, _MODULATION: part.modulation}
    settings |= {_REVERB: part.reverb, _CHORUS: part.chorus}
    events = [(0, bytes((0xC0 | channel, part.program)))]
    events += [(0, bytes((0xB0 | channel, controller, value))) for controller, value in settings.items()]
    sounding: dict[int, int] = {}  # pitch -> tick of its end
    starts = sorted(((round(note.start * TICKS), note.pitch, note) for note in part.notes), key=lambda start: start[:2])
    nexts = _next_starts((tick, pitch) for tick, pitch, _ in starts)
    for tick, pitch, note in starts:
        if sounding.get(pitch, -1) > tick:
            continue  # the same key is still down
        end = min(max(tick + 1, round((note.start + note.length) * TICKS)), nexts[tick, pitch])
        sounding[pitch] = end
        events.append((tick, bytes((0x90 | channel, pitch, note.velocity))))
        events.append((end, bytes((0x80 | channel, pitch, 64))))
    return sorted(events, key=lambda event: (event[0], event[1][0] & 0xF0 != 0x80))  # a key is up before it is down


def _next_starts(starts: Iterable[tuple[int, int]]) -> dict[tuple[int, int], int]:
    """Return (tick, pitch) -> the tick of the next note of that pitch."""
    nexts: dict[tuple[int, int], int] = {}
    last: dict[int, int] = {}
    for tick, pitch in starts:
        nexts[tick, pitch] = 1 << 27
        if pitch in last and last[pitch] < tick:
            nexts[last[pitch], pitch] = tick
        last[pitch] = tick
    return nexts


def _track(events: Sequence[tuple[int, bytes]]) -> bytes:
    body, now = b"", 0
    for tick, message in events:
        body += _variable(tick - now) + message
        now = tick
    body += _variable(0) + b"\xff\x2f\x00"
    return b"MTrk" + len(body).to_bytes(4) + body


def _variable(value: int) -> bytes:
    """Return a number in groups of seven bits, all but the last with the eighth bit set."""
    groups = [value & 0x7F]
    while value := value >> 7:
        groups.append(0x80 | value & 0x7F)
    return bytes(reversed(groups))
