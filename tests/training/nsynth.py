"""A miniature of NSynth in its real layout: tables and sounds of a few notes, as folders or as tars."""

import json
import tarfile

import numpy as np
import soundfile

FAMILIES = ["bass", "brass", "flute", "guitar", "keyboard", "mallet", "organ", "reed", "string", "synth_lead", "vocal"]
SPLITS = {"train": 8, "valid": 4, "test": 4}


def tone(pitch, family, seconds, rate):
    """Return a decaying note whose overtones are those of its family."""
    time_s = np.arange(round(seconds * rate)) / rate
    hertz = 440 * 2 ** ((pitch - 69) / 12)
    overtones = range(1, 6) if family == "reed" else range(1, 3)
    return 0.3 * np.exp(-3 * time_s) * sum(np.sin(2 * np.pi * hertz * n * time_s) / n for n in overtones)


def write_notes(folder, rate=16_000, seconds=0.25, splits=SPLITS):
    """Write the three splits, each of instruments of its own, and return the folder."""
    for number, (split, n_notes) in enumerate(splits.items()):
        place = folder / f"nsynth-{split}"
        (place / "audio").mkdir(parents=True)
        table = {}
        for index in range(n_notes):
            family = ("reed", "flute")[index % 2]
            instrument, pitch, velocity = f"{family}_acoustic_{number:03d}", 60 + index, (50, 75, 100)[index % 3]
            name = f"{instrument}-{pitch:03d}-{velocity:03d}"
            soundfile.write(place / "audio" / f"{name}.wav", tone(pitch, family, seconds, rate), rate, "PCM_16")
            table[name] = {
                "note": 1000 * number + index,
                "note_str": name,
                "instrument": number,
                "instrument_str": instrument,
                "pitch": pitch,
                "velocity": velocity,
                "sample_rate": rate,
                "qualities": [0] * 10,
                "qualities_str": [],
                "instrument_family": FAMILIES.index(family),
                "instrument_family_str": family,
                "instrument_source": 0,
                "instrument_source_str": "acoustic",
            }
        (place / "examples.json").write_text(json.dumps(table))
    return folder


def as_tars(folder, target, table_last=False):
    """Pack each split as it is published, and return where the tars are."""
    target.mkdir()
    for place in sorted(folder.iterdir()):
        with tarfile.open(target / f"{place.name}.jsonwav.tar.gz", "w:gz") as archive:
            files = sorted(place.rglob("*.*"), key=lambda path: (path.suffix == ".json") == table_last)
            for path in files:
                archive.add(path, path.relative_to(folder).as_posix())
    return target
