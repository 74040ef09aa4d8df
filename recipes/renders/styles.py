"""The styles that pieces are composed in: tempo, modes, and which instruments play what."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Layer:
    """One instrument of a style."""

    role: str  # chords, bass, melody, drone or drums
    programs: tuple[int, ...]  # General MIDI; of drums, the kits
    ways: tuple[str, ...]  # names of figures, basses, feels or grooves, one of which is drawn
    chance: float = 1.0  # of taking part
    level: int = 90  # 0 to 127


@dataclass(frozen=True)
class Style:
    """What pieces of a style have in common."""

    name: str
    noun: str  # what a caption calls such a piece
    labels: tuple[str, ...]
    tempo: tuple[int, int]  # beats a minute
    layers: tuple[Layer, ...]
    modes: tuple[str, ...] = ("major", "minor")
    beats: int = 4  # of a bar
    harmony: str = "grammar"  # or vamp
    swing: float = 0.0  # how far the second eighth is late, in beats
    bars_per_chord: tuple[int, ...] = (1,)
    chip: float = 0.0  # how often oscillators play it in place of the bank


def _chords(programs: tuple[int, ...], *ways: str, chance: float = 1.0, level: int = 82) -> Layer:
    return Layer("chords", programs, ways, chance, level)


def _bass(programs: tuple[int, ...], *ways: str, chance: float = 1.0, level: int = 95) -> Layer:
    return Layer("bass", programs, ways, chance, level)


def _melody(programs: tuple[int, ...], *ways: str, chance: float = 1.0, level: int = 100) -> Layer:
    return Layer("melody", programs, ways, chance, level)


def _drums(kits: tuple[int, ...], *ways: str, chance: float = 1.0, level: int = 95) -> Layer:
    return Layer("drums", kits, ways, chance, level)


_PADS, _LEADS = tuple(range(88, 96)), (80, 81, 82, 83, 84, 85, 86, 87)
_STRINGS, _CHOIRS, _ORGANS = (48, 49, 50, 51, 44), (52, 53, 54), (16, 17, 18, 19, 20)
_WINDS, _BRASSES = (68, 69, 70, 71, 72, 73, 74, 75, 79), (56, 57, 58, 59, 60, 61)
_MALLETS, _PLUCKED = (8, 9, 10, 11, 12, 13, 108, 114, 15), (24, 25, 46, 104, 105, 106, 107, 15, 6)
_SOLO = (0, 4, 11, 12, 22, 24, 25, 26, 40, 41, 42, 46, 56, 57, 60, 64, 65, 66, 67, 68, 70, 71, 73, 74, 75, 77, 78,
         79, 80, 81, 104, 105, 106, 107, 108, 109, 110, 111, 114, 21, 32, 33, 6, 10)  # fmt: skip
_KITS, _ALL_MODES = (0, 8, 16), ("major", "minor", "dorian", "mixolydian", "lydian", "phrygian", "harmonic_minor")
_DARK = ("minor", "dorian", "phrygian", "harmonic_minor")

STYLES: tuple[Style, ...] = (
    Style("ambient", "ambient piece", ("ambient", "instrumental"), (50, 80), (
        _chords((*_PADS, *_STRINGS, *_CHOIRS), "pad"), _chords(_PADS, "pad", chance=0.6, level=70),
        _chords((0, 4, 5, 8, 10, 11, 46, 98, 99), "scattered", "slow_roll", chance=0.7, level=75),
        _melody((*_PADS, 73, 75, 77), "calm", chance=0.3, level=75), _bass((38, 39, 89), "whole", chance=0.5)),
        ("dorian", "lydian", "minor", "major"), harmony="vamp", bars_per_chord=(1, 2)),
    Style("drone", "dark ambient drone", ("ambient", "drone", "dark"), (50, 70), (
        Layer("drone", (*_PADS, 48, 52, 43, 19, 95, 97), ("root",)), Layer("drone", _PADS, ("fifth",), 0.8, 80),
        _chords((14, 98, 101, 102, 117, 11), "scattered", chance=0.6, level=70)),
        ("phrygian", "minor"), harmony="vamp", bars_per_chord=(2,)),
    Style("chiptune", "chiptune piece", ("chiptune", "game", "instrumental"), (100, 180), (
        _melody((80, 81), "lively", "quick"), _chords((80, 81, 82), "chip", "up_fast", "ostinato", level=66),
        _bass((38, 39, 80, 87), "eighths", "octaves", "sixteenths"), _drums((24, 25), "chip", "four", chance=0.8)),
        _ALL_MODES, chip=0.65),
    Style("dungeon", "chiptune dungeon theme", ("chiptune", "game", "dungeon_theme", "instrumental"), (70, 120), (
        _melody((80, 81, 87), "calm", "lively"), _chords((80, 81), "up", "ostinato", "slow_roll", level=66),
        _bass((38, 39), "halves", "octaves", "syncopated"), _drums((24, 25), "sparse", "half_time", chance=0.5)),
        _DARK, chip=0.8),
    Style("travel", "game travel theme", ("game", "travel_theme", "instrumental"), (100, 150), (
        _melody((80, 73, 56, 60), "lively", "triplet"), _chords((80, 46, 48), "up_fast", "chip", "eighths"),
        _bass((38, 33), "octaves", "fifths", "syncopated"), _drums((24, 0), "chip", "rock", "march", chance=0.8)),
        ("major", "mixolydian", "lydian"), chip=0.6),
    Style("battle", "game battle theme", ("game", "battle_theme", "instrumental"), (130, 180), (
        _melody((81, 48, 61, 56, 30), "quick", "lively"), _chords((48, 44, 29, 50), "ostinato", "tremolo", "eighths"),
        _bass((33, 34, 38, 43), "eighths", "octaves"), _drums(_KITS, "metal", "rock", "toms", "march")), _DARK,
        chip=0.35),
    Style("town", "game town theme", ("game", "town_theme", "instrumental"), (80, 120), (
        _melody((*_WINDS, 21, 24), "lively", "calm"), _chords((24, 46, 45, 0, 10), "up", "alberti", "waltz", "strum"),
        _bass((32, 43, 45), "halves", "fifths"), _chords(_STRINGS, "pad", chance=0.4, level=66),
        _drums(_KITS, "folk", "sparse", chance=0.4, level=75)), ("major", "mixolydian", "lydian"), chip=0.35),
    Style("piano", "piano piece", ("piano", "solo", "instrumental"), (60, 150), (
        _melody((0, 1, 2, 3), "calm", "lively", "triplet", "quick", chance=0.85),
        _chords((0,), "rolling", "up_down", "alberti", "up", "triplets", "blocks", "up_fast", level=78)), _ALL_MODES),
    Style("ragtime", "ragtime piano piece", ("ragtime", "piano", "solo", "comedy"), (85, 120), (
        _melody((0, 3), "quick"), _chords((3, 0), "offbeat"), _bass((3, 0), "halves")), ("major",)),
    Style("strings", "piece for strings", ("strings", "classical", "instrumental"), (55, 120), (
        _melody((40, 48, 41, 42), "calm", "lively"), _chords((48, 49, 44), "pad", "blocks", "tremolo", "eighths"),
        _chords((45,), "up", "beats", chance=0.3), _bass((42, 43, 48), "whole", "halves", "quarters")), _ALL_MODES),
    Style("orchestra", "orchestral piece", ("orchestra", "classical", "instrumental"), (60, 140), (
        _melody((40, 56, 60, 68, 71, 73, 48), "calm", "lively", "triplet"), _chords((48, 49), "pad", "eighths",
        "blocks"),
        _chords((60, 61, 57), "pad", "blocks", chance=0.6), _chords((46, 45), "up_fast", "up", chance=0.4),
        _bass((43, 58, 42), "halves", "quarters"), _melody(_WINDS, "lively", chance=0.4, level=80),
        _drums((48,), "march", "toms", chance=0.4)), _ALL_MODES),
    Style("rock", "rock piece", ("rock", "guitar", "instrumental"), (95, 170), (
        _chords((29, 30, 27), "power", "eighths", level=78), _bass((33, 34), "eighths", "octaves", "syncopated"),
        _drums((0, 8, 16), "rock", "rock_ride", "punk", "half_time"), _melody((29, 30, 81), "lively", "quick",
        chance=0.6),
        _chords((16, 18), "pad", chance=0.3)), ("minor", "mixolydian", "dorian", "major")),
    Style("metal", "heavy metal piece", ("rock", "metal", "guitar", "instrumental"), (120, 180), (
        _chords((30,), "power"), _chords((30, 29), "power", chance=0.5), _bass((34, 33), "eighths", "sixteenths"),
        _drums((16, 8), "metal", "rock", "punk"), _melody((30,), "quick", chance=0.5)), _DARK),
    Style("pop", "pop piece", ("pop_rock", "instrumental"), (85, 130), (
        _melody((54, 73, 80, 65, 26, 0, 4), "lively"), _chords((25, 27, 0, 4), "strum", "eighths", "blocks", "stabs"),
        _bass((33, 32, 38), "syncopated", "eighths", "tresillo"), _drums(_KITS, "rock", "disco", "four_hats"),
        _chords((50, 89, 48), "pad", chance=0.5, level=66)), ("major", "minor", "mixolydian")),
    Style("techno", "techno loop", ("electronic", "techno", "loop"), (118, 145), (
        _chords((81, 87, 90, 62, 80), "stabs", "offbeat", "ostinato", chance=0.85), _bass((38, 39, 87), "offbeats",
        "sixteenths", "eighths"),
        _drums((24, 25), "four", "four_hats"), _chords(_PADS, "pad", chance=0.5, level=64),
        _melody(_LEADS, "quick", chance=0.4, level=84)), _DARK, harmony="vamp", bars_per_chord=(2, 1)),
    Style("drum_and_bass", "drum and bass piece", ("electronic", "drum_and_bass"), (160, 180), (
        _bass((38, 39, 87, 36), "syncopated", "halves"), _drums((24, 25, 8), "drum_and_bass", "breakbeat"),
        _chords((*_PADS, 4, 5), "pad", chance=0.8, level=72), _melody((80, 81, 11, 54), "lively", chance=0.5)),
        _DARK, harmony="vamp", bars_per_chord=(2,)),
    Style("synthwave", "electronic piece with synth", ("electronic", "synth"), (80, 120), (
        _chords((81, 62, 90, 50), "up_fast", "ostinato", "pad"), _bass((38, 39), "eighths", "sixteenths", "octaves"),
        _drums((24, 25), "rock", "four", "half_time", chance=0.85), _melody(_LEADS, "calm", "lively", chance=0.7)),
        ("minor", "dorian", "major")),
    Style("lofi", "lofi hip hop beat", ("lofi", "hip_hop", "chill"), (68, 92), (
        _chords((4, 5, 0, 11), "blocks", "charleston", "pad"), _bass((32, 33, 39), "syncopated", "whole", "tresillo"),
        _drums((8, 25, 40), "hip_hop", "half_time"), _melody((26, 11, 4, 75, 66), "calm", "lively", chance=0.5,
        level=78)),
        ("dorian", "major", "minor"), swing=0.08, harmony="vamp"),
    Style("trap", "hip hop beat", ("hip_hop", "electronic", "loop"), (66, 80), (
        _bass((38, 39), "whole", "syncopated"), _drums((25, 24), "trap", "hip_hop"),
        _chords((10, 14, 88, 45, 11), "up", "slow_roll", "scattered", "ostinato")), _DARK, harmony="vamp"),
    Style("jazz", "jazz piece", ("jazz", "instrumental"), (90, 180), (
        _melody((64, 65, 66, 56, 59, 26, 11, 71), "triplet", "lively"), _chords((0, 26, 4), "charleston", "stabs"),
        _bass((32, 35), "walking"), _drums((32, 40), "swing", "brushes", chance=0.9)),
        ("dorian", "major", "mixolydian", "minor"), swing=0.15),
    Style("bossa", "bossa nova piece", ("jazz", "latin", "instrumental"), (100, 140), (
        _melody((73, 65, 24, 11), "lively", "calm"), _chords((24, 26, 4), "charleston", "offbeat"),
        _bass((32, 33), "tresillo"), _drums((0, 40), "bossa", "latin", chance=0.9)), ("major", "dorian", "minor")),
    Style("latin", "latin dance", ("latin", "dance", "instrumental"), (95, 130), (
        _melody((56, 61, 73, 13, 12), "lively", "quick"), _chords((0, 61), "offbeat", "charleston", "up_fast"),
        _bass((32, 33), "tresillo", "syncopated"), _drums((0,), "latin", "samba", "bongos")), ("minor", "major",
        "mixolydian")),
    Style("reggae", "reggae piece", ("reggae", "instrumental"), (70, 95), (
        _chords((27, 28, 16), "offbeat"), _bass((33, 34), "syncopated", "tresillo"), _drums(_KITS, "reggae"),
        _melody((18, 56, 65, 22), "lively", chance=0.7)), ("minor", "major", "dorian")),
    Style("funk", "funk piece", ("funk", "instrumental"), (92, 120), (
        _bass((36, 37, 33), "syncopated", "sixteenths"), _chords((28, 7, 27), "stabs", "charleston", "ostinato"),
        _drums(_KITS, "breakbeat", "hip_hop", "disco"), _melody((61, 66, 18), "quick", chance=0.6)),
        ("dorian", "mixolydian"), harmony="vamp"),
    Style("folk", "folk tune", ("folk", "instrumental"), (80, 130), (
        _melody((40, 110, 73, 74, 78, 21, 22), "lively", "quick"), _chords((25, 24, 105, 46), "strum", "up",
        "alberti"),
        _bass((32, 43), "fifths", "halves", chance=0.6), _drums((0,), "folk", "bongos", chance=0.4, level=78)),
        ("major", "dorian", "mixolydian", "minor")),
    Style("harp", "piece for harp and flute", ("harp", "flute", "classical", "instrumental"), (60, 100), (
        _chords((46,), "up_down", "rolling", "up", "triplets"), _melody((73, 74, 75), "calm", "lively")), _ALL_MODES),
    Style("waltz", "waltz", ("waltz", "classical", "instrumental"), (90, 170), (
        _melody((40, 71, 73, 0, 21), "lively", "calm"), _chords((48, 0, 21, 45), "waltz"),
        _bass((43, 32), "waltz", chance=0.5), _drums((0, 48), "waltz", chance=0.3, level=76)),
        ("major", "harmonic_minor", "minor"), beats=3),
    Style("polka", "polka", ("polka", "folk", "comedy", "instrumental"), (110, 140), (
        _melody((21, 71, 23), "quick", "lively"), _chords((21, 105, 24), "offbeat"), _bass((58, 32), "fifths"),
        _drums((0,), "march", "folk", chance=0.5)), ("major",)),
    Style("mallets", "piece for mallets", ("percussion", "instrumental"), (80, 150), (
        _melody(_MALLETS, "quick", "lively", "triplet"), _chords((12, 11, 13, 108), "ostinato", "up_fast", "eighths"),
        _chords((12, 11), "blocks", "tremolo", chance=0.4), _drums((0,), "bongos", "afro", "latin", chance=0.4,
        level=76)),
        _ALL_MODES, harmony="vamp"),
    Style("music_box", "music box tune", ("music_box", "instrumental"), (60, 110), (
        _melody((10, 8), "lively", "calm"), _chords((10, 8, 9), "up", "up_down", "waltz", level=74)), ("major",
        "lydian", "minor")),
    Style("choir", "choir piece", ("choir", "vocals"), (50, 90), (
        _chords(_CHOIRS, "pad", "blocks"), _chords((52, 19, 48), "pad", chance=0.5), _melody((53, 52), "calm",
        chance=0.6),
        _bass((19, 52), "whole", chance=0.5)), ("major", "minor", "dorian", "phrygian")),
    Style("organ", "organ piece", ("organ", "classical", "instrumental"), (60, 120), (
        _chords((19, 20, 16), "pad", "blocks", "up"), _melody((19, 20, 16), "lively", "quick"), _bass((19,),
        "whole", "quarters")),
        ("minor", "major", "harmonic_minor")),
    Style("brass", "brass fanfare", ("brass", "fanfare", "instrumental"), (80, 130), (
        _melody(_BRASSES, "lively", "triplet"), _chords((61, 57, 60), "blocks", "beats", "pad"), _bass((58, 57),
        "halves", "quarters"),
        _drums((48, 0), "march", "toms", chance=0.5)), ("major", "mixolydian", "minor")),
    Style("temple", "piece for plucked strings", ("world", "instrumental"), (60, 110), (
        _melody((104, 106, 107, 77, 111, 15), "quick", "lively", "calm"), Layer("drone", (48, 104, 89, 20),
        ("fifth", "root"), 0.7, 76),
        _chords(_PLUCKED, "ostinato", "up", "scattered", chance=0.6), _drums((0,), "bongos", "afro", "toms",
        chance=0.5)),
        ("phrygian", "harmonic_minor", "dorian"), harmony="vamp"),
    Style("solo", "solo", ("solo", "instrumental"), (60, 160), (_melody(_SOLO, "calm", "lively", "quick",
        "triplet"),), _ALL_MODES),
    Style("bass", "bass line", ("bass", "solo"), (70, 140), (
        _bass((32, 33, 34, 35, 36, 37, 38, 39), "syncopated", "walking", "eighths", "octaves", "tresillo",
        "sixteenths"),),
        _ALL_MODES, harmony="vamp"),
    Style("drums", "drum solo", ("drums", "percussion"), (70, 180), (
        _drums((0, 8, 16, 24, 25, 32, 40, 48), "rock", "punk", "breakbeat", "drum_and_bass", "swing", "metal", "toms",
               "disco", "march", "hip_hop", "four_hats", "half_time"),)),
    Style("percussion", "percussion rhythm", ("percussion", "drums"), (80, 150), (
        _drums((0,), "latin", "bongos", "afro", "samba", "folk"),
        Layer("drums", (0,), ("toms", "sparse", "shuffle"), 0.4, 80)), beats=4),
    Style("chords", "chord progression", ("solo", "instrumental"), (60, 130), (
        _chords((0, 4, 5, 16, 21, 24, 25, 26, 27, 46, 48, 52, 88, 90, 6, 7, 11), "blocks", "strum", "up", "up_down",
        "beats",
                "rolling", "charleston", "eighths", "alberti", "pad"),), _ALL_MODES),
)  # fmt: skip
"""All styles."""
