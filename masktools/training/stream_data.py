"""Data modules whose training goes on exactly where it stopped, in as many processes as there are."""

from typing import Any

import lightning.pytorch as pl

from masktools.training.streams import Stream, StreamLoader

__all__ = ["StreamData"]


class StreamData(pl.LightningDataModule):
    """A data module that counts the samples training has seen, and writes their number into checkpoints.

    An epoch goes on where the one before ended. A run that is resumed sees what it would have seen, also with another
    number of processes or another batch size.
    """

    def __init__(self) -> None:
        super().__init__()
        self._resumed_at: int | None = None
        self._loader_position: Any = None

    def stream_loader(self, stream: Stream, batch_size: int, n_workers: int = 0) -> StreamLoader:
        """Return the batches of this process, from the sample on that training has come to."""
        trainer = self.trainer
        rank, n_ranks = (trainer.global_rank, trainer.world_size) if trainer else (0, 1)
        stream.share_out(rank, n_ranks, batch_size)
        together, before = batch_size * n_ranks, self._n_batches()
        start = before * together if self._resumed_at is None else self._resumed_at
        self._resumed_at = None
        self._loader_position = lambda: start + (self._n_batches() - before) * together
        return StreamLoader(stream, batch_size, n_workers, self._loader_position)

    def _n_batches(self) -> int:
        """Return how many batches each process has been trained on, in this run and those it resumes."""
        if self.trainer is None:
            return 0
        progress: Any = self.trainer.fit_loop.epoch_loop.batch_progress.total
        return progress.processed

    def state_dict(self) -> dict[str, Any]:
        """Return the number of the next sample, once there are any."""
        return {} if self._loader_position is None else {"next_sample": self._loader_position()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Let training go on at the sample that a checkpoint names."""
        self._resumed_at = state_dict["next_sample"]
