"""How an extraction ended, in numbers."""

from dataclasses import dataclass
from pathlib import Path

__all__ = ["Summary"]


@dataclass(frozen=True)
class Summary:
    """What has been stored, and what has not."""

    path: Path
    n_items: int  # recordings that were asked for
    n_rows: int  # of which there are vectors
    n_failed: int  # that could not be embedded
    errors: Path | None = None  # the file that names those
    reason: str | None = None  # why the first of those could not be embedded

    @property
    def n_left(self) -> int:
        """How many have still to be embedded."""
        return self.n_items - self.n_rows - self.n_failed

    @property
    def is_complete(self) -> bool:
        """Whether nothing is left to be done."""
        return self.n_left == 0
