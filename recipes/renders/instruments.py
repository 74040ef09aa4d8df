"""The instruments of General MIDI: what each is called in labels, and the range in which it sounds well."""

from masktools.core.errors import ParameterError

_FAMILIES = (
    "piano piano piano piano electric_piano electric_piano harpsichord clavinet",
    "celesta glockenspiel music_box vibraphone marimba xylophone bell dulcimer",
    "organ organ organ organ organ accordion harmonica accordion",
    "guitar guitar guitar guitar guitar electric_guitar electric_guitar guitar",
    "bass bass bass bass bass bass bass bass",
    "violin viola cello double_bass strings strings harp timpani",
    "strings strings strings strings choir choir choir orchestra_hit",
    "trumpet trombone tuba trumpet horn brass brass brass",
    "saxophone saxophone saxophone saxophone oboe oboe bassoon clarinet",
    "flute flute recorder flute flute flute whistle ocarina",
    "synth synth synth synth synth synth synth synth",
    "synth synth synth synth synth synth synth synth",
    "synth synth synth synth synth synth synth synth",
    "sitar banjo shamisen koto kalimba bagpipe violin oboe",
    "bell cowbell steel_drums woodblock taiko tom synth_drum cymbal",
    "effect effect effect effect effect effect effect effect",
)
INSTRUMENTS: tuple[str, ...] = tuple(name for family in _FAMILIES for name in family.split())
"""The label of each of the 128 programs."""

_FAMILY_RANGES = (
    (36, 90), (55, 96), (40, 84), (40, 80), (28, 50), (40, 84), (40, 82), (45, 78),
    (48, 78), (60, 92), (48, 88), (40, 80), (40, 80), (48, 80), (48, 80), (48, 72),
)  # fmt: skip
_RANGES = {"violin": (55, 93), "viola": (48, 81), "cello": (36, 69), "double_bass": (28, 55), "harp": (36, 91),
           "timpani": (36, 55), "choir": (43, 79), "trumpet": (55, 82), "trombone": (40, 69), "tuba": (28, 53),
           "horn": (41, 74), "bassoon": (34, 67), "clarinet": (50, 86), "glockenspiel": (72, 103),
           "music_box": (60, 96), "marimba": (45, 90), "celesta": (60, 98), "xylophone": (65, 100),
           "taiko": (36, 60), "tom": (36, 60), "synth_drum": (36, 60)}  # fmt: skip


def label_of(program: int) -> str:
    """Return what a program is called in labels.

    Raises:
        ParameterError: There is no such program.
    """
    if not 0 <= program < len(INSTRUMENTS):
        raise ParameterError(f"a General MIDI program must lie in [0, 127], got {program}")
    return INSTRUMENTS[program]


def range_of(program: int) -> tuple[int, int]:
    """Return the lowest and the highest pitch at which a program sounds well.

    Raises:
        ParameterError: There is no such program.
    """
    return _RANGES.get(label_of(program), _FAMILY_RANGES[program // 8])
