"""Tokens and conditions of a collection, computed once, so that the transformer trains without touching audio.

- tokens.uint16: the columns of all recordings one after the other, (w, r)
- conditions.float16: the embedding of the sound of each half clip, (s, d)
- index.json: what lies where, and of which audio, mel settings and weights it was made
"""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from masktools.conditioning import Conditioner
from masktools.configs import to_dict
from masktools.errors import AudioError, ParameterError
from masktools.jsons import read_json
from masktools.mel import MelConfig, MelFrontEnd
from masktools.training.audio_cache import AudioCache, Recording, recording_from
from masktools.training.audio_folders import open_audio
from masktools.training.resumable import Note, Progress, ResumableBuild, chunked, write_json
from masktools.training.shards import ShardSet
from masktools.training.tokenising import Tokenizer, conditions_of, fingerprint, is_local, silent_column, tokens_of

__all__ = ["TokenCache", "Tokenised", "build_token_cache"]

_TOKENS, _CONDITIONS, _INDEX = "tokens.uint16", "conditions.float16", "index.json"
_MADE_OF = ("audio", "mel", "tokenizer", "conditioner", "n_cols")


@dataclass(frozen=True)
class Tokenised:
    """One recording, and where its tokens and conditions lie."""

    recording: Recording
    first_col: int
    n_cols: int
    first_condition: int
    n_conditions: int


class TokenCache:
    """The tokens and conditions of a collection, memory-mapped."""

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        """Open a cache.

        Raises:
            ParameterError: There is none, or it is empty.
        """
        self.folder = Path(folder)
        index = self.folder / _INDEX
        if not index.is_file() or not (self.folder / _TOKENS).is_file():
            raise ParameterError(f"no token cache in {self.folder}: {_INDEX} or {_TOKENS} is missing")
        content = read_json(index)
        self.made_of: dict[str, Any] = {name: content[name] for name in _MADE_OF}
        self.n_cols: int = content["n_cols"]  # of a clip
        self.n_rows: int = content["n_rows"]
        self.n_codes: int = content["n_codes"]
        self.dim: int = content["dim"]  # of a condition
        self.local: bool = content["local"]  # whether clips may begin at any column
        self.silent_column = np.array(content["silent_column"], np.uint16)
        self.skipped: list[list[str]] = content["skipped"]
        self.recordings = [_tokenised(row) for row in content["recordings"]]
        if not self.recordings:
            raise ParameterError(f"the token cache in {self.folder} is empty: none of its recordings could be decoded")
        self._tokens = np.memmap(self.folder / _TOKENS, np.uint16, "r").reshape(-1, self.n_rows)
        self._conditions = np.memmap(self.folder / _CONDITIONS, np.float16, "r").reshape(-1, self.dim)

    def __reduce__(self) -> tuple[type["TokenCache"], tuple[Path]]:
        return TokenCache, (self.folder,)  # a process that gets the cache opens it anew

    def __len__(self) -> int:
        return len(self.recordings)

    def tokens(self, item: Tokenised, start: int = 0, n_cols: int | None = None) -> np.ndarray:
        """Return columns [start, start + n_cols) of a recording, (w, r) uint16."""
        stop = item.n_cols if n_cols is None else min(item.n_cols, start + n_cols)
        return np.asarray(self._tokens[item.first_col + start : item.first_col + stop])

    def condition(self, item: Tokenised, start: int = 0) -> np.ndarray:
        """Return the condition (d,) of the clip that begins at column ``start``, float32: that of the nearest half."""
        nearest = min(round(2 * start / self.n_cols), item.n_conditions - 1)
        return self._conditions[item.first_condition + nearest].astype(np.float32)

    def split(self, name: str) -> list[Tokenised]:
        """Return the recordings of a split.

        Raises:
            ParameterError: The cache has none of that split.
        """
        chosen = [item for item in self.recordings if item.recording.split == name]
        if not chosen:
            known = sorted({item.recording.split for item in self.recordings})
            raise ParameterError(f"no recording of split {name!r} in {self.folder}: it has {', '.join(known)}")
        return chosen

    def check(
        self, mel: MelConfig | None = None, tokenizer: Tokenizer | None = None, conditioner: Any | None = None
    ) -> None:
        """Refuse to go with parts that the cache was not made with; those that are not given are not compared.

        Raises:
            ParameterError: Something differs; the message says what.
        """
        given = {
            "mel": None if mel is None else to_dict(mel),
            "tokenizer": None if tokenizer is None else fingerprint(tokenizer),
            "conditioner": None if conditioner is None else fingerprint(conditioner),
        }
        _check_same(self.folder, self.made_of, {name: value for name, value in given.items() if value is not None})


def _tokenised(row: Mapping[str, Any]) -> Tokenised:
    return Tokenised(recording_from(row["recording"]), **{name: row[name] for name in row if name != "recording"})


def _check_same(folder: Path, stored: Mapping[str, Any], given: Mapping[str, Any]) -> None:
    differing = []
    for name, value in given.items():
        if name == "mel":
            fields = [field for field in value if stored["mel"].get(field) != value[field]]
            differing += [f"mel {field} ({stored['mel'].get(field)} there, {value[field]} given)" for field in fields]
        elif stored[name] != value:
            differing.append(f"{name} ({str(stored[name])[:16]} there, {str(value)[:16]} given)")
    if differing:
        raise ParameterError(f"{folder} holds tokens made of another {'; another '.join(differing)}")


def build_token_cache(
    audio: str | os.PathLike[str],
    folder: str | os.PathLike[str],
    tokenizer: Tokenizer,
    conditioner: Conditioner,
    mel: MelConfig,
    n_cols: int = 53,
    n_workers: int = 1,
    progress: Progress | None = None,
    device: str | torch.device = "cpu",
) -> TokenCache:
    """Compute tokens and conditions of a whole collection into ``folder`` once, and return the cache.

    A build that was killed goes on where it stopped. Several processes compute with one thread each; a rare token may
    depend on the device.

    Args:
        audio: the folder of an audio cache or of tar shards
        folder: of the cache; made if need be
        tokenizer: mel -> tokens
        conditioner: waves -> vectors
        mel: the settings that the tokenizer was trained with
        n_cols: columns of the clips that will be drawn; conditions are of such clips
        n_workers: processes
        progress: called with the recordings done and their number
        device: where to compute

    Raises:
        ParameterError: There is no audio, or ``folder`` holds tokens made of something else (the message says what).
        MasktoolsError: A process died.
    """
    if n_cols < 2:
        raise ParameterError(f"n_cols must be at least 2, got {n_cols}")
    found, target = open_audio(audio, mel.sample_rate), Path(folder)
    values = (found.key, to_dict(mel), fingerprint(tokenizer), fingerprint(conditioner), n_cols)
    made_of: dict[str, Any] = dict(zip(_MADE_OF, values, strict=True))
    if (target / _INDEX).is_file():
        cache = TokenCache(target)
        _check_same(target, cache.made_of, made_of)
        return cache
    build = ResumableBuild(target, json.dumps(made_of, sort_keys=True), [_TOKENS, _CONDITIONS])
    work = _TokenWork(Path(audio), tokenizer.eval(), conditioner, mel, n_cols, str(device), n_workers > 1)
    notes = build.run(chunked(range(len(found))), work, n_workers, progress)
    shape = {"n_rows": tokenizer.n_rows, "n_codes": tokenizer.n_codes, "dim": conditioner.dim}
    silent = silent_column(tokenizer.to(device), MelFrontEnd(mel).silence, torch.device(device))
    content = made_of | shape | {"local": is_local(tokenizer), "silent_column": silent.tolist()}
    skipped = [pair for note in notes for pair in note["skipped"]]
    write_json(target / _INDEX, content | {"skipped": skipped, "recordings": _placed(notes)})
    build.close()
    return TokenCache(target)


def _placed(notes: Sequence[Note]) -> list[dict[str, Any]]:
    rows, col, condition = [], 0, 0
    for row in (row for note in notes for row in note["recordings"]):
        rows.append(row | {"first_col": col, "first_condition": condition})
        col, condition = col + row["n_cols"], condition + row["n_conditions"]
    return rows


class _TokenWork:
    """Writes the tokens and the conditions of some recordings one after the other."""

    def __init__(
        self,
        folder: Path,
        tokenizer: Tokenizer,
        conditioner: Conditioner,
        mel: MelConfig,
        n_cols: int,
        device: str,
        one_thread: bool,
    ) -> None:
        self.folder, self.tokenizer, self.conditioner, self.mel = folder, tokenizer, conditioner, mel
        self.n_cols, self.device, self.one_thread = n_cols, device, one_thread

    @cached_property
    def audio(self) -> AudioCache | ShardSet:
        """The collection, opened by the process that reads it."""
        return open_audio(self.folder, self.mel.sample_rate)

    @cached_property
    def front_end(self) -> MelFrontEnd:
        """The front end, on the device, with the networks brought there too."""
        if self.one_thread:
            torch.set_num_threads(1)  # the other cores have processes of their own
        encoder: Any = getattr(self.conditioner, "clap", self.conditioner)
        for network in (self.tokenizer, encoder):
            network.to(self.device)
        return MelFrontEnd(self.mel).to(self.device)

    def __call__(self, job: Sequence[int], outputs: Mapping[str, Path]) -> Note:
        """Tokenise the recordings; those that cannot be decoded are named in the note."""
        rows, skipped, front_end = [], [], self.front_end
        n_samples = self.n_cols * self.mel.column_samples
        with outputs[_TOKENS].open("wb") as token_file, outputs[_CONDITIONS].open("wb") as condition_file:
            for index in job:
                try:
                    recording, wave = self.audio.item(index)
                except AudioError as error:
                    skipped.append([self.audio.name(index), str(error)])
                    continue
                tokens = tokens_of(self.tokenizer, front_end, wave, self.n_cols)
                conditions = conditions_of(self.conditioner, wave, self.mel.sample_rate, n_samples)
                token_file.write(tokens.tobytes())
                condition_file.write(conditions.tobytes())
                rows.append({"recording": asdict(recording), "n_cols": len(tokens), "n_conditions": len(conditions)})
        return {"recordings": rows, "skipped": skipped}
