"""MagnaTagATune in small, or in full without its audio: the real layout, the real tags, made-up music."""

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile

from probes.datasets._mtat_facts import BROKEN, FOLDERS, SPLIT_OF_FOLDER, TOP_50

RATE = 16_000
_TAGS = (
    "no voice, singer, duet, plucking, hard rock, world, bongos, harpsichord, female singing, clasical, sitar, "
    "chorus, female opera, male vocal, vocals, clarinet, heavy, silence, beats, men, woodwind, funky, no strings, "
    "chimes, foreign, no piano, horns, classical, female, no voices, soft rock, eerie, spacey, jazz, guitar, "
    "quiet, no beat, banjo, electric, solo, violins, folk, female voice, wind, happy, ambient, new age, synth, "
    "funk, no singing, middle eastern, trumpet, percussion, drum, airy, voice, repetitive, birds, space, strings, "
    "bass, harpsicord, medieval, male voice, girl, keyboard, acoustic, loud, classic, string, drums, electronic, "
    "not classical, chanting, no violin, not rock, no guitar, organ, no vocal, talking, choral, weird, opera, "
    "soprano, fast, acoustic guitar, electric guitar, male singer, man singing, classical guitar, country, "
    "violin, electro, reggae, tribal, dark, male opera, no vocals, irish, electronica, horn, operatic, arabic, "
    "lol, low, instrumental, trance, chant, strange, drone, synthesizer, heavy metal, modern, disco, bells, man, "
    "deep, fast beat, industrial, hard, harp, no flute, jungle, pop, lute, female vocal, oboe, mellow, "
    "orchestral, viola, light, echo, piano, celtic, male vocals, orchestra, eastern, old, flutes, punk, spanish, "
    "sad, sax, slow, male, blues, vocal, indian, no singer, scary, india, woman, woman singing, rock, dance, "
    "piano solo, guitars, no drums, jazzy, singing, cello, calm, female vocals, voices, different, techno, "
    "clapping, house, monks, flute, not opera, not english, oriental, beat, upbeat, soft, noise, choir, female "
    "singer, rap, metal, hip hop, quick, water, baroque, women, fiddle, english"
)
TAGS = _TAGS.split(", ")
OTHERS = [tag for tag in TAGS if tag not in TOP_50]


class Size(NamedTuple):
    """Clips that train, validate and test, and how many of each have one of the 50 tags, without broken files."""

    full: tuple[int, int, int]
    clean: tuple[int, int, int]
    n_without_audio: int  # rows of the clip information that no annotation has


SMALL = Size((60, 18, 30), (50, 15, 25), 12)
PUBLISHED = Size((18_706, 1_825, 5_329), (15_247, 1_529, 4_332), 31_382 - 25_863)


class Line(NamedTuple):
    """A line of the annotations."""

    clip_id: str
    tags: frozenset[str]
    path: str
    artist: str


def write_mtat(root: Path, size: Size = SMALL, seed: int = 0, audio: bool = True) -> list[Line]:
    """Write the data set to a folder, and return its lines, the three broken files among them."""
    root.mkdir(parents=True, exist_ok=True)
    lines = sorted(_lines(size, np.random.default_rng(seed)), key=lambda line: int(line.clip_id))
    with (root / "annotations_final.csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, delimiter="\t", quoting=csv.QUOTE_ALL)
        table.writerow(["clip_id", *TAGS, "mp3_path"])
        table.writerows([one.clip_id, *("01"[tag in one.tags] for tag in TAGS), one.path] for one in lines)
    with (root / "clip_info_final.csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, delimiter="\t", quoting=csv.QUOTE_ALL)
        names = "clip_id track_number title artist album url segmentStart segmentEnd original_url mp3_path"
        table.writerow(names.split())
        for one in lines:
            table.writerow([one.clip_id, 1, "A Title", one.artist, "An Album", "", 0, 29, "", one.path])
        for number in range(size.n_without_audio):
            table.writerow([900_000 + number, 1, "A Title", "Nobody Heard", "An Album", "", 0, 29, "", ""])
    for folder in FOLDERS:
        (root / folder).mkdir(exist_ok=True)
    if audio:
        for one in lines:
            _write_audio(root / one.path, one)
    return lines


def _lines(size: Size, rng: np.random.Generator) -> Iterator[Line]:
    ids = iter(number for number in range(2, 10**9) if str(number) not in BROKEN)
    frequency = np.geomspace(0.2, 0.02, len(TOP_50))
    for split, n_clips, n_clean in zip(("train", "valid", "test"), size.full, size.clean, strict=True):
        folders = [folder for folder in FOLDERS if SPLIT_OF_FOLDER[folder] == split]
        for number in range(n_clips):
            tags = {str(tag) for tag in rng.choice(OTHERS, rng.integers(0, 4), replace=False)}
            if number < n_clean:
                heard = rng.random(len(TOP_50)) < frequency
                heard[rng.integers(len(TOP_50))] = True
                tags |= {tag for tag, one in zip(TOP_50, heard, strict=True) if one}
            folder, track = folders[number % len(folders)], number // len(folders)
            artist = f"artist {folder}{track // 8}"
            path = f"{folder}/{artist.replace(' ', '_')}-album-{track % 20:02}-title_{number}-0-29.mp3"
            yield Line(str(next(ids)), frozenset(tags), path, artist)
    for clip_id, path in BROKEN.items():
        yield Line(clip_id, frozenset({"guitar"}), path, "A Broken Artist")


def _write_audio(path: Path, line: Line) -> None:
    """Write a tone for each of the 50 tags in a little noise; broken files are empty, or no audio."""
    if line.clip_id in BROKEN:
        path.write_bytes(b"" if line.clip_id == "35644" else b"no mp3 " * 100)
        return
    rng = np.random.default_rng(int(line.clip_id))
    seconds = np.arange(round((1 + 2 * rng.random()) * RATE)) / RATE
    wave = 0.003 * rng.standard_normal(len(seconds))
    for number, tag in enumerate(TOP_50):
        if tag in line.tags:
            wave += 0.1 * np.sin(2 * np.pi * 150 * 1.07**number * seconds)
    soundfile.write(path, np.clip(wave, -1, 1), RATE, format="MP3", subtype="MPEG_LAYER_III")
