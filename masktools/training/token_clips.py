"""Random clips of a token cache, for the transformer."""

from collections import defaultdict

import numpy as np
import torch
from torch.utils.data import DataLoader

from masktools.errors import ParameterError
from masktools.training.stream_data import StreamData
from masktools.training.streams import FULL_BAND_HZ, Batch, Stream, StreamLoader, drawn_index, weighted_by_kind
from masktools.training.token_cache import TokenCache, Tokenised

__all__ = ["TokenClipData", "TokenClipStream"]

_LONGEST_WEIGHT_S_COLS = 215  # 40 s: from here on a recording is not drawn more often for being longer
_LONGEST_PAUSE_COLS = 2  # between recordings that fill a clip together


class TokenClipStream(Stream):
    """Random clips: ``tokens`` (r, w), ``condition`` (d,) of their sound, ``caption``, ``full_band``.

    With a tokenizer whose tokens are local, a clip begins at any column, and a recording shorter than the clip is
    followed by others of the same kind and labels. With another one, clips are those that were tokenised.
    ``full_band`` says whether a recording reaches the upper rows.
    """

    def __init__(
        self,
        cache: TokenCache,
        split: str,
        n_cols: int | None = None,
        seed: int = 0,
        kind_weights: dict[str, float] | None = None,
    ) -> None:
        super().__init__(seed)
        self.cache, self.n_cols = cache, cache.n_cols if n_cols is None else n_cols
        if self.n_cols < 1 or (not cache.local and self.n_cols != cache.n_cols):
            wanted = "at least 1" if cache.local else f"{cache.n_cols}, as the cache was made"
            raise ParameterError(f"n_cols must be {wanted}, got {self.n_cols}")
        self.items = cache.split(split)
        self._alike: dict[tuple[str, str], list[Tokenised]] = defaultdict(list)
        for item in self.items:
            self._alike[item.recording.kind, item.recording.labels].append(item)
        lengths = np.array([item.n_cols for item in self.items]).clip(5, _LONGEST_WEIGHT_S_COLS)
        kinds = [item.recording.kind for item in self.items]
        self._cumulative = np.cumsum(weighted_by_kind(lengths, kinds, kind_weights, f"of split {split!r}"))

    def sample(self, index: int) -> Batch:
        """Return clip ``index``."""
        rng = np.random.default_rng((self.seed, index))
        item = self.items[drawn_index(self._cumulative, rng)]
        texts = item.recording.descriptions
        caption = texts[int(rng.integers(len(texts)))]
        if item.n_cols < self.n_cols:
            return _batch(self._assembled(item, rng), self.cache.condition(item), caption, item)
        start = int(rng.integers(item.n_cols - self.n_cols + 1))
        if not self.cache.local:
            start -= start % self.n_cols
        clip = self.cache.tokens(item, start, self.n_cols)
        return _batch(clip, self.cache.condition(item, start), caption, item)

    def _assembled(self, first: Tokenised, rng: np.random.Generator) -> np.ndarray:
        clip = np.tile(self.cache.silent_column, (self.n_cols, 1))
        alike = self._alike[first.recording.kind, first.recording.labels]
        position, following = 0, first
        while position < self.n_cols:
            piece = self.cache.tokens(following, 0, self.n_cols - position)
            clip[position : position + len(piece)] = piece
            position += len(piece) + int(rng.integers(_LONGEST_PAUSE_COLS + 1))
            following = alike[int(rng.integers(len(alike)))]
        return np.roll(clip, int(rng.integers(self.n_cols)), axis=0)


def _batch(columns: np.ndarray, condition: np.ndarray, caption: str, item: Tokenised) -> Batch:
    bandwidth_hz = item.recording.bandwidth_hz
    return {
        "tokens": torch.from_numpy(columns.T.astype(np.int64)),
        "condition": torch.from_numpy(condition),
        "caption": caption,
        "full_band": bandwidth_hz == 0 or bandwidth_hz >= FULL_BAND_HZ,
    }


class TokenClipData(StreamData):
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
        """The fingerprint of the tokenizer that made the tokens."""
        return self.tokens.made_of["tokenizer"]

    def train_dataloader(self) -> StreamLoader:
        """Return the endless training batches."""
        own = self.hparams
        stream = TokenClipStream(self.tokens, "train", own["n_cols"], own["seed"], own["kind_weights"])
        return self.stream_loader(stream, own["batch_size"], own["n_workers"])

    def val_dataloader(self) -> DataLoader[Batch]:
        """Return the fixed validation batches: the beginning of each of some recordings."""
        n_cols = self.hparams["n_cols"] or self.tokens.n_cols
        long_enough = [item for item in self.tokens.split("valid") if item.n_cols >= n_cols]
        if not long_enough:
            raise ParameterError(f"no recording of split 'valid' lasts {n_cols} columns")
        n_clips = self.hparams["n_valid_clips"]
        chosen = long_enough[:: max(1, len(long_enough) // n_clips)][:n_clips]
        clips = [
            _batch(self.tokens.tokens(i, 0, n_cols), self.tokens.condition(i), i.recording.descriptions[0], i)
            for i in chosen
        ]
        return DataLoader(clips, self.hparams["batch_size"])  # type: ignore[arg-type]
