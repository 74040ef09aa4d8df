"""Which loudspeaker each channel of a file is for: containers have orders of their own, and masktools has one.

In memory channels have the order of WAVE, that of the bits of a mask: front left, front right, front centre, low
frequencies, back left, back right, ... ; Vorbis and Opus hold the centre between left and right, and the low
frequencies last. What a file does not say is taken from how many channels it has.

Source: Microsoft, Multiple Channel Audio Data and WAVE Files; RFC 9639, section 9.1.3 (FLAC); Xiph.Org, Vorbis I
Specification, 4.3.9; RFC 7845, 5.1.1.2 (Opus); Apple, CoreAudioBaseTypes.h (AIFF, CAF).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from masktools.io.chunks import ReadFile, content_of
from masktools.io.tags import flac_tags

FL, FR, FC, LFE, BL, BR, FLC, FRC, BC, SL, SR = range(11)
_NAMES = ("FL", "FR", "FC", "LFE", "BL", "BR", "FLC", "FRC", "BC", "SL", "SR")
_NAMES += ("TC", "TFL", "TFC", "TFR", "TBL", "TBC", "TBR")
_N_NAMED = len(_NAMES)

_OGG = {  # by the number of channels, as Vorbis and Opus hold them
    3: (FL, FC, FR),
    4: (FL, FR, BL, BR),
    5: (FL, FC, FR, BL, BR),
    6: (FL, FC, FR, BL, BR, LFE),
    7: (FL, FC, FR, SL, SR, BC, LFE),
    8: (FL, FC, FR, SL, SR, BL, BR, LFE),
}
_FLAC = {3: 0x7, 4: 0x33, 5: 0x607, 6: 0x60F, 7: 0x70F, 8: 0x63F}  # masks that go unsaid
_USUAL = {3: 0x7, 4: 0x33, 5: 0x37, 6: 0x3F, 7: 0x70F, 8: 0x63F}
_TWIN = {BL: SL, BR: SR, SL: BL, SR: BR}  # a pair behind the listener, if it is the only one
FLAC_MASK_TAG = b"WAVEFORMATEXTENSIBLE_CHANNEL_MASK"

# CoreAudio's layouts by number. Ls and Rs are 4 and 5, as in its bitmap, and at the sides.
_RLS, _RRS = 33, 34
_APPLE = {
    108: (0, 1, 4, 5),
    109: (0, 1, 4, 5, 2),
    110: (0, 1, 4, 5, 2, 8),
    113: (0, 1, 2),
    114: (2, 0, 1),
    115: (0, 1, 2, 8),
    116: (2, 0, 1, 8),
    117: (0, 1, 2, 4, 5),
    118: (0, 1, 4, 5, 2),
    119: (0, 2, 1, 4, 5),
    120: (2, 0, 1, 4, 5),
    121: (0, 1, 2, 3, 4, 5),
    122: (0, 1, 4, 5, 2, 3),
    123: (0, 2, 1, 4, 5, 3),
    124: (2, 0, 1, 4, 5, 3),
    125: (0, 1, 2, 3, 4, 5, 8),
    126: (0, 1, 2, 3, 4, 5, 6, 7),
    127: (2, 6, 7, 0, 1, 4, 5, 3),
    128: (0, 1, 2, 3, 4, 5, _RLS, _RRS),
    129: (0, 1, 4, 5, 2, 3, 6, 7),
    131: (0, 1, 8),
    132: (0, 1, 4, 5),
    133: (0, 1, 3),
    134: (0, 1, 3, 8),
    135: (0, 1, 3, 4, 5),
    136: (0, 1, 2, 3),
    137: (0, 1, 2, 3, 8),
    138: (0, 1, 4, 5, 3),
    139: (0, 1, 4, 5, 2, 8),
    140: (0, 1, 4, 5, 2, _RLS, _RRS),
    141: (2, 0, 1, 4, 5, 8),
    142: (2, 0, 1, 4, 5, 8, 3),
    143: (2, 0, 1, 4, 5, _RLS, _RRS),
    144: (2, 0, 1, 4, 5, _RLS, _RRS, 8),
    148: (0, 1, 4, 5, 2, 6, 7),
    149: (2, 3),
    150: (0, 2, 1),
    151: (0, 2, 1, 8),
    152: (0, 2, 1, 3),
    153: (0, 1, 8, 3),
    154: (0, 2, 1, 8, 3),
}
_BY_DESCRIPTIONS, _BY_BITMAP = 0, 1


@dataclass(frozen=True)
class Speakers:
    """What the channels of a file are for."""

    mask: int  # as in WAVE: bit 0 is front left; 0 if the channels are for no loudspeakers
    order: tuple[int, ...]  # which channel of the file is the first, the second, ... in the order of WAVE

    @property
    def is_sorted(self) -> bool:
        """Whether the file has the order of WAVE."""
        return self.order == tuple(range(len(self.order)))


def named(labels: Sequence[int | None]) -> Speakers:
    """Return the speakers of channels by their bits; None stands for a channel that is for none."""
    given = [label if label is not None and labels.count(label) == 1 else None for label in labels]
    order = sorted(range(len(given)), key=lambda channel: _N_NAMED if (label := given[channel]) is None else label)
    return Speakers(sum(1 << label for label in given if label is not None), tuple(order))


def by_names(names: Sequence[str]) -> Speakers | None:
    """Return the speakers of channels by the names that FFmpeg gives them; None if it knows none."""
    labels = [_NAMES.index(name) if name in _NAMES else None for name in names]
    return named(labels) if any(label is not None for label in labels) else None


def ogg_order(mask: int | None, n_channels: int) -> list[int] | None:
    """Return which channel, in the order of WAVE, is the first, the second, ... of Vorbis and Opus.

    None if they have no such layout.
    """
    wanted = _OGG.get(n_channels)
    if wanted is None:
        return list(range(n_channels)) if n_channels < 3 or not mask else None
    mask = mask or _USUAL[n_channels]
    there = [bit for bit in range(32) if mask >> bit & 1]
    places = [there.index(bit) if bit in there else _twin_place(bit, there, wanted) for bit in wanted]
    return places if sorted(places) == list(range(n_channels)) else None


def _twin_place(bit: int, there: list[int], wanted: Sequence[int]) -> int:
    twin = _TWIN.get(bit)
    return there.index(twin) if twin in there and twin not in wanted else -1


def flac_says(mask: int, n_channels: int) -> bool:
    """Tell whether a FLAC of so many channels means a mask without saying it."""
    return n_channels < 3 or mask == _FLAC.get(n_channels)


def speakers_of(file: ReadFile, n_channels: int) -> Speakers | None:
    """Return what the channels of a file are for; None if it does not say, nor its format."""
    file.seek(0)
    head = file.read(64)
    if head[:4] in (b"RIFF", b"RF64", b"RIFX", b"riff"):
        return _of_wave(file, n_channels, "big" if head[:4] == b"RIFX" else "little")
    if head[:4] in (b"FORM", b"caff"):
        return _of_apple(file, n_channels)
    if head[:4] == b"fLaC":
        return _of_flac(file, n_channels)
    if head[:4] == b"OggS" and n_channels in _OGG and (b"\x01vorbis" in head or b"OpusHead" in head):
        return named(_OGG[n_channels])
    return None


def _masked(mask: int, n_channels: int) -> Speakers:
    bits = [bit for bit in range(32) if mask >> bit & 1][:n_channels]
    return Speakers(sum(1 << bit for bit in bits), tuple(range(n_channels)))


def _of_wave(file: ReadFile, n_channels: int, order: Literal["little", "big"]) -> Speakers | None:
    content = content_of(file, b"fmt ")
    extensible = int.from_bytes(content[:2], order) == 0xFFFE and len(content) >= 24
    return _masked(int.from_bytes(content[20:24], order), n_channels) if extensible else None


def _of_flac(file: ReadFile, n_channels: int) -> Speakers | None:
    for kind, content in flac_tags(file):
        at = content.upper().find(FLAC_MASK_TAG + b"=0X") if kind == b"\x04" else -1
        if at >= 0:
            digits = content[at + len(FLAC_MASK_TAG) + 3 :][:8]
            n_digits = next(
                (n for n, digit in enumerate(digits) if digit not in b"0123456789abcdefABCDEF"), len(digits)
            )
            return _masked(int(digits[:n_digits] or b"0", 16), n_channels)
    mask = _FLAC.get(n_channels)
    return None if mask is None else _masked(mask, n_channels)


def _of_apple(file: ReadFile, n_channels: int) -> Speakers | None:
    """Return what the channels of an AIFF or a CAF are for: a chunk says it by number, by a mask, or one by one."""
    content = content_of(file, b"CHAN", b"chan", n_bytes=4096)
    if not content:
        return None
    layout, bitmap, n_described = (int.from_bytes(content[at : at + 4], "big") for at in (0, 4, 8))
    if layout >> 16 == _BY_BITMAP:
        return _masked(bitmap, n_channels)
    if layout >> 16 == _BY_DESCRIPTIONS:
        described = [int.from_bytes(content[12 + 20 * at :][:4], "big") for at in range(min(n_described, 64))]
        labels = [label - 1 if 1 <= label <= _N_NAMED else label for label in described]
    else:
        labels = list(_APPLE.get(layout >> 16, ()))
    return named(_at_the_sides(labels)) if n_channels > 2 and len(labels) == n_channels else None


def _at_the_sides(labels: Sequence[int]) -> list[int | None]:
    changed = [{BL: SL, BR: SR, _RLS: BL, _RRS: BR}.get(label, label) for label in labels]
    return [label if 0 <= label < _N_NAMED else None for label in changed]
