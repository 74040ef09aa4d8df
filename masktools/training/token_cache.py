"""Token caches: recordings tokenised once, and the clips drawn from them.

- tokens.uint16: the columns of all recordings concatenated, (w, r)
- conditions.float16: the audio embedding of each half clip, (s, d)
- index.json: positions of the recordings, and the audio, mel settings and weights of the cache
"""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import DataLoader

from masktools.core import arguments, configs
from masktools.core.errors import AudioError, ParameterError
from masktools.mel import MelConfig, MelFrontEnd
from masktools.networks.conditioning import Conditioner, as_conditioner
from masktools.networks.packing import weights_digest
from masktools.networks.tokenizer import LocalTokenizer, SpecVqgan, token_fingerprint
from masktools.training import builds, captioned_mels, shards, streams
from masktools.training.clips import open_audio

Tokenizer = LocalTokenizer | SpecVqgan
_WINDOW_COLS = 512  # window of a local tokenizer
_CONTEXT_COLS = 16  # context on either side: more than its receptive field
_BATCH = 8  # clips in a batch
_LEAST_SHARE = 0.5  # least share of a further clip that a recording must fill


def fingerprint(part: Any) -> str:
    """Return a hash of a part's output for audio, 16 hexadecimal digits: for a tokenizer, that of its tokens."""
    if isinstance(part, Tokenizer):
        return token_fingerprint(part.state_dict())
    module: Any = getattr(part, "clap", part)  # loads it, if it is loaded on first use
    digest = hashlib.sha256(type(module).__name__.encode())
    digest.update(json.dumps(configs.to_dict(module.config), sort_keys=True).encode())
    digest.update(weights_digest(module.state_dict()).encode())
    return digest.hexdigest()[:16]


def is_local(tokenizer: Tokenizer) -> bool:
    """Tell whether a token depends on its neighbourhood alone, so that clips may start at any column."""
    return isinstance(tokenizer, LocalTokenizer)


def silent_column(tokenizer: Tokenizer, silence: float, device: torch.device) -> np.ndarray:
    """Return the tokens (r,) of a column amid digital silence, whose value in a mel spectrogram is ``silence``."""
    n_frames = (2 * _CONTEXT_COLS + 1) * tokenizer.patch
    mel = torch.full((1, tokenizer.config.n_mels, n_frames), silence, device=device)
    with torch.inference_mode():
        return tokenizer.encode(mel)[0, :, _CONTEXT_COLS].cpu().numpy().astype(np.uint16)


def tokens_of(tokenizer: Tokenizer, front_end: MelFrontEnd, wave: np.ndarray, n_cols: int) -> np.ndarray:
    """Return the tokens (w, r) of a wave (t,), uint16.

    A local tokenizer reads the wave as a whole, with its last column padded with silence. Another one reads consecutive
    clips of ``n_cols`` columns, because its tokens depend on the whole clip; a clip of which less than half is
    filled is left out, unless it is the only one.
    """
    n_frames = max(1, len(wave) // front_end.config.hop_length)
    mel = torch.from_numpy(captioned_mels.long_mel(front_end, wave, n_frames)).T.to(front_end.window)
    with torch.inference_mode():
        if is_local(tokenizer):
            return _local_tokens(tokenizer, mel, front_end.silence)
        return _clip_tokens(tokenizer, mel, front_end.silence, n_cols)


def _local_tokens(tokenizer: Tokenizer, mel: Tensor, silence: float) -> np.ndarray:
    patch = tokenizer.patch
    mel = F.pad(mel, (0, -mel.shape[1] % patch), value=silence)
    n_cols, parts = mel.shape[1] // patch, []
    for start in range(0, n_cols, _WINDOW_COLS):
        first, last = max(0, start - _CONTEXT_COLS), min(n_cols, start + _WINDOW_COLS + _CONTEXT_COLS)
        tokens = tokenizer.encode(mel[None, :, first * patch : last * patch])[0]
        parts.append(tokens[:, start - first : start - first + _WINDOW_COLS])
    return _columns(torch.cat(parts, 1))


def _clip_tokens(tokenizer: Tokenizer, mel: Tensor, silence: float, n_cols: int) -> np.ndarray:
    n_frames = n_cols * tokenizer.patch
    n_clips = max(1, int(mel.shape[1] / n_frames + 1.0 - _LEAST_SHARE))
    mel = F.pad(mel, (0, max(0, n_clips * n_frames - mel.shape[1])), value=silence)[:, : n_clips * n_frames]
    clips = mel.unflatten(1, (n_clips, n_frames)).transpose(0, 1)
    return _columns(torch.cat([t for part in clips.split(_BATCH) for t in tokenizer.encode(part)], 1))


def _columns(tokens: Tensor) -> np.ndarray:
    return tokens.T.cpu().numpy().astype(np.uint16)


def conditions_of(conditioner: Conditioner, wave: np.ndarray, sample_rate: int, n_samples: int) -> np.ndarray:
    """Return the embeddings (s, d) of windows of ``n_samples`` of a wave (t,), with a hop of half a window, float16.

    The last window may be shorter, but not below half a window, unless the wave is.
    """
    hop = n_samples // 2
    starts = range(0, max(1, len(wave) - hop), hop)
    stretches = [torch.from_numpy(np.ascontiguousarray(wave[s : s + n_samples], np.float32)) for s in starts]
    whole = [s for s in stretches if len(s) == n_samples]
    groups = [whole[start : start + _BATCH] for start in range(0, len(whole), _BATCH)]
    groups += [[s] for s in stretches[len(whole) :]]
    vectors = [conditioner.embed_audio(torch.stack(group), sample_rate).cpu() for group in groups]
    return torch.cat(vectors).numpy().astype(np.float16)


_TOKENS, _CONDITIONS = "tokens.uint16", "conditions.float16"
_MADE_OF = ("audio", "mel", "tokenizer", "conditioner", "n_cols")


@dataclass(frozen=True)
class Tokenised:
    """One recording, with the positions of its tokens and conditions."""

    recording: shards.Recording
    first_col: int
    n_cols: int
    first_condition: int
    n_conditions: int

    @property
    def split(self) -> str:
        """Split of the recording."""
        return self.recording.split


class TokenCache(shards.Cache):
    """The tokens and conditions of a collection, memory-mapped."""

    what, values = "token", _TOKENS

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        super().__init__(folder)
        content = self.content
        self.made_of: dict[str, Any] = {name: content[name] for name in _MADE_OF}
        self.n_cols: int = content["n_cols"]  # of a clip
        self.n_rows: int = content["n_rows"]
        self.n_codes: int = content["n_codes"]
        self.dim: int = content["dim"]  # of a condition
        self.local: bool = content["local"]  # whether clips may start at any column
        self.silent_column = np.array(content["silent_column"], np.uint16)
        self.recordings = [_tokenised(row) for row in content["recordings"]]
        self._tokens = np.memmap(self.folder / _TOKENS, np.uint16, "r").reshape(-1, self.n_rows)
        self._conditions = np.memmap(self.folder / _CONDITIONS, np.float16, "r").reshape(-1, self.dim)

    def tokens(self, item: Tokenised, start: int = 0, n_cols: int | None = None) -> np.ndarray:
        """Return columns [start, start + n_cols) of a recording, (w, r) uint16."""
        stop = item.n_cols if n_cols is None else min(item.n_cols, start + n_cols)
        return np.asarray(self._tokens[item.first_col + start : item.first_col + stop])

    def condition(self, item: Tokenised, start: int = 0) -> np.ndarray:
        """Return the condition (d,) of the clip that starts at column ``start``, float32: of the nearest half clip."""
        nearest = min(round(2 * start / self.n_cols), item.n_conditions - 1)
        return self._conditions[item.first_condition + nearest].astype(np.float32)


def _tokenised(row: Mapping[str, Any]) -> Tokenised:
    return Tokenised(
        shards.recording_from(row["recording"]), **{name: row[name] for name in row if name != "recording"}
    )


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
    progress: builds.Progress | None = None,
    device: str | torch.device = "cpu",
) -> TokenCache:
    """Compute tokens and conditions of a whole collection into ``folder`` once, and return the cache.

    A build that was killed is resumed. Several processes compute with one thread each; a few tokens may
    depend on the device.

    Args:
        audio: the folder of an audio cache or of tar shards
        folder: folder of the cache; made if it does not exist
        tokenizer: tokenizer, mel -> tokens
        conditioner: conditioner, waves -> vectors
        mel: mel settings of the tokenizer
        n_cols: columns of the clips that will be drawn; conditions are of such clips
        n_workers: number of processes
        progress: called with the recordings done and their number
        device: device to compute on

    Raises:
        ParameterError: there is no audio, or ``folder`` holds tokens of another origin (the message says which).
        MasktoolsError: a process died.
    """
    arguments.check_least(2, n_cols=n_cols)
    conditioner = as_conditioner(conditioner)
    found, target = open_audio(audio, mel.sample_rate), Path(folder)
    values = (found.key, configs.to_dict(mel), fingerprint(tokenizer), fingerprint(conditioner), n_cols)
    made_of: dict[str, Any] = dict(zip(_MADE_OF, values, strict=True))
    if (target / shards.INDEX).is_file():
        cache = TokenCache(target)
        _check_same(target, cache.made_of, made_of)
        return cache
    build = builds.ResumableBuild(target, json.dumps(made_of, sort_keys=True), [_TOKENS, _CONDITIONS])
    work = _TokenWork(Path(audio), tokenizer.eval(), conditioner, mel, n_cols, str(device), n_workers > 1)
    notes = build.run(builds.chunked(range(len(found))), work, n_workers, progress)
    shape = {"n_rows": tokenizer.n_rows, "n_codes": tokenizer.n_codes, "dim": conditioner.dim}
    silent = silent_column(tokenizer.to(device), MelFrontEnd(mel).silence, torch.device(device))
    content = made_of | shape | {"local": is_local(tokenizer), "silent_column": silent.tolist()}
    skipped = [pair for note in notes for pair in note["skipped"]]
    builds.write_json(target / shards.INDEX, content | {"skipped": skipped, "recordings": _placed(notes)})
    build.close()
    return TokenCache(target)


def _placed(notes: Sequence[builds.Note]) -> list[dict[str, Any]]:
    rows, col, condition = [], 0, 0
    for row in (row for note in notes for row in note["recordings"]):
        rows.append(row | {"first_col": col, "first_condition": condition})
        col, condition = col + row["n_cols"], condition + row["n_conditions"]
    return rows


class _TokenWork:
    """Writes the tokens and the conditions of some recordings, in order."""

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
    def audio(self) -> shards.AudioCache | shards.ShardSet:
        """The collection, opened by the process that reads it."""
        return open_audio(self.folder, self.mel.sample_rate)

    @cached_property
    def front_end(self) -> MelFrontEnd:
        """The front end, on the device; the networks are moved there, too."""
        if self.one_thread:
            torch.set_num_threads(1)  # the other cores have processes of their own
        encoder: Any = getattr(self.conditioner, "clap", self.conditioner)
        for network in (self.tokenizer, encoder):
            network.to(self.device)
        return MelFrontEnd(self.mel).to(self.device)

    def __call__(self, job: Sequence[int], outputs: Mapping[str, Path]) -> builds.Note:
        """Tokenise the recordings; failures are listed in the note."""
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


_LONGEST_WEIGHT_S_COLS = 215  # 40 s: longer recordings are not drawn more often


class TokenClipStream(streams.RecordingStream):
    """Random clips: ``tokens`` (r, w), ``condition`` (d,) of their sound, ``caption``, ``full_band``.

    With a tokenizer whose tokens are local, a clip starts at any column, and a recording shorter than the clip is
    followed by others of the same kind and labels. With another one, clips are those that were tokenised.
    ``full_band`` says whether a recording extends to the upper rows.
    """

    pauses = (0, 2)  # columns

    def __init__(
        self,
        cache: TokenCache,
        split: str,
        n_cols: int | None = None,
        seed: int = 0,
        kind_weights: dict[str, float] | None = None,
    ) -> None:
        self.cache, self.n_cols = cache, cache.n_cols if n_cols is None else n_cols
        if self.n_cols < 1 or (not cache.local and self.n_cols != cache.n_cols):
            wanted = "at least 1" if cache.local else f"{cache.n_cols}, as the cache was made"
            raise ParameterError(f"n_cols must be {wanted}, got {self.n_cols}")
        self.items = cache.split(split)
        lengths = np.array([item.n_cols for item in self.items]).clip(5, _LONGEST_WEIGHT_S_COLS)
        kinds = [item.recording.kind for item in self.items]
        alike = [(item.recording.kind, item.recording.labels) for item in self.items]
        super().__init__(seed, lengths, kinds, alike, kind_weights, f"of split {split!r}")

    def length(self, index: int) -> int:
        """Return the length of a recording in columns."""
        return self.items[index].n_cols

    def read(self, index: int, start: int, n: int) -> np.ndarray:
        """Return columns (n, r) of a recording."""
        return self.cache.tokens(self.items[index], start, n)

    def silence(self, n: int) -> np.ndarray:
        """Return columns of silence."""
        return np.tile(self.cache.silent_column, (n, 1))

    def sample(self, index: int) -> streams.Batch:
        """Return clip ``index``."""
        rng = np.random.default_rng((self.seed, index))
        number = self.drawn(rng)
        item = self.items[number]
        caption = item.recording.described(rng)
        clip, start = self.clip(number, self.n_cols, rng, step=1 if self.cache.local else self.n_cols)
        return _batch(clip, self.cache.condition(item, start), caption, item)


def _batch(columns: np.ndarray, condition: np.ndarray, caption: str, item: Tokenised) -> streams.Batch:
    bandwidth_hz = item.recording.bandwidth_hz
    return {
        "tokens": torch.from_numpy(columns.T.astype(np.int64)),
        "condition": torch.from_numpy(condition),
        "caption": caption,
        "full_band": bandwidth_hz == 0 or bandwidth_hz >= streams.FULL_BAND_HZ,
    }


class TokenClipData(streams.StreamData):
    """Random training clips and fixed validation clips of a token cache, for the transformer."""

    def __init__(
        self,
        cache: str,
        n_cols: int | None = None,
        batch_size: int = 16,
        seed: int = 0,
        n_valid_clips: int = 48,
        n_workers: int = 0,
        kind_weights: dict[str, float] | None = None,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()

    def setup(self, stage: str | None = None) -> None:
        """Open the cache."""
        self.tokens = TokenCache(self.hparams["cache"])

    @property
    def token_fingerprint(self) -> str:
        """Fingerprint of the tokenizer that made the tokens."""
        return self.tokens.made_of["tokenizer"]

    def train_dataloader(self) -> streams.StreamLoader:
        """Return the endless training batches."""
        own = self.hparams
        stream = TokenClipStream(self.tokens, "train", own["n_cols"], own["seed"], own["kind_weights"])
        return self.stream_loader(stream, own["batch_size"], own["n_workers"])

    def val_dataloader(self) -> DataLoader[streams.Batch]:
        """Return the fixed validation batches: the beginning of each of some recordings."""
        n_cols = self.hparams["n_cols"] or self.tokens.n_cols
        long_enough = [item for item in self.tokens.split("valid") if item.n_cols >= n_cols]
        if not long_enough:
            raise ParameterError(f"no recording of split 'valid' lasts {n_cols} columns")
        clips = [
            _batch(self.tokens.tokens(i, 0, n_cols), self.tokens.condition(i), i.recording.descriptions[0], i)
            for i in streams.spread_over(long_enough, self.hparams["n_valid_clips"])
        ]
        return DataLoader(clips, self.hparams["batch_size"])  # type: ignore[arg-type]
