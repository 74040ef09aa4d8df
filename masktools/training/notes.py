"""Notes in NSynth's format -> a cache of spectrograms -> batches; and training of the note classifier.

NSynth (Engel et al., arXiv:1704.01279) is ``nsynth-train``, ``nsynth-valid`` and ``nsynth-test``: each a folder, or a
``.jsonwav.tar.gz`` of it, with ``examples.json`` (name of a note -> its metadata) and ``audio/NAME.wav``. Its
splits do not share instruments. ``python -m recipes.renders --notes`` writes the same layout.
"""

import os
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import DataLoader

from masktools.core.configs import from_dict, parse_json, read_json, to_dict
from masktools.core.errors import AudioError, CheckpointError, ParameterError
from masktools.io import read, resample
from masktools.mel import MelConfig, MelFrontEnd
from masktools.networks.conditioning.notes import NoteWords, NoteWordsConfig, instruments_of
from masktools.networks.scales.classifier import NoteClassifier, NoteClassifierConfig
from masktools.training.builds import write_json
from masktools.training.captioned_mels import long_mel
from masktools.training.checkpoints import network_state, part_description
from masktools.training.part import PartTraining
from masktools.training.sources import SPLITS
from masktools.training.streams import Batch, Stream, StreamData, StreamLoader, spread_over

_EXAMPLES = "examples.json"


@dataclass(frozen=True)
class Note:
    """Metadata of a note."""

    name: str
    split: str
    pitch: int  # MIDI
    velocity: int
    instrument: str  # its id: splits do not share instruments
    label: str  # name in words; the family if there is no other
    family: str


def read_notes(source: str | os.PathLike[str]) -> Iterator[tuple[Note, Callable[[], tuple[np.ndarray, int]]]]:
    """Yield each note of NSynth's files, and a function that reads its samples (t,) and their rate.

    Args:
        source: a folder with ``examples.json``, a tar of one, or a folder of several of either. From a tar the samples
            must be read before the next note is asked for.

    Raises:
        ParameterError: there are no notes, or the table is invalid.
    """
    place = Path(source)
    if place.is_dir() and (place / _EXAMPLES).is_file():
        return _of_folder(place)
    if place.is_file() and tarfile.is_tarfile(place):
        return _of_tar(place)
    inside = sorted(place.iterdir()) if place.is_dir() else []
    found = [one for one in inside if (one / _EXAMPLES).is_file() or ".jsonwav.tar" in one.name]
    if not found:
        raise ParameterError(
            f"no notes at {place}: it must be a folder with {_EXAMPLES} and audio/, as NSynth has it, or a "
            ".jsonwav.tar.gz of one, or a folder of those"
        )
    return (note for one in found for note in read_notes(one))


def _of_folder(folder: Path) -> Iterator[tuple[Note, Callable[[], tuple[np.ndarray, int]]]]:
    for note in _table(read_json(folder / _EXAMPLES), folder.name, folder):
        yield note, lambda note=note: _samples(folder / "audio" / f"{note.name}.wav")


def _of_tar(path: Path) -> Iterator[tuple[Note, Callable[[], tuple[np.ndarray, int]]]]:
    """Read a tar twice, since its table may be at the end; nothing is unpacked."""
    table: dict[str, Note] = {}
    with tarfile.open(path) as archive:
        for member in archive:
            parts = PurePosixPath(member.name)
            if parts.name == _EXAMPLES and member.isfile():
                split = parts.parent.name or path.name
                content = _bytes(archive, member)
                try:
                    listed = parse_json(content)
                except ValueError as error:
                    raise ParameterError(f"{_EXAMPLES} in {path} must be JSON: {error}") from error
                table |= {note.name: note for note in _table(listed, split, path)}
                break
    if not table:
        raise ParameterError(f"no {_EXAMPLES} in {path}: it must be a tar of NSynth's json and wav files")
    with tarfile.open(path) as archive:
        for member in archive:
            name = PurePosixPath(member.name)
            note = table.get(name.stem)
            if note is not None and member.isfile() and name.suffix == ".wav":
                yield note, lambda archive=archive, member=member: _packed_samples(archive, member)


def _bytes(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = archive.extractfile(member)
    return b"" if file is None else file.read()


def _samples(file: Path) -> tuple[np.ndarray, int]:
    audio = read(file)
    return audio.samples.mean(axis=0), audio.sample_rate


def _packed_samples(archive: tarfile.TarFile, member: tarfile.TarInfo) -> tuple[np.ndarray, int]:
    with tempfile.TemporaryDirectory(prefix="masktools-") as scratch:
        file = Path(scratch, "note.wav")
        file.write_bytes(_bytes(archive, member))
        return _samples(file)


def _table(listed: Any, place: str, source: Path) -> Iterator[Note]:
    """Yield the notes of a table; the name of its folder determines the split."""
    if not isinstance(listed, Mapping):
        raise ParameterError(f"{_EXAMPLES} of {source} must name notes, got a {type(listed).__name__}")
    split = next((name for name in SPLITS if name in place.lower()), "train")
    for name, row in listed.items():
        try:
            family, instrument = str(row["instrument_family_str"]), str(row["instrument_str"])
            pitch, velocity = int(row["pitch"]), int(row["velocity"])
        except (KeyError, TypeError, ValueError) as error:
            raise ParameterError(
                f"note {name!r} in {_EXAMPLES} of {source} must have pitch, velocity, instrument_str and "
                f"instrument_family_str: {error!r}"
            ) from error
        if name != PurePosixPath(name).name or not 0 <= pitch <= 127:
            raise ParameterError(f"note {name!r} in {_EXAMPLES} of {source} must be a plain name and of pitch 0 to 127")
        yield Note(name, split, pitch, velocity, instrument, str(row.get("label") or family), family)


_TABLE, _MELS = "notes.json", "mels.npy"
_SILENCE = -1.0


class NoteCache:
    """Spectrograms of notes, all of one length, and their table."""

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        """Open a cache.

        Raises:
            ParameterError: there is none.
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
        """Return the indices of the notes of a split."""
        return [number for number, note in enumerate(self.notes) if note.split == name]

    @property
    def words(self) -> NoteWords:
        """The conditioner for the instruments of the training split."""
        notes = [note for note in self.notes if note.split == "train"] or self.notes
        pairs = instruments_of([(note.label, note.family) for note in notes])
        pitches = [note.pitch for note in self.notes]
        return NoteWords(NoteWordsConfig(pairs, min(21, *pitches), max(108, *pitches)))

    def mel(self, number: int) -> torch.Tensor:
        """Return the spectrogram (f, m) of a note."""
        return torch.from_numpy(np.asarray(self.mels[number], np.float32))


def build_note_cache(sources: list[str], folder: str | os.PathLike[str], mel: MelConfig, n_frames: int) -> NoteCache:
    """Return the note cache of some sources, made if it does not exist: whole or not at all.

    Notes that cannot be read are left out, and counted.

    Args:
        sources: folders or tar files; see ``read_notes``.
        folder: folder of the cache.
        mel: settings of the front end.
        n_frames: length of each note in frames; longer ones are cropped, shorter ones padded with silence.

    Raises:
        ParameterError: no notes, or a folder that holds a cache of other settings.
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

    Families are drawn with equal probability. A share of the conditions leaves the pitch open, and the same
    share the instrument, or gives only the family.
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
        cache: folder of the cache.
        sources: sources of the cache, if it does not exist yet.
        mel: settings of the front end.
        n_frames: length of each note in frames.
        batch_size: batch size of both splits.
        seed: random seed of the notes.
        n_valid_notes: number of validation notes, spread over the split.
        open_share: share of the conditions that leave something open.
        gain_share: greatest gain, up or down, in the unit of the spectrogram.
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
        numbers = self.notes.split("valid")
        if not numbers:
            raise ParameterError("no note of split 'valid': the sources must hold one")
        chosen, words = spread_over(numbers, self.hparams["n_valid_notes"]), self.notes.words
        items = [item_of(self.notes.notes[n], words, self.notes.mel(n)) for n in chosen]
        return DataLoader(items, self.hparams["batch_size"])  # type: ignore[arg-type]


class NoteClassifierTraining(PartTraining):
    """Training of the note classifier on batches of ``mel`` (b, f, m), ``pitch`` and ``family`` from ``NoteData``.

    Args:
        mel: settings of the front end.
        widths: channels of the convolutions.
        dropout: share of values that are dropped.
        n_steps: optimiser steps of the learning-rate schedule.
        n_warmup: steps of linear warm-up.
        learning_rate: peak learning rate, after the warm-up.
    """

    part, kind = "classifier", "notes"
    net: NoteClassifier

    def __init__(
        self,
        mel: MelConfig = MelConfig(),
        widths: tuple[int, ...] = (24, 48, 96),
        dropout: float = 0.1,
        n_steps: int = 1500,
        n_warmup: int = 50,
        learning_rate: float = 1e-3,
    ) -> None:
        super().__init__(mel)
        self.save_hyperparameters(ignore=["mel"])

    def configure_model(self) -> None:
        """Make the network for the classes of the data.

        Raises:
            CheckpointError: the data are no notes.
        """
        if hasattr(self, "net"):
            return
        data: Any = getattr(self.trainer, "datamodule", None)
        if not isinstance(data, NoteData):
            raise CheckpointError("a classifier of notes needs masktools.training.notes.NoteData as its data")
        words, own = data.notes.words.config, self.hparams
        self.net = NoteClassifier(
            NoteClassifierConfig(
                self.front_end.config.n_mels,
                words.lowest,
                words.n_pitches,
                words.families,
                tuple(own["widths"]),
                own["dropout"],
            )
        )

    def configure_optimizers(self) -> dict[str, object]:
        """Return AdamW with warm-up and cosine."""
        return self.adamw(weight_decay=0.02, final=0.02)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the loss of a batch: the sum of both cross-entropies."""
        guess = self.net(batch["mel"].float())
        pitch = F.cross_entropy(guess.pitch.float(), batch["pitch"] - self.net.config.lowest)
        family = F.cross_entropy(guess.family.float(), batch["family"])
        self.log_dict({"pitch": pitch, "family": family}, prog_bar=True)
        return pitch + family

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Log the accuracy of pitch and family."""
        guess, lowest = self.net(batch["mel"].float()), self.net.config.lowest
        found = {
            "valid_pitch": (guess.pitch.argmax(1) + lowest == batch["pitch"]).float().mean(),
            "valid_family": (guess.family.argmax(1) == batch["family"]).float().mean(),
        }
        self.log_dict(found, prog_bar=True, sync_dist=True, batch_size=len(batch["mel"]))

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Store the accuracy of the saved weights, on instruments that were not trained on."""
        data: Any = getattr(self.trainer, "datamodule", None)
        training = self.net.training
        self.net.eval()
        right, n_notes = torch.zeros(2), 0
        for batch in data.val_dataloader():
            guess = self.net.guess(batch["mel"].float().to(self.device))
            pitch = guess.pitch.argmax(1).cpu() + self.net.config.lowest == batch["pitch"]
            right += torch.stack([pitch, guess.family.argmax(1).cpu() == batch["family"]]).sum(1)
            n_notes += len(pitch)
        self.net.train(training)
        pitch, family = (right / n_notes).tolist()
        self.net.config = replace(self.net.config, accuracy=(round(pitch, 4), round(family, 4)))
        super().on_save_checkpoint(checkpoint)


def load_note_classifier(source: str) -> tuple[NoteClassifier, MelConfig]:
    """Load a trained classifier, frozen, and its mel settings; its settings include its accuracy.

    Raises:
        CheckpointError: there is none, or it holds something else.
    """
    description = part_description(source)
    if description.get("part") != "classifier":
        raise CheckpointError(f"{source} must hold a classifier of notes, got a {description.get('part')}")
    made = NoteClassifier(from_dict(NoteClassifierConfig, description["config"]))
    made.load_state_dict(network_state(source))
    return made.eval().requires_grad_(False), from_dict(MelConfig, description["mel"])
