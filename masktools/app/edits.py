"""Repairs of a recording as a list that is gone back and forth in: each puts pieces over the samples before it.

Nothing is ever rewritten: what stands in the file stays, and what is heard is the file with the pieces of all repairs
up to the cursor in their places, the later ones over the earlier.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from masktools.app.refusals import RefusalError
from masktools.core.configs import read_json
from masktools.core.errors import ParameterError

RESULT = "result.json"


@dataclass(frozen=True)
class Edit:
    """One repair that was accepted."""

    id: str
    kind: str  # of the job
    job: str  # whose folder holds the pieces
    choices: dict[str, int]  # for each region of the job the candidate that is heard


@dataclass(frozen=True)
class Edits:
    """The edits that were accepted, and how many of them hold (undo and redo move that number)."""

    entries: tuple[Edit, ...] = ()
    cursor: int = 0  # entries that hold; those behind can be done again

    def __post_init__(self) -> None:
        """Check the cursor."""
        if not 0 <= self.cursor <= len(self.entries):
            raise ParameterError(f"the cursor must lie in 0-{len(self.entries)}, got {self.cursor}")

    def add(self, edit: Edit) -> "Edits":
        """Return the edits with another one, in place of what could have been done again."""
        kept = self.entries[: self.cursor]
        return Edits((*kept, edit), len(kept) + 1)

    def undo(self) -> "Edits":
        """Return the edits without the last one that holds.

        Raises:
            RefusalError: there is none.
        """
        if not self.cursor:
            raise RefusalError(409, "there is nothing to undo")
        return replace(self, cursor=self.cursor - 1)

    def redo(self) -> "Edits":
        """Return the edits with the one that was undone last.

        Raises:
            RefusalError: there is none.
        """
        if self.cursor == len(self.entries):
            raise RefusalError(409, "there is nothing to do again")
        return replace(self, cursor=self.cursor + 1)

    def holding(self) -> list[tuple[str, str, int]]:
        """Return (job, region, candidate) of what is heard, in order: of one region of a job the last choice."""
        chosen: dict[tuple[str, str], int] = {}
        for edit in self.entries[: self.cursor]:
            for region, candidate in edit.choices.items():
                chosen.pop((edit.job, region), None)  # the last one lies on top
                chosen[edit.job, region] = candidate
        return [(job, region, candidate) for (job, region), candidate in chosen.items()]


@dataclass(frozen=True)
class Place:
    """The span of samples that a candidate replaces, and the file that holds them."""

    file: str  # in the folder of the job, of .npy: (channels, n)
    start: int  # sample of the recording
    stop: int
    channels: tuple[int, ...]


def result_of(folder: Path, job: str) -> dict[str, Any]:
    """Return what a job has left in the folder of a recording: for each region its candidates, the best first."""
    return read_json(folder / "jobs" / job / RESULT)["regions"]


def pieces_of(folder: Path, holding: Iterable[tuple[str, str, int]]) -> list[Any]:
    """Return the pieces (``io.Piece``) of candidates that hold, in order, on the disk until they are read.

    Args:
        folder: folder of the recording.
        holding: as ``Edits`` says it.

    Raises:
        ParameterError: a result that is not there.
    """
    import numpy as np

    from masktools.core.configs import from_dict
    from masktools.io import Piece

    results: dict[str, Any] = {}
    pieces = []
    for job, region, candidate in holding:
        if job not in results:
            results[job] = result_of(folder, job)
        for one in results[job][region][candidate]["pieces"]:
            place = from_dict(Place, one)
            samples = np.load(folder / "jobs" / job / place.file, mmap_mode="r", allow_pickle=False)
            pieces.append(Piece(place.start, samples, place.channels))
    return pieces
