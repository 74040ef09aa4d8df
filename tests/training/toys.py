"""A data module of made-up clips, the same for any number of processes, and a callback that kills its own process."""

import os
import signal
import time
from itertools import islice

import lightning.pytorch as pl
import torch
from torch.utils.data import DataLoader, IterableDataset


def clip(index: int, n_codes: int, n_rows: int, n_cols: int, dim: int) -> dict:
    """Return a clip: one of four melodies of tokens, a tenth of them wrong, and a condition that tells which."""
    own = torch.Generator().manual_seed(1_000 + index)
    melody = int(torch.randint(4, (), generator=own))
    score = torch.randint(n_codes, (n_rows, n_cols), generator=torch.Generator().manual_seed(melody))
    wrong = torch.rand(n_rows, n_cols, generator=own) < 0.1
    tokens = torch.where(wrong, torch.randint(n_codes, (n_rows, n_cols), generator=own), score)
    condition = torch.nn.functional.one_hot(torch.tensor(melody), dim).float()
    return {"tokens": tokens.to(torch.int32), "condition": condition, "index": index}


class Stream(IterableDataset):
    """Clips from one index on, every ``stride``-th; where they begin is asked for at the start of each epoch."""

    def __init__(self, first, stride, sizes):
        self.first, self.stride, self.sizes = first, stride, sizes

    def __iter__(self):
        index = self.first()
        while True:
            yield clip(index, *self.sizes)
            index += self.stride


class ToyClips(pl.LightningDataModule):
    """Endless clips of tokens shared out among ranks, which go on where the run is, or was when it was stopped."""

    def __init__(self, batch_size: int = 8, n_codes: int = 16, n_rows: int = 2, n_cols: int = 6, dim: int = 4):
        super().__init__()
        self.batch_size, self.sizes = batch_size, (n_codes, n_rows, n_cols, dim)

    def _first(self):
        n_batches = self.trainer.fit_loop.epoch_loop.batch_progress.total.ready
        return n_batches * self.batch_size * self.trainer.world_size + self.trainer.global_rank

    def train_dataloader(self):
        return DataLoader(Stream(self._first, self.trainer.world_size, self.sizes), self.batch_size)

    def val_dataloader(self):
        clips = list(islice(Stream(lambda: 10_000_000, 1, self.sizes), 8))
        return DataLoader(clips, self.batch_size)


class MelToy(pl.LightningDataModule):
    """Noise as mel spectrograms, with conditions and captions."""

    def __init__(self, batch_size: int = 2, n_frames: int = 848, dim: int = 128):
        super().__init__()
        self.batch_size, self.n_frames, self.dim = batch_size, n_frames, dim

    def _clips(self, n):
        generator = torch.Generator().manual_seed(0)
        return [
            {
                "mel": torch.empty(80, self.n_frames).uniform_(-1, 1, generator=generator),
                "condition": torch.nn.functional.normalize(torch.randn(self.dim, generator=generator), dim=0),
                "caption": "a hum.",
                "full_band": bool(i % 2),
            }
            for i in range(n)
        ]

    def train_dataloader(self):
        return DataLoader(self._clips(64), self.batch_size)

    def val_dataloader(self):
        return DataLoader(self._clips(4), self.batch_size)


class DieAt(pl.Callback):
    """Kills its own process at the end of a step, as SIGKILL does: without a word."""

    def __init__(self, step: int):
        self.step = step

    def on_train_batch_end(self, trainer, *_):
        if trainer.global_step == self.step:
            time.sleep(0.2)
            os.kill(os.getpid(), signal.SIGKILL)
