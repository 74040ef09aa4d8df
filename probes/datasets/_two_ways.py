"""Data whose validation and test splits are both used for testing: each is the test once while the other validates."""

from collections.abc import Iterator
from dataclasses import dataclass

from probes.data import Round, TaggedData


@dataclass(frozen=True)
class TwoWayData(TaggedData):
    """A data set with splits, tested in two rounds that train on the same clips.

    Where the test is small, this nearly doubles what is tested, or more. In each round layer, grid and stopping are
    chosen by the clips that are not tested; a clip is tested once.
    """

    def rounds(self) -> Iterator[Round]:
        """Yield the round of the splits as they are, and the one with validation and test exchanged."""
        for one in super().rounds():
            yield Round("test", one.train, one.valid, one.test)
            yield Round("valid", one.train, one.test, one.valid)
