"""Notes of instruments -> a cache of their spectrograms -> batches."""

import os
import tarfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader

from masktools.core.configs import to_dict
from masktools.core.errors import AudioError, ParameterError
from masktools.core.jsons import read_json
from masktools.io import resample
from masktools.mel import MelConfig, MelFrontEnd
from masktools.networks.conditioning.notes import NoteWords, NoteWordsConfig, instruments_of
from masktools.training.captioned_mels import long_mel
from masktools.training.notes import Note, read_notes
from masktools.training.streams import Batch, Stream, StreamData, StreamLoader, write_json

_TABLE, _MELS = "notes.json", "mels.npy"
_SILENCE = -1.0


class NoteCache:
    """The spectrograms of notes, all of one length, and their table."""

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        """Open a cache.

        Raises:
            ParameterError: There is none.
        """
        place = Path(folder)
        if not (place / _TABLE).is_file():
            raise ParameterError(f"no cache of notes at {place}: give it sources, and it is made")
        content = read_json(place / _TABLE)
        self.notes = [Note(**row) for row in content["notes"]]
        self.made_of: dict[str, Any] = content["made_of"]
        self.n_skipped: int = content["n_skipped"]
        self.mels = np.load(place / _MELS, mmap_mode="r")  # (n, f, m) float16

    def split(self, name: str) -> list[int]:
        """Return the numbers of the notes of a split."""
        return [number for number, note in enumerate(self.notes) if note.split == name]

    @property
    def words(self) -> NoteWords:
        """The conditions of all notes of the training split, by their words."""
        notes = [note for note in self.notes if note.split == "train"] or self.notes
        pairs = instruments_of([(note.label, note.family) for note in notes])
        pitches = [note.pitch for note in self.notes]
        return NoteWords(NoteWordsConfig(pairs, min(21, *pitches), max(108, *pitches)))

    def mel(self, number: int) -> torch.Tensor:
        """Return the spectrogram (f, m) of a note."""
        return torch.from_numpy(np.asarray(self.mels[number], np.float32))


def build_note_cache(sources: list[str], folder: str | os.PathLike[str], mel: MelConfig, n_frames: int) -> NoteCache:
    """Return the cache of the notes of some sources, made if need be: whole or not at all.

    Notes that cannot be read are left out, and counted.

    Args:
        sources: As for ``read_notes``.
        folder: Where to.
        mel: Settings of the front end.
        n_frames: Frames of each note; longer ones are cut, shorter ones followed by silence.

    Raises:
        ParameterError: No note, or a folder that holds a cache of other settings.
    """
    target = Path(folder)
    made_of = {"sources": [os.path.abspath(source) for source in sources], "mel": to_dict(mel), "n_frames": n_frames}
    if (target / _TABLE).is_file():
        cache = NoteCache(target)
        if cache.made_of != made_of:
            raise ParameterError(f"{target} is a cache of other notes or settings: choose another folder, or remove it")
        return cache
    target.mkdir(parents=True, exist_ok=True)
    front_end, notes, n_skipped = MelFrontEnd(mel), list[Note](), 0
    raw = target / "mels.part"
    with raw.open("wb") as file:
        for source in sources:
            for note, load in read_notes(source):
                try:
                    samples, rate = load()
                except (AudioError, OSError, tarfile.TarError):
                    n_skipped += 1
                    continue
                wave = resample(samples, rate, mel.sample_rate)
                spectrogram = long_mel(front_end, wave[: n_frames * mel.hop_length], n_frames)
                file.write(np.ascontiguousarray(spectrogram.T, np.float16).tobytes())
                notes.append(note)
    if not notes:
        raw.unlink()
        raise ParameterError(f"no note of {', '.join(sources)} can be read, {n_skipped} were tried")
    shape = (len(notes), mel.n_mels, n_frames)
    partial = target / "mels.part.npy"
    stored = np.lib.format.open_memmap(partial, mode="w+", dtype=np.float16, shape=shape)
    rows = np.memmap(raw, dtype=np.float16, mode="r", shape=shape)
    for start in range(0, len(notes), 1024):
        stored[start : start + 1024] = rows[start : start + 1024]
    stored.flush()
    del stored, rows
    os.replace(partial, target / _MELS)
    raw.unlink()
    write_json(target / _TABLE, {"made_of": made_of, "n_skipped": n_skipped, "notes": [asdict(note) for note in notes]})
    return NoteCache(target)


class NoteStream(Stream):
    """Endless random notes: ``mel`` (f, m), ``condition`` (d,), ``pitch`` and ``family``.

    Families are drawn alike, however many notes each has. A share of the conditions leaves the pitch open, and as large
    a one the instrument, or says the family in its place.
    """

    def __init__(
        self, cache: NoteCache, split: str, seed: int = 0, open_share: float = 0.1, gain_share: float = 0.06
    ) -> None:
        super().__init__(seed)
        self.cache, self.words = cache, cache.words
        self.open_share, self.gain_share = open_share, gain_share
        numbers: dict[str, list[int]] = {}
        for number in cache.split(split):
            numbers.setdefault(cache.notes[number].family, []).append(number)
        if not numbers:
            raise ParameterError(f"there are no notes of split {split!r} to draw from")
        self._numbers = list(numbers.values())

    def sample(self, index: int) -> Batch:
        """Return note ``index``."""
        rng = np.random.default_rng((self.seed, index))
        of_family = self._numbers[int(rng.integers(len(self._numbers)))]
        number = of_family[int(rng.integers(len(of_family)))]
        note, mel = self.cache.notes[number], self.cache.mel(number)
        gain = float(rng.uniform(-self.gain_share, self.gain_share))
        mel = torch.where(mel <= _SILENCE, mel, (mel + gain).clamp(-1.0, 1.0))
        pitch = None if rng.random() < self.open_share else note.pitch
        says = rng.random()
        if says < self.open_share:
            condition = self.words.vector(pitch)
        elif says < 2 * self.open_share:
            condition = self.words.vector(pitch, family=note.family)
        else:
            condition = self.words.vector(pitch, note.label)
        return item_of(note, self.words, mel) | {"condition": condition}


def item_of(note: Note, words: NoteWords, mel: torch.Tensor) -> Batch:
    """Return a note as an item of a batch, with its full condition."""
    known = note.label in dict(words.config.instruments)
    family = None if known or note.family not in words.config.families else note.family
    return {
        "mel": mel,
        "condition": words.vector(note.pitch, note.label if known else None, family),
        "pitch": note.pitch,
        "family": -1 if note.family not in words.config.families else words.config.families.index(note.family),
        "caption": f"a {note.label.replace('_', ' ')}",
    }


class NoteData(StreamData):
    """Notes of a cache, for tokenizers, transformers and classifiers over scales.

    Args:
        cache: Folder of the cache.
        sources: What it is made of, where it is not there yet.
        mel: Settings of the front end.
        n_frames: Frames of each note.
        batch_size: Of both splits.
        seed: What draws the notes.
        n_valid_notes: Notes of the validation split, spread over it.
        open_share: Conditions that leave something open.
        gain_share: Largest gain, up or down, in the unit of the spectrogram.
    """

    def __init__(
        self,
        cache: str,
        sources: list[str] | None = None,
        mel: MelConfig = MelConfig(),
        n_frames: int = 208,
        batch_size: int = 16,
        seed: int = 0,
        n_valid_notes: int = 256,
        open_share: float = 0.1,
        gain_share: float = 0.06,
    ) -> None:
        super().__init__()
        self.save_hyperparameters(ignore=["mel"])
        self.mel = mel

    def prepare_data(self) -> None:
        """Make the cache, in one process of each node."""
        own = self.hparams
        if own["sources"]:
            build_note_cache(own["sources"], own["cache"], self.mel, own["n_frames"])

    def setup(self, stage: str | None = None) -> None:
        """Open the cache."""
        self.notes = NoteCache(self.hparams["cache"])
        if self.notes.made_of["mel"] != to_dict(self.mel):
            raise ParameterError(f"{self.hparams['cache']} is a cache of other mel settings than those of the recipe")

    def train_dataloader(self) -> StreamLoader:
        """Return the endless training batches."""
        own = self.hparams
        stream = NoteStream(self.notes, "train", own["seed"], own["open_share"], own["gain_share"])
        return self.stream_loader(stream, own["batch_size"])

    def val_dataloader(self) -> DataLoader[Batch]:
        """Return the fixed validation batches."""
        numbers, n_wanted = self.notes.split("valid"), self.hparams["n_valid_notes"]
        if not numbers:
            raise ParameterError("no note of split 'valid': the sources must hold one")
        chosen = numbers[:: max(1, len(numbers) // n_wanted)][:n_wanted]
        words = self.notes.words
        items = [item_of(self.notes.notes[n], words, self.notes.mel(n)) for n in chosen]
        return DataLoader(items, self.hparams["batch_size"])  # type: ignore[arg-type]
